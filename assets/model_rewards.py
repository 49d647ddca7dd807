"""Stage `model_rewards`: what the reward models of `[reward_model]` say of every rollout that they are asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assets.code_version import code_version
from assets.golds import golds
from assets.keys import inside
from assets.policies import close_engine
from assets.progress import report
from assets.stages import Run, Stage, Written
from trainer.reward_models.about import Member, member
from verifiers import available
from warehouse.curation.model_rewards import KEY, calibrations
from warehouse.hashing import json_hash, text_hash
from warehouse.ledger import Build
from warehouse.schemas import MODEL_REWARDS
from warehouse.settings import outcome_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assets.project import Project
    from trainer.reward_models.model import RewardModel, Scored
    from warehouse.settings import RewardModelSettings
    from warehouse.store import Snapshot, StageWriter


def members(project: Project) -> list[Member]:
    """Return the reward models that the settings name, in their order.

    Raises:
        ModelError: one of them cannot be had.
    """
    return [member(name) for name in project.settings.reward_model.models]


def calibrated(project: Project) -> pl.DataFrame:
    """Return the calibration of every member by its fingerprint."""
    return calibrations({m.fingerprint: m.calibration for m in members(project)})


def builds(project: Project, view: Snapshot, batch: str) -> list[Build]:
    """Return one build a policy that has rollouts of this batch, where a reward model is configured."""
    chosen = project.settings.reward_model
    if not chosen.models or view.commit("prompts", batch) is None:
        return []
    asked = {
        "models": json_hash([m.fingerprint for m in members(project)]),
        "golds": golds(project, view, batch).version,
        "verifiers": json_hash(sorted(available())),
    }
    policy = outcome_hash([chosen.scope, chosen.dtype, chosen.max_length])
    return [
        Build(
            "model_rewards",
            batch,
            {"rollouts": c.data_version, **asked},
            STAGE.code_version,
            policy,
            variant=c.variant,
        )
        for c in view.of_stage("rollouts", batch)
    ]


def write(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Score member by member, chunk by chunk; a killed run goes on with the chunk that it was at."""
    project = run.project
    asked = _asked(project, view, build).collect()
    for number, one in enumerate(members(project)):
        _score(project, view, build, writer, one, asked, number * asked.height)
    rows = writer.written("model_rewards")
    failed = pl.col("mean").is_null()
    counts = rows.select(rows=pl.len(), unscored=failed.sum()).collect().row(0, named=True)
    reasons = rows.filter(failed).group_by(pl.col("detail").str.extract("^([^:]*)")).len().collect()
    return Written({k: int(v) for k, v in counts.items()} | {f"problem_{r}": n for r, n in sorted(reasons.iter_rows())})


def _asked(project: Project, view: Snapshot, build: Build) -> pl.LazyFrame:
    """Return the keys of the responses to score: those that came to an end, of the prompts in scope."""
    rollouts = view.scan_builds("rollouts", [view.live["rollouts", build.batch, build.variant]])
    whole = pl.col("response").is_not_null() & ~pl.col("finish_reason").fill_null("stop").is_in(["length", "error"])
    keys = rollouts.filter(whole).select(KEY)
    if project.settings.reward_model.scope == "unverified":
        verified = pl.col("verifier").is_in(list(available())) & pl.col("ground_truth").is_not_null()
        keys = keys.join(golds(project, view, build.batch).frame.filter(verified), on="prompt_id", how="anti")
    return keys.sort(KEY)


def _score(
    project: Project,
    view: Snapshot,
    build: Build,
    writer: StageWriter,
    one: Member,
    asked: pl.DataFrame,
    before: int,
) -> None:
    chosen = project.settings.reward_model
    mine = pl.col("reward_model") == one.fingerprint
    done = writer.written("model_rewards").filter(mine).select(KEY).unique().collect()
    left = asked.join(done, on=KEY, how="anti", maintain_order="left")
    old = writer.of_others("model_rewards").filter(mine)
    finished, total = before + asked.height - left.height, asked.height * len(chosen.models)
    loaded: RewardModel | None = None
    for keys in left.iter_slices(chosen.chunk_rows):
        texts = _texts(view, build, keys, one, chosen)
        known = _known(old, texts)
        new = texts.join(known, on=KEY, how="anti", maintain_order="left")
        if new.height and loaded is None:
            loaded = load_member(one, chosen)
        fresh = [] if loaded is None or not new.height else [_scored(loaded, one, new)]
        writer.append("model_rewards", pl.concat([known, *fresh]).sort(*KEY, "head"))
        finished += keys.height
        report("model rewards", finished, total)


def _texts(view: Snapshot, build: Build, keys: pl.DataFrame, one: Member, chosen: RewardModelSettings) -> pl.DataFrame:
    """Return KEY, messages, response and task_id, which names all that decides a reward."""
    mine = inside(keys)
    rollouts = view.scan_builds("rollouts", [view.live["rollouts", build.batch, build.variant]]).filter(mine)
    prompts = view.scan_builds("prompts", [view.live["prompts", build.batch, ""]]).filter(mine)
    rows = (
        rollouts.join(keys.lazy(), on=KEY, how="semi")
        .select(*KEY, "response")
        .join(prompts.select("prompt_id", "messages"), on="prompt_id")
        .collect()
        .sort(KEY)
    )
    ids = [response_task(one, chosen, p, r) for p, r in rows.select("prompt_id", "response").iter_rows()]
    return rows.with_columns(pl.Series("task_id", ids, pl.String))


def response_task(one: Member, chosen: RewardModelSettings, prompt: str, response: str) -> str:
    """Return what names all that decides the reward of a response (prompt: its id)."""
    code = code_version("trainer.reward_models.model")
    return text_hash(code, one.fingerprint, chosen.dtype, str(chosen.max_length), prompt, response)


def _known(old: pl.LazyFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that other builds have of the very same tasks."""
    tasks = texts.lazy().select(*KEY, "task_id")
    rows = old.filter(inside(texts)).join(tasks, on=[*KEY, "task_id"], how="semi").sort("build_id")
    return rows.unique([*KEY, "head"], keep="first").select(list(MODEL_REWARDS.columns)).collect()


def load_member(one: Member, chosen: RewardModelSettings) -> RewardModel:
    """Load a reward model."""
    from trainer.reward_models.model import load_reward_model  # torch takes seconds to import

    close_engine()  # rollouts are done by now, and both may not fit on one device
    return load_reward_model(
        one.name, device=chosen.device, dtype=chosen.dtype, batch=chosen.batch_size, max_length=chosen.max_length
    )


def _scored(model: RewardModel, one: Member, texts: pl.DataFrame) -> pl.DataFrame:
    conversations = (
        (tuple((m["role"], m["content"]) for m in messages), response)
        for messages, response in texts.select("messages", "response").iter_rows()
    )
    found = zip(texts.select(*KEY, "task_id").iter_rows(), model.score(conversations), strict=True)
    rows = [row for (prompt, role, sample, task), s in found for row in _rows(prompt, role, sample, task, one, s)]
    return pl.DataFrame(rows, schema=MODEL_REWARDS.columns, orient="row")


def _rows(prompt: str, role: str, sample: int, task: str, one: Member, scored: Scored) -> Iterator[tuple[object, ...]]:
    """Yield a row a head; one without a reward, and the reason, where there is none."""
    for head, mean in enumerate([None] if scored.mean is None else scored.mean):
        std = None if scored.std is None or mean is None else scored.std[head]
        yield prompt, role, sample, one.fingerprint, head, mean, std, scored.problem, task


STAGE = Stage("model_rewards", "model_rewards", builds, write, __name__)
