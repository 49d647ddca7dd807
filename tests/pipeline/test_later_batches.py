"""What a later batch says about prompts of an earlier one counts from then on."""

import json

import dagster as dg
import polars as pl
import pytest

from assets.project import open_project
from pipeline.execute import curate

SETTINGS = """
[[source]]
name = "train"
path = "train*.jsonl"
prompt = "question"
ground_truth = "answer"
verifier = "math"
pool = "original"

[[source]]
name = "bench"
path = "bench*.jsonl"
prompt = "question"
ground_truth = "answer"
verifier = "math"
pool = "eval"

[policy]
engine = "recorded"

[ingest]
heldout_share = 0.0
"""
ROWS = [{"question": f"What is {i} times {i + 3}?", "answer": str(i * (i + 3))} for i in range(12)]
OTHER = {"question": "How many legs do two spiders have?", "answer": "16"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("PREPPO_CONFIG", str(tmp_path / "preppo.toml"))
    monkeypatch.setenv("PREPPO_HOME", str(tmp_path / "home"))
    (tmp_path / "preppo.toml").write_text(SETTINGS)
    put(tmp_path, "train.jsonl", ROWS)
    put(tmp_path, "bench.jsonl", [OTHER])
    run()
    return tmp_path


def put(place, name, rows):
    (place / name).write_text("".join(json.dumps(r) + "\n" for r in rows))


def run():
    with dg.DagsterInstance.ephemeral() as instance:
        report = curate(open_project(), instance)
    assert not report.failures
    return open_project().store.snapshot()


def reasons(view):
    texts = view.scan("prompts").select("prompt_id", pl.col("messages").list.first().struct.field("content"))
    rows = view.scan("selection").join(texts, on="prompt_id").select("content", "reason", "selected").collect()
    return {c: (r, s) for c, r, s in rows.iter_rows()}


def test_a_training_prompt_that_turns_up_in_an_evaluation_set_leaves_the_release(place):
    assert reasons(open_project().store.snapshot())[ROWS[4]["question"]] == ("original", True)
    put(place, "bench2.jsonl", [ROWS[4]])
    view = run()
    assert reasons(view)[ROWS[4]["question"]] == ("eval", False)
    assert view.scan("prompts").select(pl.col("prompt_id").is_duplicated().any()).collect().item() is False


def test_another_gold_in_a_later_batch_bars_the_prompt(place):
    put(place, "train2.jsonl", [ROWS[5] | {"answer": "1"}])
    view = run()
    assert reasons(view)[ROWS[5]["question"]] == ("gold_conflict", False)


def test_the_same_gold_in_another_spelling_does_not(place):
    put(place, "train2.jsonl", [ROWS[5] | {"answer": f"{ROWS[5]['answer']}.0"}])
    assert reasons(run())[ROWS[5]["question"]] == ("original", True)


def test_an_abandoned_batch_no_longer_counts(place):
    put(place, "train2.jsonl", [ROWS[5] | {"answer": "1"}])
    run()
    project = open_project()
    project.store.abandon(project.batches.all()[-1].key, "a mistake")
    assert reasons(run())[ROWS[5]["question"]] == ("original", True)
