"""Stage `prompts`: source files in; canonical prompts, rejected rows and signatures out, every row accounted for."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from assets.checks import PROMPT_CHECKS
from assets.progress import report
from assets.stages import Run, Stage, StageFailedError, Written
from warehouse.hashing import json_hash
from warehouse.ingest.batch import SourceFile, ingest_batch
from warehouse.ledger import Build
from warehouse.settings import outcome_hash

if TYPE_CHECKING:
    from assets.project import Project
    from warehouse.batches import Batch
    from warehouse.settings import Settings, SourceSettings
    from warehouse.store import Snapshot, StageWriter

REJECTED = ("duplicate", "near_duplicate", "quarantined", "filtered")


def builds(project: Project, view: Snapshot, batch: str) -> list[Build]:
    """Return the one build wanted for a batch; it depends on every batch before it, whose prompts are not new."""
    manifest = project.batches.get(batch)
    earlier = _earlier(project, batch)
    known = [(b.key, c.data_version if (c := view.commit("prompts", b.key)) else None) for b in earlier]
    mappings = [project.source(name) for name in sorted({f.source for f in manifest.files})]
    inputs = {"files": manifest.content_hash, "earlier": json_hash(known)}
    return [Build("prompts", batch, inputs, STAGE.code_version, _policy_hash(project.settings, mappings))]


def _policy_hash(settings: Settings, mappings: list[SourceSettings]) -> str:
    # Evaluation sets decide contamination, a stage of its own; adding one must not read every source again.
    own = settings.ingest.model_copy(update={"evaluation_sets": [], "decontamination_words": 13})
    return outcome_hash(own, mappings)


def _earlier(project: Project, batch: str) -> list[Batch]:
    return [b for b in project.live_batches() if b.key < batch]


def write(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Ingest a batch.

    Raises:
        StageFailedError: an earlier batch is not in yet.
    """
    project = run.project
    earlier = _earlier(project, build.batch)
    waiting = [b.key for b in earlier if view.commit("prompts", b.key) is None]
    if waiting:
        msg = f"batch {build.batch} waits for {', '.join(waiting)}: run them first, or abandon them"
        raise StageFailedError(msg)
    commits = [c for c in view.of_stage("prompts") if c.batch < build.batch]
    manifest = project.batches.get(build.batch)
    ingested = ingest_batch(
        [SourceFile(f.source, Path(f.path) if f.path else None, f.file_hash, f.dataset) for f in manifest.files],
        project.settings,
        earlier=view.scan_builds("signatures", commits).drop("batch"),
        work=_work(run, build),
        workers=project.workers,
        ingested_at=datetime.now(UTC),
        policy_hash=build.policy_hash,
        progress=lambda rows: report("rows read", rows, None),
    )
    summary = _summary(ingested.counts, build)
    writer.write("decisions", [*ingested.decisions(), summary])
    rejected = writer.write("rejected_prompts", ingested.rejected())
    writer.write("signatures", ingested.signatures())
    kept = writer.write("prompts", ingested.prompts())
    counts = {"rows_read": ingested.rows_read, **ingested.counts}
    if ingested.rows_read != kept + rejected or kept != counts["prompts"]:
        msg = (
            f"batch {build.batch}: {ingested.rows_read} rows read, but {kept} kept + {rejected} rejected; not committed"
        )
        raise StageFailedError(msg)
    return Written(counts)


def _summary(counts: dict[str, int], build: Build) -> pl.DataFrame:
    """Return the one row that stands for all prompts that came through, with their number."""
    row = ("prompts", "", "", "ingested", "carry", float(counts["prompts"]), None, "kept", build.policy_hash)
    names = ["stage", "arm", "prompt_id", "rule", "outcome", "value", "threshold", "detail", "policy_hash"]
    return pl.DataFrame([row], schema=names, orient="row")


def _work(run: Run, build: Build) -> Path:
    return run.project.home.work / f"prompts-{build.build_id}"


def _clean(run: Run, build: Build) -> None:
    shutil.rmtree(_work(run, build), ignore_errors=True)


STAGE = Stage("prompts", "prompts", builds, write, __name__, checks=PROMPT_CHECKS, after=_clean)
