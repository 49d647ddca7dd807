"""Stage `verdicts`: what the rule verifiers say of every rollout that one of them can check."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl

from assets.checks import VERDICT_CHECKS
from assets.code_version import code_version
from assets.golds import golds
from assets.progress import report
from assets.stages import Run, Stage, Written
from verifiers import Task, Verdict, VerifierPool, available, isolation_problem, sandboxed
from warehouse.hashing import json_hash, text_hash
from warehouse.ledger import Build
from warehouse.settings import outcome_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets.project import Project
    from warehouse.store import Snapshot, StageWriter

CHUNK_ROWS = 20_000
UNDECIDED = ("timeout", "error")  # worth trying again when a batch is verified anew
KEY = ["prompt_id", "role", "sample"]


def builds(project: Project, view: Snapshot, batch: str) -> list[Build]:
    """Return one build a policy that has rollouts of this batch."""
    inputs, policy = judged_by(project, view, batch), outcome_hash([project.settings.reward.budget_s])
    return [
        Build(
            "verdicts",
            batch,
            {"rollouts": c.data_version, **inputs},
            STAGE.code_version,
            policy,
            variant=c.variant,
        )
        for c in view.of_stage("rollouts", batch)
    ]


def judged_by(project: Project, view: Snapshot, batch: str) -> dict[str, str]:
    """Return what verdicts of a batch depend on besides the rollouts, as inputs of a build."""
    if view.commit("prompts", batch) is None:
        return {}
    return {
        "golds": golds(project, view, batch).version,
        "verifiers": json_hash(available()),
        "isolation": _isolation(project, view, batch),
    }


def _isolation(project: Project, view: Snapshot, batch: str) -> str:
    """Return `refused` where the batch has code to verify that cannot be run here: a machine that can redoes it."""
    if isolation_problem(project.settings.verifiers.sandbox) is None:
        return ""
    asked = golds(project, view, batch).frame.filter(pl.col("verifier").is_in(sandboxed()))
    return "" if asked.head(1).collect().is_empty() else "refused"


def _pool(project: Project) -> VerifierPool:
    chosen = project.settings.verifiers
    return VerifierPool(chosen.workers or project.workers, sandbox=chosen.sandbox, url=chosen.url)


def write(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Verify chunk by chunk."""
    rollouts = view.scan_builds("rollouts", [view.live["rollouts", build.batch, build.variant]])
    total = verify(run.project, view, rollouts, writer)
    statuses = writer.written("verdicts").group_by("status").len().collect()
    return Written({"rows": total, **{f"status_{s}": n for s, n in sorted(statuses.iter_rows())}})


def verify(project: Project, view: Snapshot, rollouts: pl.LazyFrame, writer: StageWriter) -> int:
    """Write the verdicts of some rollouts that a build lacks; return how many there are of them in all.

    What other builds of the same batch and policy have, finished or not, is taken over where the very same task was
    decided.
    """
    known = available()
    asked = golds(project, view, writer.build.batch).frame.filter(pl.col("verifier").is_in(list(known)))
    tasks = rollouts.join(asked, on="prompt_id", how="inner")
    answered = pl.col("response").is_not_null()
    done = writer.written("verdicts").select(KEY)
    # Only the keys of all tasks are held: the engine that streams lets each part of the texts go.
    keys = tasks.filter(answered).select(KEY).collect(engine="streaming")
    todo = keys.join(done.collect(), on=KEY, how="anti")
    sizes = todo.group_by("prompt_id").agg(pl.len().alias("rows")).sort("prompt_id")
    before = writer.of_others("verdicts").filter(pl.col("status").is_in(UNDECIDED).not_())
    total = keys.height
    finished = total - int(sizes["rows"].sum())
    with _pool(project) as pool:
        for first, last in _ranges(sizes):
            inside = pl.col("prompt_id").is_between(pl.lit(first), pl.lit(last))
            # A round of adaptive sampling has few prompts between the first and the last; the texts of others stay out.
            ids = sizes.filter(inside)["prompt_id"].to_list()
            inside &= pl.col("prompt_id").is_in(ids)
            chunk = tasks.filter(inside).collect().filter(answered).join(todo, on=KEY, how="semi").sort(KEY)
            old = before.filter(inside).sort("build_id").unique([*KEY, "task_id"], keep="first").collect()
            writer.append("verdicts", _verify(chunk, old, known, pool, project.settings.reward.budget_s))
            finished += chunk.height
            report("verdicts", finished, total)
    return total


def _ranges(sizes: pl.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield ranges of prompt ids that hold about CHUNK_ROWS rollouts each."""
    if sizes.is_empty():
        return
    chunk = (pl.col("rows").cum_sum() - 1) // CHUNK_ROWS
    borders = sizes.group_by(chunk.alias("chunk")).agg(
        pl.col("prompt_id").min().alias("first"), pl.col("prompt_id").max().alias("last")
    )
    yield from borders.sort("chunk").select("first", "last").iter_rows()


def _verify(
    chunk: pl.DataFrame, old: pl.DataFrame, known: dict[str, str], pool: VerifierPool, budget_s: float | None
) -> pl.DataFrame:
    names = ("verifier", "ground_truth", "response", "finish_reason")
    code = code_version("verifiers")
    ids = [text_hash(code, v, known[v], g or "", r, f) for v, g, r, f in chunk.select(names).iter_rows()]
    chunk = chunk.with_columns(pl.Series("task_id", ids, pl.String))
    columns = ["verifier_version", "status", "score", "parts", "extracted", "detail", "elapsed_ms"]
    decided = old.select(*KEY, "task_id", *columns)
    reused = chunk.select(*KEY, "verifier", "task_id").join(decided, on=[*KEY, "task_id"], how="inner")
    chunk = chunk.join(reused, on=KEY, how="anti").sort(KEY)
    tasks = [
        Task(v, r, g, prompt=p, budget_s=budget_s, finish_reason=f)
        for v, r, g, p, f in chunk.select("verifier", "response", "ground_truth", "prompt", "finish_reason").iter_rows()
    ]
    fresh = pl.concat([chunk.select(*KEY, "verifier", "task_id"), _frame(pool.verify(tasks))], how="horizontal")
    order = [*KEY, "verifier", "task_id", *columns]
    return pl.concat([fresh.select(order), reused.select(order)])


def _frame(verdicts: list[Verdict]) -> pl.DataFrame:
    rows = [(v.version, str(v.status), v.score, _parts(v), v.extracted, v.detail, v.elapsed_ms) for v in verdicts]
    schema = {
        "verifier_version": pl.String,
        "status": pl.String,
        "score": pl.Float64,
        "parts": pl.String,
        "extracted": pl.String,
        "detail": pl.String,
        "elapsed_ms": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _parts(verdict: Verdict) -> str | None:
    """Return the parts of a verdict as JSON text: a list of objects of name, status, score and detail."""
    return json.dumps([part._asdict() for part in verdict.parts], ensure_ascii=False) if verdict.parts else None


STAGE = Stage("verdicts", "verdicts", builds, write, __name__, checks=VERDICT_CHECKS)
