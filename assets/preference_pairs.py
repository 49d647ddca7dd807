"""Stage `preference_pairs`: best and worst of every prompt's own rollouts, as preference pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets.stages import Run, Stage, Written
from warehouse.curation.own_pairs import own_pairs
from warehouse.ledger import Build
from warehouse.settings import outcome_hash

if TYPE_CHECKING:
    import polars as pl

    from assets.project import Project
    from warehouse.store import Snapshot, StageWriter


def builds(project: Project, view: Snapshot, batch: str) -> list[Build]:
    """Return one build a policy whose rollouts have rewards, where own rollouts are wanted and models can vote."""
    chosen = project.settings.strength
    if not (chosen.own_rollouts and project.settings.reward_model.models):
        return []
    found = []
    for rewards in view.of_stage("rewards", batch):
        rollouts = view.live["rollouts", batch, rewards.variant]
        inputs = {
            "rollouts": rollouts.data_version,
            "rewards": rewards.data_version,
            "prompts": view.live["prompts", batch, ""].data_version,
        }
        policy = outcome_hash([chosen.min_gap])
        found.append(Build("preference_pairs", batch, inputs, STAGE.code_version, policy, variant=rewards.variant))
    return found


def write(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Pair them."""

    def rows(table: str, variant: str) -> pl.LazyFrame:
        return view.scan_builds(table, [view.live[table, build.batch, variant]])

    gap = run.project.settings.strength.min_gap
    mine = build.variant
    table = own_pairs(rows("rollouts", mine), rows("rewards", mine), rows("prompts", ""), gap)
    writer.write("preferences", table)
    return Written({"pairs": table.height})


STAGE = Stage("preference_pairs", "preferences", builds, write, __name__)
