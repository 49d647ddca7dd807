"""`preppo plan` reckons before anything is spent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.project import Project
from tests.pipeline.harness import preppo
from tests.pipeline.test_generation import MAX_TOKENS, PROMPT_TOKENS, RESPONSE_TOKENS, SAMPLES, Place
from trainer.engines import EngineError
from warehouse.curation.estimate import Measured, Work, estimate
from warehouse.settings import BudgetSettings

if TYPE_CHECKING:
    from pathlib import Path


def plan(place: Place, *arguments: str) -> str:
    place.project()
    return preppo("plan", *arguments)


def numbers(place: Place) -> dict[str, Any]:
    return json.loads(plan(place, "--json"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path, monkeypatch)
    made.add("first", [f"What is the sum of {i} and {i * i}?" for i in range(7)])
    return made


def test_before_anything_was_run_it_looks_at_the_files(place: Place) -> None:
    place.budget.update(price_prompt=1.0, price_response=2.0, max_tokens=100)
    found = numbers(place)
    assert [(w["what"], w["prompts"], w["samples"]) for w in found["work"]] == [("source sums", 7, 21)]
    assert found["expected"] == found["at_most"]
    assert found["at_most"]["response_tokens"] == 21 * MAX_TOKENS
    assert found["at_most"]["hours"] is None
    assert found["at_most"]["stopped_by"] == "budget.max_tokens"
    assert found["at_most"]["stops_at"] == pytest.approx(100 / found["at_most"]["tokens"])
    shown = plan(place).replace("\n", " ")
    assert "no rate is known: give budget.tokens_per_second, or measure it" in shown
    assert "budget.max_tokens stops a run after" in shown
    assert not (place.folder / "home" / "tables" / "commits").exists(), "nothing was written"


def test_what_a_broken_run_left_is_measured_and_only_the_rest_is_planned(place: Place) -> None:
    place.engine.fails_after = 12
    with pytest.raises(EngineError):
        place.roll("one")
    place.budget.update(price_response=100.0, tokens_per_second=10.0)
    place.add("second", ["What is the sum of 900 and 1?"])
    before = place.project().store.ledger.version()
    found = numbers(place)
    batch = place.project().batches.all()[0].key
    assert [(w["what"], w["samples"]) for w in found["work"]] == [(f"batch {batch}", 9), ("source sums", SAMPLES)]
    assert found["measured"]["samples"] == 12
    assert found["measured"]["response_tokens"] == RESPONSE_TOKENS == found["measured"]["response_tokens_p95"]
    assert found["expected"]["prompt_tokens"] == 12 * PROMPT_TOKENS == found["at_most"]["prompt_tokens"]
    assert found["expected"]["response_tokens"] == 12 * RESPONSE_TOKENS
    assert found["at_most"]["response_tokens"] == 12 * MAX_TOKENS
    assert found["expected"]["hours"] == pytest.approx(12 * RESPONSE_TOKENS / 10 / 3600)
    assert found["at_most"]["cost"] == pytest.approx(12 * MAX_TOKENS * 100 / 1e6)
    assert 0 < found["expected"]["disk"] < found["at_most"]["disk"]
    assert place.project().store.ledger.version() == before
    assert len(place.project().batches.all()) == 1, "nothing was registered"


def test_a_home_that_is_up_to_date_needs_nothing(place: Place) -> None:
    place.add("stories", ["Tell the story of 1 and 2.", "A novel: what is 1 and 2?"])
    assert place.run().exit_code == 0
    assert "nothing to generate" in plan(place)
    found = numbers(place)
    assert found["work"] == []
    assert found["measured"]["tokens_per_second"] > 0
    assert [(t["domain"], t["truncated"], t["token_limit"]) for t in found["truncation"]] == [
        ("story", SAMPLES, MAX_TOKENS)
    ]


def test_imported_rollouts_alone_need_nothing(place: Place) -> None:
    place.policy = {"engine": "recorded"}
    assert "nothing is generated" in plan(place)


def test_a_plan_opens_no_engine(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assets.generation.engine_for", lambda *_: pytest.fail("a model was loaded"))
    monkeypatch.setattr("trainer.engines.load_engine", lambda *_: pytest.fail("a model was loaded"))
    assert isinstance(place.project(), Project)
    assert "To generate" in plan(place)


counts = st.integers(0, 1000)


@given(
    st.lists(st.builds(Work, st.just("x"), counts, counts, counts), max_size=5), st.floats(0, 500), st.floats(0, 500)
)
def test_longer_responses_never_take_less(work: list[Work], short: float, more: float) -> None:
    budget = BudgetSettings(price_prompt=1, price_response=3, max_tokens=5000, max_cost=0.01)
    known = Measured(10, 20.0, short, short, 100.0, 300.0)
    low, high = estimate(work, known, short, budget), estimate(work, known, short + more, budget)
    assert low.tokens <= high.tokens
    assert (low.hours, low.disk, low.cost) <= (high.hours, high.disk, high.cost)
    assert (high.stops_at or 1) <= (low.stops_at or 1) <= 1
    assert (low.stops_at is None) == (low.tokens <= 5000 and low.cost <= 0.01)
