"""Adaptive sampling in the pipeline: rounds of samples, each verified before the next is planned.

The prompts that compete are those that the arm may select, and that a rule verifier can score while sampling is under
way. All others get all their samples: evaluation and held-out prompts are measured, original ones are trained on
anyway, and what a model scores is scored later. All reference samples are drawn: they are no part of a score.

Sampling does not know which golds will turn out suspect: where an arm drops those, the boundary that is sampled lies as
many prompts too low as there are, and with few answers a gold looks suspect sooner.

A batch is looked at by itself, as if the arm selected its fraction of it: what other batches hold may change, and
samples that were drawn because of them would depend on the order of runs. The selection then ranks all batches together
by what is expected of each prompt (`warehouse.curation.expected`).

Verdicts that sampling needs are kept in a build that is never committed; the stage `verdicts` takes them over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assets.code_version import code_version
from assets.golds import golds
from assets.requests import PLAN, in_order, whole
from assets.verdicts import judged_by, verify
from trainer.engines import REFERENCE, SCORED
from verifiers.hybrid import route
from warehouse.curation.adaptive import Adaptive, Replay
from warehouse.curation.expected import OF_PASSES
from warehouse.curation.quantise import UNITS, quantise
from warehouse.ledger import Build
from warehouse.settings import outcome_hash

if TYPE_CHECKING:
    from assets.project import Project
    from assets.stages import Run
    from warehouse.settings import ArmSettings
    from warehouse.store import Snapshot, StageWriter


def inputs(project: Project, view: Snapshot, batch: str) -> dict[str, str]:
    """Return what decides how many samples are drawn, as inputs of a build; nothing where all are."""
    if project.settings.adaptive.arm is None:
        return {}
    arm, reward = _arm(project), project.settings.reward
    decides = [arm.name, arm.rule, arm.fraction, list(arm.band), arm.max_all_zero_share, reward.pass_threshold]
    sampling = outcome_hash(project.settings.adaptive, decides, [reward.budget_s, reward.min_scored_share])
    return {"adaptive": code_version(__name__), "sampling": sampling, **judged_by(project, view, batch)}


def rule_of(project: Project) -> Adaptive:
    """Return how to sample for the arm that the settings name."""
    arm, chosen = _arm(project), project.settings.adaptive
    return Adaptive(
        rule=arm.rule,
        fraction=arm.fraction,
        band=arm.band,
        first=chosen.first,
        step=chosen.step,
        budget_share=chosen.budget_share,
        confidence=chosen.confidence,
        tolerance=chosen.tolerance,
        max_all_zero_share=arm.max_all_zero_share,
        min_scored_share=project.settings.reward.min_scored_share,
    )


def _arm(project: Project) -> ArmSettings:
    return next(a for a in project.settings.selection.all_arms() if a.name == project.settings.adaptive.arm)


def competing(project: Project, view: Snapshot, batch: str, wanted: pl.DataFrame) -> pl.DataFrame:
    """Return which of the wanted prompts compete: prompt_id, group (domain and reward source), full."""
    prompts = view.scan_builds("prompts", [view.live["prompts", batch, ""]])
    may = (pl.col("pool") == "new") & (pl.col("split") != "heldout") & pl.col("gold_conflict").not_()
    open_to = prompts.filter(may).join(wanted.lazy(), on="prompt_id", how="semi").select("prompt_id", "domain")
    known = golds(project, view, batch).frame.select("prompt_id", "verifier", "ground_truth")
    found = open_to.join(known, on="prompt_id").sort("prompt_id").collect()
    sources = [route(v, g) for v, g in found.select("verifier", "ground_truth").iter_rows()]
    scored = found.with_columns(source=pl.Series(sources, dtype=pl.String)).filter(pl.col("source") == "rtv")
    full = pl.lit(project.settings.policy.samples, pl.Int64)
    return scored.select("prompt_id", group=pl.format("{}/{}", "domain", "source"), full=full)


class AdaptiveSampler:
    """Plans the rounds of one batch from the rows that are written; see `assets.generation.Sampler`."""

    def __init__(self, run: Run, view: Snapshot, build: Build, writer: StageWriter, wanted: pl.DataFrame) -> None:
        self._project, self._view, self._writer = run.project, view, writer
        self._rule, self._policy_hash = rule_of(run.project), build.policy_hash
        self._prompts = competing(run.project, view, build.batch, wanted)
        self._others = wanted.join(self._prompts, on="prompt_id", how="anti")
        scores = Build("sampling", build.batch, {"rollouts": writer.rows_id}, "", "", variant=build.variant)
        self._verdicts = run.project.store.writer(scores, run.run_id, view)
        self._state: Replay | None = None

    @property
    def most(self) -> int:
        return most_samples(self._project, self._prompts.height, self._others.height)

    def plan(self) -> pl.DataFrame:
        policy, begun = self._project.settings.policy, self._state is not None
        self._state = self._rule.replay(self._prompts, self._rewards(), self._state)
        scored = self._state.plan.select("prompt_id", pl.lit(SCORED).alias("role"), "start", "extra")
        parts = [scored.cast(PLAN)]
        if not begun:
            parts += [whole(self._others, policy), whole(self._prompts, policy, (REFERENCE,))]
        return in_order(pl.concat(parts))

    def decisions(self) -> pl.DataFrame:
        state = self._state or self._rule.replay(self._prompts, self._rewards())
        return self._rule.decisions(state.evidence, str(self._project.settings.adaptive.arm), self._policy_hash)

    def counts(self) -> dict[str, int]:
        """Return how many prompts competed, and how many of their samples were not needed."""
        if self._state is None:
            return {}
        drawn = self._state.evidence.frame.select(pl.col("full") - pl.col("drawn")).sum().item()
        return {"prompts_competing": self._prompts.height, "samples_saved": int(drawn or 0)}

    def _rewards(self) -> pl.DataFrame:
        """Verify what is new among the competing prompts' samples, and return all their rewards."""
        mine = pl.col("role") == SCORED
        drawn = self._writer.written("rollouts").filter(mine).join(self._prompts.lazy(), on="prompt_id", how="semi")
        verify(self._project, self._view, drawn, self._verdicts)
        scores = self._verdicts.written("verdicts").filter(mine).select("prompt_id", "sample", reward="score")
        rewards = drawn.select("prompt_id", "sample").join(scores, on=["prompt_id", "sample"], how="left").collect()
        threshold = self._project.settings.reward.pass_threshold
        if threshold is None or self._rule.rule not in OF_PASSES:
            return rewards
        passed = quantise(pl.col("reward")) >= round(threshold * UNITS)  # as `difficulty` has it
        return rewards.with_columns(passed.cast(pl.Float64).alias("reward"))


def most_samples(project: Project, compete: int, others: int) -> int:
    """Return how many samples so many competing and other prompts get at most, reference samples included."""
    policy = project.settings.policy
    drawn = rule_of(project).budget(compete, compete * policy.samples) if compete else 0
    return drawn + others * policy.samples + (compete + others) * policy.reference_samples
