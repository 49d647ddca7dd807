"""What is known about each prompt from the samples drawn so far, the same in whatever order they came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from warehouse.curation.quantise import UNITS, exact_mean, exact_variance, quantise

EVIDENCE: Final = pl.Schema(
    {
        "prompt_id": pl.String,
        "group": pl.String,
        "full": pl.Int64,  # how many samples it has when all are drawn
        "drawn": pl.Int64,  # samples, with a reward or without
        "scored": pl.Int64,
        "mean": pl.Float64,  # of its rewards; null where there are none
        "variance": pl.Float64,  # that of the population
        "binary": pl.Boolean,  # no reward is other than 0 or 1
    }
)


@dataclass(frozen=True)
class Evidence:
    """What is known about each prompt, sorted by prompt_id.

    Attributes:
        frame: the columns of EVIDENCE, one row a prompt. Sums run over integers, so the order of rewards tells nothing.
    """

    frame: pl.DataFrame

    @classmethod
    def of(cls, prompts: pl.DataFrame, rewards: pl.DataFrame) -> Evidence:
        """Count rewards.

        Args:
            prompts: prompt_id, group (domain and reward source), full; all that compete, drawn or not.
            rewards: prompt_id, sample, reward (null where a sample could not be scored). Of other prompts: left out.

        Raises:
            ValueError: a prompt or a sample is listed twice.
        """
        if prompts["prompt_id"].is_duplicated().any() or rewards.select("prompt_id", "sample").is_duplicated().any():
            msg = "adaptive sampling counts each prompt and each sample once, and some are listed twice"
            raise ValueError(msg)
        units = pl.col.units
        total, squares = units.sum(), (units.cast(pl.Int128) * units.cast(pl.Int128)).sum()
        counted = (
            rewards.lazy()
            .with_columns(units=quantise(pl.col.reward.cast(pl.Float64)))
            .group_by("prompt_id")
            .agg(
                drawn=pl.len().cast(pl.Int64),
                scored=units.count().cast(pl.Int64),
                total=total,
                squares=squares,
                binary=((units == 0) | (units == UNITS)).all(),
            )
            .with_columns(
                mean=exact_mean(pl.col.total, pl.col.scored),
                variance=exact_variance(pl.col.total, pl.col.squares, pl.col.scored),
            )
            .collect()
        )
        joined = prompts.select("prompt_id", "group", "full").join(counted, on="prompt_id", how="left")
        counts = [pl.col(c).fill_null(0) for c in ("drawn", "scored")]
        filled = joined.with_columns(*counts, pl.col.binary.fill_null(value=True)).select(list(EVIDENCE))
        return cls(filled.cast(EVIDENCE).sort("prompt_id"))
