"""What is known about each prompt from the samples drawn so far, as sums that are the same in any order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from warehouse.curation.quantise import UNITS, quantise

EVIDENCE: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "prompt_id": pl.String,
    "group": pl.String,
    "drawn": pl.Int64,  # samples, with a reward or without
    "scored": pl.Int64,
    "total": pl.Int64,  # sum of rewards, in units of 1e-6
    "squares": pl.Int128,
    "binary": pl.Boolean,  # no reward is other than 0 or 1
}


@dataclass(frozen=True)
class Evidence:
    """What is known about each prompt: exact sums, sorted by prompt_id.

    Attributes:
        frame: the columns of EVIDENCE, one row a prompt.
    """

    frame: pl.DataFrame

    @classmethod
    def of(cls, prompts: pl.DataFrame, rewards: pl.DataFrame) -> Evidence:
        """Count rewards.

        Args:
            prompts: prompt_id, group (domain and reward source); all that compete, drawn or not.
            rewards: prompt_id, sample, reward (null where a sample could not be scored). Of other prompts: left out.

        Raises:
            ValueError: a prompt or a sample is listed twice.
        """
        if prompts["prompt_id"].is_duplicated().any() or rewards.select("prompt_id", "sample").is_duplicated().any():
            msg = "adaptive sampling counts each prompt and each sample once, and some are listed twice"
            raise ValueError(msg)
        units = pl.col.units
        counted = (
            rewards.lazy()
            .with_columns(units=quantise(pl.col.reward.cast(pl.Float64)))
            .group_by("prompt_id")
            .agg(
                drawn=pl.len().cast(pl.Int64),
                scored=units.count().cast(pl.Int64),
                total=units.sum(),
                squares=(units.cast(pl.Int128) * units.cast(pl.Int128)).sum(),
                binary=((units == 0) | (units == UNITS)).all(),
            )
            .collect()
        )
        none = [pl.col(c).fill_null(0) for c in ("drawn", "scored", "total", "squares")]
        joined = prompts.select("prompt_id", "group").join(counted, on="prompt_id", how="left")
        return cls(joined.with_columns(*none, pl.col.binary.fill_null(value=True)).cast(EVIDENCE).sort("prompt_id"))  # type: ignore[arg-type]

    def add(self, other: Evidence) -> Evidence:
        """Return the evidence of both, which hold different samples."""
        sums = [pl.col(c).sum() for c in ("drawn", "scored", "total", "squares")]
        both = pl.concat([self.frame, other.frame]).group_by("prompt_id", "group")
        merged = both.agg(*sums, pl.col.binary.all()).select(list(EVIDENCE)).cast(EVIDENCE)  # type: ignore[arg-type]
        if merged["prompt_id"].is_duplicated().any():
            msg = "a prompt is in one group in one part of the evidence and in another in the other"
            raise ValueError(msg)
        return Evidence(merged.sort("prompt_id"))
