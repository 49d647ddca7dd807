"""Stage `gold_checks`: golds that their verifier cannot use, found before a rollout is paid for."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import polars as pl

from assets.checks import GOLD_CHECKS
from assets.golds import golds
from assets.progress import report
from assets.stages import Run, Stage, Written
from verifiers import Task, available, check_gold
from warehouse.hashing import json_hash
from warehouse.ledger import Build
from warehouse.settings import outcome_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from assets.project import Project
    from warehouse.store import Snapshot, StageWriter

CHUNK_GOLDS = 20_000
SMALL = 20_000  # distinct golds below which starting processes costs more than they save


def builds(project: Project, view: Snapshot, batch: str) -> list[Build]:
    """Return the build wanted for a batch, or none before its prompts are there."""
    if view.commit("prompts", batch) is None:
        return []
    inputs = {"golds": golds(project, view, batch).version, "verifiers": json_hash(available())}
    return [Build("gold_checks", batch, inputs, STAGE.code_version, outcome_hash())]


def write(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Have every verifier read the golds of its prompts, each distinct one once."""
    known = available()
    asked = golds(run.project, view, build.batch).frame.select("prompt_id", "verifier", "ground_truth")
    mine = pl.col("verifier").is_in(list(known)) & pl.col("ground_truth").is_not_null()
    distinct = asked.filter(mine).select("verifier", "ground_truth").unique().sort("verifier", "ground_truth").collect()
    problems = pl.DataFrame(
        list(_problems(distinct, run.project.workers)),
        schema={"verifier": pl.String, "ground_truth": pl.String, "problem": pl.String},
        orient="row",
    )
    versions = pl.DataFrame({"verifier": list(known), "verifier_version": list(known.values())})
    found = (
        asked.join(problems.lazy(), on=["verifier", "ground_truth"], how="inner")
        .join(versions.lazy(), on="verifier", how="left")
        .select("prompt_id", "verifier", "verifier_version", "problem")
        .sort("prompt_id")
        .collect()
    )
    decisions = found.select(
        pl.lit("gold_checks").alias("stage"),
        pl.lit("").alias("arm"),
        "prompt_id",
        pl.lit("usable_gold").alias("rule"),
        pl.lit("quarantine").alias("outcome"),
        pl.lit(None, pl.Float64).alias("value"),
        pl.lit(None, pl.Float64).alias("threshold"),
        pl.format("{}: {}", "verifier", "problem").alias("detail"),
        pl.lit(build.policy_hash).alias("policy_hash"),
    )
    writer.write("decisions", decisions)
    writer.write("gold_checks", found)
    return Written({"golds": distinct.height, "bad_golds": found.height})


def _problems(distinct: pl.DataFrame, workers: int) -> Iterator[tuple[str, str, str]]:
    """Yield (verifier, ground_truth, problem) for every gold that cannot be used, in order."""
    chunks = [chunk.rows() for chunk in distinct.iter_slices(CHUNK_GOLDS)]
    done = 0
    for number, found in enumerate(_checked(chunks, distinct.height, workers)):
        yield from found
        done += len(chunks[number])
        report("golds", done, distinct.height)


def _checked(chunks: list[list[tuple[str, str]]], rows: int, workers: int) -> Iterable[list[tuple[str, str, str]]]:
    if workers == 1 or rows <= SMALL:
        yield from map(check_chunk, chunks)
        return
    # Fresh processes: a fork of one with running threads (Polars, Arrow) can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(check_chunk, chunks)


def check_chunk(golds: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Return (verifier, ground_truth, problem) for those of (verifier, ground_truth) that cannot be used."""
    told = ((name, text, check_gold(Task(name, "", text))) for name, text in golds)
    return [(name, text, problem) for name, text, problem in told if problem is not None]


STAGE = Stage("gold_checks", "gold_checks", builds, write, __name__, checks=GOLD_CHECKS)
