"""What is still to be generated: plans of samples, what other builds have of them, and the requests for the rest.

A plan says of each prompt which samples it is to have: prompt_id, role, start (the first sample number) and extra (how
many), by prompt, what is scored first. It is spelled out a part at a time, so that a million prompts with dozens of
samples each take no memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assets.chunks import took
from assets.keys import inside
from trainer.engines import REFERENCE, SCORED, TOO_LONG, Completion, EngineError, Request, plan_requests, sample_seed
from warehouse.curation.budget import Meter, Tokens
from warehouse.schemas import ROLLOUTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warehouse.ledger import Build
    from warehouse.settings import PolicySettings
    from warehouse.store import Snapshot, StageWriter

KEY = ["prompt_id", "role", "sample"]
PLAN = pl.Schema({"prompt_id": pl.String, "role": pl.String, "start": pl.Int64, "extra": pl.Int64})
SPELLED_OUT = 200_000  # samples at a time
# The most that a chat template adds: it may bring a system prompt of its own, and marks every turn.
_TEMPLATE_TOKENS, _TURN_TOKENS = 64, 16


def whole(prompts: pl.DataFrame, policy: PolicySettings, roles: tuple[str, ...] = (SCORED, REFERENCE)) -> pl.DataFrame:
    """Return the plan of all samples that the policy has of some prompts (prompt_id), in some roles."""
    counts = {SCORED: policy.samples, REFERENCE: policy.reference_samples}
    parts = [prompts.select("prompt_id", role=pl.lit(r), start=pl.lit(0), extra=pl.lit(counts[r])) for r in roles]
    plan = pl.concat([pl.DataFrame(schema=PLAN), *(p.cast(PLAN) for p in parts)])
    return in_order(plan.filter(pl.col("extra") > 0))


def in_order(plan: pl.DataFrame) -> pl.DataFrame:
    """Return a plan in the order in which it is asked for."""
    return plan.sort("prompt_id", "role", descending=[False, True])


def spelled_out(plan: pl.DataFrame, policy: PolicySettings) -> Iterator[pl.DataFrame]:
    """Yield the samples of a plan, some at a time and in its order: prompt_id, role, sample, seed."""
    part = (pl.col("extra").cum_sum() - 1) // SPELLED_OUT
    for rows in plan.with_columns(part=part).partition_by("part", maintain_order=True):
        samples = pl.int_ranges("start", pl.col("start") + pl.col("extra")).alias("sample")
        some = rows.select("prompt_id", "role", samples).explode("sample")
        seeds = [sample_seed(policy.seed, *key) for key in some.iter_rows()]
        yield some.with_columns(pl.Series("seed", seeds, ROLLOUTS.columns["seed"])).cast({"sample": pl.Int64})


def carry_over(writer: StageWriter, plan: pl.DataFrame, policy: PolicySettings) -> None:
    """Take over the planned samples that other builds of this policy have.

    Those builds are the one before, and any that was never finished: what was paid for is not paid for again because
    preppo was updated in between. A sample is the same where its seed is, too: what was generated must not depend on
    settings of the past. What an engine could not answer for any other reason than the prompt's length may go better
    this time.
    """
    others = writer.of_others("rollouts")
    if others.head(1).collect().is_empty():
        return
    before = writer.previous.rows_id if writer.previous is not None else ""
    answered = pl.col("detail").is_null() | pl.col("detail").str.starts_with(TOO_LONG)
    for samples in spelled_out(plan, policy):
        have = writer.written("rollouts").filter(inside(samples)).select(KEY)
        rows = (
            others.filter(inside(samples) & answered)
            .join(samples.lazy(), on=[*KEY, "seed"], how="semi")
            .join(have, on=KEY, how="anti")
            .sort(pl.col("build_id") != before, "build_id", *KEY)  # what was committed counts before what was not
            .unique(KEY, keep="first", maintain_order=True)
            .drop("batch", "policy_id", "build_id")
            .collect()
        )
        if rows.height:
            writer.append("rollouts", rows)


def requests(
    view: Snapshot, build: Build, writer: StageWriter, plan: pl.DataFrame, policy: PolicySettings
) -> Iterator[Request]:
    """Yield requests for the planned samples that are not there, by prompt_id."""
    prompts = view.scan_builds("prompts", [view.live["prompts", build.batch, ""]])
    for samples in spelled_out(plan, policy):
        have = writer.written("rollouts").filter(inside(samples)).select(KEY).collect()
        missing = samples.join(have, on=KEY, how="anti", maintain_order="left")
        by_prompt = missing.group_by("prompt_id", maintain_order=True).agg("role", "sample")
        for some in by_prompt.iter_slices(policy.chunk_prompts):  # so many texts are held at a time
            texts = prompts.filter(inside(some)).join(some.lazy(), on="prompt_id").sort("prompt_id")
            rows = texts.select("prompt_id", "messages", "raw_text", "role", "sample").collect()
            for prompt_id, messages, raw_text, roles, numbers in rows.iter_rows():
                turns = [(m["role"], m["content"]) for m in messages]
                yield from plan_requests(prompt_id, turns, raw_text, policy, list(zip(roles, numbers, strict=True)))


class Asked:
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
        self._meter.settle(most, took(completion))


def _most(request: Request) -> Tokens:
    """Return the most that a request can take: no token of a text is shorter than a byte."""
    texts = [c for _, c in request.messages] if request.raw_text is None else [request.raw_text]
    added = _TEMPLATE_TOKENS + _TURN_TOKENS * len(texts)
    return Tokens(sum(len(t.encode("utf-8", "replace")) for t in texts) + added, request.sampling.max_tokens)
