"""Stage `curriculum`: the selected prompts in training order, by phases of domain weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assets.checks import CURRICULUM_CHECKS
from assets.selection import arm_of, candidates
from assets.stages import Run, Stage, Written
from warehouse.curation.curriculum import curriculum
from warehouse.ledger import CORPUS, Build
from warehouse.settings import outcome_hash

if TYPE_CHECKING:
    from assets.project import Project
    from warehouse.store import Snapshot, StageWriter


def builds(project: Project, view: Snapshot, batch: str = CORPUS) -> list[Build]:
    """Return one build an arm that has selected."""
    arms = {a.name for a in project.settings.selection.all_arms()}
    policy = outcome_hash(project.settings.curriculum)
    return [
        Build(
            "curriculum",
            batch,
            {"selection": c.data_version, "domains": c.build_id},
            STAGE.code_version,
            policy,
            variant=c.variant,
        )
        for c in view.of_stage("selection")
        if c.variant in arms
    ]


def write(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Lay the selected prompts out in phases."""
    arm = arm_of(run.project, build.variant)
    chosen = view.scan_builds("selection", [view.live["selection", CORPUS, arm.name]]).filter("selected")
    domains = candidates(run.project, view, arm).select("prompt_id", "domain", "mean")
    selected = chosen.select("prompt_id").join(domains, on="prompt_id", how="inner").sort("prompt_id").collect()
    table, decisions = curriculum(selected, run.project.settings.curriculum, arm.name)
    writer.write("decisions", decisions.with_columns(pl.lit(build.policy_hash).alias("policy_hash")))
    writer.write("curriculum", table)
    phases = dict(table.group_by("phase", maintain_order=True).len().iter_rows())
    return Written({"rows": table.height, **{f"phase_{k}": n for k, n in phases.items()}})


STAGE = Stage("curriculum", "curriculum", builds, write, __name__, checks=CURRICULUM_CHECKS)
