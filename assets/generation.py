"""Generating the samples that a batch lacks: one stream of requests through an engine, kept chunk by chunk.

The engine is never idle at the border of a chunk: it takes requests in while rows are written. What a killed run loses
is what was on its way and the chunk that was not full. What an engine had finished before it failed is kept.
"""

from __future__ import annotations

import time
from dataclasses import astuple
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from assets.gold_checks import unusable
from assets.policies import engine_for
from assets.progress import report
from assets.recorded import recorded_prompts
from trainer.engines import REFERENCE, SCORED, Completion, Request, plan_requests, sample_seed
from warehouse.curation.budget import Meter
from warehouse.schemas import GENERATION, ROLLOUTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets.project import Project
    from assets.stages import Run
    from warehouse.ledger import Build
    from warehouse.settings import PolicySettings
    from warehouse.store import Snapshot, StageWriter

KEY = ["prompt_id", "role", "sample"]
CHARS_PER_TOKEN = 4.0  # rough; only until the first tokens were counted


class BudgetSpentError(RuntimeError):
    """The `[budget]` of a run is spent; what was generated is kept, and a later run goes on from there."""


def targets(project: Project, view: Snapshot, batch: str) -> pl.DataFrame:
    """Return the prompts to generate for, sorted by id: prompt_id. Those whose gold cannot be used are left out."""
    policy = project.settings.policy
    prompts = view.scan_builds("prompts", [view.live["prompts", batch, ""]])
    usable = prompts.join(unusable(view, batch), on="prompt_id", how="anti")
    wanted = usable.filter(pl.col("pool").is_in(policy.pools)).select("prompt_id", "source").collect()
    if policy.when == "missing":
        wanted = wanted.join(recorded_prompts(project, view, batch), on="prompt_id", how="anti")
    wanted = wanted.sort("prompt_id")
    if policy.per_source is not None:
        wanted = wanted.filter(pl.int_range(pl.len()).over("source") < policy.per_source)
    return wanted.select("prompt_id").sort("prompt_id")


def generate(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> None:
    """Generate what the policy asks for and no earlier build has.

    Raises:
        EngineError: the engine cannot go on; what it had finished is kept.
        BudgetSpentError: so is what was generated before the budget of the run was spent.
    """
    project = run.project
    policy = project.settings.policy
    wanted = targets(project, view, build.batch)
    kept = _carry_over(view, writer, _wanted(wanted, policy))
    total = wanted.height * (policy.samples + policy.reference_samples)
    meter = Meter(project.settings.budget, _spent_before(run, view, writer))
    chunks = _Chunks(run, writer, policy.chunk_prompts * (policy.samples + policy.reference_samples))
    report("rollouts", len(kept), total)
    if len(kept) < total:
        requests = _affordable(_requests(project, view, build, wanted, kept), meter)
        try:
            for completion in engine_for(policy, project.settings.engine).generate(requests):
                meter.spend(completion.prompt_tokens, completion.response_tokens)
                chunks.add(completion)
                report("rollouts", len(kept) + chunks.samples, total)
        finally:
            chunks.write()
    writer.write("decisions", _quarantined(writer, build))
    if meter.stopped is not None:
        left = total - len(kept) - chunks.samples
        msg = f"{meter.stopped}; {chunks.samples:,} samples of this run are kept, {left:,} are left for a later one"
        raise BudgetSpentError(msg)


class _Chunks:
    """Collects completions and writes them, with what they took, as soon as a chunk is full."""

    def __init__(self, run: Run, writer: StageWriter, rows: int) -> None:
        self._run, self._writer, self._rows = run, writer, rows
        self._waiting: list[Completion] = []
        self._number = int(writer.written("generation").select(pl.len()).collect().item())
        self._began()
        self.samples = 0

    def _began(self) -> None:
        self._started, self._at = time.monotonic(), datetime.now(UTC)

    def add(self, completion: Completion) -> None:
        self._waiting.append(completion)
        self.samples += 1
        if len(self._waiting) >= self._rows:
            self.write()

    def write(self) -> None:
        if not self._waiting:
            return
        rows = pl.DataFrame([astuple(c) for c in self._waiting], schema=ROLLOUTS.columns, orient="row")
        account = rows.select(
            pl.lit(self._number, pl.Int64).alias("chunk"),
            pl.col("engine").first(),
            pl.len().cast(pl.Int64).alias("samples"),
            (pl.col("finish_reason") == "error").sum().cast(pl.Int64).alias("errors"),
            pl.col("prompt_tokens", "response_tokens").sum(),
            pl.lit(time.monotonic() - self._started).alias("seconds"),
            pl.lit(self._at).alias("started_at"),
            pl.lit(self._run.run_id).alias("run_id"),
        )
        # What was spent is written first: a kill between the two loses samples, and the account still tells of them.
        self._writer.append("generation", account.cast(pl.Schema(GENERATION.columns)))
        self._writer.append("rollouts", rows)
        self._number += 1
        self._waiting = []
        self._began()


def spent(account: pl.DataFrame) -> dict[str, int]:
    """Return the totals of some rows of `generation`, as counts of a commit."""
    names = {"samples": "generated", "prompt_tokens": "prompt_tokens", "response_tokens": "response_tokens"}
    sums = {new: int(account[old].sum() or 0) for old, new in names.items()}
    return {**sums, "generation_ms": round(1000 * float(account["seconds"].sum() or 0))}


def _spent_before(run: Run, view: Snapshot, writer: StageWriter) -> tuple[int, int, int]:
    """Return samples, prompt tokens and response tokens that this run has spent on other batches and on this one."""
    mine = pl.col("run_id") == run.run_id
    rows = pl.concat([view.scan("generation"), writer.written("generation")]).filter(mine)
    sums = rows.select(pl.col("samples", "prompt_tokens", "response_tokens").sum()).collect().row(0)
    return int(sums[0] or 0), int(sums[1] or 0), int(sums[2] or 0)


def _affordable(requests: Iterator[Request], meter: Meter) -> Iterator[Request]:
    for request in requests:
        text = request.raw_text if request.raw_text is not None else "".join(c for _, c in request.messages)
        if not meter.take(round(len(text) / CHARS_PER_TOKEN), request.sampling.max_tokens):
            return
        yield request


def _wanted(prompts: pl.DataFrame, policy: PolicySettings) -> pl.DataFrame:
    """Return every sample that the policy asks for: prompt_id, role, sample, seed."""
    counts = ((SCORED, policy.samples), (REFERENCE, policy.reference_samples))
    rows = [
        (prompt, role, sample, sample_seed(policy.seed, prompt, role, sample))
        for prompt in prompts["prompt_id"]
        for role, count in counts
        for sample in range(count)
    ]
    return pl.DataFrame(rows, schema={c: ROLLOUTS.columns[c] for c in [*KEY, "seed"]}, orient="row")


def _carry_over(view: Snapshot, writer: StageWriter, wanted: pl.DataFrame) -> set[tuple[str, str, int]]:
    """Take over the wanted samples that an earlier build has; return what need not be generated.

    A sample is the same where its seed is, too: what was generated must not depend on settings of the past.
    """
    have = writer.written("rollouts")
    if writer.previous is not None:
        old = view.scan_builds("rollouts", [writer.previous]).drop("batch", "policy_id")
        old = old.join(wanted.lazy(), on=[*KEY, "seed"], how="semi").join(have.select(KEY), on=KEY, how="anti")
        rows = old.collect()
        if rows.height:
            writer.append("rollouts", rows)
    return set(writer.written("rollouts").select(KEY).collect().iter_rows())


def _requests(
    project: Project, view: Snapshot, build: Build, wanted: pl.DataFrame, kept: set[tuple[str, str, int]]
) -> Iterator[Request]:
    """Yield what is missing, by prompt_id; the texts of one chunk of prompts are held at a time."""
    policy = project.settings.policy
    prompts = view.scan_builds("prompts", [view.live["prompts", build.batch, ""]])
    for ids in wanted.iter_slices(policy.chunk_prompts):
        inside = pl.col("prompt_id").is_between(pl.lit(ids["prompt_id"][0]), pl.lit(ids["prompt_id"][-1]))
        texts = prompts.filter(inside).join(ids.lazy(), on="prompt_id", how="semi").sort("prompt_id")
        for prompt_id, messages, raw_text in texts.select("prompt_id", "messages", "raw_text").collect().iter_rows():
            turns = [(m["role"], m["content"]) for m in messages]
            for request in plan_requests(prompt_id, turns, raw_text, policy):
                if (request.prompt_id, request.role, request.sample) not in kept:
                    yield request


def _quarantined(writer: StageWriter, build: Build) -> pl.DataFrame:
    """Return a decision for every prompt that the engine could not answer, with the engine's reason."""
    failed = writer.written("rollouts").filter(pl.col("detail").is_not_null())
    by_prompt = failed.group_by("prompt_id").agg(
        pl.len().alias("samples"), pl.col("detail").min(), pl.col("prompt_tokens").max()
    )
    return (
        by_prompt.select(
            pl.lit("rollouts").alias("stage"),
            pl.lit("").alias("arm"),
            "prompt_id",
            pl.lit("answerable").alias("rule"),
            pl.lit("quarantine").alias("outcome"),
            pl.col("prompt_tokens").cast(pl.Float64).alias("value"),
            pl.lit(None, pl.Float64).alias("threshold"),
            pl.format("{} samples have no text: {}", "samples", "detail").alias("detail"),
            pl.lit(build.policy_hash).alias("policy_hash"),
        )
        .sort("prompt_id")
        .collect()
    )
