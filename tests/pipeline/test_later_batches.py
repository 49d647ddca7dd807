"""What a later batch says about prompts of an earlier one counts from then on."""

import json
import shutil

import dagster as dg
import polars as pl
import pytest

from assets.project import open_project
from pipeline.execute import curate
from tests.pipeline.harness import leave_out_what_is_for_people

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


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curated")
    (folder / "preppo.toml").write_text(SETTINGS)
    put(folder, "train.jsonl", ROWS)
    put(folder, "bench.jsonl", [OTHER])
    with pytest.MonkeyPatch.context() as patch:
        use(folder, patch)
        run()
    return folder


@pytest.fixture
def place(template, tmp_path, monkeypatch):
    """Return a folder with a curated home: made once, and copied."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    use(tmp_path, monkeypatch)
    return tmp_path


def use(folder, patch):
    patch.setenv("PREPPO_CONFIG", str(folder / "preppo.toml"))
    patch.setenv("PREPPO_HOME", str(folder / "home"))
    leave_out_what_is_for_people(patch)


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
