"""One reward a rollout, from the source that was fixed for its prompt before anything was scored."""

from __future__ import annotations

import polars as pl

KEY = ["prompt_id", "role", "sample"]
_JUDGED = pl.Schema({"judge_status": pl.String, "judge_score": pl.Float64, "judge_reward_id": pl.String})
_MODELLED = pl.Schema({"model_reward": pl.Float64, "model_reward_id": pl.String})


def facts(prompts: pl.LazyFrame, rollouts: pl.LazyFrame) -> pl.LazyFrame:
    """Return what decides a prompt's reward source, without looking at any score's value.

    Args:
        prompts: prompt_id, verifier, ground_truth.
        rollouts: the `rollouts` table.

    Returns:
        prompt_id, verifier, has_gold, has_text (some rollout can be verified), has_recorded_score, has_reference
        (reference samples were asked for, whatever became of them).
    """
    seen = rollouts.group_by("prompt_id").agg(
        pl.col("response").is_not_null().any().alias("has_text"),
        pl.col("recorded_score").is_not_null().any().alias("has_recorded_score"),
        (pl.col("role") == "reference").any().alias("has_reference"),
    )
    gold = prompts.select("prompt_id", "verifier", pl.col("ground_truth").is_not_null().alias("has_gold"))
    return seen.join(gold, on="prompt_id", how="inner")


def rewards(
    rollouts: pl.LazyFrame,
    verdicts: pl.LazyFrame,
    routes: pl.LazyFrame,
    judgements: pl.LazyFrame | None = None,
    modelled: pl.LazyFrame | None = None,
) -> pl.LazyFrame:
    """Return the `rewards` rows of the scored samples, sorted by prompt and sample.

    A null stays null: a rollout that its source could not decide never falls through to another source.

    Args:
        rollouts: the `rollouts` table.
        verdicts: the `verdicts` table.
        routes: prompt_id, source (one of `verifiers.hybrid.SOURCES`, or null), no_source (why), policy (name).
        judgements: prompt_id, sample, judge_status, judge_score, judge_reward_id; where a judge is configured.
        modelled: prompt_id, sample, model_reward, model_reward_id; where reward models are configured.
    """
    scored = rollouts.filter(pl.col("role") == "scored").select(*KEY, "finish_reason", "recorded_score")
    verified = verdicts.select(*KEY, "verifier", "verifier_version", "status", "score")
    rows = scored.join(routes, on="prompt_id", how="inner").join(verified, on=KEY, how="left")
    rows = _beside(_beside(rows, judgements, _JUDGED), modelled, _MODELLED)
    model, judge = pl.col("source") == "reward_model", pl.col("source").str.starts_with("genrm_")
    rtv, recorded = pl.col("source") == "rtv", pl.col("source") == "recorded"
    missing = pl.when(pl.col("finish_reason") == "error").then(pl.lit("error")).otherwise(pl.lit("no_response"))
    reward = pl.when(rtv).then("score").when(recorded).then("recorded_score").when(judge).then("judge_score")
    reward = reward.when(model).then("model_reward")
    reward_id = (
        pl.when(rtv & pl.col("verifier").is_not_null())
        .then(pl.format("{}@{}", "verifier", "verifier_version"))
        .when(recorded)
        .then(pl.format("recorded:{}", "policy"))
        .when(judge)
        .then("judge_reward_id")
        .when(model)
        .then("model_reward_id")
    )
    status = (
        pl.when(rtv)
        .then(pl.coalesce("status", missing))
        .when(recorded & pl.col("recorded_score").is_not_null())
        .then(pl.lit("recorded"))
        .when(recorded)
        .then(pl.lit("no_score"))
        .when(judge)
        .then(pl.coalesce("judge_status", pl.lit("no_reference")))
        .when(model & pl.col("model_reward").is_not_null())
        .then(pl.lit("scored"))
        .when(model)
        .then(_unmodelled())
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


def _beside(rows: pl.LazyFrame, found: pl.LazyFrame | None, columns: pl.Schema) -> pl.LazyFrame:
    """Return rows with what a source found of them, nulls where there is nothing or no such source."""
    if found is None:
        return rows.with_columns(pl.lit(None, kind).alias(name) for name, kind in columns.items())
    return rows.join(found.select("prompt_id", "sample", *columns), on=["prompt_id", "sample"], how="left")


def _unmodelled() -> pl.Expr:
    """Return why a reward model gave no score: generation ended badly, or the model could not tell."""
    finish = pl.col("finish_reason")
    return (
        pl.when(finish == "length")
        .then(pl.lit("truncated"))
        .when(finish == "error")
        .then(pl.lit("error"))
        .when(pl.col("model_reward_id").is_null())
        .then(pl.lit("no_response"))
        .otherwise(pl.lit("model_error"))
    )
