"""Stage `rollouts`: the samples of every policy, generated here or imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assets import adaptive
from assets.checks import ROLLOUT_CHECKS
from assets.generation import AllSamples, Sampler, generate, targets
from assets.policies import own_policy_id, recorded_policy_id
from assets.recorded import matches, recorded_rows
from assets.stages import Run, Stage, Written
from trainer.engines.recorded import RecordedEngine
from warehouse.hashing import json_hash
from warehouse.ledger import Build
from warehouse.settings import outcome_hash
from warehouse.usage import spent

if TYPE_CHECKING:
    from assets.project import Project
    from warehouse.store import Snapshot, StageWriter

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
    if own is not None and targets(project, view, batch).height:
        taken = json_hash(
            {n: [i.key for i in files] for n, files in recorded.items()} if policy.when == "missing" else {}
        )
        inputs = {"prompts": prompts.data_version, "policy": policy.model, "recorded": taken}
        inputs["gold_checks"] = checked.data_version
        inputs["max_tokens"] = str(policy.max_tokens)  # what `truncation` shows beside the share that it cut
        inputs |= adaptive.inputs(project, view, batch)
        found.append(Build("rollouts", batch, inputs, STAGE.code_version, outcome_hash(policy), variant=own))
    return found


def write(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Import or generate. What a killed run generated is kept: it goes on with the next chunk."""
    sampled: dict[str, int] = {}
    if build.variant == own_policy_id(run.project.settings.policy):
        sampler = _sampler(run, view, build, writer)
        generate(run, view, build, writer, sampler)
        sampled = sampler.counts()
    else:
        _import(run.project, view, build, writer)
    done = writer.written("rollouts").select(
        pl.len().alias("rows"),
        pl.col("prompt_id").n_unique().alias("prompts"),
        (pl.col("finish_reason") == "length").sum().alias("truncated"),
        (pl.col("finish_reason") == "error").sum().alias("errors"),
    )
    counts = {k: int(v or 0) for k, v in done.collect().row(0, named=True).items()}
    return Written(counts | sampled | spent(writer.written("generation").collect()))


def _sampler(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Sampler:
    wanted = targets(run.project, view, build.batch)
    if run.project.settings.adaptive.arm is None:
        return AllSamples(wanted, run.project.settings.policy)
    return adaptive.AdaptiveSampler(run, view, build, writer, wanted)


def _import(project: Project, view: Snapshot, build: Build, writer: StageWriter) -> None:
    rows = recorded_rows(project, view, build.batch, build.inputs["policy"])
    engine = RecordedEngine(rows, build.inputs["policy"])
    ids = rows.select(pl.col("prompt_id").unique().sort())["prompt_id"]
    chunks = [ids.slice(i, RECORDED_CHUNK) for i in range(0, len(ids), RECORDED_CHUNK)]
    writer.write("rollouts", (engine.frame_for(chunk) for chunk in chunks))


STAGE = Stage("rollouts", "rollouts", builds, write, __name__, checks=ROLLOUT_CHECKS)
