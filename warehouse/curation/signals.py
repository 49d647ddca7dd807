"""What training says of prompts: which are learnt, which never move, and which rest until they are tried again.

The papers select once, before training. That a prompt rests once a run has learnt it, that one whose rewards never vary
is tried again some releases later and, where they still do not, in the end retired, is ours; the figures are settings
(`[signals]`).

Releases are counted that were trained on: one that nobody trained on tells nothing, and so passes no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from warehouse.curation.quantise import exact_mean, quantise

if TYPE_CHECKING:
    from warehouse.settings import SignalsSettings

RUNS = pl.Schema({"training_run_id": pl.String, "run": pl.Int64, "release": pl.Int64})
_STEPS = 1 << 32  # of a run
LEARNT, STUCK, RETIRED = "rested_learnt", "rested_stuck", "retired"
REST = pl.Schema(
    {
        "prompt_id": pl.String,
        "rest": pl.String,
        "signal_mean": pl.Float64,
        "signal_gain": pl.Float64,
        "still_visits": pl.Int64,
        "releases_ago": pl.Int64,
    }
)


def resting(signals: pl.LazyFrame, runs: pl.DataFrame, settings: SignalsSettings) -> pl.LazyFrame:
    """Return what training knows of every prompt that it has visited, as `REST`.

    A visit is the samples of one prompt in one step, where they are several; of a run that takes one at a time, all of
    them together are one visit. A visit stands still where all its rewards are the same. Visits that stand still at one
    reward and then at another have moved: of two samples many prompts show no difference that are learnt all the same.

    Args:
        signals: the columns of `training_signals`; rows without a reward say nothing.
        runs: training_run_id; run: its number, in the order in which runs were told; release: how many releases had
            been trained on before, of the newest that was known when the run was told.
        settings: `[signals]`.

    Returns:
        prompt_id; rest: why the prompt rests (`rested_learnt`, `rested_stuck`, `retired`) or null; signal_mean: mean
        reward over the later half of its steps in the last run that visited it; signal_gain: that less the mean over
        the earlier half, null for one step; still_visits: how many visits on end stood still at the same reward, up to
        the last one; releases_ago: how many releases were trained on since. In no particular order. A prompt retires
        only where those visits are of several releases: it was tried again.
    """
    known = signals.join(runs.lazy(), on="training_run_id").with_columns(
        units=quantise(pl.col("reward")), at=pl.col("run") * _STEPS + pl.col("step")
    )
    known = known.filter(pl.col("units").is_not_null())
    newest = max(runs["release"].to_list(), default=0)
    found = (
        _last_run(known)
        .join(_still(known), on="prompt_id", how="left")
        .with_columns(
            still_visits=pl.col("still_visits").fill_null(0),
            still_releases=pl.col("still_releases").fill_null(0),
            releases_ago=pl.lit(newest, pl.Int64) - pl.col("release"),
        )
    )
    learnt = pl.col("signal_mean") >= settings.learnt_mean
    if settings.learnt_gain is not None:
        learnt |= (pl.col("signal_gain") >= settings.learnt_gain).fill_null(value=False)
    tried_again = pl.col("releases_ago") >= settings.retest_after
    rest = (
        pl.when(learnt & ~tried_again)
        .then(pl.lit(LEARNT))
        .when(learnt)
        .then(None)
        .when((pl.col("still_visits") >= settings.retire_after) & (pl.col("still_releases") > 1))
        .then(pl.lit(RETIRED))
        .when((pl.col("still_visits") > 0) & pl.col("stood_still") & ~tried_again)
        .then(pl.lit(STUCK))
    )
    return found.with_columns(rest=rest).select(list(REST))


def _last_run(known: pl.LazyFrame) -> pl.LazyFrame:
    """Return of every prompt what its last run says: prompt_id, release, signal_mean, signal_gain, stood_still."""
    rows = known.filter(pl.col("run") == pl.col("run").max().over("prompt_id"))
    place = pl.col("step").rank("dense").over("prompt_id").cast(pl.Int64)
    halves = rows.with_columns(place=place).with_columns(
        later=pl.col("place") * 2 > pl.col("place").max().over("prompt_id")
    )
    units, early = pl.col("units"), ~pl.col("later")
    return (
        halves.group_by("prompt_id")
        .agg(
            pl.col("release").first(),
            signal_mean=exact_mean(units.filter("later").sum(), pl.col("later").sum()),
            before=exact_mean(units.filter(early).sum(), early.sum()),
            stood_still=units.min() == units.max(),
        )
        .with_columns(signal_gain=pl.col("signal_mean") - pl.col("before"))
    )


def _still(known: pl.LazyFrame) -> pl.LazyFrame:
    """Return prompt_id, still_visits and still_releases: the visits on end that stood still, up to the last one."""
    low, high = pl.col("units").min(), pl.col("units").max()
    facts = {"samples": pl.len(), "level": pl.when(low == high).then(low), "release": pl.col("release").first()}
    steps = known.group_by("prompt_id", "run", "at").agg(**facts).filter(pl.col("samples") > 1)
    runs = known.group_by("prompt_id", "run").agg(pl.col("at").max(), **facts).filter(pl.col("samples") > 1)
    whole = runs.join(steps.select("prompt_id", "run").unique(), on=["prompt_id", "run"], how="anti")
    columns = ["prompt_id", "at", "level", "release"]
    visits = pl.concat([steps.select(columns), whole.select(columns)])
    last = pl.col("level").sort_by("at").last()  # null where it moved, so that no visit equals it
    moved = pl.col("at").filter((pl.col("level") != last).fill_null(value=True)).max().fill_null(-1)
    counted = pl.col("at") > moved
    return visits.group_by("prompt_id").agg(
        still_visits=counted.sum().cast(pl.Int64),
        still_releases=pl.col("release").filter(counted).n_unique().cast(pl.Int64),
    )
