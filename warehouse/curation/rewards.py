"""One reward a rollout, from the source that was fixed for its prompt before anything was scored."""

from __future__ import annotations

import polars as pl

KEY = ["prompt_id", "role", "sample"]


def facts(prompts: pl.LazyFrame, rollouts: pl.LazyFrame) -> pl.LazyFrame:
    """Return what decides a prompt's reward source, without looking at any score's value.

    Args:
        prompts: prompt_id, verifier, ground_truth.
        rollouts: the `rollouts` table.

    Returns:
        prompt_id, verifier, has_gold, has_text (some rollout can be verified), has_recorded_score.
    """
    seen = rollouts.group_by("prompt_id").agg(
        pl.col("response").is_not_null().any().alias("has_text"),
        pl.col("recorded_score").is_not_null().any().alias("has_recorded_score"),
    )
    gold = prompts.select("prompt_id", "verifier", pl.col("ground_truth").is_not_null().alias("has_gold"))
    return seen.join(gold, on="prompt_id", how="inner")


def rewards(rollouts: pl.LazyFrame, verdicts: pl.LazyFrame, routes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the `rewards` rows of the scored samples, sorted by prompt and sample.

    A null stays null: a rollout that its source could not decide never falls through to another source.

    Args:
        rollouts: the `rollouts` table.
        verdicts: the `verdicts` table.
        routes: prompt_id, source ("rtv", "recorded" or null), no_source (why there is none), policy (name).
    """
    scored = rollouts.filter(pl.col("role") == "scored").select(*KEY, "finish_reason", "recorded_score")
    judged = verdicts.select(*KEY, "verifier", "verifier_version", "status", "score")
    rows = scored.join(routes, on="prompt_id", how="inner").join(judged, on=KEY, how="left")
    rtv, recorded = pl.col("source") == "rtv", pl.col("source") == "recorded"
    missing = pl.when(pl.col("finish_reason") == "error").then(pl.lit("error")).otherwise(pl.lit("no_response"))
    reward = pl.when(rtv).then("score").when(recorded).then("recorded_score").otherwise(None)
    reward_id = (
        pl.when(rtv & pl.col("verifier").is_not_null())
        .then(pl.format("{}@{}", "verifier", "verifier_version"))
        .when(recorded)
        .then(pl.format("recorded:{}", "policy"))
        .otherwise(None)
    )
    status = (
        pl.when(rtv)
        .then(pl.coalesce("status", missing))
        .when(recorded & pl.col("recorded_score").is_not_null())
        .then(pl.lit("recorded"))
        .when(recorded)
        .then(pl.lit("no_score"))
        .otherwise("no_source")
    )
    return rows.select(
        "prompt_id",
        "sample",
        reward.cast(pl.Float64).alias("reward"),
        "source",
        reward_id.alias("reward_id"),
        status.alias("status"),
    ).sort("prompt_id", "sample")
