"""Stage `contamination`: which prompts overlap with an evaluation set. Re-run over old batches when a set is added."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assets.files import content_hash
from assets.stages import Run, Stage, Written
from warehouse.curation.decontaminate import contamination, evaluation_items
from warehouse.hashing import json_hash
from warehouse.ingest.readers import expand
from warehouse.ledger import Build
from warehouse.settings import outcome_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets.project import Project
    from warehouse.settings import EvaluationSet
    from warehouse.store import Snapshot, StageWriter

CHUNK_PROMPTS = 50_000


def builds(project: Project, view: Snapshot, batch: str) -> list[Build]:
    """Return the build wanted for a batch, or none before its prompts are there."""
    prompts = view.commit("prompts", batch)
    if prompts is None:
        return []
    sets = project.settings.ingest.evaluation_sets
    inputs = {"prompts": prompts.data_version}
    inputs |= {f"set:{s.name}": _set_version(project, view, s) for s in sets}
    policy = outcome_hash(sets, [project.settings.ingest.decontamination_words])
    return [Build("contamination", batch, inputs, STAGE.code_version, policy)]


def _set_version(project: Project, view: Snapshot, chosen: EvaluationSet) -> str:
    if chosen.source is not None:
        holding = {b.key for b in project.live_batches() if any(f.source == chosen.source for f in b.files)}
        return json_hash([c.data_version for c in view.of_stage("prompts") if c.batch in holding])
    return json_hash([content_hash(p) for p in expand(chosen.path or [], project.base)])


def write(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Compare the prompts of a batch with every evaluation set."""
    project = run.project
    ingest = project.settings.ingest
    prompts = view.scan_builds("prompts", [view.live["prompts", build.batch, ""]])
    items = evaluation_items(ingest.evaluation_sets, project.base, view.scan("prompts"))
    found = contamination(_texts(prompts), items, ingest.decontamination_words)
    decisions = found.group_by("prompt_id").agg(
        pl.col("eval_set").first(), pl.col("item").first(), pl.col("matched").first()
    )
    writer.write(
        "decisions",
        decisions.select(
            pl.lit("contamination").alias("stage"),
            pl.lit("").alias("arm"),
            "prompt_id",
            pl.lit("contaminated").alias("rule"),
            pl.lit("drop").alias("outcome"),
            pl.lit(None, pl.Float64).alias("value"),
            pl.lit(float(ingest.decontamination_words)).alias("threshold"),
            pl.format("{} item {}: {}", "eval_set", "item", pl.col("matched").str.slice(0, 200)).alias("detail"),
            pl.lit(build.policy_hash).alias("policy_hash"),
        ),
    )
    writer.write("contamination", found)
    return Written({"contaminated": decisions.height, "sets": len(ingest.evaluation_sets)})


def _texts(prompts: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Yield the prompts that may be trained on, in parts that fit in memory."""
    wanted = prompts.filter(pl.col("pool") != "eval").select("prompt_id", "messages", "raw_text")
    yield from wanted.collect_batches(chunk_size=CHUNK_PROMPTS, maintain_order=False)


STAGE = Stage("contamination", "contamination", builds, write, __name__)
