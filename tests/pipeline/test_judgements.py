"""Prompts without a rule verifier, judged by a real, if small, judge: from imported rollouts to rewards.

The judge knows sums from 3 + 0 to 3 + 3. Two of them have a ground truth that no verifier checks; two have none, and
are compared with a reference sample. A question of another kind has neither, and goes to the reward model. The
reference sample of one more was cut off: nothing rewards responses to it, for nothing weaker stands in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

from assets import judgements
from assets.project import Project, open_project
from assets.stages import Run, materialise
from tests.pipeline import harness
from trainer.hybrid import hybrid_reward
from trainer.judge.settings import identity
from verifiers.genrm.canaries import CanaryCounts
from verifiers.hybrid import Scorable, compared_with

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.store import Snapshot

pytestmark = pytest.mark.usefixtures("one_thread")

WITH_GOLD, OPEN = ("3 + 0?", "3 + 1?"), ("3 + 2?", "3 + 3?")
GOLDS = {"3 + 0?": 3, "3 + 1?": 4, "3 + 2?": 5, "3 + 3?": 6}
OTHER = "Tell me about the sun in one sentence."
LOST = "Tell me about the moon in one sentence."


def corpus_of(folder: Path, weights: Path, **changes: object) -> harness.Corpus:
    corpus = harness.Corpus(folder)
    rows = [{"q": q, "a": str(GOLDS[q]) if q in WITH_GOLD else None} for q in GOLDS]
    harness.write_lines(folder / "sums.jsonl", [*rows, *({"q": q, "a": None} for q in (OTHER, LOST))])
    rollouts = [
        {"q": q, "r": str(GOLDS[q] + off), "f": "stop"} for q in GOLDS for off in (0, 1, -1, 3, -3)
    ] + [{"q": q, "r": "", "f": "stop"} for q in GOLDS]  # fmt: skip
    rollouts += [{"q": q, "r": str(GOLDS[q]), "f": "length"} for q in GOLDS]
    rollouts += [{"q": q, "r": str(GOLDS[q]), "f": "stop"} for q in GOLDS]  # the last: a reference sample
    rollouts += [{"q": LOST, "r": "The moon is", "f": f} for f in ("stop", "stop", "length")]
    harness.write_lines(folder / "rollouts.jsonl", rollouts)
    others = [{"q": OTHER, "r": f"The sun is {w}.", "f": "stop"} for w in ("hot", "a star", "big")]
    harness.write_lines(folder / "others.jsonl", others)
    corpus.settings = {
        "source": [{"name": "sums", "path": "sums.jsonl", "prompt": "q", "ground_truth": "a", "domain": "sums"}],
        "rollouts": [
            {"name": "sft", "path": "rollouts.jsonl", "prompt": "q", "response": "r", "finish_reason": "f",
             "reference_samples": 1},
            {"name": "other", "path": "others.jsonl", "prompt": "q", "response": "r", "finish_reason": "f"},
        ],
        "policy": {"engine": "recorded"},
        "ingest": {"heldout_share": 0.0, "near_duplicate_threshold": 1.0},
        "engine": {"workers": 1},
        "judge": {
            "model": str(weights), "gold_template": "nursery", "open_template": "nursery", "canaries": 0,
            "device": "cpu", "dtype": "float32", "batch_size": 16,
        },
        "reward_model": {"models": ["nursery-reward"], "device": "cpu", "dtype": "float32"},
    }  # fmt: skip
    for section, values in changes.items():
        corpus.settings[section] = corpus.settings.get(section, {}) | values  # type: ignore[operator]
    corpus.write_settings()
    return corpus


def by_question(view: Snapshot, table: str) -> dict[tuple[str, int], dict[str, object]]:
    texts = view.scan("prompts").select("prompt_id", q=pl.col("messages").list.last().struct.field("content"))
    rows = view.scan(table).join(texts, on="prompt_id").collect().to_dicts()
    return {(r["q"], r["sample"]): r for r in rows}


def test_the_hybrid_reward_is_what_the_tables_have(judge_folder: Path, tmp_path: Path, home: Path) -> None:
    corpus = corpus_of(tmp_path / "corpus", judge_folder)
    view = harness.view_after(corpus, home)
    rewards, judged = by_question(view, "rewards"), by_question(view, "judgements")
    assert {q for q, _ in judged} == set(GOLDS), "the judge is asked about what it can compare, and nothing else"
    for (question, _), row in rewards.items():
        wanted = dict.fromkeys(WITH_GOLD, "genrm_ground_truth") | {OTHER: "reward_model"}
        assert row["source"] == wanted.get(question, "genrm_best_of_n")
    for question in GOLDS:
        right, near, far = (judged[question, n]["score"] for n in (0, 1, 3))
        assert right == pytest.approx(0.5, abs=0.15), "as good as the reference"
        assert right > near > far  # type: ignore[operator]
    statuses = {row["status"] for row in rewards.values()}
    assert statuses == {"judged", "not_an_answer", "truncated", "scored", "no_reference"}
    assert {q for (q, _), row in rewards.items() if row["status"] == "no_reference"} == {LOST}
    undecided = ("truncated", "no_reference")
    assert all((row["reward"] is None) == (row["status"] in undecided) for row in rewards.values())

    prompts = {r["prompt_id"]: r for r in view.scan("prompts").collect().to_dicts()}
    references = {
        r["prompt_id"]: compared_with(r["text"], r["kind"]) for r in view.scan("references").collect().to_dicts()
    }
    scored = view.scan("rollouts").filter(pl.col("role") == "scored").sort("prompt_id", "sample").collect()
    items = [
        Scorable(
            r["prompt_id"], r["sample"],
            tuple((m["role"], m["content"]) for m in prompts[r["prompt_id"]]["messages"]),
            r["response"], r["finish_reason"], prompts[r["prompt_id"]]["verifier"],
            prompts[r["prompt_id"]]["ground_truth"], reference, None, wanted,
        )
        for r in scored.to_dicts()
        for reference, wanted in [references.get(r["prompt_id"], (None, False))]
    ]  # fmt: skip
    project = corpus_project(corpus, home)
    with hybrid_reward(project.settings, workers=1) as hybrid:
        found = hybrid.score(items)
    table = view.scan("rewards").sort("prompt_id", "sample").collect().to_dicts()
    assert [(r.prompt_id, r.sample, r.source, r.reward_id, r.status) for r in found] == [
        (r["prompt_id"], r["sample"], r["source"], r["reward_id"], r["status"]) for r in table
    ]
    for reward, row in zip(found, table, strict=True):
        assert reward.reward == (None if row["reward"] is None else pytest.approx(row["reward"], abs=2e-6))


def corpus_project(corpus: harness.Corpus, home: Path) -> Project:
    return open_project(corpus.config, home)


def test_another_judge_judges_again_and_nothing_before_it(judge_folder: Path, tmp_path: Path, home: Path) -> None:
    first = harness.view_after(corpus_of(tmp_path / "corpus", judge_folder), home)
    asked = first.scan("generation").filter(pl.col("stage") == "judgements").collect()["samples"].sum()
    assert asked > 0
    corpus = corpus_of(tmp_path / "corpus", judge_folder, judge={"canaries": 2, "max_false_positive_rate": 1.0})
    same = harness.view_after(corpus, home)
    assert same.live == first.live, "watching a judge more closely makes no other judge"
    corpus = corpus_of(tmp_path / "corpus", judge_folder, judge={"temperature": 0.5})
    view = harness.view_after(corpus, home)
    moved = {c.stage for key, c in view.live.items() if first.live.get(key) != c}
    assert {"judgements", "rewards", "difficulty"} <= moved <= {
        "judgements", "rewards", "difficulty", "preference_pairs", "pair_rewards", "preference_strength", "selection",
        "curriculum", "release",
    }  # fmt: skip
    assert set(view.scan("judgements").collect()["judge"]).isdisjoint(first.scan("judgements").collect()["judge"])


def test_new_rollouts_elsewhere_judge_only_what_is_new(judge_folder: Path, tmp_path: Path, home: Path) -> None:
    corpus = corpus_of(tmp_path / "corpus", judge_folder)
    harness.view_after(corpus, home)
    harness.write_lines(tmp_path / "corpus" / "more.jsonl", [{"q": "3 + 1?", "r": "5", "f": "stop"}] * 2)
    sections = corpus.settings["rollouts"]
    sections[0]["path"] = ["rollouts.jsonl", "more.jsonl"]
    corpus.write_settings()
    view = harness.view_after(corpus, home)
    account = view.scan("generation").filter(pl.col("stage") == "judgements").collect()
    new = by_question(view, "judgements")
    assert len([q for q, _ in new if q == "3 + 1?"]) == 9
    assert account["samples"].sum() <= 3 * 2 * 3, "the new samples, and the one that is a reference no more"


def test_a_judge_that_does_not_judge_stops_the_run_with_the_reason(tmp_path: Path, home: Path) -> None:
    no_judge = {"model": "nursery", "canaries": 8, "retries": 0, "chunk_rows": 4}
    corpus = corpus_of(tmp_path / "corpus", tmp_path, judge=no_judge)
    project, report = harness.run_here(corpus, home)
    assert len(report.failures) == 1
    assert "judge 'nursery' with template nursery@" in report.failures[0]
    assert "canaries have no verdict" in report.failures[0]
    assert "its scores are not to be used; what was judged before this chunk is kept" in report.failures[0]
    view = project.store.snapshot()
    assert len(view.of_stage("references")) == 2
    assert view.scan("judgements").collect().is_empty()


def test_a_budget_ends_judging_and_the_next_run_goes_on(
    judge_folder: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = harness.view_after(corpus_of(tmp_path / "corpus", judge_folder, judge={"chunk_rows": 4}), home)
    cost = whole.scan("generation").filter(pl.col("stage") == "judgements").select(
        pl.sum("prompt_tokens") + pl.sum("response_tokens")
    ).collect().item()  # fmt: skip
    other = tmp_path / "other"
    monkeypatch.setenv("PREPPO_HOME", str(other))
    limit = {"budget": {"max_tokens": round(cost * 0.6)}, "judge": {"chunk_rows": 4}}
    corpus = corpus_of(tmp_path / "corpus", judge_folder, **limit)
    with monkeypatch.context() as fooled:
        fooled.setattr(CanaryCounts, "problem", lambda *_: "it is fooled")
        fooled.setenv("PREPPO_HOME", str(tmp_path / "third"))
        few = corpus_of(tmp_path / "corpus", judge_folder, budget={"max_tokens": round(cost * 0.1)})
        project, report = harness.run_here(few, tmp_path / "third")
        assert report.spent and "; 0 judgements of this chunk are kept" in report.failures[0]
        assert project.store.stored("judgements").collect().is_empty()
    corpus = corpus_of(tmp_path / "corpus", judge_folder, **limit)
    project, report = harness.run_here(corpus, other)
    assert report.spent and "judgements of this chunk are kept" in report.failures[0]
    some = project.store.stored("judgements").collect()
    assert 0 < some.height < whole.scan("judgements").collect().height
    view = harness.view_after(corpus, other)
    once, twice = by_question(whole, "judgements"), by_question(view, "judgements")
    assert {k: r["status"] for k, r in twice.items()} == {k: r["status"] for k, r in once.items()}
    for key, row in once.items():  # other requests were computed beside it
        assert twice[key]["score"] == (None if row["score"] is None else pytest.approx(row["score"], abs=1e-5))
    told = project.store.stored("generation").collect()
    assert told.filter(pl.col("stage") == "judgements")["samples"].sum() < 1.3 * whole.scan("generation").filter(
        pl.col("stage") == "judgements"
    ).collect()["samples"].sum()  # fmt: skip
    build, *others = judgements.builds(project, view, view.of_stage("prompts")[0].batch)
    assert all(view.is_current(b) for b in (build, *others))
    assert all(done.carried for done in materialise(judgements.STAGE, build.batch, Run(project)))
    assert build.inputs["genrm_ground_truth"] == identity(project.settings.judge, "genrm_ground_truth")
