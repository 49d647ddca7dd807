"""Which rows of a sorted table belong to some prompts."""

from __future__ import annotations

import polars as pl


def inside(keys: pl.DataFrame) -> pl.Expr:
    """Return what is of the prompts of some rows (prompt_id), which are sorted and not empty.

    Their range lets a reader pass over the rest of a file.
    """
    ids = keys["prompt_id"]
    within = pl.col("prompt_id").is_between(pl.lit(ids[0]), pl.lit(ids[-1]))
    return within & pl.col("prompt_id").is_in(ids.unique().to_list())
