"""Stage `references`: what a judge compares with: the ground truth, or the best of the reference samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assets.golds import golds
from assets.model_rewards import calibrated
from assets.stages import Run, Stage, Written
from warehouse.curation.model_rewards import by_member, standardised
from warehouse.curation.references import references
from warehouse.ledger import Build
from warehouse.settings import outcome_hash

if TYPE_CHECKING:
    from assets.project import Project
    from warehouse.store import Snapshot, StageWriter


def builds(project: Project, view: Snapshot, batch: str) -> list[Build]:
    """Return one build a policy that has rollouts of this batch."""
    found = []
    for rollouts in view.of_stage("rollouts", batch):
        inputs = {"rollouts": rollouts.data_version, "golds": golds(project, view, batch).version}
        chosen = project.settings.reward_model
        policy = outcome_hash()
        if chosen.models:
            scored = view.commit("model_rewards", batch, rollouts.variant)
            if scored is None:
                continue
            inputs["model_rewards"], policy = scored.data_version, outcome_hash([chosen.combine])
        found.append(Build("references", batch, inputs, STAGE.code_version, policy, variant=rollouts.variant))
    return found


def write(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Choose a reference for every prompt that can have one.

    Best-of-N needs scores that do not come from a gold: those of the reward models, or where there are none, those that
    imported rollouts carry.
    """
    rollouts = view.scan_builds("rollouts", [view.live["rollouts", build.batch, build.variant]])
    scores = rollouts.select("prompt_id", "role", "sample", pl.col("recorded_score").alias("reward"))
    chosen = run.project.settings.reward_model
    if chosen.models:
        scored = view.scan_builds("model_rewards", [view.live["model_rewards", build.batch, build.variant]])
        scores = standardised(by_member(scored, chosen.combine), calibrated(run.project))
    rolled_out = golds(run.project, view, build.batch).frame.join(rollouts, on="prompt_id", how="semi")
    table = references(rolled_out, rollouts, scores).collect()
    writer.write("references", table)
    kinds = dict(table.group_by("kind").len().sort("kind").iter_rows())
    return Written({"rows": table.height, **{f"kind_{k}": n for k, n in kinds.items()}})


STAGE = Stage("references", "references", builds, write, __name__)
