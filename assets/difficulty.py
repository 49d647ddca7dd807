"""Stage `difficulty`: pass rate, reward variance and the other signals of every prompt, per policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assets.checks import DIFFICULTY_CHECKS
from assets.model_rewards import calibrated
from assets.stages import Run, Stage, Written
from warehouse.curation.difficulty import difficulty
from warehouse.curation.model_rewards import by_member, disagreement, standardised, uncertainty
from warehouse.ledger import Build
from warehouse.settings import outcome_hash

if TYPE_CHECKING:
    from assets.project import Project
    from warehouse.store import Snapshot, StageWriter


def builds(project: Project, view: Snapshot, batch: str) -> list[Build]:
    """Return one build a policy whose rollouts have rewards."""
    found = []
    for rewards in view.of_stage("rewards", batch):
        inputs = {
            "rollouts": view.live["rollouts", batch, rewards.variant].data_version,
            "verdicts": view.live["verdicts", batch, rewards.variant].data_version,
            "rewards": rewards.data_version,
        }
        policy = outcome_hash(project.settings.reward)
        if project.settings.reward_model.models:
            scored = view.commit("model_rewards", batch, rewards.variant)
            if scored is None:
                continue
            inputs["model_rewards"] = scored.data_version
            policy = outcome_hash([project.settings.reward, project.settings.reward_model.combine])
        found.append(Build("difficulty", batch, inputs, STAGE.code_version, policy, variant=rewards.variant))
    return found


def write(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Measure every prompt that was rolled out."""

    def rows(table: str) -> pl.LazyFrame:
        return view.scan_builds(table, [view.live[table, build.batch, build.variant]])

    settings = run.project.settings
    modelled = None
    if settings.reward_model.models:
        modelled = _modelled(rows("model_rewards"), rows("rewards"), run.project)
    table = difficulty(
        rows("rewards"), rows("rollouts"), rows("verdicts"), settings.reward, modelled=modelled
    ).collect()
    writer.write("decisions", _flags(table, build, run.project.settings.reward.suspect_gold_agreement))
    writer.write("difficulty", table)
    return Written({
        "prompts": table.height,
        "unscored": table.filter(pl.col("scored") == 0).height,
        "suspect_golds": table.filter(pl.col("suspect_gold")).height,
    })  # fmt: skip


def _modelled(model_rewards: pl.LazyFrame, rewards: pl.LazyFrame, project: Project) -> pl.LazyFrame:
    """Return what reward models add to a prompt's difficulty."""
    members, combine = calibrated(project), project.settings.reward_model.combine
    unsure = uncertainty(model_rewards, members)
    apart = disagreement(rewards, standardised(by_member(model_rewards, combine), members))
    return unsure.join(apart, on="prompt_id", how="full", coalesce=True)


def _flags(table: pl.DataFrame, build: Build, agreement: float) -> pl.DataFrame:
    """A pass rate of 0 while the answers agree on something else: flagged, for people to look at."""
    return table.filter(pl.col("suspect_gold")).select(
        pl.lit("difficulty").alias("stage"),
        pl.lit("").alias("arm"),
        "prompt_id",
        pl.lit("suspect_gold").alias("rule"),
        pl.lit("flag").alias("outcome"),
        pl.col("majority_agreement").alias("value"),
        pl.lit(agreement).alias("threshold"),
        pl.format("policy {}: pass rate 0, but the answers agree", pl.lit(build.variant)).alias("detail"),
        pl.lit(build.policy_hash).alias("policy_hash"),
    )


STAGE = Stage("difficulty", "difficulty", builds, write, __name__, checks=DIFFICULTY_CHECKS)
