"""`preppo status` tells what generating has taken, whatever became of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from assets import verdicts
from assets.metadata import _generated
from assets.stages import Run, materialise
from tests.pipeline.harness import preppo
from tests.pipeline.test_generation import MAX_TOKENS, PROMPT_TOKENS, RESPONSE_TOKENS, SAMPLES, Place
from trainer.engines import EngineError

if TYPE_CHECKING:
    from pathlib import Path


def status(*arguments: str) -> str:
    return preppo("status", *arguments)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path, monkeypatch)
    made.add("first", [f"What is the sum of {i} and {i * i}?" for i in range(7)])
    made.add("second", ["Tell the story of 1 and 2.", "A novel: what is 1 and 2?"])
    made.budget.update(price_prompt=1.0, price_response=2.0)
    return made


def test_what_was_replaced_or_never_finished_is_in_the_sums(place: Place) -> None:
    commit = place.roll("one")
    place.policy["seed"] = 5
    place.roll("two")
    place.policy["samples"] = SAMPLES + 1
    place.engine.fails_after = 4
    with pytest.raises(EngineError):
        place.roll("three")
    told = json.loads(status("--json"))
    rows = {(g["policy_id"] == "all", g["state"]): g for g in told["generation"]}
    answered = 8 * SAMPLES  # the novel was sent nowhere
    response = 7 * SAMPLES * RESPONSE_TOKENS + SAMPLES * MAX_TOKENS
    for state in ("live", "replaced"):
        row = rows[False, state]
        assert (row["samples"], row["prompt_tokens"], row["response_tokens"]) == (
            9 * SAMPLES,
            answered * PROMPT_TOKENS,
            response,
        )
    assert rows[False, "unfinished"]["samples"] == 4
    total = rows[True, ""]
    assert total["samples"] == 18 * SAMPLES + 4
    assert total["tokens_per_second"] == pytest.approx(total["response_tokens"] / total["seconds"])
    assert total["cost"] == pytest.approx((total["prompt_tokens"] + 2 * total["response_tokens"]) / 1e6)
    shown = status()
    for words in ("Generated so far", "unfinished", "replaced", "Cut by the token limit", "cost"):
        assert words in shown
    # The same in Dagster, for one build.
    shown_there = _generated(commit.counts, place.project())
    assert shown_there["cost"] == pytest.approx((answered * PROMPT_TOKENS + 2 * response) / 1e6)
    assert shown_there["tokens_per_second"] > 0


def test_before_anything_was_generated_there_is_nothing_to_sum(place: Place) -> None:
    project, batch = place.prepare()
    materialise(verdicts.STAGE, batch, Run(project))
    assert json.loads(status("--json"))["generation"] == []
    assert "Generated so far" not in status()
