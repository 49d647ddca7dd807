from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.curation.model_rewards import by_member, calibrations, disagreement, scores, standardised, uncertainty
from warehouse.schemas import MODEL_REWARDS, REFERENCES, REWARDS

NUMBER = st.floats(-20, 20).map(lambda x: round(x, 6))


def table(rows: list[tuple[str, str, int, str, int, float | None, float | None]]) -> pl.LazyFrame:
    full = [(*r, None, "task") for r in rows]
    return pl.LazyFrame(full, schema=MODEL_REWARDS.columns, orient="row")


def best_of_n(*rows: tuple[str, int]) -> pl.LazyFrame:
    full = [(p, "best_of_n", n, "text", 0.0, None) for p, n in rows]
    return pl.LazyFrame(full, schema=REFERENCES.columns, orient="row")


def reward_of(frame: pl.LazyFrame, **key: object) -> float | None:
    return frame.filter(**key).collect()["reward"].item()


@pytest.mark.parametrize(("combine", "value"), [("nominal", 5.0), ("mean", 3.0), ("worst", 1.0)])
def test_heads_with_deviations(combine: str, value: float) -> None:
    rows = table([("p", "scored", 0, "m", h, m, s) for h, m, s in [(0, 1.0, 0.3), (1, 5.0, 0.1), (2, 3.0, 0.2)]])
    assert reward_of(by_member(rows, combine)) == value


def test_heads_without_deviations_are_averaged() -> None:
    rows = table([("p", "scored", 0, "m", h, m, None) for h, m in enumerate([1.0, 2.0, 6.0])])
    assert reward_of(by_member(rows, "nominal")) == 3.0


@pytest.mark.parametrize("combine", ["nominal", "mean", "worst"])
def test_a_head_without_a_reward_leaves_none(combine: str) -> None:
    rows = table([("p", "scored", 0, "m", 0, 1.0, 0.1), ("p", "scored", 0, "m", 1, None, None)])
    assert reward_of(by_member(rows, combine)) is None


def test_a_member_without_a_reward_leaves_none() -> None:
    rows = by_member(table([("p", "scored", 0, "a", 0, 1.0, None), ("p", "scored", 0, "b", 0, None, None)]), "nominal")
    members = calibrations({"a": (0.0, 1.0), "b": (0.0, 1.0)})
    assert reward_of(standardised(rows, members)) is None
    assert reward_of(scores(rows, members, best_of_n())) is None


@given(own=NUMBER, best=NUMBER, shift=NUMBER)
def test_the_score_against_the_best_is_bradley_terrys_and_knows_no_zero(own: float, best: float, shift: float) -> None:
    def score(by: float) -> float | None:
        rows = [("p", "scored", 0, "m", 0, own + by, None), ("p", "reference", 2, "m", 0, best + by, None)]
        members = calibrations({"m": (0.0, 1.0)})
        return reward_of(scores(by_member(table(rows), "nominal"), members, best_of_n(("p", 2))))

    assert score(0.0) == pytest.approx(1 / (1 + math.exp(best - own)), abs=2e-6)
    assert score(shift) == pytest.approx(score(0.0), abs=2e-6)


def test_as_good_as_the_reference_is_half_and_a_reference_without_a_reward_is_no_score() -> None:
    members = calibrations({"m": (7.0, 2.0)})
    rows = [
        ("p", "scored", 0, "m", 0, 3.0, None),
        ("p", "reference", 1, "m", 0, 3.0, None),
        ("q", "scored", 0, "m", 0, 3.0, None),
        ("q", "reference", 0, "m", 0, None, None),
    ]
    found = scores(by_member(table(rows), "nominal"), members, best_of_n(("p", 1), ("q", 0)))
    assert reward_of(found, prompt_id="p") == 0.5
    assert reward_of(found, prompt_id="q") is None


def test_without_a_reference_it_is_compared_with_the_mean() -> None:
    members = calibrations({"m": (7.0, 2.0)})
    found = scores(by_member(table([("p", "scored", 0, "m", 0, 9.0, None)]), "nominal"), members, best_of_n())
    assert reward_of(found) == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-6)
    assert found.collect()["against"].item() == "mean"


@given(st.permutations(range(12)))
def test_the_order_of_rows_changes_no_bit(order: list[int]) -> None:
    rows = [("p", "scored", n, m, h, math.sin(n + h) * 3.7, None) for n in range(2) for m in "ab" for h in range(3)]
    members = calibrations({"a": (0.1, 1.3), "b": (-0.2, 0.7)})

    def found(frame: pl.LazyFrame) -> list[tuple[object, ...]]:
        return standardised(by_member(frame, "nominal"), members).collect().sort("sample").rows()

    assert found(table([rows[i] for i in order])) == found(table(rows))


def unsure(*rows: tuple[str, str, int, str, int, float | None, float | None], **scale: float) -> float | None:
    members = calibrations({m: (0.0, s) for m, s in (scale or {"m": 1.0}).items()})
    found: float | None = uncertainty(table(list(rows)), members).collect()["reward_model_uncertainty"].item()
    return found


def test_uncertainty_is_the_law_of_total_variance() -> None:
    heads = [("p", "scored", 0, "m", 0, 1.0, 0.3), ("p", "scored", 0, "m", 1, 3.0, 0.5)]
    assert unsure(*heads) == pytest.approx(math.sqrt(1 + (0.09 + 0.25) / 2), abs=1e-5)
    assert unsure(*heads, m=2.0) == pytest.approx(math.sqrt(1 + (0.09 + 0.25) / 2) / 2, abs=1e-5)
    certain = [("p", "scored", 1, "m", h, 2.0, 0.0) for h in range(2)]
    assert unsure(*heads, *certain) == pytest.approx(math.sqrt(1.17) / 2, abs=1e-5), "the mean over responses"
    assert unsure(("p", "scored", 0, "m", 0, 1.0, None)) is None, "one head without a deviation says nothing"
    assert unsure(("p", "scored", 0, "m", 0, 1.0, 0.2)) == pytest.approx(0.2, abs=1e-5)
    two = [("p", "scored", 0, m, 0, v, None) for m, v in (("a", 1.0), ("b", 3.0))]
    assert unsure(*two, a=1.0, b=3.0) == pytest.approx(0.0, abs=1e-6), "members are compared in their own units"


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([-1.0, 0.0, 2.0])), min_size=1, max_size=7))
def test_disagreement_is_the_share_of_pairs_in_the_other_order(rows: list[tuple[float, float]]) -> None:
    rewards = pl.LazyFrame(
        [("p", n, own, "rtv", "x", "correct") for n, (own, _) in enumerate(rows)], schema=REWARDS.columns, orient="row"
    )
    models = pl.LazyFrame(
        [("p", "scored", n, theirs) for n, (_, theirs) in enumerate(rows)],
        schema={"prompt_id": pl.String, "role": pl.String, "sample": pl.Int64, "reward": pl.Float64},
        orient="row",
    )
    pairs = [(a, b) for a in rows for b in rows if a[0] > b[0]]
    found = disagreement(rewards, models).collect()["source_disagreement"].to_list()
    if not pairs:
        assert found == []
        return
    assert found == [pytest.approx(sum((a[1] < b[1]) + (a[1] == b[1]) / 2 for a, b in pairs) / len(pairs))]
    own = disagreement(rewards.with_columns(source=pl.lit("reward_model")), models).collect()
    assert own.height == 0, "a source does not disagree with itself"
