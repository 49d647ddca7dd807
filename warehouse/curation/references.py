"""What a response is compared with where no rule verifier applies (arXiv 2503.22230, section 3)."""

from __future__ import annotations

import polars as pl

from warehouse.curation.quantise import quantise, sample_of, to_reward, worst_key
from warehouse.schemas import REFERENCES


def references(prompts: pl.LazyFrame, rollouts: pl.LazyFrame, rewards: pl.LazyFrame) -> pl.LazyFrame:
    """Return the columns of `references`, sorted by prompt_id; prompts with neither gold nor candidates are absent.

    Args:
        prompts: prompt_id, ground_truth (JSON text or null).
        rollouts: prompt_id, role, sample, response, finish_reason.
        rewards: prompt_id, role, sample, reward: the scores that best-of-N goes by.

    A prompt with a gold has its gold as reference. Else the best of the role "reference" samples by reward (ties: the
    lowest sample) is taken; a scored sample never is, or best-of-N would judge itself. Samples that were cut off,
    failed or have no reward cannot win. `margin_to_second` is null with one candidate. Where reference samples were
    asked for and none can win, a row of kind "none_chosen" says so: a judge that compares has nothing to say of such a
    prompt, and nothing weaker stands in for it.
    """
    gold = prompts.filter(pl.col.ground_truth.is_not_null()).select(
        "prompt_id",
        kind=pl.lit("ground_truth"),
        sample=pl.lit(None, pl.Int64),
        text="ground_truth",
        score=pl.lit(None, pl.Float64),
        margin_to_second=pl.lit(None, pl.Float64),
    )
    without = prompts.filter(pl.col.ground_truth.is_null()).select("prompt_id")
    finished = pl.col.finish_reason.fill_null("stop").is_in(["length", "error"]).not_()
    candidates = rollouts.filter(pl.col.role == "reference", pl.col.response.is_not_null(), finished)
    scores = rewards.filter(pl.col.role == "reference").select("prompt_id", "sample", units=quantise(pl.col.reward))
    ranked = (
        candidates.select("prompt_id", "sample")
        .join(without, on="prompt_id", how="semi")
        .join(scores.drop_nulls("units"), on=("prompt_id", "sample"))
        .group_by("prompt_id")
        .agg(
            sample=sample_of(worst_key(-pl.col.units, pl.col.sample).min()),
            best=pl.col.units.max(),
            second=pl.col.units.top_k(2).min(),
            candidates=pl.len(),
        )
    )
    best = (
        candidates.select("prompt_id", "sample", text="response")
        .join(ranked, on=("prompt_id", "sample"))
        .select(
            "prompt_id",
            "sample",
            "text",
            kind=pl.lit("best_of_n"),
            score=to_reward(pl.col.best),
            margin_to_second=pl.when(pl.col.candidates > 1).then(to_reward(pl.col.best - pl.col.second)),
        )
        .select(list(REFERENCES.columns))
    )
    asked = rollouts.filter(pl.col.role == "reference").select("prompt_id").unique()
    none = (
        asked.join(without, on="prompt_id", how="semi")
        .join(best, on="prompt_id", how="anti")
        .select("prompt_id", kind=pl.lit("none_chosen"))
    )
    rows = [gold.select(list(REFERENCES.columns)), best, none]
    return pl.concat(rows, how="diagonal").select(list(REFERENCES.columns)).sort("prompt_id")
