"""The loop back: what a training run saw of its prompts changes the next release, and says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from tests.pipeline import harness
from warehouse.releases import list_releases
from warehouse.schemas import TRAINING_SIGNALS
from warehouse.training_signals import keep_signals, training_runs

if TYPE_CHECKING:
    from pathlib import Path

    from assets.project import Project
    from warehouse.store import Snapshot


@pytest.fixture
def corpus(home: Path) -> harness.Corpus:
    corpus = harness.Corpus(home.parent / "corpus")
    rows = [{"q": f"In town {n} there are {n} bakers and {n + 1} millers, how many is that?", "a": str(2 * n + 1)}
            for n in range(20)]  # fmt: skip
    harness.write_lines(corpus.folder / "new.jsonl", rows)
    rollouts = [
        {"q": r["q"], "r": f"\\boxed{{{r['a'] if s < n % 5 else 0}}}"} for n, r in enumerate(rows) for s in range(4)
    ]
    harness.write_lines(corpus.folder / "rollouts.jsonl", rollouts)
    corpus.settings = {
        "source": [{"name": "new", "path": "new.jsonl", "prompt": "q", "ground_truth": "a", "verifier": "math"}],
        "rollouts": [{"name": "sft", "path": "rollouts.jsonl", "prompt": "q", "response": "r"}],
        "policy": {"engine": "recorded"},
        "ingest": {"heldout_share": 0.0, "near_duplicate_threshold": 1.0},
        "engine": {"workers": 1},
        "selection": {"rule": "pre_ppo", "fraction": 0.5, "max_all_zero_share": 1.0, "drop_suspect_golds": False},
    }
    corpus.write_settings()
    return corpus


def run(corpus: harness.Corpus, home: Path) -> tuple[Project, Snapshot]:
    project, report = harness.run_here(corpus, home)
    assert report.failures == []
    return project, project.store.snapshot()


def reasons(view: Snapshot) -> dict[str, str]:
    return dict(view.scan("selection").select("prompt_id", "reason").collect().iter_rows())


def signals(name: str, release: str, rewards: dict[str, list[float]]) -> pl.DataFrame:
    rows = [(name, step, prompt, n, release, None, reward, "rtv", None, None, None)
            for prompt, values in rewards.items() for step in (1, 2) for n, reward in enumerate(values)]  # fmt: skip
    return pl.DataFrame(rows, schema=pl.Schema(TRAINING_SIGNALS.columns), orient="row")


def test_a_run_that_learnt_prompts_lets_others_in(corpus: harness.Corpus, tmp_path: Path) -> None:
    home = tmp_path / "home"
    project, first = run(corpus, home)
    [before] = list_releases(project.home.releases)
    chosen = sorted(before.train().select("prompt_id").collect()["prompt_id"].to_list())
    learnt, stuck, moving = chosen[0], chosen[1], chosen[2]
    told = {learnt: [1.0, 1.0], stuck: [0.0, 0.0], moving: [0.0, 1.0]}
    keep_signals(project.store, signals("run-a", before.release_id, told))
    _, second = run(corpus, home)
    assert (reasons(second)[learnt], reasons(second)[stuck]) == ("rested_learnt", "rested_stuck")
    assert reasons(second)[moving] == "pre_ppo"
    unmoved = {key for key in first.live if first.live[key] == second.live[key]}
    assert {"prompts", "rollouts", "verdicts", "rewards", "difficulty"} <= {stage for stage, *_ in unmoved}
    [_, after] = sorted(list_releases(project.home.releases), key=lambda r: r.release_id != before.release_id)
    found = CliRunner().invoke(main, ["diff", before.release_id, after.release_id, "--json"])
    assert found.exit_code == 0 and "rested_learnt" in found.output and "a training run has learnt it" in found.output
    story = CliRunner().invoke(main, ["explain", learnt])
    assert "rested_learnt" in story.output

    _, third = run(corpus, home)
    assert third.live == second.live, "the same signals change nothing more"
    keep_signals(project.store, signals("run-b", after.release_id, {moving: [0.0, 1.0]}))
    keep_signals(project.store, signals("run-c", "f" * 32, {moving: [0.0, 1.0]}))
    _, fourth = run(corpus, home)
    assert reasons(fourth)[learnt] == reasons(first)[learnt], "two releases later both are tried again"
    assert reasons(fourth)[stuck] == reasons(first)[stuck]


def test_the_same_rows_again_are_no_news_and_more_of_a_run_is_added(corpus: harness.Corpus, tmp_path: Path) -> None:
    project, _ = run(corpus, tmp_path / "home")
    some = signals("run-a", "0" * 32, {"p": [0.0, 1.0]})
    [one] = keep_signals(project.store, some)
    [two] = keep_signals(project.store, some.reverse())
    assert one == two
    [three] = keep_signals(project.store, signals("run-a", "0" * 32, {"q": [0.5]}))
    assert three.counts == {"rows": 6, "prompts": 2}
    [four] = keep_signals(project.store, signals("run-a", "0" * 32, {"p": [0.25]}))
    assert four.counts == three.counts, "a training that is repeated replaces its own rows"
    rows = project.store.snapshot().scan("training_signals").filter(pl.col("prompt_id") == "p").collect()
    assert sorted(rows["reward"].to_list()) == [0.25, 0.25, 1.0, 1.0]
    with pytest.raises(ValueError, match="training run 'run-b' names 2 releases"):
        keep_signals(project.store, pl.concat([signals("run-b", r * 32, {"p": [0.0]}) for r in "01"]))


def test_a_run_on_an_old_release_is_as_fresh_as_any(corpus: harness.Corpus, tmp_path: Path) -> None:
    project, _ = run(corpus, tmp_path / "home")
    for run_id, release in (("a", "0"), ("b", "1"), ("c", "0"), ("d", "2"), ("e", "2")):
        keep_signals(project.store, signals(run_id, release * 32, {"p": [1.0, 1.0]}))
    told = training_runs(project.store.snapshot()).sort("run")
    assert told["training_run_id"].to_list() == list("abcde") and told["release"].to_list() == [0, 1, 1, 2, 2]


def test_hysteresis_keeps_a_nightly_run_from_churning(corpus: harness.Corpus, tmp_path: Path) -> None:
    home = tmp_path / "home"
    corpus.settings["selection"] |= {"hysteresis": 0.3}
    corpus.write_settings()
    _, first = run(corpus, home)
    kept = {p for p, s in first.scan("selection").select("prompt_id", "selected").collect().iter_rows() if s}
    _, second = run(corpus, home)
    assert reasons(second) == reasons(first)
    harness.write_lines(
        corpus.folder / "more.jsonl",
        [{"q": f"On hill {n} stand {n} oaks and {n + 2} elms, how many trees?", "a": str(2 * n + 2)} for n in range(4)],
    )
    harness.write_lines(
        corpus.folder / "more-rollouts.jsonl",
        [{"q": f"On hill {n} stand {n} oaks and {n + 2} elms, how many trees?", "r": "\\boxed{0}"}
         for n in range(4) for _ in range(4)],
    )  # fmt: skip
    corpus.settings["source"][0]["path"] = ["new.jsonl", "more.jsonl"]
    corpus.settings["rollouts"][0]["path"] = ["rollouts.jsonl", "more-rollouts.jsonl"]
    corpus.write_settings()
    _, third = run(corpus, home)
    now = {p for p, s in third.scan("selection").select("prompt_id", "selected").collect().iter_rows() if s}
    assert kept <= now, "four harder prompts came; what was selected stays near the cut"
    assert {"hysteresis", "hysteresis_waits"} <= set(reasons(third).values())
    corpus.settings["selection"] |= {"hysteresis": 0.0}
    corpus.write_settings()
    _, plain = run(corpus, home)
    assert not kept <= {
        p for p, s in plain.scan("selection").select("prompt_id", "selected").collect().iter_rows() if s
    }
