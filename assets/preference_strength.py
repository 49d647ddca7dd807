"""Stage `preference_strength`: the votes of the reward models on every label, and what becomes of weak ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assets.model_rewards import calibrated
from assets.stages import Run, Stage, Written
from warehouse.curation.pair_votes import pair_votes
from warehouse.curation.strength import Rule, strength_beside
from warehouse.ledger import CORPUS, Build
from warehouse.settings import outcome_hash
from warehouse.settings.model import OWN_ROLLOUTS

if TYPE_CHECKING:
    from assets.project import Project
    from warehouse.store import Snapshot, StageWriter


def builds(project: Project, view: Snapshot, batch: str = CORPUS) -> list[Build]:
    """Return one build, where pairs have rewards; where nobody votes any more, an empty one after the votes before."""
    scored = view.commit("pair_rewards", CORPUS)
    if scored is None or not project.settings.reward_model.models:
        voted = view.commit("preference_strength", batch) is not None
        return [Build("preference_strength", batch, {}, STAGE.code_version, outcome_hash())] if voted else []
    chosen = project.settings.strength
    policy = outcome_hash([chosen, project.settings.reward_model.combine])
    inputs = {"pair_rewards": scored.data_version}
    # A pair of a file that own rollouts bear out has the same rewards as before, and a label that outranks them.
    inputs |= {"/".join(c.key): c.data_version for c in view.of_stage("preference_pairs")}
    return [Build("preference_strength", batch, inputs, STAGE.code_version, policy)]


def write(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Count the votes."""
    if not build.inputs:
        writer.write("preference_strength", [])
        return Written({"pairs": 0, "without_votes": 0})
    settings = run.project.settings
    rewards = view.scan_builds("pair_rewards", [view.live["pair_rewards", CORPUS, ""]])
    votes = pair_votes(rewards, calibrated(run.project), settings.reward_model.combine)
    chosen = settings.strength
    rule = Rule(chosen.weakest, chosen.weakest_treatment, chosen.votes, chosen.strongest)
    own = view.scan("preferences").filter(pl.col("origin") == OWN_ROLLOUTS).select("pair_id").collect()["pair_id"]
    table = strength_beside(votes, rule, own)  # what rewarded own rollouts outranks a reward model
    writer.write("preference_strength", table)
    treatments = table.group_by("treatment").len().sort("treatment").iter_rows()
    unvoted = table.filter(pl.col("votes") == 0).height
    return Written({"pairs": table.height, "without_votes": unvoted} | {f"treatment_{t}": n for t, n in treatments})


STAGE = Stage("preference_strength", "preference_strength", builds, write, __name__)
