"""Stage `preference_pairs`: best and worst of every prompt's own rollouts, as preference pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assets.golds import overrides, overruled
from assets.stages import Run, Stage, Written
from warehouse.curation.dedup import TRAINING_PROMPT
from warehouse.curation.own_pairs import own_pairs
from warehouse.hashing import frame_hash
from warehouse.ledger import Build
from warehouse.settings import outcome_hash

if TYPE_CHECKING:
    from assets.project import Project
    from warehouse.store import Snapshot, StageWriter

_PLACES = ("pool", "split")


def builds(project: Project, view: Snapshot, batch: str) -> list[Build]:
    """Return one build a policy whose rollouts have rewards, where own rollouts are wanted and models can vote.

    Where they are not wanted any more, an empty build takes the place of the one before.
    """
    gap = _gap(project)
    found = []
    for rewards in view.of_stage("rewards", batch):
        if gap is None:
            if view.commit("preference_pairs", batch, rewards.variant) is None:
                continue
            inputs = {}
        else:
            rollouts = view.live["rollouts", batch, rewards.variant]
            inputs = {"rollouts": rollouts.data_version, "rewards": rewards.data_version}
            inputs |= _versions(project, view, batch)
        policy = outcome_hash([gap])
        found.append(Build("preference_pairs", batch, inputs, STAGE.code_version, policy, variant=rewards.variant))
    return found


def _gap(project: Project) -> float | None:
    """Return the gap that makes a pair, or None where own rollouts make none."""
    chosen = project.settings.strength
    return chosen.min_gap if chosen.own_rollouts and project.settings.reward_model.models else None


def _versions(project: Project, view: Snapshot, batch: str) -> dict[str, str]:
    """Return what names the prompts that `_prompts` gives."""
    found = {"prompts": view.live["prompts", batch, ""].data_version}
    dirty = view.commit("contamination", batch)
    if dirty is not None:
        found["contamination"] = dirty.data_version
    ids = view.scan_builds("prompts", [view.live["prompts", batch, ""]]).select("prompt_id")
    for name, said in (("evaluated", _evaluated(view)), ("overrides", _said(project))):
        mine = said if said.is_empty() else said.lazy().join(ids, on="prompt_id", how="semi").collect()
        if mine.height:
            found[name] = frame_hash(mine.sort(mine.columns[:2]))
    return found


def _prompts(project: Project, view: Snapshot, batch: str) -> pl.LazyFrame:
    """Return prompt_id and messages of the prompts of a batch that may be trained on, as `selection` sees them."""
    rows = view.scan_builds("prompts", [view.live["prompts", batch, ""]])
    placed = overruled(rows.select("prompt_id", "messages", *_PLACES), _said(project))
    free = placed.filter((pl.col("pool") != "eval") & (pl.col("split") == "train"))
    dirty = view.scan_builds("contamination", view.of_stage("contamination", batch)).select("prompt_id")
    barred = pl.concat([dirty, _evaluated(view).lazy()])
    return free.join(barred, on="prompt_id", how="anti").select("prompt_id", "messages")


def _evaluated(view: Snapshot) -> pl.DataFrame:
    """Return the prompts of which a later batch says that they are evaluated on, too: prompt_id."""
    told = view.scan("rejected_prompts").filter(pl.col("reason_code") == TRAINING_PROMPT)
    return told.select(prompt_id="matched_prompt_id").drop_nulls().unique().sort("prompt_id").collect()


def _said(project: Project) -> pl.DataFrame:
    return overrides(project).filter(pl.col("field").is_in(_PLACES))


def write(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Pair them."""
    gap = _gap(run.project)
    if gap is None:
        writer.write("preferences", [])
        return Written({"pairs": 0})
    rollouts, rewards = (
        view.scan_builds(t, [view.live[t, build.batch, build.variant]]) for t in ("rollouts", "rewards")
    )
    table = own_pairs(rollouts, rewards, _prompts(run.project, view, build.batch), gap)
    writer.write("preferences", table)
    return Written({"pairs": table.height})


STAGE = Stage("preference_pairs", "preferences", builds, write, __name__)
