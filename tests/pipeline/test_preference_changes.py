"""What settings no longer say is no longer in the training set, and what is not to be trained on never was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from assets import pair_rewards
from tests.pipeline import harness
from tests.pipeline.test_preferences import TRAINING, corpus_of, short_is_better
from trainer.reward_models import entry
from trainer.reward_models.about import ABOUT
from trainer.reward_models.model import load_reward_model
from trainer.reward_models.report import hold_out
from warehouse.ingest import preference_files
from warehouse.queries import query

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.store import Snapshot

pytestmark = pytest.mark.usefixtures("one_thread")
GOOD = {"q": "Why?", "a": "So.", "b": "No."}


def texts(view: Snapshot) -> list[tuple[str, str]]:
    rows = query(view, "SELECT chosen, rejected FROM cleaned_preferences WHERE origin <> 'own_rollouts'")
    return sorted(rows.rows())


def test_a_file_that_changed_goes_is_read_otherwise_or_is_named_no_more(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "corpus"
    harness.write_lines(folder / "pairs.jsonl", [GOOD])
    corpus = corpus_of(folder)
    assert texts(harness.view_after(corpus, home)) == [("So.", "No.")]
    harness.write_lines(folder / "pairs.jsonl", [GOOD | {"a": "Because."}, "{broken"])
    view = harness.view_after(corpus, home)
    assert texts(view) == [("Because.", "No.")], "the row as it was before is gone"
    assert view.scan("rejected_preferences").collect().height == 1
    corpus.settings["preferences"][0] |= {"chosen": "b", "rejected": "a"}
    corpus.write_settings()
    inverted = harness.view_after(corpus, home)
    assert texts(inverted) == [("No.", "Because.")], "a mapping that was the wrong way round leaves nothing"
    corpus.settings["preferences"] = []
    corpus.write_settings()
    view = harness.view_after(corpus, home)
    assert texts(view) == []
    assert view.scan("rejected_preferences").collect().is_empty()


def test_another_file_costs_that_file_alone(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "corpus"
    harness.write_lines(folder / "pairs.jsonl", [GOOD])
    corpus = corpus_of(folder)
    harness.view_after(corpus, home)
    read: list[str] = []
    real = preference_files.read_rows
    monkeypatch.setattr(preference_files, "read_rows", lambda p, **k: (read.append(p.name), real(p, **k))[1])
    harness.write_lines(folder / "more.jsonl", [GOOD, GOOD | {"q": "How?"}])
    corpus.settings["preferences"].append(corpus.settings["preferences"][0] | {"name": "more", "path": "more.jsonl"})
    corpus.write_settings()
    view = harness.view_after(corpus, home)
    assert read == ["more.jsonl"]
    pairs = view.scan("preferences").sort("origin").collect()
    assert pairs["pair_id"].n_unique() == pairs.height == 2, "a pair of two files is there once, by the first of them"
    assert sorted(pairs["origin"]) == ["more", "short"]
    [commit] = view.of_stage("preferences")
    assert (commit.counts["rows_read"], commit.counts["pairs"], commit.counts["duplicate"]) == (3, 2, 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a reward model that likes short answers."""
    folder = tmp_path_factory.mktemp("model")
    rows = [r for r in short_is_better() if not r["wrong"]]
    pairs = [entry_pair(n, r) for n, r in enumerate(rows)]
    from warehouse.settings import RewardTrainingSettings

    entry.train_members(pairs, RewardTrainingSettings.model_validate(TRAINING), folder / "rm")
    return folder / "rm"


def entry_pair(number: int, row: dict[str, Any]) -> Any:
    from trainer.reward_models.pairs import Pair

    return Pair(str(number), (("user", row["q"]),), row["a"].strip(), row["b"].strip())


def test_rollouts_of_prompts_that_are_not_trained_on_are_no_pairs(tmp_path: Path, home: Path, model: Path) -> None:
    corpus = corpus_of(tmp_path / "corpus", [str(model)])
    corpus.settings["ingest"] |= {"heldout_share": 0.5, "evaluation_sets": [{"name": "exam", "source": "exam"}]}
    long = "When the market opens there are exactly {n} apples on the table beside the old well, plus one more. Sum?"
    harness.write_lines(tmp_path / "corpus" / "exam.jsonl", [{"q": long.format(n=3), "a": "4"}])
    sums = [{"q": f"What is {n} + 1?", "a": str(n + 1)} for n in range(12)]
    sums.append({"q": f"Please note. {long.format(n=3)}", "a": "4"})  # holds an item of the exam
    harness.write_lines(tmp_path / "corpus" / "sums.jsonl", sums)
    asked = [*sums, {"q": long.format(n=3), "a": "4"}]
    rows = [{"q": r["q"], "r": f"\\boxed{{{int(r['a']) + s}}}"} for r in asked for s in range(2)]
    harness.write_lines(tmp_path / "corpus" / "rollouts.jsonl", rows)
    exam = corpus.settings["source"][0] | {"name": "exam", "path": "exam.jsonl", "pool": "eval"}
    corpus.settings["source"].append(exam)
    corpus.write_settings()
    view = harness.view_after(corpus, home)
    scored = query(view, "SELECT prompt_id, pool, split FROM rewards JOIN prompts USING (prompt_id) WHERE reward = 1")
    contaminated = set(view.scan("contamination").collect()["prompt_id"])
    assert contaminated
    assert {"eval", "new"} <= set(scored["pool"]) and {"heldout", "train"} <= set(scored["split"])
    own = query(view, "SELECT prompt_id, pool, split FROM preferences JOIN prompts USING (prompt_id)")
    assert set(own["pool"]) == {"new"} and set(own["split"]) == {"train"}
    assert not set(own["prompt_id"]) & contaminated
    free = scored.filter((pl.col("pool") == "new") & (pl.col("split") == "train"))
    assert set(own["prompt_id"]) == set(free["prompt_id"]) - contaminated


def test_own_rollouts_and_votes_go_where_nobody_wants_them(tmp_path: Path, home: Path, model: Path) -> None:
    corpus = corpus_of(tmp_path / "corpus", [str(model)])
    first = harness.view_after(corpus, home)
    assert {"own_rollouts", "short"} == set(query(first, "FROM cleaned_preferences")["origin"])
    assert "flip" in set(query(first, "FROM cleaned_preferences")["treatment"])
    corpus = corpus_of(tmp_path / "corpus", [str(model)], strength={"own_rollouts": False})
    assert set(query(harness.view_after(corpus, home), "FROM cleaned_preferences")["origin"]) == {"short"}
    last = harness.view_after(corpus_of(tmp_path / "corpus", []), home)
    cleaned = query(last, "FROM cleaned_preferences")
    assert set(cleaned["treatment"]) == {"keep"}, "nobody votes any more"
    assert cleaned["votes"].null_count() == cleaned.height


def test_a_label_of_a_file_that_own_rollouts_bear_out_is_treated_no_more(
    tmp_path: Path, home: Path, model: Path
) -> None:
    folder = tmp_path / "corpus"
    same = [{"q": f"What is {n} + 1?", "a": f"\\boxed{{{n + 1}}}", "b": f"\\boxed{{{n}}}"} for n in range(6)]
    harness.write_lines(folder / "pairs.jsonl", same)
    corpus = corpus_of(folder, [str(model)], strength={"weakest": 1.0})
    rollouts = (folder / "rollouts.jsonl").read_text()
    harness.write_lines(folder / "rollouts.jsonl", [{"q": r["q"], "r": r["a"]} for r in same])
    first = query(harness.view_after(corpus, home), "FROM cleaned_preferences")
    assert set(first["origin"]) == {"short"} and set(first["treatment"]) != {"keep"}
    (folder / "rollouts.jsonl").write_text(rollouts)
    second = query(harness.view_after(corpus, home), "FROM preferences JOIN preference_strength USING (pair_id)")
    assert second.filter(pl.col("origin") == "own_rollouts").height == 6
    assert second["pair_id"].n_unique() == 6 and set(second["treatment"]) == {"keep"}


def test_a_run_that_broke_off_scores_what_is_left_and_a_text_once(
    tmp_path: Path, home: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"q": f"Tell me about rain, {n // 3}.", "a": "It is wet.", "b": f"It is {'so ' * (n % 3 + 1)}wet, and on."}
            for n in range(60)]  # fmt: skip
    harness.write_lines(tmp_path / "corpus" / "pairs.jsonl", rows)
    corpus = corpus_of(tmp_path / "corpus", [str(model)], strength={"own_rollouts": False})
    asked: list[int] = []
    real = pair_rewards._Scoring._scored

    def counted(self: Any, some: pl.DataFrame) -> pl.DataFrame:
        if len(asked) == 1 and not killed:
            killed.append(1)
            raise OSError("the disk is full")
        asked.append(some["task_id"].n_unique())
        return real(self, some)

    killed: list[int] = []
    monkeypatch.setattr(pair_rewards._Scoring, "_scored", counted)
    assert "the disk is full" in str(harness.run_here(corpus, home)[1].failures)
    view = harness.view_after(corpus, home)
    scored = view.scan("pair_rewards").collect()
    assert scored.select("pair_id", "side").n_unique() == scored.height == 120
    assert sum(asked) == scored["task_id"].n_unique() == 80, "20 prompts, one chosen and three rejected texts each"
    assert scored.group_by("task_id").agg(pl.col("mean").n_unique())["mean"].max() == 1


def test_a_killed_ensemble_goes_on_with_the_member_that_it_was_at(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TRAINING | {"members": 3, "epochs": 2}
    harness.view_after(corpus_of(tmp_path / "corpus", reward_training=settings), home)
    out = tmp_path / "rms"
    real = entry.train
    seeds: list[int] = []

    def counted(*arguments: Any, **named: Any) -> Any:
        seeds.append(arguments[3].seed)
        if seeds == [0, 1]:
            raise KeyboardInterrupt
        return real(*arguments, **named)

    monkeypatch.setattr(entry, "train", counted)
    harness.preppo("reward", "train", "--out", str(out), code=130)
    corpus_of(tmp_path / "corpus", reward_training=settings | {"epochs": 3})
    told = harness.preppo("reward", "train", "--out", str(out), code=2)
    assert "member-0 holds a reward model of other pairs or settings" in told
    corpus_of(tmp_path / "corpus", reward_training=settings)
    told = harness.preppo("reward", "train", "--out", str(out))
    assert seeds == [0, 1, 1, 2], "the first member was whole"
    assert all(f'{out}/member-{m}"' in told.replace("\n", "") for m in range(3))
    assert "holds a reward model already" in harness.preppo("reward", "train", "--out", str(out), code=2)


def test_held_out_pairs_keep_the_labels_that_they_came_with(tmp_path: Path, home: Path, model: Path) -> None:
    corpus = corpus_of(
        tmp_path / "corpus",
        [str(model)],
        strength={"own_rollouts": False},
        reward_training=TRAINING | {"heldout_share": 0.5, "max_length": 44},
    )
    view = harness.view_after(corpus, home)
    flipped = query(view, "SELECT count(*) AS n FROM preference_strength WHERE treatment = 'flip'")["n"].item()
    assert flipped
    told = harness.preppo("reward", "train", "--out", str(tmp_path / "rm"))
    assert "have the labels that they came with" in told and "too_long" in told
    report = json.loads((tmp_path / "rm" / ABOUT).read_text())["report"]
    _, held = hold_out([entry_pair(n, r) for n, r in enumerate(short_is_better())], 0.5)
    known = load_reward_model(str(tmp_path / "rm"), device="cpu", dtype="float32")
    scored = [s.nominal for s in known.score((p.messages, t) for p in held for t in (p.chosen, p.rejected))]
    both = [(c, r) for c, r in zip(scored[::2], scored[1::2], strict=True) if c is not None and r is not None]
    assert report["pairs"] == len(both) < len(held)
    assert report["accuracy"]["mean"] == pytest.approx(sum(c > r for c, r in both) / len(both))


def test_another_batch_costs_its_own_pairs_and_no_recipe_treats_what_a_verifier_said(
    tmp_path: Path, home: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "corpus"
    corpus = corpus_of(folder, [str(model)], reward_training=TRAINING | {"recipe": "flip", "epochs": 1})
    corpus.settings["source"][0]["path"], corpus.settings["rollouts"][0]["path"] = "sums*.jsonl", "rollouts*.jsonl"
    corpus.write_settings()
    first = harness.view_after(corpus, home)
    asked: list[int] = []
    real = pair_rewards._Scoring._scored
    monkeypatch.setattr(
        pair_rewards._Scoring, "_scored", lambda self, some: (asked.append(some.height), real(self, some))[1]
    )
    more = range(20, 24)
    harness.write_lines(folder / "sums2.jsonl", [{"q": f"What is {n} + 1?", "a": str(n + 1)} for n in more])
    rows = [{"q": f"What is {n} + 1?", "r": f"\\boxed{{{n + s}}}"} for n in more for s in range(2)]
    harness.write_lines(folder / "rollouts2.jsonl", rows)
    second = harness.view_after(corpus, home)
    assert sum(asked) == 2 * len(more), "both responses of the new pairs, and nothing else"
    before, after = (v.scan("pair_rewards").sort("pair_id", "side", "head").collect() for v in (first, second))
    assert after.join(before, on=["pair_id", "side", "head"], how="semi", maintain_order="left").equals(before)

    given: list[Any] = []
    learn = entry.train
    monkeypatch.setattr(entry, "train", lambda pairs, *a, **k: (given.extend(pairs), learn(pairs, *a, **k))[1])
    harness.preppo("reward", "train", "--out", str(tmp_path / "rm"))
    own = set(query(second, "SELECT pair_id FROM preferences WHERE origin = 'own_rollouts'")["pair_id"])
    assert {p.pair_id for p in given if p.trusted} == own & {p.pair_id for p in given} != set()
