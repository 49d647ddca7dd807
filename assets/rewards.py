"""Stage `rewards`: the hybrid reward of every scored rollout, each naming its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assets.checks import REWARD_CHECKS
from assets.golds import golds
from assets.model_rewards import calibrated
from assets.routing import routes
from assets.stages import Run, Stage, Written
from trainer.judge.scored import reward_id
from trainer.judge.settings import judged_sources
from trainer.reward_models.about import models_id
from warehouse.curation.model_rewards import by_member, scores
from warehouse.curation.rewards import rewards
from warehouse.ledger import Build
from warehouse.settings import outcome_hash

if TYPE_CHECKING:
    from assets.project import Project
    from warehouse.store import Snapshot, StageWriter


def builds(project: Project, view: Snapshot, batch: str) -> list[Build]:
    """Return one build a policy whose rollouts are verified, and scored by what else is configured."""
    settings = project.settings
    modelled, judged = bool(settings.reward_model.models), bool(judged_sources(settings.judge))
    weighed = [*(["model_rewards"] if modelled else []), *(["judgements"] if judged else [])]
    found = []
    for verdicts in view.of_stage("verdicts", batch):
        rollouts = view.live["rollouts", batch, verdicts.variant]
        inputs = {
            "rollouts": rollouts.data_version,
            "verdicts": verdicts.data_version,
            "golds": golds(project, view, batch).version,
        }
        others = {s: view.commit(s, batch, verdicts.variant) for s in [*weighed, *(["references"] if weighed else [])]}
        inputs |= {name: commit.data_version for name, commit in others.items() if commit is not None}
        if not all(others.values()):
            continue
        chosen = [settings.reward_model.combine] if modelled else []
        policy = outcome_hash([*chosen, list(judged_sources(settings.judge))] if weighed else None)
        found.append(Build("rewards", batch, inputs, STAGE.code_version, policy, variant=verdicts.variant))
    return found


def write(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Fix every prompt's source, then look its rollouts' scores up there."""
    rollouts_commit = view.live["rollouts", build.batch, build.variant]

    def rows(table: str) -> pl.LazyFrame:
        return view.scan_builds(table, [view.live[table, build.batch, build.variant]])

    known = routes(run.project, view, build.batch, build.variant).with_columns(
        pl.lit(rollouts_commit.inputs.get("policy", "")).alias("policy")
    )
    settings = run.project.settings
    modelled = _modelled(run.project, view, build) if settings.reward_model.models else None
    judged = _judged(rows("judgements")) if judged_sources(settings.judge) else None
    table = rewards(rows("rollouts"), rows("verdicts"), known.lazy(), judged, modelled).collect()
    writer.write("rewards", table)
    by_source = table.group_by(pl.col("source").fill_null("none")).agg(
        pl.len(), pl.col("reward").count().alias("scored")
    )
    counts = {"rows": table.height, "unscored": table["reward"].null_count()}
    return Written(counts | {f"source_{s}": n for s, n, _ in sorted(by_source.iter_rows())})


def _judged(judgements: pl.LazyFrame) -> pl.LazyFrame:
    """Return what the judge says of every response that it was asked about, and the name of who says it."""
    names = judgements.select("judge", "template").unique().collect()
    ids = names.with_columns(pl.Series("judge_reward_id", [reward_id(j, t) for j, t in names.iter_rows()], pl.String))
    return judgements.join(ids.lazy(), on=["judge", "template"]).select(
        "prompt_id", "sample", "judge_reward_id", judge_status="status", judge_score="score"
    )


def _modelled(project: Project, view: Snapshot, build: Build) -> pl.LazyFrame:
    """Return what the reward models say of every scored response, and the name of who says it."""
    rows, references = (
        view.scan_builds(s, [view.live[s, build.batch, build.variant]]) for s in ("model_rewards", "references")
    )
    members, combine = calibrated(project), project.settings.reward_model.combine
    names = {kind: models_id(combine, list(members["reward_model"]), kind) for kind in ("best_of_n", "mean")}
    found = scores(by_member(rows, combine), members, references)
    name = pl.col("against").replace_strict(names, return_dtype=pl.String)
    return found.select("prompt_id", "sample", model_reward="reward", model_reward_id=name)


STAGE = Stage("rewards", "rewards", builds, write, __name__, checks=REWARD_CHECKS)
