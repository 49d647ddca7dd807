"""Overlap with evaluation sets, against plain string search."""

import json
import random
import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.curation import decontaminate
from warehouse.curation.decontaminate import ITEMS, WHOLE_WORDS, contamination, evaluation_items
from warehouse.ingest.readers import InputError
from warehouse.schemas import CONTAMINATION, MESSAGES, PROMPTS, conform
from warehouse.settings import EvaluationSet


def prompts(texts):
    return pl.DataFrame(
        {
            "prompt_id": [f"{i:032x}" for i in range(len(texts))],
            "messages": [[{"role": "user", "content": t}] for t in texts],
        },
        schema={"prompt_id": pl.String, "messages": MESSAGES},
    )


def items(texts, name="set"):
    return pl.DataFrame(
        {"eval_set": [name] * len(texts), "item": [str(i) for i in range(len(texts))], "text": texts}, ITEMS
    )


def search(texts, items_frame, n=13):
    found = contamination([prompts(texts)], items_frame, n)
    assert found.equals(conform(CONTAMINATION, found))
    return {int(r["prompt_id"], 16): r for r in found.iter_rows(named=True)}


LONG = "a train leaves the station at noon and travels north at sixty miles an hour until it meets another train"


def test_kinds_of_overlap():
    texts = [
        "unrelated words about cooking rice slowly in a heavy pot",
        f"Please answer: {LONG.upper().replace(' ', ', ')}!!",
        LONG,
        "Name the capital city of France please, and say why.",
        "the Capital   city of FRANCE",
        "what is it",
        "what is it called",
        " ".join(LONG.split()[3:15]),
    ]
    sets = items([LONG, "The capital city of France?", "What is it?"])
    found = search(texts, sets)
    assert {i: (r["item"], r["overlap"]) for i, r in found.items()} == {
        1: ("0", "ngram"),
        2: ("0", "exact"),
        3: ("1", "whole"),
        4: ("1", "exact"),
        5: ("2", "exact"),
    }
    assert found[1]["matched"] == " ".join(LONG.split()[:13])
    assert found[3]["matched"] == "the capital city of france"


def test_unicode_forms_and_scripts_without_spaces():
    wide = "ＦＵＬＬ ｗｉｄｔｈ letters straße and ﬁnally something more to make it long enough"
    plain = "full width letters STRASSE and finally something more to make it long enough"
    assert search([plain], items([wide]), 8)[0]["overlap"] == "exact"
    assert (
        search(["请问：中华人民共和国的首都是哪里？谢谢"], items(["中华人民共和国的首都是哪里"]), 8)[0]["overlap"]
        == "ngram"
    )


def test_every_message_counts_and_every_set_is_named():
    frame = prompts([""]).with_columns(
        messages=pl.Series(
            [[{"role": "system", "content": LONG}, {"role": "user", "content": "go"}]], dtype=pl.List(MESSAGES.inner)
        )
    )
    both = pl.concat([items(["x", LONG], "b"), items([f"so {LONG}"], "a")])
    found = contamination([frame, prompts([])], both, 13)
    assert found.select("eval_set", "item").rows() == [("a", "0"), ("b", "1")]


def test_the_item_that_shares_most_is_named():
    preamble = "answer the following question about causation as a typical person would in general"
    sets = items([f"{preamble} did the machine fail", f"{preamble} {LONG}", f"{preamble} who broke the vase"])
    assert search([f"{preamble} {LONG}, said the guard"], sets)[0]["item"] == "1"


def test_nothing_to_search():
    assert search(["text"], items([])) == {}
    assert search([], items([LONG])) == {}
    assert search(["", "..."], items([LONG, "", "..."])) == {}


def test_two_texts_with_one_hash_are_told_apart(monkeypatch):
    monkeypatch.setattr(decontaminate, "ngrams", lambda words, n: (_few(words, n)[0] % 3, _few(words, n)[1]))
    monkeypatch.setattr(decontaminate, "_slot", lambda hashes: hashes % 3)
    other = "completely different words that nobody would ever find inside of this evaluation item at all today"
    assert search([other], items([LONG])) == {}


_few = decontaminate.ngrams
WORD = st.sampled_from("ab")
TEXT = st.lists(WORD, max_size=14).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXT, max_size=6), st.lists(TEXT, max_size=5), st.integers(3, 9))
def test_same_as_string_search(texts, item_texts, n):
    found = search(texts, items(item_texts), n)
    for i, text in enumerate(texts):
        inside = f" {text} "
        kinds = set()
        for item in item_texts:
            length = len(item.split())
            if item and item == text:
                kinds.add("exact")
            if WHOLE_WORDS <= length < n and f" {item} " in inside:
                kinds.add("whole")
            runs = (" ".join(item.split()[k : k + n]) for k in range(length - n + 1))
            if any(f" {run} " in inside for run in runs):
                kinds.add("ngram")
        expected = next((k for k in ("exact", "whole", "ngram") if k in kinds), None)
        assert (found[i]["overlap"] if i in found else None) == expected
        if i in found:
            assert f" {found[i]['matched']} " in inside
            assert f" {found[i]['matched']} " in f" {item_texts[int(found[i]['item'])]} "


def test_frames_of_any_size_give_the_same(monkeypatch):
    rng = random.Random(0)
    vocabulary = [f"w{i}" for i in range(30)]
    texts = [" ".join(rng.choices(vocabulary, k=rng.randrange(30))) for _ in range(200)]
    evaluation = items([" ".join(rng.choices(vocabulary, k=rng.randrange(20))) for _ in range(50)])
    frame = prompts(texts)
    whole = contamination([frame], evaluation, 3)
    assert whole.height > 10
    monkeypatch.setattr(decontaminate, "_SLICE_ROWS", 7)
    assert contamination(frame.sample(fraction=1, shuffle=True, seed=1).iter_slices(31), evaluation, 3).equals(whole)


def test_items_come_from_files_and_from_the_eval_pool(tmp_path):
    (tmp_path / "e.jsonl").write_text("".join(json.dumps({"q": q, "o": "x"}) + "\n" for q in ("one", "two", None, " ")))
    own = {"prompt_id": ["b" * 32, "a" * 32, "c" * 32], "source": ["s", "s", "s"], "pool": ["eval", "eval", "new"]}
    rest = {c: [None] * 3 for c in PROMPTS.columns if c not in (*own, "messages")}
    text = [[{"role": "user", "content": c}] for c in ("B", "A", "C")]
    table = pl.DataFrame({**own, **rest, "messages": text}).lazy()
    sets = [EvaluationSet(name="file", path="e.jsonl", text="q"), EvaluationSet(name="pool", source="s")]
    found = evaluation_items(sets, tmp_path, table)
    assert found.rows() == [
        ("file", "e.jsonl:0", "one"),
        ("file", "e.jsonl:1", "two"),
        ("pool", "a" * 32, "A"),
        ("pool", "b" * 32, "B"),
    ]
    assert evaluation_items([], tmp_path, table).schema == ITEMS


def test_an_unreadable_item_is_an_error(tmp_path):
    (tmp_path / "e.jsonl").write_text('{"q": "fine"}\n{"q": broken\n')
    with pytest.raises(InputError, match=re.escape("evaluation set x: ") + r".*e\.jsonl, row 1: "):
        evaluation_items([EvaluationSet(name="x", path="e.jsonl", text="q")], tmp_path, pl.LazyFrame())
    with pytest.raises(InputError, match="row 0: no column 'gone'"):
        evaluation_items([EvaluationSet(name="x", path="e.jsonl", text="gone")], tmp_path, pl.LazyFrame())


def test_real_sets(shared_data, tmp_path):
    sets = [
        EvaluationSet(name="aime", path=str(shared_data / "aime_1983_2023_rllm.jsonl.gz"), text="problem"),
        EvaluationSet(name="gsm8k_test", path=str(shared_data / "rollouts_gsm8k_test.jsonl.gz"), text="question"),
    ]
    found_items = evaluation_items(sets, tmp_path, pl.LazyFrame())
    train = evaluation_items(
        [EvaluationSet(name="t", path=str(shared_data / "gsm8k_train.jsonl.gz"), text="question")],
        tmp_path,
        pl.LazyFrame(),
    )
    texts = train.get_column("text").head(1000).to_list()
    planted = found_items.filter(pl.col("eval_set") == "aime").get_column("text").head(50).to_list()
    found = search([*texts, *planted], found_items)
    assert set(range(1000, 1050)) <= {
        i for i, r in found.items() if r["eval_set"] == "aime" and r["overlap"] == "exact"
    }
    assert len(found) <= 55
