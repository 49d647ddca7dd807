"""Who votes on a preference label: the members of an ensemble, or the heads of one model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import polars as pl

from warehouse.curation.model_rewards import by_member

if TYPE_CHECKING:
    from collections.abc import Sequence

SIDES: Sequence[str] = ("chosen", "rejected")


def pair_votes(rewards: pl.LazyFrame, members: pl.DataFrame, combine: str) -> pl.DataFrame:
    """Return the difference that each voter sees between both responses: pair_id, member, difference.

    Args:
        rewards: the columns of `pair_rewards`.
        members: see `curation.model_rewards.calibrations`. Several vote one by one, their heads combined; of one alone
            each head votes (arXiv 2401.06080 takes ten members; heads on one trunk are ours, and far cheaper).
        combine: of a member's heads.

    Differences are brought from the member's own scale to the mean of all scales: no member outweighs the others, and
    the unit stays that of rewards, in which sigmoid(difference) is Bradley-Terry's probability (not quite of Gaussian
    heads, whose rewards are standardised). Null where a voter has no reward for one of both.
    """
    known = rewards.join(members.lazy(), on="reward_model", how="semi")
    unit = math.fsum(members["scale"]) / max(1, members.height)
    if members.height > 1:
        rows = known.with_columns(prompt_id="pair_id", role="side", sample=pl.lit(0, pl.Int64))
        voted = by_member(rows, combine).select(
            pair_id="prompt_id", side="role", reward_model="reward_model", head=pl.lit(0, pl.Int64), mean="reward"
        )
    else:
        voted = known.select("pair_id", "side", "reward_model", "head", "mean")
    key = ["pair_id", "reward_model", "head"]
    sides = [voted.filter(pl.col("side") == side).drop("side") for side in SIDES]
    both = sides[0].join(sides[1], on=key, how="full", coalesce=True, suffix="_rejected")
    scaled = both.join(members.lazy().select("reward_model", "scale"), on="reward_model").select(
        *key, difference=(pl.col("mean") - pl.col("mean_rejected")) * (unit / pl.col("scale"))
    )
    voters = scaled.select("reward_model", "head").unique().sort("reward_model", "head").with_row_index("member")
    found = scaled.join(voters, on=["reward_model", "head"])
    return found.select("pair_id", pl.col("member").cast(pl.Int64), "difference").sort("pair_id", "member").collect()
