"""What makes two prompts, and two golds, the same."""

import hashlib
import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from warehouse.curation.identity import gold_hash, prompt_id

messages = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text(max_size=30)), max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def test_known_ids_never_change():
    # Ids are kept in homes and releases: this value is a promise.
    assert prompt_id([("user", "What is 2+2?")]) == "a75d03ff617b80387a6db8e690740c2f"


@given(messages)
def test_an_id_is_32_hex_characters_and_ignores_form_and_outer_space(chat):
    found = prompt_id(chat)
    assert len(found) == 32
    plain = [[role, unicodedata.normalize("NFC", text).strip()] for role, text in chat]
    data = json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    assert found == hashlib.blake2b(data, digest_size=16).hexdigest()
    assert int(found, 16) >= 0
    assert found == prompt_id([(role, f" \n{unicodedata.normalize('NFD', text)}\t") for role, text in chat])


@given(messages, messages)
def test_different_messages_have_different_ids(one, two):
    def canonical(chat):
        return [(role, unicodedata.normalize("NFC", text).strip()) for role, text in chat]

    assert (prompt_id(one) == prompt_id(two)) == (canonical(one) == canonical(two))


@given(values)
def test_golds_compare_by_value_not_by_spelling(value):
    plain = json.dumps(value)
    spaced = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    assert gold_hash(plain) == gold_hash(spaced)


def test_golds_that_differ():
    golds = ['"7"', "7", '["7"]', '{"answer": "7"}', '{"answer": "8"}', "null", "true"]
    assert len({gold_hash(g) for g in golds}) == len(golds)
    assert gold_hash('"7 "') == gold_hash('" 7"')
    assert gold_hash(None) is None
