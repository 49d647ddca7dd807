"""How hard each prompt is for one policy, measured from its scored rollouts.

A null reward is never a hard one: it leaves every statistic alone and only lowers `scored`. Sums run over integers,
so the same rewards in any order give the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from warehouse.curation.intervals import jeffreys
from warehouse.curation.quantise import UNITS, exact_mean, exact_variance, quantise, to_reward
from warehouse.curation.slices import in_slices
from warehouse.curation.suspects import agreement, suspect_gold
from warehouse.curation.text_spread import SLICE_ROWS as TEXT_SLICE_ROWS
from warehouse.curation.text_spread import TEXT_SCHEMA, spread_of
from warehouse.schemas import DIFFICULTY

if TYPE_CHECKING:
    from warehouse.settings import RewardSettings

SLICE_ROWS = 500_000  # rollouts taken at a time


def difficulty(
    rewards: pl.LazyFrame,
    rollouts: pl.LazyFrame,
    verdicts: pl.LazyFrame,
    settings: RewardSettings,
    *,
    verified: pl.LazyFrame | None = None,
    modelled: pl.LazyFrame | None = None,
) -> pl.LazyFrame:
    """Return the columns of `difficulty`, one row per prompt with rollouts, sorted by prompt_id.

    Args:
        rewards: prompt_id, sample, reward, source, status; of one policy.
        rollouts: prompt_id, role, sample, finish_reason, response_tokens, response; role "scored" counts.
        verdicts: prompt_id, role, sample, status, extracted; may be empty.
        settings: `pass_threshold`, `confidence`, `suspect_gold_agreement`, `text_columns`.
        verified: prompt_id and suspect_gold (Boolean) where a second policy or a person has looked: takes
            the place of what the answers say.

        modelled: prompt_id, reward_model_uncertainty, source_disagreement, where reward models are configured.

    Variance is that of the population. `binary` is true where every scored reward is 0 or 1, or where a pass
    threshold is set; pass rate, its Jeffreys interval and learnability p(1 - p) are null elsewhere. Every statistic
    is null where nothing was scored. See `curation.model_rewards` for the two columns about reward models.
    """

    def measure(frames: list[pl.LazyFrame]) -> pl.DataFrame:
        opinions = frames[3] if verified is not None else None
        return _measure(frames[0], frames[1], frames[2], settings, opinions)

    frames = [rollouts, rewards, verdicts, *([] if verified is None else [verified])]
    slice_rows = TEXT_SLICE_ROWS if settings.text_columns else SLICE_ROWS
    measured = in_slices(frames, measure, pl.Schema(DIFFICULTY.columns), slice_rows)
    if modelled is None:
        return measured
    known = measured.drop("reward_model_uncertainty", "source_disagreement").join(
        modelled, on="prompt_id", how="left", maintain_order="left"
    )
    return known.select(list(DIFFICULTY.columns))


def _measure(
    rollouts: pl.LazyFrame,
    rewards: pl.LazyFrame,
    verdicts: pl.LazyFrame,
    settings: RewardSettings,
    verified: pl.LazyFrame | None,
) -> pl.DataFrame:
    out = (
        _generated(rollouts)
        .join(_scored(rewards, settings.pass_threshold), on="prompt_id", how="left")
        .join(agreement(verdicts), on="prompt_id", how="left")
    )
    if settings.text_columns:
        out = out.join(spread_of(rollouts, rewards).lazy(), on="prompt_id", how="left")
    else:
        out = out.with_columns(pl.lit(None, t).alias(c) for c, t in TEXT_SCHEMA.items() if c != "prompt_id")
    out = _statistics(out, settings)
    if verified is not None:
        opinion = verified.select("prompt_id", opinion="suspect_gold").unique("prompt_id")
        out = out.join(opinion, on="prompt_id", how="left").with_columns(
            suspect_gold=pl.coalesce("opinion", "suspect_gold")
        )
    return out.select(list(DIFFICULTY.columns)).sort("prompt_id").collect()


def _statistics(counted: pl.LazyFrame, settings: RewardSettings) -> pl.LazyFrame:
    passes, scored, binary = pl.col.passes, pl.col.scored, pl.col.binary
    return (
        counted.with_columns(scored=scored.fill_null(0))
        .with_columns(
            truncated=pl.max_horizontal("truncated", pl.col.truncated_rewards.fill_null(0)),
            mean=exact_mean(pl.col.total, scored),
            variance=exact_variance(pl.col.total, pl.col.squares, scored),
            pass_rate=pl.when(binary).then(passes / scored),
            interval=pl.when(binary).then(jeffreys(passes, scored, settings.confidence)),
            learnability=pl.when(binary).then(passes * (scored - passes) / (scored * scored)),
            reward_min=to_reward(pl.col.lowest),
            reward_max=to_reward(pl.col.highest),
            reward_model_uncertainty=pl.lit(None, pl.Float64),
            source_disagreement=pl.lit(None, pl.Float64),
        )
        .with_columns(
            pass_rate_low=pl.col.interval.struct.field("low"),
            pass_rate_high=pl.col.interval.struct.field("high"),
        )
        .with_columns(suspect_gold=suspect_gold(settings.suspect_gold_agreement))
    )


def _generated(rollouts: pl.LazyFrame) -> pl.LazyFrame:
    scored = pl.col.role == "scored"
    tokens = pl.when(scored).then(pl.col.response_tokens)
    return rollouts.group_by("prompt_id").agg(
        samples=scored.sum().cast(pl.Int64),
        truncated=(scored & (pl.col.finish_reason == "length")).sum().cast(pl.Int64),
        response_tokens_mean=tokens.sum() / pl.when(tokens.count() > 0).then(tokens.count()),
    )


def _scored(rewards: pl.LazyFrame, pass_threshold: float | None) -> pl.LazyFrame:
    units = pl.col.units
    squares = units.cast(pl.Int128) * units.cast(pl.Int128)  # 64 bits overflow from a reward of 760 over 16 samples
    if pass_threshold is None:
        passed, binary = units == UNITS, ((units == 0) | (units == UNITS)).all()
    else:
        passed, binary = units >= round(pass_threshold * UNITS), pl.lit(value=True)
    return (
        rewards.with_columns(units=quantise(pl.col.reward))
        .group_by("prompt_id")
        .agg(
            source=pl.col.source.min(),
            scored=units.count().cast(pl.Int64),
            truncated_rewards=(pl.col.status == "truncated").sum().cast(pl.Int64),
            total=units.sum(),
            squares=squares.sum(),
            lowest=units.min(),
            highest=units.max(),
            passes=passed.sum().cast(pl.Int64),
            binary=pl.when(units.count() > 0).then(binary),
        )
    )
