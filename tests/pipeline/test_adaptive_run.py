"""Samples are spent where selection is open: the rounds of a run, what a run with all samples selects, and resuming."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
import pytest
from click.testing import CliRunner

from assets import rollouts
from assets.generation import BudgetSpentError
from assets.project import open_project
from assets.requests import KEY
from assets.stages import Run, materialise
from pipeline.cli import main
from tests.pipeline import harness
from tests.pipeline.test_generation import PROMPT_TOKENS, RESPONSE_TOKENS, Place, Scripted
from tests.pipeline.test_plan import numbers
from trainer.engines import Completion, EngineError
from verifiers import VerifierPool
from warehouse.settings import SettingsError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from trainer.engines import Request

SAMPLES, PROMPTS, EVALS = 20, 40, 3


@dataclass
class Skilled(Scripted):
    """Gives the answer 3 as often as the question's number says, by the seed of the request alone."""

    window: int = 7

    def answer(self, r: Request) -> Completion:
        found = re.search(r"sum (\d+)", r.messages[-1][1])
        skill = (int(found[1]) % PROMPTS / PROMPTS) ** 2 if found else 0.5
        text = f"\\boxed{{{3 if r.seed % 1000 < 1000 * skill else 4}}}"
        return Completion.of_text(
            r,
            "scripted",
            text,
            "stop",
            prompt_tokens=PROMPT_TOKENS,
            response_tokens=RESPONSE_TOKENS,
            logprob_sum=-1.0,
        )


class Held(Place):
    """A place with an evaluation source beside the new prompts."""

    def project(self) -> Any:
        project = super().project()
        text = (self.folder / "preppo.toml").read_text(encoding="utf-8")
        exam = '\n[[source]]\nname = "exam"\npath = "exam/*"\nprompt = "q"\nground_truth = "a"\nverifier = "math"\n'
        (self.folder / "preppo.toml").write_text(text + exam + 'pool = "eval"\ndomain = "sum"\n', encoding="utf-8")
        return open_project(self.folder / "preppo.toml", project.home.root)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Held:
    made = Held(tmp_path, monkeypatch)
    made.engine = Skilled()
    made.policy |= {"samples": SAMPLES, "chunk_prompts": 1}
    made.selection = {"rule": "pre_ppo", "fraction": 0.25, "drop_suspect_golds": False, "max_all_zero_share": 1.0}
    made.adaptive = {"arm": "main", "budget_share": 0.3}
    made.add("first", [f"What is the sum {i} of this list?" for i in range(PROMPTS)])
    exam = [{"q": f"From the exam, question {i}: how much?", "a": "3"} for i in range(EVALS)]
    harness.write_lines(made.folder / "exam" / "exam.jsonl", list(exam))
    return made


def chosen(place: Held) -> set[str]:
    view = place.project().store.snapshot()
    rows = view.scan("selection").filter(pl.col("selected"), pl.col("arm") == "main").collect()
    return set(rows["prompt_id"])


def drawn(place: Held) -> pl.DataFrame:
    rows = place.project().store.snapshot().scan("rollouts").collect()
    return rows.select([*KEY, "response", "seed"]).sort(KEY)


def test_a_part_of_the_samples_selects_what_all_of_them_select(place: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[int] = []
    verify = VerifierPool.verify
    monkeypatch.setattr(VerifierPool, "verify", lambda pool, tasks: verified.append(len(tasks)) or verify(pool, tasks))
    assert place.run().exit_code == 0
    rows, some = drawn(place), chosen(place)
    view = place.project().store.snapshot()
    assert sum(verified) == rows.height, "the stage `verdicts` takes over what sampling has verified"
    pools = view.scan("prompts").select("prompt_id", "pool").collect()
    counts = (
        rows.group_by("prompt_id")
        .agg(pl.len().alias("n"), pl.col("sample").max().alias("last"))
        .join(pools, on="prompt_id")
    )
    assert (counts["last"] == counts["n"] - 1).all(), "samples are numbered from 0 without gaps"
    assert counts.filter(pl.col("pool") == "eval")["n"].to_list() == [SAMPLES] * EVALS
    competing = counts.filter(pl.col("pool") == "new")
    assert competing["n"].sum() <= 0.3 * SAMPLES * PROMPTS
    assert competing["n"].min() == 3
    assert competing["n"].max() > 3

    (commit,) = view.of_stage("rollouts")
    saved = SAMPLES * PROMPTS - competing["n"].sum()
    assert (commit.counts["prompts_competing"], commit.counts["samples_saved"]) == (PROMPTS, saved)

    decided = view.decisions().filter(pl.col("rule") == "adaptive").collect()
    assert set(decided["prompt_id"]) == set(competing["prompt_id"])
    assert set(decided["arm"]) == {"main"}
    told = decided["detail"].str.extract(r"(\d+) of 20").cast(pl.Int64)
    assert dict(zip(decided["prompt_id"], told, strict=True)) == dict(competing.select("prompt_id", "n").iter_rows())
    few = competing.filter(pl.col("n") < SAMPLES)["prompt_id"]
    reasons = view.decisions().filter(
        (pl.col("stage") == "selection") & (pl.col("arm") == "main") & pl.col("prompt_id").is_in(few.to_list())
    )
    assert reasons.select(pl.col("detail").str.contains("as expected of 20 samples by the").all()).collect().item()

    place.adaptive = {}
    assert place.run().exit_code == 0
    whole = chosen(place)
    assert drawn(place).height == SAMPLES * (PROMPTS + EVALS)
    assert drawn(place).join(rows, on=[*KEY, "response", "seed"], how="semi").height == rows.height, "taken over"
    assert len(whole) == len(some) == 10
    assert len(whole & some) >= 9


@pytest.mark.parametrize("fails_after", [0, 50, 150, 200])
def test_a_broken_run_goes_on_as_if_nothing_had_happened(place: Held, fails_after: int) -> None:
    place.engine.fails_after = fails_after
    with pytest.raises(EngineError, match="silent"):
        place.roll("one")
    kept = place.rows("rollouts").height
    assert kept == fails_after
    place.engine.fails_after, place.engine.window = None, 4
    place.roll("two")
    resumed = drawn(place)
    assert len(place.engine.asked) == resumed.height - kept
    place.folder.joinpath("home").rename(place.folder / "before")
    place.engine.window, place.policy["chunk_prompts"] = 9, 3  # in another home, answered in another order
    place.roll("three")
    assert drawn(place).equals(resumed)


def test_samples_beyond_those_asked_for_are_left_alone(place: Held) -> None:
    place.roll()
    some, arm = drawn(place), place.adaptive
    place.adaptive = {}
    place.roll()
    place.adaptive = arm
    place.roll()
    assert place.engine.asked == []
    assert drawn(place).equals(some), "what was drawn must not depend on settings of the past"


def test_a_budget_stops_it_cleanly_and_a_plan_is_never_exceeded(place: Held) -> None:
    place.prepare()
    planned = numbers(place)["work"]
    assert sum(w["samples"] for w in planned) == round(0.3 * SAMPLES * PROMPTS) + SAMPLES * EVALS
    place.budget["max_tokens"] = 150 * (PROMPT_TOKENS + RESPONSE_TOKENS)
    with pytest.raises(BudgetSpentError, match="samples of this run are kept"):
        place.roll("one")
    kept = place.rows("rollouts").height
    assert 0 < kept < 150
    left = sum(w["samples"] for w in numbers(place)["work"])
    assert left == sum(w["samples"] for w in planned) - kept
    place.budget.clear()
    place.roll("two")
    assert len(place.engine.asked) <= left
    assert numbers(place)["work"] == []


@pytest.mark.parametrize(
    ("adaptive", "selection", "told"),
    [
        ({"arm": "best"}, {}, r"no arm is named 'best'; allowed: \['main'\]"),
        ({"arm": "main"}, {"rule": "random"}, "rule 'random'; allowed: pre_ppo, variance, learnability, band"),
        ({"arm": "main", "budget_share": 1.5}, {}, "adaptive.budget_share"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(
    place: Held, adaptive: dict[str, Any], selection: dict[str, Any], told: str
) -> None:
    place.adaptive, place.selection = adaptive, selection
    with pytest.raises(SettingsError, match=told):
        place.project()


def test_a_changed_verifier_asks_for_nothing_twice(place: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    place.roll()
    some = drawn(place)
    monkeypatch.setattr("assets.adaptive.code_version", lambda _: "another")
    project, batch = place.prepare()
    place.engine.asked.clear()
    (outcome,) = materialise(rollouts.STAGE, batch, Run(project, "two"))
    assert not outcome.carried
    assert place.engine.asked == []
    assert drawn(place).equals(some)


def test_a_plan_reckons_with_other_rounds_than_before(place: Held) -> None:
    place.roll()
    place.selection = place.selection | {"fraction": 0.5}
    place.prepare()
    planned = sum(w["samples"] for w in numbers(place)["work"])
    place.roll("two")
    assert 0 < len(place.engine.asked) <= planned
    place.policy["pools"] = ["original"]
    place.prepare()
    assert numbers(place)["work"] == [], "samples are there, and none is wanted"


def test_explain_tells_when_sampling_stopped(place: Held) -> None:
    assert place.run().exit_code == 0
    one = next(iter(chosen(place)))
    shown = CliRunner().invoke(main, ["explain", one], catch_exceptions=False).output
    assert "adaptive" in shown
    assert re.search(r"(stopped after|drawn in full,) \d+ of 20", shown.replace("\n", " "))
