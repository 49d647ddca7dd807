"""Stage `selection`: every prompt of every batch, kept or dropped by each arm, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assets.checks import SELECTION_CHECKS, compared_prompts
from assets.golds import overrides, overruled
from assets.policies import own_policy_id, policy_order
from assets.stages import Run, Stage, Written
from warehouse.curation.dedup import TRAINING_PROMPT
from warehouse.curation.overrides import override_decisions
from warehouse.curation.selection import select, selection_decisions
from warehouse.curation.signals import resting
from warehouse.decisions import changes
from warehouse.hashing import frame_hash, json_hash
from warehouse.ledger import CORPUS, Build
from warehouse.schemas import DECISIONS
from warehouse.settings import deciding, outcome_hash
from warehouse.training_signals import signals_version, training_runs

if TYPE_CHECKING:
    from assets.project import Project
    from warehouse.settings import ArmSettings
    from warehouse.store import Snapshot, StageWriter

STAGES = ("prompts", "contamination", "gold_checks", "difficulty")
SELECTION_FIELDS = ("selected", "domain", "split", "pool", "suspect_gold")


def arm_of(project: Project, name: str) -> ArmSettings:
    """Return an arm by name."""
    return next(a for a in project.settings.selection.all_arms() if a.name == name)


def builds(project: Project, view: Snapshot, batch: str = CORPUS) -> list[Build]:
    """Return one build an arm; each looks at all batches, and at the policies in their order of preference."""
    said = overrides(project)
    ready = {c.batch for c in compared_prompts(view)}
    order = policy_order(project, view)
    inputs = {
        f"{c.stage}:{c.batch}:{c.variant}": c.data_version
        for stage in STAGES
        for c in view.of_stage(stage)
        if c.batch in ready and (stage != "difficulty" or c.variant in order)
    }
    if not ready and not view.of_stage("selection"):
        return []  # nothing yet; but where every batch was abandoned, an empty selection replaces the old one
    inputs["policies"] = json_hash(order)
    inputs["overrides"] = frame_hash(said.sort("prompt_id", "field"))
    decides = [project.settings.reward.min_scored_share]
    if project.settings.adaptive.arm is not None:
        decides.append(project.settings.policy.samples)
    told = signals_version(view)
    if told is not None:
        inputs["signals"] = told
        decides.append(deciding(project.settings.signals))
    arms = project.settings.selection.all_arms()
    return [
        Build("selection", batch, inputs | _before(view, arm), STAGE.code_version, outcome_hash(arm, decides), arm.name)
        for arm in arms
    ]


def _before(view: Snapshot, arm: ArmSettings) -> dict[str, str]:
    """Return the arm's last selection as an input, where it counts. Made again from itself it stays as it is."""
    last = view.commit("selection", CORPUS, arm.name)
    return {"before": last.data_version} if arm.hysteresis > 0 and last is not None else {}


def candidates(project: Project, view: Snapshot, arm: ArmSettings) -> pl.LazyFrame:
    """Return every prompt with what an arm looks at: where it stands, and its difficulty under one policy."""
    rows = view.scan_builds("prompts", compared_prompts(view))
    prompts = rows.select("prompt_id", "pool", "split", "domain", "verifier", "gold_conflict")
    dirty = (
        view.scan("contamination")
        .group_by("prompt_id")
        .agg(pl.format("{}/{}", "eval_set", "item").min().alias("contaminated_by"))
    )
    known = (
        prompts.join(_told_later(view), on="prompt_id", how="left")
        .with_columns(
            pl.when(pl.col("evaluated").fill_null(value=False)).then(pl.lit("eval")).otherwise("pool").alias("pool"),
            pl.col("gold_conflict").fill_null(value=False) | pl.col("other_gold").fill_null(value=False),
        )
        .drop("evaluated", "other_gold")
        .join(dirty, on="prompt_id", how="left")
        .with_columns(pl.col("contaminated_by").is_not_null().alias("contaminated"))
        .join(view.scan("gold_checks").select("prompt_id", "problem"), on="prompt_id", how="left")
        .with_columns(pl.col("problem").is_not_null().alias("bad_gold"))
        .drop("problem")
        .join(_one_policy(project, view, arm), on="prompt_id", how="left")
    )
    known = _told_by_training(project, view, known, arm)
    own = own_policy_id(project.settings.policy)
    if project.settings.adaptive.arm is not None and own is not None:
        drawn_in_full = pl.col("samples").fill_null(0)
        rolled_out = (pl.col("policy_id") == own).fill_null(value=False)
        full = pl.when(rolled_out).then(pl.lit(project.settings.policy.samples, pl.Int64)).otherwise(drawn_in_full)
        known = known.with_columns(full=full)
    said = overrides(project).filter(pl.col("field").is_in(SELECTION_FIELDS))
    return overruled(known, said)


def _told_by_training(project: Project, view: Snapshot, known: pl.LazyFrame, arm: ArmSettings) -> pl.LazyFrame:
    """Add what training runs say of prompts, and whether the arm selected them before, where either counts."""
    if signals_version(view) is not None:
        chosen = project.settings.signals
        rest = resting(view.scan("training_signals"), training_runs(view), chosen)
        may = pl.when(pl.col("pool").is_in(chosen.pools)).then("rest").alias("rest")
        known = known.join(rest, on="prompt_id", how="left").with_columns(may)
    if arm.hysteresis > 0:
        last = view.scan("selection").filter((pl.col("arm") == arm.name) & pl.col("selected"))
        mark = last.select("prompt_id", selected_before=pl.lit(value=True))
        known = known.join(mark, on="prompt_id", how="left")
    return known


def _told_later(view: Snapshot) -> pl.LazyFrame:
    """Return what copies in later batches say: prompt_id, other_gold, evaluated (it is an eval prompt, too)."""
    codes = pl.col("reason_code")
    return (
        view.scan("rejected_prompts")
        .filter(codes.is_in(["gold_conflict", TRAINING_PROMPT]) & pl.col("matched_prompt_id").is_not_null())
        .group_by(pl.col("matched_prompt_id").alias("prompt_id"))
        .agg(
            (codes == "gold_conflict").any().alias("other_gold"),
            (codes == TRAINING_PROMPT).any().alias("evaluated"),
        )
    )


def _one_policy(project: Project, view: Snapshot, arm: ArmSettings) -> pl.LazyFrame:
    """Return one difficulty row a prompt: of the first policy, in order of preference, that scored it."""
    order = policy_order(project, view, arm.policy)
    rank = pl.LazyFrame(
        {"policy_id": list(order), "rank": list(range(len(order)))}, schema={"policy_id": pl.String, "rank": pl.Int64}
    )
    rows = view.scan("difficulty").drop("batch").join(rank, on="policy_id", how="inner")
    if len(order) > 1:
        # A policy that left a prompt unscored gives way to one that scored it.
        preferred = pl.col("rank") + pl.when(pl.col("scored") == 0).then(len(order)).otherwise(0)
        rows = rows.filter(preferred == preferred.min().over("prompt_id"))
    return rows.drop("rank")


def write(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Select, and write the decisions that are new or have changed since the arm's last selection."""
    project = run.project
    arm = arm_of(project, build.variant)
    pool = candidates(project, view, arm)
    table = select(pool, arm, project.settings.reward)
    shown = "^(prompt_id|scored|samples|contaminated_by|full|signal_mean|signal_gain|still_visits|releases_ago)$"
    facts = pool.select(shown).collect()
    decided = selection_decisions(table, arm, build.policy_hash, candidates=facts)
    new = pl.concat(
        [decided, override_decisions(overrides(project), build.policy_hash, known=table["prompt_id"], arm=arm.name)]
    )
    extends = writer.previous is not None
    writer.write("decisions", changes(_decided_before(view, arm.name), new) if extends else new)
    writer.write("selection", table)
    reasons = dict(table.group_by("reason").len().sort("reason").iter_rows())
    counts = {"prompts": table.height, "selected": int(table["selected"].sum())}
    return Written(counts | {f"reason_{k}": n for k, n in reasons.items()}, extends=extends)


def _decided_before(view: Snapshot, arm: str) -> pl.LazyFrame:
    mine = (pl.col("batch") == CORPUS) & (pl.col("arm") == arm) & pl.col("stage").is_in(["selection", "overrides"])
    return view.decisions().filter(mine & (pl.col("outcome") != "carry")).select(list(DECISIONS.columns))


STAGE = Stage("selection", "selection", builds, write, __name__, checks=SELECTION_CHECKS)
