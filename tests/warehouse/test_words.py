"""Words and n-grams as hashes, against plain Python."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.curation import words
from warehouse.curation.words import ngrams, normalise, runs, words_of

texts = st.lists(st.text(alphabet=st.sampled_from("aAbÉß漢字 .,-_+\n0９ﬁ"), max_size=40), max_size=12)


def split(text):
    out, held = [], ""
    for c in normalise(text) + " ":
        if c.isalnum() and not "\u4e00" <= c <= "\u9fff":
            held += c
        else:
            out += [held] if held else []
            out += [c] if "\u4e00" <= c <= "\u9fff" else []
            held = ""
    return out


@given(texts, st.sampled_from([3, 1 << 20]))
def test_words_are_those_of_plain_python(many, piece):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "_PIECE_BYTES", piece)
        found = words_of(many)
    spelled = [[found.spell(i, 1) for i in range(a, b)] for a, b in zip(found.offsets, found.offsets[1:], strict=False)]
    assert spelled == [split(t) for t in many]
    flat = [w for text in spelled for w in text]
    by_word = dict(zip(flat, found.hashes.tolist(), strict=True))
    assert [by_word[w] for w in flat] == found.hashes.tolist()
    assert len(set(by_word.values())) == len(by_word)


@given(texts, st.integers(1, 4))
def test_ngrams_stay_inside_a_text_and_hash_by_content(many, n):
    found = words_of(many)
    hashes, first = ngrams(found, n)
    starts = [int(a) + i for a, c in zip(found.offsets, found.counts, strict=False) for i in range(max(0, c - n + 1))]
    assert first.tolist() == starts
    spelled = [found.spell(i, n) for i in starts]
    assert len(set(spelled)) == len(set(hashes.tolist()))
    assert len(set(zip(spelled, hashes.tolist(), strict=True))) == len(set(spelled))
    assert runs(found, first, np.full(len(first), n)).tolist() == hashes.tolist()


EXPECTED = ["eb70595fe8bc38f6", "39bd074e75213bc8", "d886d7765a5b86b8", "3af3f40bbe2846f8", "eb70595fe8bc38f6"]


def test_hashes_never_change():
    # Signatures that are stored in a home depend on these values.
    found = words_of(["Hello, World! 漢字", "hello"])
    assert found.hashes.tolist()[0] == found.hashes.tolist()[-1]
    assert [f"{h:016x}" for h in found.hashes.tolist()] == EXPECTED


def test_symbols_are_words_only_when_asked():
    assert len(words_of(["3+4 = {7}, or (7)"]).hashes) == 5
    assert len(words_of(["3+4 = {7}, or (7)"], symbols=True).hashes) == 9
    plus, minus = (words_of([t], symbols=True).hashes for t in ("3 + 4", "3 - 4"))
    assert (plus == minus).tolist() == [True, False, True]


def test_no_text_has_no_words():
    for nothing in ([], [""], ["", "..."]):
        found = words_of(nothing)
        assert found.counts.tolist() == [0] * len(nothing)
        assert ngrams(found, 3)[0].tolist() == []
    assert np.array_equal(words_of([]).offsets, [0])
