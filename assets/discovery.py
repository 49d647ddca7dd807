"""What there is to do: new source files, batches that are stale, batches that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets import (
    contamination,
    curriculum,
    difficulty,
    gold_checks,
    judgements,
    model_rewards,
    pair_rewards,
    preference_pairs,
    preference_strength,
    preferences,
    prompts,
    recorded,
    references,
    releases,
    rewards,
    rollouts,
    selection,
    verdicts,
)
from assets.stages import is_stale
from warehouse.ledger import CORPUS

if TYPE_CHECKING:
    from assets.project import Project
    from warehouse.batches import Batch
    from warehouse.store import Snapshot

BATCH_STAGES = (
    prompts.STAGE,
    contamination.STAGE,
    gold_checks.STAGE,
    rollouts.STAGE,
    verdicts.STAGE,
    model_rewards.STAGE,
    references.STAGE,
    judgements.STAGE,
    rewards.STAGE,
    difficulty.STAGE,
    preference_pairs.STAGE,
)
CORPUS_STAGES = (
    preferences.STAGE,
    pair_rewards.STAGE,
    preference_strength.STAGE,
    selection.STAGE,
    curriculum.STAGE,
    releases.STAGE,
)


def register_new(project: Project) -> Batch | None:
    """Register the source files that no batch has yet as one new batch."""
    return project.batches.register(project.source_files())


def first_stale(project: Project, view: Snapshot, batch: str) -> str | None:
    """Return the name of the first stage of a batch that is not up to date, or None."""
    for stage in BATCH_STAGES:
        if is_stale(stage, project, view, batch):
            return stage.name
    return None


def stale_batches(project: Project) -> dict[str, str]:
    """Return batch -> first stale stage, in order, for every batch that has something to do.

    A new file of rollouts that concerns no batch is read with the last one, so that its bad rows are told.
    """
    view = project.store.snapshot()
    found = {b.key: first_stale(project, view, b.key) for b in project.live_batches()}
    stale = {batch: stage for batch, stage in found.items() if stage is not None}
    if found and not stale and is_stale(recorded.STAGE, project, view, CORPUS):
        return {max(found): recorded.STAGE.name}
    return stale
