"""Stage `rewards`: the hybrid reward of every scored rollout, each naming its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assets.checks import REWARD_CHECKS
from assets.golds import golds
from assets.model_rewards import calibrated
from assets.stages import Run, Stage, Written
from verifiers import available
from verifiers.hybrid import RECORDED, REWARD_MODEL, RTV, route
from warehouse.curation.model_rewards import by_member, scores
from warehouse.curation.rewards import facts, rewards
from warehouse.ledger import Build
from warehouse.settings import outcome_hash

if TYPE_CHECKING:
    from collections.abc import Collection

    from assets.project import Project
    from warehouse.store import Snapshot, StageWriter


def builds(project: Project, view: Snapshot, batch: str) -> list[Build]:
    """Return one build a policy whose rollouts are verified."""
    found = []
    for verdicts in view.of_stage("verdicts", batch):
        rollouts = view.live["rollouts", batch, verdicts.variant]
        inputs = {
            "rollouts": rollouts.data_version,
            "verdicts": verdicts.data_version,
            "golds": golds(project, view, batch).version,
        }
        chosen = project.settings.reward_model
        policy = outcome_hash()
        if chosen.models:
            scored, references = (view.commit(s, batch, verdicts.variant) for s in ("model_rewards", "references"))
            if scored is None or references is None:
                continue
            inputs |= {"model_rewards": scored.data_version, "references": references.data_version}
            policy = outcome_hash([chosen.combine])
        found.append(Build("rewards", batch, inputs, STAGE.code_version, policy, variant=verdicts.variant))
    return found


def write(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Fix every prompt's source, then look its rollouts' scores up there."""
    rollouts_commit = view.live["rollouts", build.batch, build.variant]
    rollouts = view.scan_builds("rollouts", [rollouts_commit])
    verdicts = view.scan_builds("verdicts", [view.live["verdicts", build.batch, build.variant]])
    known = facts(golds(run.project, view, build.batch).frame, rollouts).collect()
    models = run.project.settings.reward_model.models
    routes = _routes(known, (RTV, RECORDED, *((REWARD_MODEL,) if models else ()))).with_columns(
        pl.lit(rollouts_commit.inputs.get("policy", "")).alias("policy")
    )
    modelled = _modelled(run.project, view, build) if models else None
    table = rewards(rollouts, verdicts, routes.lazy(), modelled).collect()
    writer.write("rewards", table)
    by_source = table.group_by(pl.col("source").fill_null("none")).agg(
        pl.len(), pl.col("reward").count().alias("scored")
    )
    counts = {"rows": table.height, "unscored": table["reward"].null_count()}
    return Written(counts | {f"source_{s}": n for s, n, _ in sorted(by_source.iter_rows())})


def _modelled(project: Project, view: Snapshot, build: Build) -> pl.LazyFrame:
    """Return what the reward models say of every scored response, and the name of who says it."""
    rows, references = (
        view.scan_builds(s, [view.live[s, build.batch, build.variant]]) for s in ("model_rewards", "references")
    )
    members, combine = calibrated(project), project.settings.reward_model.combine
    by = "+".join(f"{name[:12]}" for name in members["reward_model"])
    name = pl.format("{}@{}:{}", pl.lit(combine), pl.lit(by), "against")
    found = scores(by_member(rows, combine), members, references)
    return found.select("prompt_id", "sample", model_reward="reward", model_reward_id=name)


def _routes(known: pl.DataFrame, configured: Collection[str]) -> pl.DataFrame:
    """Ask the router once for every distinct case."""
    case = ["verifier", "has_gold", "has_text", "has_recorded_score"]
    cases = known.select(case).unique()
    rows = []
    for verifier, has_gold, has_text, has_score in cases.iter_rows():
        gold = "" if has_gold else None
        open_to = configured if has_text else (RECORDED,)
        source = route(verifier, gold, has_recorded_score=has_score, available=open_to)
        rows.append((verifier, has_gold, has_text, has_score, source, _why_none(verifier, has_gold=has_gold)))
    schema: dict[str, pl.DataType | type[pl.DataType]] = {**cases.schema, "source": pl.String, "no_source": pl.String}
    table = pl.DataFrame(rows, schema=schema, orient="row")
    return known.join(table, on=case, how="left", nulls_equal=True).select("prompt_id", "source", "no_source")


def _why_none(verifier: str | None, *, has_gold: bool) -> str:
    if verifier is None:
        return "no_source"
    if verifier not in available():
        return "no_verifier"
    return "no_response" if has_gold else "no_gold"


STAGE = Stage("rewards", "rewards", builds, write, __name__, checks=REWARD_CHECKS)
