"""Open questions, scored by a reward model that is real, if small: from its training to the release.

The model is trained here, on a few pairs, on the trunk of the nursery. The nursery samples; some of its samples are for
best-of-N, and what is scored is scored by the probability that it beats the best of those.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import polars as pl
import pytest

from assets import model_rewards
from tests.pipeline import harness
from trainer.reward_models.model import load_reward_model, save_reward_model
from trainer.reward_models.pairs import Pair
from trainer.reward_models.recipes import RECIPES
from trainer.reward_models.settings import TrainSettings
from trainer.reward_models.training import train

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.store import Snapshot

pytestmark = pytest.mark.usefixtures("one_thread")  # the trunks are too small for more

FROZEN = TrainSettings(tune="frozen", head_rate=2e-2, batch=16, epochs=4, max_length=200, device="cpu", dtype="float32")
SUBJECTS = ("the sun", "a cat", "rain", "a book", "the sea", "a tree")


def trained(folder: Path, recipe: str, seed: int) -> Path:
    """Train a reward model to like short answers."""
    pairs = [
        Pair(f"{s}{n}", (("user", f"Tell me about {s}."),), f"It is {n}.", f"It is {n}, " + "and so on, " * (n + 1))
        for s in SUBJECTS
        for n in range(6)
    ]
    done = train(pairs, "nursery", RECIPES[recipe], TrainSettings(**{**FROZEN.__dict__, "seed": seed}))
    save_reward_model(done, RECIPES[recipe], folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    base = tmp_path_factory.mktemp("models")
    return [trained(base / "bt", "bt", 1), trained(base / "brme", "brme", 2)]


def corpus_of(folder: Path, models: list[Path], **reward_model: object) -> harness.Corpus:
    corpus = harness.Corpus(folder)
    rows = [{"q": f"Tell me about {s} in one sentence.", "a": None, "v": None} for s in SUBJECTS]
    rows.append({"q": "What is 2 + 3?", "a": "5", "v": "math"})
    harness.write_lines(folder / "open.jsonl", rows)
    corpus.settings = {
        "source": [
            {
                "name": "open",
                "path": "open.jsonl",
                "prompt": "q",
                "ground_truth": "a",
                "verifier": {"column": "v"},
                "domain": "general",
            }
        ],
        "policy": {"model": "nursery", "samples": 4, "reference_samples": 3, "max_tokens": 24, "device": "cpu"},
        "ingest": {"heldout_share": 0.0, "near_duplicate_threshold": 1.0},
        "engine": {"workers": 1},
        "reward_model": {"models": [str(m) for m in models], "device": "cpu", "dtype": "float32", **reward_model},
    }
    corpus.write_settings()
    return corpus


def open_ids(view: Snapshot) -> set[str]:
    return set(view.scan("prompts").filter(pl.col("verifier").is_null()).collect()["prompt_id"])


def test_scores_are_probabilities_to_beat_the_best_of_n(models: list[Path], tmp_path: Path, home: Path) -> None:
    view = harness.view_after(corpus_of(tmp_path / "corpus", models), home)
    opened = open_ids(view)
    questions = {i: tuple((t["role"], t["content"]) for t in m) for i, m in
                 view.scan("prompts").select("prompt_id", "messages").collect().iter_rows()}  # fmt: skip
    rollouts = view.scan("rollouts").collect().to_dicts()
    texts = {(r["prompt_id"], r["role"], r["sample"]): r["response"] for r in rollouts if r["finish_reason"] == "stop"}

    def nominal(key: tuple[str, str, int]) -> list[float]:
        """Ask the models themselves, one text at a time."""
        found = []
        for folder in models:
            (scored,) = load_reward_model(str(folder), device="cpu", dtype="float32").score(
                [(questions[key[0]], texts[key])]
            )
            assert scored.mean is not None
            surest = 0 if scored.std is None else scored.std.index(min(scored.std))
            found.append(scored.mean[surest] if scored.std else sum(scored.mean) / len(scored.mean))
        return found

    references = {r["prompt_id"]: r for r in view.scan("references").collect().to_dicts()}
    assert {r["kind"] for i, r in references.items() if i in opened} == {"best_of_n"}
    scales = [json.loads((m / "reward_model.json").read_text())["calibration"]["scale"] for m in models]
    for prompt in list(opened)[:2]:
        candidates = {n: nominal((prompt, "reference", n)) for n in range(3) if (prompt, "reference", n) in texts}
        worth = {n: sum(v / s for v, s in zip(values, scales, strict=True)) for n, values in candidates.items()}
        assert references[prompt]["sample"] == max(worth, key=lambda n: worth[n])
        for row in view.scan("rewards").filter(pl.col("prompt_id") == prompt).collect().to_dicts():
            assert row["source"] == "reward_model"
            if (prompt, "scored", row["sample"]) not in texts:
                assert (row["reward"], row["status"]) == (None, "truncated")
                continue
            own, best = nominal((prompt, "scored", row["sample"])), candidates[references[prompt]["sample"]]
            wins = [1 / (1 + math.exp(b - a)) for a, b in zip(own, best, strict=True)]
            assert row["reward"] == pytest.approx(sum(wins) / len(wins), abs=1e-4)
            assert row["status"] == "scored"
            assert row["reward_id"].endswith(":best_of_n")
    verified = view.scan("rewards").filter(~pl.col("prompt_id").is_in(list(opened))).collect()
    assert set(verified["source"]) == {"rtv"}, "a rule verifier beats a reward model"
    scored = view.scan("model_rewards").collect()
    assert set(scored["prompt_id"]) == opened, "nobody asked about what a rule verifier checks"
    per_model = scored.group_by("reward_model").agg(pl.col("head").n_unique(), pl.col("std").count() > 0).rows()
    assert sorted((heads, certain) for _, heads, certain in per_model) == [(1, False), (5, True)]
    difficulty = view.scan("difficulty").collect()
    assert difficulty.filter(pl.col("prompt_id").is_in(list(opened)))["reward_model_uncertainty"].min() > 0  # type: ignore[operator]  # a float
    assert difficulty["source_disagreement"].null_count() == difficulty.height, "no prompt has two sources here"
    chosen = view.scan("selection").filter(pl.col("prompt_id").is_in(list(opened))).collect()
    assert set(chosen["group"].drop_nulls()) == {"general/reward_model"}


def test_another_model_makes_its_stages_stale_and_nothing_before_them(
    models: list[Path], tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = harness.view_after(corpus_of(tmp_path / "corpus", models[:1]), home)
    asked: list[int] = []
    real = model_rewards._scored
    monkeypatch.setattr(model_rewards, "_scored", lambda m, o, t: (asked.append(t.height), real(m, o, t))[1])
    again = harness.view_after(corpus_of(tmp_path / "corpus", models), home)
    moved = {k[0] for k, c in again.live.items() if k not in first.live or first.live[k].build_id != c.build_id}
    assert {"model_rewards", "references", "rewards", "difficulty"} <= moved
    assert not moved & {"prompts", "rollouts", "verdicts", "gold_checks", "contamination"}
    one = first.scan("model_rewards").select(pl.struct("prompt_id", "role", "sample").n_unique()).collect().item()
    assert sum(asked) == one, "the member that was there before was not asked again"

    without = corpus_of(tmp_path / "corpus", [])
    last = harness.view_after(without, home)
    rewards = last.scan("rewards").filter(pl.col("prompt_id").is_in(list(open_ids(last)))).collect()
    assert set(rewards["status"]) == {"no_source"}
    assert rewards["reward"].null_count() == rewards.height


def test_with_all_prompts_in_scope_the_sources_are_compared(models: list[Path], tmp_path: Path, home: Path) -> None:
    corpus = corpus_of(tmp_path / "corpus", models[:1], scope="all")
    sums = [{"q": f"What is {n} + {n}?", "a": str(2 * n), "v": "math"} for n in range(2, 10)]
    harness.write_lines(tmp_path / "corpus" / "open.jsonl", sums)
    view = harness.view_after(corpus, home)
    measured = view.scan("difficulty").select("variance", "source_disagreement", "scored").collect()
    varied = measured.filter(pl.col("variance") > 0)
    assert varied.height, "the nursery passes some of its sums sometimes"
    assert varied["source_disagreement"].is_between(0, 1).all()
    assert varied["source_disagreement"].null_count() == 0
    assert measured.filter(pl.col("variance") == 0)["source_disagreement"].is_null().all()
    assert set(view.scan("rewards").collect()["source"]) == {"rtv"}


def test_what_a_model_cannot_read_has_no_score_and_says_why(models: list[Path], tmp_path: Path, home: Path) -> None:
    view = harness.view_after(corpus_of(tmp_path / "corpus", models[:1], max_length=30), home)
    failed = view.scan("model_rewards").filter(pl.col("mean").is_null()).collect()
    assert failed.height
    assert failed["detail"].str.starts_with("too_long: ").all()
    keys = failed.filter(pl.col("role") == "scored").select("prompt_id", "sample")
    rows = view.scan("rewards").collect().join(keys, on=["prompt_id", "sample"], how="semi")
    assert rows.height == keys.height
    assert rows["reward"].null_count() == rows.height
    assert set(rows["status"]) == {"model_error"}


def test_a_model_that_is_not_there_is_one_clear_message(tmp_path: Path, home: Path) -> None:
    corpus_of(tmp_path / "corpus", [tmp_path / "nowhere"])
    said = harness.preppo("run", code=2)
    assert said.startswith("preppo: reward_model.models = ")
    assert "no such folder" in said
    assert "Traceback" not in said
