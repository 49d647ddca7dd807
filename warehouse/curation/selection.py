"""Which prompts an arm trains on: one row and one reason for every candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from warehouse.curation.guards import pick, quotas
from warehouse.curation.rules import RULES
from warehouse.schemas import DIFFICULTY, SELECTION

if TYPE_CHECKING:
    from warehouse.curation.rules import Rule
    from warehouse.settings.model import ArmSettings, RewardSettings

CANDIDATE: dict[str, pl.DataType | type[pl.DataType]] = {
    "prompt_id": pl.String,
    "pool": pl.String,
    "split": pl.String,
    "domain": pl.String,
    "gold_conflict": pl.Boolean,
    "contaminated": pl.Boolean,
    "policy_id": pl.String,
    "override_selected": pl.Boolean,
    **{c: t for c, t in DIFFICULTY.columns.items() if c != "prompt_id"},
}


def select(candidates: pl.LazyFrame | pl.DataFrame, arm: ArmSettings, settings: RewardSettings) -> pl.DataFrame:
    """Return the columns of `selection`, one row per candidate, sorted by prompt_id.

    Args:
        candidates: prompt_id, pool, split, domain, gold_conflict, contaminated, policy_id, source (of the reward), the
            columns of `difficulty`, override_selected. All but prompt_id, pool and split may be null, and those that the
            rule does not read may be missing.
        arm: the rule, how much of the pool it keeps, and its guards.
        settings: `min_scored_share`.

    The first reason that applies counts: `eval`, `heldout`, `override` (a person's word; it overrules what follows),
    `contaminated`, `gold_conflict`, `original`, `suspect_gold`, `unscored`, then what the rule says: its own name where a
    prompt is picked, else `not_applicable` (a column that the rule needs is null), `outside_band`, `guard_all_zero`,
    `ceiling` or `above_cut`; `floor` where only the domain's floor let it in.

    Prompts are ranked within (domain, reward source). `score` is lowest where the rule picks first, `percentile` its mid-rank
    percentile in the group, (mean rank - 1/2) / prompts, strictly between 0 and 1; both are null for a prompt that
    was not ranked. Every rule but `all` has the same quotas, a fraction of the scored `new` prompts.

    Raises:
        ValueError: a prompt is listed twice, or the rule needs a column that is not there.
    """
    rule = RULES[arm.rule]
    frame = _read(candidates, rule, arm, settings)
    ranked = frame.filter(pl.col.reason.is_null()).drop("reason")
    sizes = ranked.group_by("group").agg(pl.col.domain.first(), size=pl.len()).sort("group")
    admitted = ranked.with_columns(reason=_refusal(rule, arm))
    refused = admitted.filter(pl.col.reason.is_not_null())
    admitted = _rank(admitted.filter(pl.col.reason.is_null()), rule, arm)
    share = 1.0 if rule.whole else arm.max_all_zero_share
    picked = pick(admitted, quotas(sizes, arm, whole=rule.whole), share).with_columns(reason=_outcome(arm))
    out = pl.concat(
        [frame.filter(pl.col.reason.is_not_null()).with_columns(group=pl.lit(None, pl.String)), refused, picked],
        how="diagonal",
    )
    kept = pl.col.reason.is_in(["original", arm.rule, "floor"]) | (
        (pl.col.reason == "override") & pl.col.override_selected
    )
    out = out.select(
        "prompt_id",
        "policy_id",
        "score",
        "group",
        "percentile",
        "tie_size",
        "reason",
        arm=pl.lit(arm.name),
        rule=pl.lit(arm.rule),
        selected=kept.fill_null(value=False),
    ).sort("prompt_id")
    _refuse_repeats(out)
    return out.select(list(SELECTION.columns))


def _read(
    candidates: pl.LazyFrame | pl.DataFrame, rule: Rule, arm: ArmSettings, settings: RewardSettings
) -> pl.DataFrame:
    lazy = candidates.lazy()
    have = lazy.collect_schema().names()
    missing = [c for c in ("prompt_id", "pool", "split", "scored", "samples", *rule.needs) if c not in have]
    if missing:
        msg = f"selection by rule {arm.rule!r} needs the columns {missing}, which the candidates do not have"
        raise ValueError(msg)
    used = {"mean", "variance", "reward_min", "reward_max", "suspect_gold", "source", "scored", "samples", *rule.needs}
    columns = [c for c in CANDIDATE if c not in DIFFICULTY.columns or c in used or c == "prompt_id"]
    given = [pl.col(c).cast(CANDIDATE[c]) if c in have else pl.lit(None, CANDIDATE[c]).alias(c) for c in columns]
    group = pl.concat_str(pl.col.domain, pl.lit("/"), pl.col.source.fill_null("none"))
    return (
        lazy.select(given)
        .with_columns(pl.col.domain.fill_null("unknown"))
        .with_columns(group=group, reason=_standing(arm, settings))
        .collect()
    )


def _standing(arm: ArmSettings, settings: RewardSettings) -> pl.Expr:
    """Return the reason that needs no ranking, or null for a prompt that is ranked."""
    scored = pl.col.scored.fill_null(0)
    enough = (scored >= arm.min_samples) & (scored >= settings.min_scored_share * pl.col.samples.fill_null(0))
    suspect = pl.lit(arm.drop_suspect_golds) & pl.col.suspect_gold
    return (
        pl.when(pl.col.pool == "eval")
        .then(pl.lit("eval"))
        .when(pl.col.split == "heldout")
        .then(pl.lit("heldout"))
        .when(pl.col.override_selected.is_not_null())
        .then(pl.lit("override"))
        .when(pl.col.contaminated)
        .then(pl.lit("contaminated"))
        .when(pl.col.gold_conflict)
        .then(pl.lit("gold_conflict"))
        .when(pl.col.pool == "original")
        .then(pl.lit("original" if arm.include_original else "original_excluded"))
        .when(suspect)
        .then(pl.lit("suspect_gold"))
        .when((enough & (scored > 0)).not_())
        .then(pl.lit("unscored"))
    )


def _refusal(rule: Rule, arm: ArmSettings) -> pl.Expr:
    lacking = pl.any_horizontal(pl.col(c).is_null() for c in rule.needs) if rule.needs else pl.lit(value=False)
    outside = rule.admits(arm).not_() if rule.admits else pl.lit(value=False)
    return pl.when(lacking).then(pl.lit("not_applicable")).when(outside).then(pl.lit("outside_band"))


def _rank(admitted: pl.DataFrame, rule: Rule, arm: ArmSettings) -> pl.DataFrame:
    """Return the prompts in the order of picking, with score, percentile, tie_size, all_zero."""
    scored = admitted.with_columns(score=rule.score(arm).cast(pl.Float64) + 0.0)  # no negative zero
    rank = pl.col.score.rank("average").over("group")
    return (
        scored.with_columns(
            percentile=(rank - 0.5) / pl.len().over("group"),
            tie_size=pl.len().over("group", "score").cast(pl.Int64),
            all_zero=((pl.col.reward_min == 0) & (pl.col.reward_max == 0)).fill_null(value=False),
        )
        .with_columns(tie_break=pl.struct(rule.tie_break) if rule.tie_break else pl.lit(None))
        .sort("group", "score", *rule.tie_break, "prompt_id", nulls_last=True)
        .drop("tie_break")
    )


def _outcome(arm: ArmSettings) -> pl.Expr:
    return (
        pl.when(pl.col.picked & (pl.col.turn <= pl.col.base))
        .then(pl.lit(arm.rule))
        .when(pl.col.picked)
        .then(pl.lit("floor"))
        .when(pl.col.allowed.not_() & (pl.col.place <= pl.col.quota))
        .then(pl.lit("guard_all_zero"))
        .when(pl.col.place <= pl.col.base)
        .then(pl.lit("ceiling"))
        .otherwise(pl.lit("above_cut"))
    )


def _refuse_repeats(selection: pl.DataFrame) -> None:
    ids = selection["prompt_id"]
    repeated = ids.filter(ids == ids.shift(1))
    if repeated.len():
        msg = f"{repeated.len()} candidates are listed more than once, the first is prompt {repeated[0]}"
        raise ValueError(msg)
