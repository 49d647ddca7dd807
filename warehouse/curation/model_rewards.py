"""What the rewards of reward models come to: one number a response, and a score in [0, 1].

A Bradley-Terry reward means nothing but by its difference from another one to the same prompt: sigmoid(r(y) - r(y'))
is the probability that y is preferred to y' (arXiv 2401.06080, section 2). So a response is scored by the probability
that it beats the best of N, and 0.5 is parity, as for a judge. Without a reference it is compared with the mean of the
responses that the model was trained on, in units of their standard deviation; that is ours, and coarser.

Everything is exact in units of 1e-6, so that rows in any order give the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from warehouse.curation.quantise import UNITS, exact_mean, exact_variance, quantise, to_reward
from warehouse.curation.slices import in_slices

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = ["prompt_id", "role", "sample"]
CALIBRATIONS = pl.Schema({"reward_model": pl.String, "centre": pl.Float64, "scale": pl.Float64})


def calibrations(members: Mapping[str, tuple[float, float]]) -> pl.DataFrame:
    """Return fingerprint -> (centre, scale) as a frame."""
    rows = [(name, *values) for name, values in sorted(members.items())]
    return pl.DataFrame(rows, schema=CALIBRATIONS, orient="row")


def by_member(model_rewards: pl.LazyFrame, combine: str) -> pl.LazyFrame:
    """Return one reward a response and member: prompt_id, role, sample, reward_model, reward.

    Args:
        model_rewards: the columns of `model_rewards`.
        combine: of a member's heads. `nominal`: the mean of the head with the smallest standard deviation (arXiv
            2409.15360; ties: the first head), or the mean of all heads where they have none; `mean` of all heads;
            `worst`: the lowest (arXiv 2310.02743).

    The reward is null where any head has none.
    """
    units = quantise(pl.col("mean"))
    average = exact_mean(units.sum(), units.count())
    surest = to_reward(units.sort_by("std", "head").first())
    whole = {
        "nominal": pl.when(pl.col("std").is_not_null().all()).then(surest).otherwise(average),
        "mean": average,
        "worst": to_reward(units.min()),
    }[combine]
    known = units.is_not_null().all()
    return model_rewards.group_by(*KEY, "reward_model").agg(reward=pl.when(known).then(whole))


def standardised(rewards: pl.LazyFrame, members: pl.DataFrame) -> pl.LazyFrame:
    """Return the mean over members of (reward - centre) / scale: prompt_id, role, sample, reward.

    Null where a member of `members` (see `calibrations`) has no reward. It orders the responses of one prompt.
    """
    placed = _placed(rewards, members).with_columns(units=quantise(pl.col("reward")))
    return _averaged(placed, members.height, KEY)


def scores(rewards: pl.LazyFrame, members: pl.DataFrame, references: pl.LazyFrame) -> pl.LazyFrame:
    """Return the score of every scored response: prompt_id, sample, reward in [0, 1], against (best_of_n or mean).

    Args:
        rewards: as `by_member` returns them, of both roles.
        members: see `calibrations`.
        references: the columns of `references`; those of kind best_of_n count.
    """
    placed = _placed(rewards, members).with_columns(role=pl.col("role"))
    chosen = references.filter(pl.col("kind") == "best_of_n").select("prompt_id", "sample")
    best = (
        rewards.filter(pl.col("role") == "reference")
        .join(chosen, on=["prompt_id", "sample"])
        .select("prompt_id", "reward_model", pl.col("reward").alias("best"))
    )
    against = (
        placed.filter(pl.col("role") == "scored")
        .join(chosen.select("prompt_id", has_reference=True), on="prompt_id", how="left")
        .join(best, on=["prompt_id", "reward_model"], how="left")
        .with_columns(
            difference=pl.when("has_reference").then(pl.col("raw") - pl.col("best")).otherwise(pl.col("reward")),
            against=pl.when("has_reference").then(pl.lit("best_of_n")).otherwise(pl.lit("mean")),
        )
        .with_columns(units=quantise(1 / (1 + (-pl.col("difference")).exp())))
    )
    return _averaged(against, members.height, ["prompt_id", "sample", "against"])


def _placed(rewards: pl.LazyFrame, members: pl.DataFrame) -> pl.LazyFrame:
    return rewards.join(members.lazy(), on="reward_model").with_columns(
        raw="reward", reward=(pl.col("reward") - pl.col("centre")) / pl.col("scale")
    )


def _averaged(rows: pl.LazyFrame, members: int, key: list[str]) -> pl.LazyFrame:
    """Return the mean of `units` over members as `reward`; null unless every member has one."""
    total, count = pl.col("units").sum(), pl.col("units").count()
    mean = total / (count * UNITS)
    return rows.group_by(key).agg(reward=pl.when(count == members).then(mean))


def uncertainty(model_rewards: pl.LazyFrame, members: pl.DataFrame) -> pl.LazyFrame:
    """Return how unsure reward models are of a prompt's scored responses: prompt_id, reward_model_uncertainty.

    Of a response, the standard deviation over all heads of all members (the spread of their means, and on top what
    heads say of themselves: the law of total variance), rewards standardised by member; of a prompt the mean over its
    responses. Null where one head alone says nothing of its certainty. The papers keep uncertainty by response (arXiv
    2409.15360, 2310.02743); the mean over a prompt is ours.
    """
    units, square = pl.col("units"), pl.col("units").cast(pl.Int128) * pl.col("units").cast(pl.Int128)
    told = pl.col("own").is_not_null().any() | (pl.len() > 1)
    own = exact_mean(pl.col("own").sum(), pl.len())
    variance = exact_variance(units.sum(), square.sum(), pl.len()) + pl.coalesce(own, pl.lit(0.0))
    spread = (
        model_rewards.filter(pl.col("role") == "scored")
        .join(members.lazy(), on="reward_model")
        .with_columns(
            units=quantise((pl.col("mean") - pl.col("centre")) / pl.col("scale")),
            own=quantise((pl.col("std") / pl.col("scale")) ** 2),
        )
        .group_by(KEY)
        .agg(spread=pl.when(units.is_not_null().all() & told).then(variance.sqrt()))
        .with_columns(units=quantise(pl.col("spread")))
    )
    return spread.group_by("prompt_id").agg(reward_model_uncertainty=exact_mean(units.sum(), units.count()))


SLICE_ROWS = 200_000
_DISAGREEMENT = pl.Schema({"prompt_id": pl.String, "source_disagreement": pl.Float64})


def disagreement(rewards: pl.LazyFrame, modelled: pl.LazyFrame) -> pl.LazyFrame:
    """Return how often reward models order responses otherwise than the prompt's source does.

    Args:
        rewards: the columns of `rewards`; prompts that a reward model itself scores say nothing.
        modelled: prompt_id, role, sample, reward, as `standardised` returns them.

    The share of the pairs of responses, of those that the source tells apart, which the models order the other way; a
    tie of theirs counts half: prompt_id, source_disagreement. It needs no common scale. Absent where the source tells
    none apart.
    """
    own = pl.col("source") != "reward_model"
    told = rewards.filter(own & pl.col("reward").is_not_null()).select(
        "prompt_id", "sample", own=quantise(pl.col("reward"))
    )
    theirs = modelled.filter((pl.col("role") == "scored") & pl.col("reward").is_not_null()).select(
        "prompt_id", "sample", theirs=quantise(pl.col("reward"))
    )

    def of_range(frames: list[pl.LazyFrame]) -> pl.DataFrame:
        both = frames[0].join(frames[1], on=["prompt_id", "sample"]).drop("sample")
        pairs = both.join(both, on="prompt_id", suffix="_other").filter(pl.col("own") > pl.col("own_other"))
        wrong = (
            2 * (pl.col("theirs") < pl.col("theirs_other")).sum() + (pl.col("theirs") == pl.col("theirs_other")).sum()
        )
        found = pairs.group_by("prompt_id").agg(source_disagreement=wrong / (2 * pl.len()))
        return found.select(list(_DISAGREEMENT)).collect()

    return in_slices([told, theirs], of_range, _DISAGREEMENT, SLICE_ROWS)
