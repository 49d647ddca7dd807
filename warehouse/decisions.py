"""Decisions are written when they are made or change; what stays is one row with a count.

A corpus of millions is selected anew every night, and nearly every decision comes out as before. So `changes` finds
what to write, and `replay` gives back the current decisions from what was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from warehouse.schemas import DECISIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

KEYS = ("stage", "arm", "prompt_id", "rule")
COMPARED = ("outcome", "value")
WITHDRAWN = "withdrawn"
CARRY = "carry"


def changes(
    previous: pl.LazyFrame,
    new: pl.DataFrame,
    keys: Sequence[str] = KEYS,
    compared: Sequence[str] = COMPARED,
) -> pl.DataFrame:
    """Return the rows to write so that `new` becomes current: new and changed ones, withdrawals, and carries.

    Args:
        previous: the current decisions (see `replay`) of the stages and arms that `new` is about, and of no others:
            what is missing from `new` is withdrawn.
        new: all decisions as they now are; the keys occur once. Null keys are equal to each other.
        keys: what makes two rows the same decision.
        compared: what makes the same decision a changed one.

    A decision has changed when its outcome or the value it went by has. A change of threshold alone does not count,
    nor one of the detail or of the policy hash: the cut of a group moves a little with every prompt that arrives, and
    would rewrite millions of unchanged outcomes each night; the `selection` table always has the current percentile.
    Pass more columns in `compared` to count them.

    A withdrawn decision is its last row with outcome "withdrawn". For each (stage, arm) with unchanged rows there is
    one row with outcome and rule "carry", no prompt_id, and their number as `value`. Rows are sorted by the keys.

    Raises:
        ValueError: `new` has two rows of the same key.
    """
    columns = list(DECISIONS.columns)
    new = new.select(columns)
    before = previous.select(columns).collect()
    repeated = new.filter(new.select(keys).is_duplicated())
    if repeated.height:
        row = dict(zip(keys, repeated.select(keys).row(0), strict=True))
        msg = f"{repeated.height} decisions share a key with another, the first is {row}; a rule decides once a prompt"
        raise ValueError(msg)
    matched = new.join(
        before.select(*keys, *(pl.col(c).alias(f"{c}_before") for c in compared), known=pl.lit(value=True)),
        on=keys,
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )
    same = pl.col.known.is_not_null() & pl.all_horizontal(pl.col(c).eq_missing(pl.col(f"{c}_before")) for c in compared)
    matched = matched.with_columns(same=same)
    written = matched.filter(pl.col.same.not_()).select(columns)
    withdrawn = before.join(new, on=keys, how="anti", nulls_equal=True).with_columns(outcome=pl.lit(WITHDRAWN))
    carried = (
        matched.filter("same")
        .group_by("stage", "arm")
        .agg(value=pl.len().cast(pl.Float64), policy_hash=pl.col.policy_hash.max())
        .with_columns(
            prompt_id=pl.lit(None, pl.String),
            rule=pl.lit(CARRY),
            outcome=pl.lit(CARRY),
            threshold=pl.lit(None, pl.Float64),
            detail=pl.format("{} decisions are as before", pl.col.value.cast(pl.Int64)),
        )
        .select(columns)
    )
    return pl.concat([written, withdrawn, carried]).sort(*keys, nulls_last=True)


def replay(history: Sequence[pl.LazyFrame], keys: Sequence[str] = KEYS) -> pl.LazyFrame:
    """Return the current decisions from what was written, oldest first: the last row of each key, less withdrawals."""
    columns = list(DECISIONS.columns)
    if not history:
        return pl.LazyFrame(schema=pl.Schema(DECISIONS.columns))
    written = pl.concat([frame.select(columns).with_columns(written=pl.lit(i)) for i, frame in enumerate(history)])
    return (
        written.filter(pl.col.outcome != CARRY)
        .sort("written")
        .unique(keys, keep="last", maintain_order=True)
        .filter(pl.col.outcome != WITHDRAWN)
        .select(columns)
        .sort(*keys, nulls_last=True)
    )
