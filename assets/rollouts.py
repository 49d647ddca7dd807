"""Stage `rollouts`: the samples of every policy, generated here or imported."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING

import polars as pl

from assets.gold_checks import unusable
from assets.policies import engine_for, own_policy_id, recorded_policy_id
from assets.progress import report
from assets.recorded import matches, recorded_prompts, recorded_rows
from assets.stages import Run, Stage, Written
from trainer.engines import REFERENCE, SCORED, Request, plan_requests, sample_seed
from trainer.engines.recorded import RecordedEngine
from warehouse.hashing import json_hash
from warehouse.ledger import Build
from warehouse.schemas import ROLLOUTS
from warehouse.settings import outcome_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets.project import Project
    from warehouse.settings import PolicySettings
    from warehouse.store import Snapshot, StageWriter

KEY = ["prompt_id", "role", "sample"]
RECORDED_CHUNK = 20_000  # prompts


def builds(project: Project, view: Snapshot, batch: str) -> list[Build]:
    """Return one build a policy that has, or should get, rollouts of this batch."""
    prompts, checked = view.commit("prompts", batch), view.commit("gold_checks", batch)
    if prompts is None or checked is None:
        return []
    recorded = matches(project, view, batch)
    found = [
        Build(
            "rollouts",
            batch,
            {"prompts": prompts.data_version, "policy": name, "files": json_hash([i.key for i in files])},
            STAGE.code_version,
            outcome_hash(),
            variant=recorded_policy_id(name),
        )
        for name, files in recorded.items()
    ]
    policy = project.settings.policy
    own = own_policy_id(policy)
    if own is not None and _targets(project, view, batch).height:
        taken = json_hash(
            {n: [i.key for i in files] for n, files in recorded.items()} if policy.when == "missing" else {}
        )
        inputs = {"prompts": prompts.data_version, "policy": policy.model, "recorded": taken}
        inputs["gold_checks"] = checked.data_version
        found.append(Build("rollouts", batch, inputs, STAGE.code_version, outcome_hash(policy), variant=own))
    return found


def _targets(project: Project, view: Snapshot, batch: str) -> pl.DataFrame:
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


def write(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Import or generate. What a killed run generated is kept: it goes on with the next chunk."""
    if build.variant == own_policy_id(run.project.settings.policy):
        _generate(run.project, view, build, writer)
    else:
        _import(run.project, view, build, writer)
    done = writer.written("rollouts").select(
        pl.len().alias("rows"),
        pl.col("prompt_id").n_unique().alias("prompts"),
        (pl.col("finish_reason") == "length").sum().alias("truncated"),
        (pl.col("finish_reason") == "error").sum().alias("errors"),
        pl.col("response_tokens").sum().alias("response_tokens"),
    )
    return Written({k: int(v or 0) for k, v in done.collect().row(0, named=True).items()})


def _import(project: Project, view: Snapshot, build: Build, writer: StageWriter) -> None:
    rows = recorded_rows(project, view, build.batch, build.inputs["policy"])
    engine = RecordedEngine(rows, build.inputs["policy"])
    ids = rows.select(pl.col("prompt_id").unique().sort())["prompt_id"]
    chunks = [ids.slice(i, RECORDED_CHUNK) for i in range(0, len(ids), RECORDED_CHUNK)]
    writer.write("rollouts", (engine.frame_for(chunk) for chunk in chunks))


def _generate(project: Project, view: Snapshot, build: Build, writer: StageWriter) -> None:
    policy = project.settings.policy
    targets = _targets(project, view, build.batch)
    kept = _carry_over(view, writer, _wanted(targets, policy))
    prompts = view.scan_builds("prompts", [view.live["prompts", build.batch, ""]])
    requests_left = 0
    total = targets.height * (policy.samples + policy.reference_samples)
    for first in range(0, targets.height, policy.chunk_prompts):
        ids = targets.slice(first, policy.chunk_prompts)
        inside = pl.col("prompt_id").is_between(pl.lit(ids["prompt_id"][0]), pl.lit(ids["prompt_id"][-1]))
        texts = prompts.filter(inside).join(ids.lazy(), on="prompt_id", how="semi").sort("prompt_id").collect()
        requests = [r for r in _requests(texts, project) if (r.prompt_id, r.role, r.sample) not in kept]
        if requests:
            completions = engine_for(policy).generate(requests)
            rows = pl.DataFrame([astuple(c) for c in completions], schema=ROLLOUTS.columns, orient="row")
            writer.append("rollouts", rows)
        requests_left += len(ids) * (policy.samples + policy.reference_samples)
        report("rollouts", requests_left, total)


def _wanted(targets: pl.DataFrame, policy: PolicySettings) -> pl.DataFrame:
    """Return every sample that the policy asks for: prompt_id, role, sample, seed."""
    counts = ((SCORED, policy.samples), (REFERENCE, policy.reference_samples))
    rows = [
        (prompt, role, sample, sample_seed(policy.seed, prompt, role, sample))
        for prompt in targets["prompt_id"]
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


def _requests(texts: pl.DataFrame, project: Project) -> Iterator[Request]:
    for prompt_id, messages, raw_text in texts.select("prompt_id", "messages", "raw_text").iter_rows():
        turns = [(m["role"], m["content"]) for m in messages]
        yield from plan_requests(prompt_id, turns, raw_text, project.settings.policy)


STAGE = Stage("rollouts", "rollouts", builds, write, __name__)
