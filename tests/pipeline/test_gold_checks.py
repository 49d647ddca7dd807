"""A gold that its verifier cannot use: found before a rollout is paid for, told, and never trained on."""

import json
from pathlib import Path

import polars as pl
import pytest

from assets.project import open_project
from tests.pipeline.harness import leave_out_what_is_for_people, preppo, small_corpus, write_lines
from warehouse.curation.identity import prompt_id
from warehouse.store import Snapshot


def live(view: Snapshot, table: str) -> pl.DataFrame:
    return view.scan(table).collect()


def test_a_prompt_whose_gold_is_unusable_is_not_rolled_out_nor_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = small_corpus(tmp_path / "corpus", maths=4, sums=2)
    corpus.settings["ingest"]["heldout_share"] = 0.0
    corpus.write_settings()
    text = "What is one half, in lowest terms?"
    bad = prompt_id([("user", text)])
    write_lines(tmp_path / "corpus" / "sums" / "bad.jsonl", [{"question": text, "answer": r"\frac{1}{2"}])
    home = tmp_path / "home"
    monkeypatch.setenv("PREPPO_CONFIG", str(corpus.config))
    monkeypatch.setenv("PREPPO_HOME", str(home))
    leave_out_what_is_for_people(monkeypatch)
    assert "golds cannot be used by their verifier" in preppo("run")

    project = open_project(corpus.config, home)
    view = project.store.snapshot()
    (found,) = live(view, "gold_checks").to_dicts()
    assert (found["prompt_id"], found["verifier"]) == (bad, "math")
    assert "do not balance" in found["problem"]
    originals = live(view, "prompts").filter(pl.col("pool") == "original")["prompt_id"]
    rolled = set(live(view, "rollouts").filter(~pl.col("recorded"))["prompt_id"])
    assert rolled == set(originals) - {bad}
    rows = live(view, "selection").filter(pl.col("prompt_id") == bad)
    assert set(rows["reason"]) == {"bad_gold"} and not rows["selected"].any()
    told = view.decisions().filter(pl.col("prompt_id") == bad, pl.col("stage") == "gold_checks").collect()
    assert told["outcome"].to_list() == ["quarantine"]
    assert "math: the braces" in told["detail"][0]

    story = json.loads(preppo("explain", bad, "--json"))
    assert any("do not balance" in json.dumps(decision) for decision in story["decisions"])

    corrected = {
        "prompt_id": bad,
        "field": "ground_truth",
        "value": '"1/2"',
        "who": "ada",
        "why": "a brace was missing",
    }
    write_lines(project.overrides_path() or home.parent / "corpus" / "overrides.jsonl", [corrected])
    preppo("run")
    view = open_project(corpus.config, home).store.snapshot()
    assert live(view, "gold_checks").is_empty()
    assert bad in set(live(view, "rollouts")["prompt_id"])
    assert "bad_gold" not in set(live(view, "selection")["reason"])
