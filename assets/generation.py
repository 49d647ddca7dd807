"""Generating the samples that a batch lacks: one stream of requests through an engine, kept chunk by chunk.

The engine is never idle at the border of a chunk: it takes requests in while rows are written. What a killed run loses
is what was on its way and the chunk that was not full. What an engine had finished before it failed is kept.

Completions come in any order, and a chunk may hold samples of any prompts: what is missing is told by the rows that
are there, never by how far a run has come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import polars as pl

from assets.chunks import Chunks
from assets.golds import unusable
from assets.metering import BudgetSpentError
from assets.policies import engine_for
from assets.progress import report
from assets.recorded import recorded_prompts
from assets.requests import Asked, carry_over, requests, whole
from trainer.engines import SCORED
from warehouse.curation.budget import Meter, Tokens
from warehouse.schemas import DECISIONS

if TYPE_CHECKING:
    from assets.project import Project
    from assets.stages import Run
    from warehouse.ledger import Build
    from warehouse.settings import PolicySettings
    from warehouse.store import Snapshot, StageWriter


class Sampler(Protocol):
    """Says which samples are wanted, a round at a time."""

    @property
    def most(self) -> int:
        """How many samples all rounds want together, at most."""
        ...

    def plan(self) -> pl.DataFrame:
        """Return the next round, as `requests.PLAN`, given the rows that are written; empty where all is done."""
        ...

    def decisions(self) -> pl.DataFrame:
        """Return what was decided about prompts meanwhile."""
        ...

    def counts(self) -> dict[str, int]:
        """Return what to show people beside the rows."""
        ...


@dataclass
class AllSamples:
    """Every sample of every prompt, in one round."""

    prompts: pl.DataFrame
    policy: PolicySettings
    _asked: bool = False

    @property
    def most(self) -> int:
        return self.prompts.height * (self.policy.samples + self.policy.reference_samples)

    def plan(self) -> pl.DataFrame:
        plan = whole(self.prompts, self.policy)
        if self._asked:
            return plan.clear()
        self._asked = True
        return plan

    def decisions(self) -> pl.DataFrame:
        return pl.DataFrame(schema=DECISIONS.columns)

    def counts(self) -> dict[str, int]:
        return {}


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


def generate(run: Run, view: Snapshot, build: Build, writer: StageWriter, sampler: Sampler) -> None:
    """Generate what the sampler asks for and no earlier build has.

    Raises:
        EngineError: the engine cannot go on; what it had finished is kept.
        BudgetSpentError: so is what was generated before the budget of the run was spent.
    """
    policy = run.project.settings.policy
    meter = Meter(run.project.settings.budget, spent_before(run))
    chunks = Chunks(run.run_id, writer, policy.chunk_prompts * (policy.samples + policy.reference_samples))
    while meter.stopped is None and (plan := sampler.plan()).height:
        carry_over(writer, plan, policy)
        there = _rows(writer) - chunks.samples
        report("rollouts", there + chunks.samples, sampler.most)
        asked = Asked(requests(view, build, writer, plan, policy), meter)
        if not asked.next_round():
            continue
        engine = engine_for(policy, run.project.settings.engine)
        chunks.begin()  # neither loading a model nor looking at its samples is part of what a token takes
        try:
            while asked.next_round():
                for completion in engine.generate(asked):
                    asked.answered(completion)
                    chunks.add(completion)
                    report("rollouts", there + chunks.samples, sampler.most, chunks.response_tokens)
        finally:
            chunks.write()
    writer.write("decisions", pl.concat([_unanswered(writer, build), sampler.decisions()]))
    if meter.stopped is not None:
        left = max(0, sampler.most - _rows(writer))
        msg = f"{meter.stopped}; {chunks.samples:,} samples of this run are kept, {left:,} are left for a later one"
        raise BudgetSpentError(msg)


def _rows(writer: StageWriter) -> int:
    return int(writer.written("rollouts").select(pl.len()).collect().item())


def spent_before(run: Run) -> Tokens:
    """Return what this run has spent already, on any batch: what is not committed yet was paid for, too."""
    ids = [i for i in (run.run_id, *run.earlier) if i]
    rows = run.project.store.stored("generation").filter(pl.col("run_id").is_in(ids))
    return Tokens(
        *(int(n or 0) for n in rows.select(pl.col("prompt_tokens", "response_tokens").sum()).collect().row(0))
    )


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
