"""Rewards as integers, because sums of integers are the same in any order and sums of floats are not."""

from __future__ import annotations

import polars as pl

UNITS = 1_000_000  # one reward is a million units
LIMIT = 4_000_000.0  # larger rewards are cut off here, so that a reward and its sample number fit into 64 bits
SAMPLE_BITS = 20


def quantise(reward: pl.Expr) -> pl.Expr:
    """Return rewards as Int64 units of 1e-6. Null, NaN and infinity are null: none of them is a score."""
    finite = pl.when(reward.is_finite()).then(reward)
    return (finite.clip(-LIMIT, LIMIT) * UNITS).round().cast(pl.Int64)


def to_reward(units: pl.Expr) -> pl.Expr:
    """Return units as rewards, correctly rounded.

    Polars divides a column by a literal as a product with the reciprocal, except in a frame of one row, so the last
    digit would depend on how many rows are at hand. It divides a column by a column exactly.
    """
    return units / (units * 0 + UNITS)


def exact_mean(total: pl.Expr, count: pl.Expr) -> pl.Expr:
    """Return the mean reward from a sum of units; null where nothing was counted."""
    return pl.when(count > 0).then(total / (count * UNITS))


def exact_variance(total: pl.Expr, squares: pl.Expr, count: pl.Expr) -> pl.Expr:
    """Return the population variance of rewards from sums of units (`squares` as Int128), exact up to one rounding."""
    n = count.cast(pl.Int128)
    numerator = n * squares - total.cast(pl.Int128) * total.cast(pl.Int128)
    scale = count.cast(pl.Float64) * UNITS
    return pl.when(count > 0).then(numerator.cast(pl.Float64) / (scale * scale))


def worst_key(units: pl.Expr, sample: pl.Expr) -> pl.Expr:
    """Return one integer that orders by reward, then by sample; its lowest SAMPLE_BITS are the sample."""
    return units * (1 << SAMPLE_BITS) + sample


def sample_of(key: pl.Expr) -> pl.Expr:
    """Return the sample number inside a `worst_key`."""
    return key % (1 << SAMPLE_BITS)
