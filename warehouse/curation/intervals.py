"""Intervals for a pass rate that is known from a few samples only."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.special import betaincinv  # type: ignore[import-untyped]  # ships no type information

INTERVAL = pl.Struct({"low": pl.Float64, "high": pl.Float64})


def jeffreys(passes: pl.Expr, trials: pl.Expr, confidence: float) -> pl.Expr:
    """Return the equal-tailed Jeffreys interval of a binomial proportion, a struct of `low` and `high`.

    The bounds are quantiles of Beta(k + 1/2, n - k + 1/2); as Brown, Cai and DasGupta (2001) advise, low is 0 where
    k = 0 and high is 1 where k = n, which keeps coverage at the ends. Null where `trials` is null or 0. Quantiles are
    computed once per distinct (k, n), so the cost does not grow with the rows.
    """

    def intervals(pairs: pl.Series) -> pl.Series:
        frame = pairs.struct.unnest()
        k, n = frame["k"].fill_null(0).to_numpy(), frame["n"].fill_null(0).to_numpy()
        wide = int(n.max(initial=0)) + 1
        distinct, where = np.unique(k * wide + n, return_inverse=True)
        low, high = jeffreys_bounds(distinct // wide, distinct % wide, confidence)
        out = pl.DataFrame({"low": low[where], "high": high[where]}, nan_to_null=True)
        return out.to_struct(pairs.name)

    pair = pl.struct(k=passes.cast(pl.Int64), n=trials.cast(pl.Int64))
    return pair.map_batches(intervals, return_dtype=INTERVAL, is_elementwise=True)


def jeffreys_bounds(k: np.ndarray, n: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (low, high) for arrays of successes and trials; NaN where there were no trials."""
    tail = (1.0 - confidence) / 2.0
    low = np.where(k == 0, 0.0, betaincinv(k + 0.5, n - k + 0.5, tail))
    high = np.where(k == n, 1.0, betaincinv(k + 0.5, n - k + 0.5, 1.0 - tail))
    return np.where(n == 0, np.nan, low), np.where(n == 0, np.nan, high)
