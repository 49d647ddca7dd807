"""Preference pairs out of a prompt's own rollouts: the best and the worst of them."""

from __future__ import annotations

import polars as pl

from warehouse.curation.quantise import UNITS, quantise
from warehouse.hashing import text_hash
from warehouse.schemas import PREFERENCES
from warehouse.settings.model import OWN_ROLLOUTS


def own_pairs(rollouts: pl.LazyFrame, rewards: pl.LazyFrame, prompts: pl.LazyFrame, min_gap: float) -> pl.DataFrame:
    """Return the columns of `preferences`, a row a prompt whose best and worst samples are far enough apart.

    Args:
        rollouts: the columns of `rollouts`; scored samples that came to an end count.
        rewards: the columns of `rewards`. Those of a reward model do not count: it would only hear itself.
        prompts: prompt_id, messages; of those that may be trained on.
        min_gap: between both rewards.

    Ties go to the lower sample number. Two samples of the same text, or without any, are no pair.
    """
    whole = pl.col("response").is_not_null() & (pl.col("finish_reason") == "stop") & (pl.col("role") == "scored")
    texts = rollouts.filter(whole & (pl.col("response").str.strip_chars() != ""))
    told = rewards.filter(pl.col("reward").is_not_null() & (pl.col("source") != "reward_model"))
    samples = (
        texts.select("prompt_id", "sample", "response")
        .join(told.select("prompt_id", "sample", units=quantise(pl.col("reward"))), on=["prompt_id", "sample"])
        .sort("prompt_id", "units", "sample")
    )
    ends = samples.group_by("prompt_id", maintain_order=True).agg(
        low=pl.col("units").first(),
        high=pl.col("units").last(),
        rejected=pl.col("response").first(),
        chosen=pl.col("response").filter(pl.col("units") == pl.col("units").last()).first(),
    )
    apart = ends.filter(
        (pl.col("high") - pl.col("low") >= round(min_gap * UNITS))
        & (pl.col("chosen").str.strip_chars() != pl.col("rejected").str.strip_chars())
    )
    rows = apart.join(prompts.select("prompt_id", "messages"), on="prompt_id").sort("prompt_id").collect()
    ids = [text_hash("pair", *key) for key in rows.select("prompt_id", "chosen", "rejected").iter_rows()]
    return rows.with_columns(pl.Series("pair_id", ids, pl.String), origin=pl.lit(OWN_ROLLOUTS)).select(
        list(PREFERENCES.columns)
    )
