"""Preference strength: examples by hand, laws, and noise that is found."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.curation.strength import BUCKETS, Rule, strength
from warehouse.schemas import PREFERENCE_STRENGTH, conform

number = st.one_of(st.none(), st.floats(-5, 5).map(lambda x: round(x, 3)))


def votes(*pairs: list[float | None]) -> pl.DataFrame:
    rows = [(f"p{i:03d}", m, d) for i, pair in enumerate(pairs) for m, d in enumerate(pair)]
    return pl.DataFrame(rows, schema={"pair_id": pl.String, "member": pl.Int64, "difference": pl.Float64}, orient="row")


def test_by_hand() -> None:
    found = strength(votes([1.0, 2.0, -3.0, 4.0], [-1.0, -2.0, None, float("nan")], [None] * 4), Rule(weakest=0.5))
    first, second, third = found.to_dicts()
    assert (first["strength_mean"], first["votes_for"], first["votes"]) == (1.0, 3, 4)
    assert first["strength_std"] == pytest.approx(math.sqrt(7.5 - 1))
    assert (first["bucket"], first["treatment"], first["margin"]) == (5, "keep", 1.0)
    assert (second["strength_mean"], second["strength_std"], second["votes_for"], second["votes"]) == (-1.5, 0.5, 0, 2)
    assert (second["bucket"], second["treatment"], second["margin"]) == (0, "flip", 1.5)
    assert (third["strength_mean"], third["votes"], third["bucket"], third["treatment"]) == (None, 0, None, "keep")


@given(st.lists(st.lists(number, min_size=1, max_size=5), max_size=40), st.randoms(use_true_random=False))
def test_order_decides_nothing_and_the_table_is_as_its_schema_says(pairs: list, random: object) -> None:
    given_votes = votes(*pairs)
    order = list(range(given_votes.height))
    random.shuffle(order)  # type: ignore[attr-defined]
    rule = Rule(weakest=0.2, strongest=0.1)
    found = strength(given_votes, rule)
    conform(PREFERENCE_STRENGTH, found)
    assert found.equals(strength(given_votes[order], rule))
    assert found.height == given_votes["pair_id"].n_unique()


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=60, unique=True), st.floats(0, 0.5), st.floats(0, 0.3))
def test_the_weakest_are_treated_and_buckets_are_even(means: list[float], weakest: float, strongest: float) -> None:
    found = strength(votes(*([m] for m in means)), Rule(weakest=weakest, weakest_treatment="drop", strongest=strongest))
    dropped = found.filter(pl.col.treatment == "drop")
    assert (dropped["strength_mean"] <= 0).all(), "those whose members vote for the label are kept"
    assert dropped.height <= round(weakest * len(means))
    sizes = found.group_by("bucket").len()["len"]
    assert sizes.max() - (len(means) // BUCKETS) <= 1
    by_strength = found.sort("strength_mean", "pair_id")["bucket"]
    assert by_strength.is_sorted()


def test_flipped_labels_gather_among_the_weak() -> None:
    """Ten noisy members, a quarter of the labels turned round: most of the lowest bucket is noise."""
    import random

    rng = random.Random(4)
    wrong = {i for i in range(800) if rng.random() < 0.25}
    pairs = [[(-1 if i in wrong else 1) + rng.gauss(0, 2) for _ in range(10)] for i in range(800)]
    found = strength(votes(*pairs), Rule())
    flipped = found.with_columns(wrong=pl.Series([int(p[1:]) in wrong for p in found["pair_id"]]))
    lowest = flipped.filter(pl.col.bucket == 0)["wrong"].mean()
    assert lowest > 0.9
    treated = flipped.filter(pl.col.treatment == "flip")
    assert treated.height == 80
    assert treated["wrong"].mean() > 0.9
