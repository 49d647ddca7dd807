"""Generating the samples that a batch lacks: one stream of requests through an engine, kept chunk by chunk.

The engine is never idle at the border of a chunk: it takes requests in while rows are written. What a killed run loses
is what was on its way and the chunk that was not full. What an engine had finished before it failed is kept.

Completions come in any order, and a chunk may hold samples of any prompts: what is missing is told by the rows that
are there, never by how far a run has come.
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
from trainer.engines import (
    REFERENCE,
    SCORED,
    TOO_LONG,
    Completion,
    EngineError,
    Request,
    plan_requests,
    sample_seed,
)
from warehouse.curation.budget import Meter, Tokens
from warehouse.schemas import GENERATION, ROLLOUTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets.project import Project
    from assets.stages import Run
    from warehouse.ledger import Build
    from warehouse.settings import PolicySettings
    from warehouse.store import Snapshot, StageWriter

KEY = ["prompt_id", "role", "sample"]
# The most that a chat template adds: it may bring a system prompt of its own, and marks every turn.
_TEMPLATE_TOKENS, _TURN_TOKENS = 64, 16


class BudgetSpentError(RuntimeError):
    """The `[budget]` of a run is spent; what was generated is kept, and a later run goes on from there."""


def targets(project: Project, view: Snapshot, batch: str, *, only_read: bool = False) -> pl.DataFrame:
    """Return the prompts to generate for, sorted by id: prompt_id. Those whose gold cannot be used are left out.

    `only_read` looks at no recorded rollouts that were not read yet.
    """
    policy = project.settings.policy
    prompts = view.scan_builds("prompts", [view.live["prompts", batch, ""]])
    usable = prompts.join(unusable(view, batch), on="prompt_id", how="anti")
    wanted = usable.filter(pl.col("pool").is_in(policy.pools)).select("prompt_id", "source").collect()
    if policy.when == "missing":
        recorded = recorded_prompts(project, view, batch, only_read=only_read)
        wanted = wanted.join(recorded, on="prompt_id", how="anti")
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
    kept = _carry_over(writer, samples_of(wanted, policy))
    total = wanted.height * (policy.samples + policy.reference_samples)
    meter = Meter(project.settings.budget, _spent_before(run))
    chunks = Chunks(run.run_id, writer, policy.chunk_prompts * (policy.samples + policy.reference_samples))
    if len(kept) < total:
        asked = _Asked(_requests(project, view, build, wanted, kept), meter)
        engine = engine_for(policy, project.settings.engine)
        chunks.begin()  # loading a model is not part of what a token takes
        report("rollouts", len(kept), total)
        try:
            while asked.next_round():
                for completion in engine.generate(asked):
                    asked.answered(completion)
                    chunks.add(completion)
                    report("rollouts", len(kept) + chunks.samples, total, chunks.response_tokens)
        finally:
            chunks.write()
    writer.write("decisions", _unanswered(writer, build))
    if meter.stopped is not None:
        left = total - len(kept) - chunks.samples
        msg = f"{meter.stopped}; {chunks.samples:,} samples of this run are kept, {left:,} are left for a later one"
        raise BudgetSpentError(msg)


class _Asked:
    """The requests, as far as the budget lasts, and those of them that are on their way.

    Requests on their way are reckoned with the most that they can take. Where the budget might not last for one more,
    the round ends; what they left of it is for the next round.
    """

    def __init__(self, requests: Iterator[Request], meter: Meter) -> None:
        self._requests, self._meter = requests, meter
        self._next: Request | None = next(requests, None)
        self._most: dict[tuple[str, str, int], Tokens] = {}  # of those on their way

    def next_round(self) -> bool:
        """Tell whether there is anything more to ask for.

        Raises:
            EngineError: the engine has not answered everything that it was asked for.
        """
        if self._most:
            prompt, role, sample = next(iter(self._most))
            named = f"{role} sample {sample} of prompt {prompt}"
            msg = f"the engine did not answer {len(self._most)} requests, such as {named}; what it answered is kept"
            raise EngineError(msg)
        return self._next is not None and self._meter.allows(_most(self._next))

    def __iter__(self) -> Iterator[Request]:
        while self._next is not None:
            request, most = self._next, _most(self._next)
            if not self._meter.take(most):
                return
            self._most[request.prompt_id, request.role, request.sample] = most
            self._next = next(self._requests, None)
            yield request

    def answered(self, completion: Completion) -> None:
        """Count what a request took.

        Raises:
            EngineError: nobody asked for this, or it is there already.
        """
        most = self._most.pop((completion.prompt_id, completion.role, completion.sample), None)
        if most is None:
            named = f"{completion.role} sample {completion.sample} of prompt {completion.prompt_id}"
            msg = f"the engine answered {named}, which it was not asked for; what it answered before is kept"
            raise EngineError(msg)
        self._meter.settle(most, _took(completion))


def _most(request: Request) -> Tokens:
    """Return the most that a request can take: no token of a text is shorter than a byte."""
    texts = [c for _, c in request.messages] if request.raw_text is None else [request.raw_text]
    added = _TEMPLATE_TOKENS + _TURN_TOKENS * len(texts)
    return Tokens(sum(len(t.encode("utf-8", "replace")) for t in texts) + added, request.sampling.max_tokens)


def _took(completion: Completion) -> Tokens:
    """Return what a request took. A prompt that does not fit was counted, and sent nowhere."""
    if (completion.detail or "").startswith(TOO_LONG):
        return Tokens()
    return Tokens(completion.prompt_tokens or 0, completion.response_tokens or 0)


class Chunks:
    """Collects completions and writes them, with what they took, as soon as a chunk is full."""

    def __init__(self, run_id: str, writer: StageWriter, rows: int) -> None:
        self._run_id, self._writer, self._rows = run_id, writer, rows
        self._waiting: list[Completion] = []
        self._number = int(writer.written("generation").select(pl.len()).collect().item())
        self.samples = self.response_tokens = 0
        self.begin()

    def begin(self) -> None:
        """Start the clock of the next chunk."""
        self._started, self._at = time.monotonic(), datetime.now(UTC)

    def add(self, completion: Completion) -> None:
        self._waiting.append(completion)
        self.samples += 1
        self.response_tokens += completion.response_tokens or 0
        if len(self._waiting) >= self._rows:
            self.write()

    def write(self) -> None:
        if not self._waiting:
            return
        seconds, began = time.monotonic() - self._started, self._at
        self.begin()  # the engine goes on while this is written
        rows = pl.DataFrame([astuple(c) for c in self._waiting], schema=ROLLOUTS.columns, orient="row")
        took = [_took(c) for c in self._waiting]
        account = rows.select(
            pl.lit(self._number, pl.Int64).alias("chunk"),
            pl.col("engine").first(),
            pl.len().cast(pl.Int64).alias("samples"),
            (pl.col("finish_reason") == "error").sum().cast(pl.Int64).alias("errors"),
            pl.lit(sum(t.prompt for t in took), pl.Int64).alias("prompt_tokens"),
            pl.lit(sum(t.response for t in took), pl.Int64).alias("response_tokens"),
            pl.lit(seconds).alias("seconds"),
            pl.lit(began).alias("started_at"),
            pl.lit(self._run_id).alias("run_id"),
        )
        # What was spent is written first: a kill between the two loses samples, and the account still tells of them.
        self._writer.append("generation", account.cast(pl.Schema(GENERATION.columns)))
        self._writer.append("rollouts", rows)
        self._number += 1
        self._waiting = []


def _spent_before(run: Run) -> Tokens:
    """Return what this run has spent already, on any batch: what is not committed yet was paid for, too."""
    ids = [i for i in (run.run_id, *run.earlier) if i]
    rows = run.project.store.stored("generation").filter(pl.col("run_id").is_in(ids))
    return Tokens(
        *(int(n or 0) for n in rows.select(pl.col("prompt_tokens", "response_tokens").sum()).collect().row(0))
    )


def samples_of(prompts: pl.DataFrame, policy: PolicySettings) -> pl.DataFrame:
    """Return every sample that the policy asks for: prompt_id, role, sample, seed."""
    counts = ((SCORED, policy.samples), (REFERENCE, policy.reference_samples))
    rows = [
        (prompt, role, sample, sample_seed(policy.seed, prompt, role, sample))
        for prompt in prompts["prompt_id"]
        for role, count in counts
        for sample in range(count)
    ]
    return pl.DataFrame(rows, schema={c: ROLLOUTS.columns[c] for c in [*KEY, "seed"]}, orient="row")


def _carry_over(writer: StageWriter, wanted: pl.DataFrame) -> set[tuple[str, str, int]]:
    """Take over the wanted samples that other builds of this policy have; return what need not be generated.

    Those builds are the one before, and any that was never finished: what was paid for is not paid for again because
    preppo was updated in between. A sample is the same where its seed is, too: what was generated must not depend on
    settings of the past. What an engine could not answer for any other reason than the prompt's length may go better
    this time.
    """
    have = writer.written("rollouts")
    before = writer.previous.rows_id if writer.previous is not None else ""
    rows = (
        writer.of_others("rollouts")
        .filter(pl.col("detail").is_null() | pl.col("detail").str.starts_with(TOO_LONG))
        .join(wanted.lazy(), on=[*KEY, "seed"], how="semi")
        .join(have.select(KEY), on=KEY, how="anti")
        .sort(pl.col("build_id") != before, "build_id", *KEY)  # what was committed counts before what was not
        .unique(KEY, keep="first", maintain_order=True)
        .drop("batch", "policy_id", "build_id")
        .collect()
    )
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


def _unanswered(writer: StageWriter, build: Build) -> pl.DataFrame:
    """Return a decision for every prompt that the engine could not answer, with the engine's reason.

    A prompt without any sample to score is quarantined; one that lacks only some is flagged.
    """
    failed = pl.col("detail").is_not_null()
    by_prompt = (
        writer.written("rollouts")
        .group_by("prompt_id")
        .agg(
            failed.sum().alias("failed"),
            pl.len().alias("samples"),
            (~failed & (pl.col("role") == SCORED)).any().alias("scorable"),
            pl.col("detail").min(),
            pl.col("prompt_tokens").filter(failed).max(),
        )
        .filter(pl.col("failed") > 0)
    )
    return (
        by_prompt.select(
            pl.lit("rollouts").alias("stage"),
            pl.lit("").alias("arm"),
            "prompt_id",
            pl.lit("answerable").alias("rule"),
            pl.when("scorable").then(pl.lit("flag")).otherwise(pl.lit("quarantine")).alias("outcome"),
            pl.col("prompt_tokens").cast(pl.Float64).alias("value"),
            pl.lit(None, pl.Float64).alias("threshold"),
            pl.format("{} of {} samples have no text: {}", "failed", "samples", "detail").alias("detail"),
            pl.lit(build.policy_hash).alias("policy_hash"),
        )
        .sort("prompt_id")
        .collect()
    )
