"""Which prompts an arm trains on: one row and one reason for every candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from warehouse.curation.expected import expected, is_partial
from warehouse.curation.guards import pick, quotas
from warehouse.curation.rules import RULES
from warehouse.schemas import DECISIONS, DIFFICULTY, SELECTION
from warehouse.settings.model import ADAPTIVE_RULES

if TYPE_CHECKING:
    from warehouse.curation.rules import Rule
    from warehouse.settings import ArmSettings, RewardSettings

CANDIDATE: dict[str, pl.DataType | type[pl.DataType]] = {
    "prompt_id": pl.String,
    "pool": pl.String,
    "split": pl.String,
    "domain": pl.String,
    "gold_conflict": pl.Boolean,
    "contaminated": pl.Boolean,
    "bad_gold": pl.Boolean,
    "policy_id": pl.String,
    "override_selected": pl.Boolean,
    "full": pl.Int64,
    "rest": pl.String,
    "selected_before": pl.Boolean,
    **{c: t for c, t in DIFFICULTY.columns.items() if c != "prompt_id"},
}


def select(candidates: pl.LazyFrame | pl.DataFrame, arm: ArmSettings, settings: RewardSettings) -> pl.DataFrame:
    """Return the columns of `selection`, one row per candidate, sorted by prompt_id.

    Args:
        candidates: prompt_id, pool, split, domain, gold_conflict, contaminated, bad_gold, policy_id, source (of the
            reward), the columns of `difficulty`, override_selected, rest (why it rests, see `signals.resting`),
            selected_before (by this arm's last selection), full (how many samples a prompt would have if none had been
            saved; may be missing where all are drawn). All but prompt_id, pool and split may be null, and
            those that the rule does not read may be missing.
        arm: the rule, how much of the pool it keeps, and its guards.
        settings: `min_scored_share`.

    The first reason that applies counts: `eval`, `heldout` (to overrule these, overrule the pool or the split),
    `override` (a person's word about `selected`; it overrules what follows), `contaminated`, `gold_conflict`,
    `bad_gold` (its verifier cannot use it), `rested_learnt`, `rested_stuck` and `retired` (what training said),
    `original`, `suspect_gold`, `unscored`, `guard_uncertain` and `guard_disagreement` (where the arm has such a guard;
    a null passes), then what the rule says: its own name where a prompt is picked, else `not_applicable` (a column that
    the rule needs is null), `outside_band`, `guard_all_zero`, `ceiling` or `above_cut`; `floor` where only the domain's
    floor let it in.

    With `hysteresis` a prompt that was selected before is picked first as long as its percentile is not further past
    the cut than that: `hysteresis` where only this kept it, `hysteresis_waits` where it kept another one out. A
    selection that is made again from itself stays as it is.

    Prompts are ranked within (domain, reward source). `score` is lowest where the rule picks first, `percentile` its
    mid-rank percentile in the group, (mean rank - 1/2) / prompts, strictly between 0 and 1; both are null for a
    prompt that was not ranked. Every rule but `all` has the same quotas, a fraction of the scored `new` prompts.

    Where samples were saved (`full` above `samples`), pre_ppo, variance, learnability and band rank by the score that
    is expected after all samples (see `expected`); a prompt is in the band, or all-zero, where it is more likely than
    not to be so in the end.

    Raises:
        ValueError: a prompt is listed twice, or the rule needs a column that is not there.
    """
    rule = RULES[arm.rule]
    frame = _read(candidates, rule, arm, settings).sort("prompt_id").with_row_index("row")
    _refuse_repeats(frame["prompt_id"])
    ranked = frame.filter(pl.col.reason.is_null())
    sizes = ranked.group_by("group").agg(pl.col.domain.first(), size=pl.len()).sort("group")
    partial = is_partial(ranked, arm)
    if partial:
        ranked = pl.concat([ranked, expected(ranked, arm)], how="horizontal")
    elif rule.admits:
        ranked = ranked.with_columns(inside=rule.admits(arm))
    judged = ranked.with_columns(reason=_refusal(rule))
    admitted = judged.filter(pl.col.reason.is_null())
    if not partial:
        all_zero = (pl.col.reward_min == 0) & (pl.col.reward_max == 0)
        admitted = admitted.with_columns(score=rule.score(arm).cast(pl.Float64), all_zero=all_zero)
    limits = quotas(sizes, arm, whole=rule.whole)
    admitted = _rank(admitted, rule)
    if arm.hysteresis > 0:
        admitted = _held_first(admitted, limits, arm.hysteresis)
    share = 1.0 if rule.whole else arm.max_all_zero_share
    picked = pick(admitted, limits, share).with_columns(reason=_outcome(arm))
    if arm.hysteresis > 0:
        picked = _held_back(picked, arm)
    found = [
        judged.filter(pl.col.reason.is_not_null()).select("row", found="reason"),
        picked.select("row", "score", "percentile", "tie_size", found="reason"),
    ]
    out = frame.join(pl.concat(found, how="diagonal"), on="row", how="left", maintain_order="left").with_columns(
        group=pl.when(pl.col.reason.is_null()).then("group"), reason=pl.coalesce("reason", "found")
    )
    added = ["original"] if arm.include_original else []
    overruled = (pl.col.reason == "override") & pl.col.override_selected
    kept = pl.col.reason.is_in([*added, arm.rule, "floor", "hysteresis"]) | overruled
    out = out.with_columns(arm=pl.lit(arm.name), rule=pl.lit(arm.rule), selected=kept.fill_null(value=False))
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
    used |= {column for column, limit in _guards(arm).items() if limit is not None}
    used |= {"pass_rate", "learnability", "binary"} if "full" in have else set()
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
    samples = pl.col.samples.fill_null(0)
    # Where samples were saved, as many would be scored of all of them as of those that were drawn.
    enough = scored * pl.max_horizontal(samples, pl.col.full.fill_null(0)) >= arm.min_samples * samples
    enough &= scored >= settings.min_scored_share * samples
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
        .when(pl.col.bad_gold)
        .then(pl.lit("bad_gold"))
        .when(pl.col.rest.is_not_null())
        .then(pl.col.rest)
        .when(pl.col.pool == "original")
        .then(pl.lit("original"))
        .when(suspect)
        .then(pl.lit("suspect_gold"))
        .when((enough & (scored > 0)).not_())
        .then(pl.lit("unscored"))
        .when(_above(arm, "reward_model_uncertainty"))
        .then(pl.lit("guard_uncertain"))
        .when(_above(arm, "source_disagreement"))
        .then(pl.lit("guard_disagreement"))
    )


def _guards(arm: ArmSettings) -> dict[str, float | None]:
    """Return column of `difficulty` -> the most that the arm takes."""
    return {
        "reward_model_uncertainty": arm.max_reward_model_uncertainty,
        "source_disagreement": arm.max_source_disagreement,
    }


def _above(arm: ArmSettings, column: str) -> pl.Expr:
    limit = _guards(arm)[column]
    return pl.lit(value=False) if limit is None else pl.col(column) > limit


def _refusal(rule: Rule) -> pl.Expr:
    lacking = pl.any_horizontal(pl.col(c).is_null() for c in rule.needs) if rule.needs else pl.lit(value=False)
    outside = pl.col.inside.not_() if rule.admits else pl.lit(value=False)
    return pl.when(lacking).then(pl.lit("not_applicable")).when(outside).then(pl.lit("outside_band"))


def _rank(admitted: pl.DataFrame, rule: Rule) -> pl.DataFrame:
    """Return the prompts in the order of picking, with score, percentile, tie_size, all_zero, held."""
    scored = admitted.with_columns(pl.col.score + 0.0)  # no negative zero
    ties = {f"tie_{i}": tie for i, tie in enumerate(rule.tie_break)}
    rank = pl.col.score.rank("average").over("group")
    return scored.select(
        "row",
        "group",
        "score",
        percentile=(rank - 0.5) / pl.len().over("group"),
        tie_size=pl.len().over("group", "score").cast(pl.Int64),
        all_zero=pl.col.all_zero.fill_null(value=False),
        held=pl.col.selected_before.fill_null(value=False),
        **ties,
    ).sort("group", "score", *ties, "row")  # rows are numbered in the order of the ids


def _held_first(ordered: pl.DataFrame, limits: pl.DataFrame, hysteresis: float) -> pl.DataFrame:
    """Put first what was selected before and is not further past the cut than hysteresis allows, as a share of a group.

    Adds `natural`, the place without that. What is selected so keeps its place where it is selected again from itself.
    """
    placed = ordered.join(limits.select("group", "quota"), on="group", how="left", maintain_order="left")
    natural = pl.int_range(pl.len(), dtype=pl.Int64).over("group")
    cut = pl.col.quota / pl.len().over("group")
    waits = ~(pl.col.held & (pl.col.percentile <= cut + hysteresis))
    return placed.with_columns(natural=natural, waits=waits).sort("group", "waits", "natural").drop("quota", "waits")


def _held_back(picked: pl.DataFrame, arm: ArmSettings) -> pl.DataFrame:
    """Say of which prompts hysteresis has decided: those that it alone kept, and those whose places these hold.

    What the all-zero guard barred is told by its place without hysteresis, which stays where a selection is made again.
    """
    quota = pl.col.picked.sum().over("group")
    turn = pl.col.allowed.cum_sum().over("group", order_by="natural")
    kept = pl.col.picked & pl.col.held & (turn > quota) & (pl.col.reason == arm.rule)
    waits = pl.col.allowed & ~pl.col.picked & (turn <= quota) & (pl.col.reason == "above_cut")
    barred = pl.when(pl.col.natural < pl.col.quota).then(pl.lit("guard_all_zero")).otherwise(pl.lit("above_cut"))
    reason = pl.when(kept).then(pl.lit("hysteresis")).when(waits).then(pl.lit("hysteresis_waits"))
    return picked.with_columns(reason=reason.when(~pl.col.allowed).then(barred).otherwise("reason"))


def _outcome(arm: ArmSettings) -> pl.Expr:
    return (
        pl.when(pl.col.picked & (pl.col.turn <= pl.col.base))
        .then(pl.lit(arm.rule))
        .when(pl.col.picked)
        .then(pl.lit("floor"))
        .when(pl.col.allowed.not_() & (pl.col.place <= pl.col.quota))
        .then(pl.lit("guard_all_zero"))
        .when(pl.col.allowed & (pl.col.turn <= pl.col.base))
        .then(pl.lit("ceiling"))
        .otherwise(pl.lit("above_cut"))
    )


def _refuse_repeats(sorted_ids: pl.Series) -> None:
    repeated = sorted_ids.filter(sorted_ids == sorted_ids.shift(1))
    if repeated.len():
        msg = f"{repeated.len()} candidates are listed more than once, the first is prompt {repeated[0]}"
        raise ValueError(msg)


def selection_decisions(
    selection: pl.DataFrame, arm: ArmSettings, policy_hash: str, *, candidates: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return the columns of `decisions` for a selection: one row a prompt, stage "selection".

    `value` is what the rule measured and `threshold` the last value in the prompt's group that the rule picked, both
    null for a prompt that was not ranked. `rule` is the arm's rule where it decided, else the reason.

    Args:
        selection: as `select` returns it.
        arm: the same arm.
        policy_hash: of the settings that decided.
        candidates: as given to `select`; with `scored`, `samples`, `full`, `contaminated_by` and what
            `signals.resting` returns the details say more.
    """
    rule = RULES[arm.rule]
    cut = pl.col.score.filter(pl.col.reason == arm.rule).max().over("group")
    frame = selection.with_columns(value=rule.sign * pl.col.score + 0.0, threshold=rule.sign * cut + 0.0)
    facts = ["scored", "samples", "full", "contaminated_by", *_SIGNALS]
    have = [c for c in facts if candidates is not None and c in candidates.columns]
    if candidates is not None and have:
        frame = frame.join(candidates.select("prompt_id", *have), on="prompt_id", how="left", maintain_order="left")
    frame = frame.with_columns(pl.lit(None, pl.String).alias(c) for c in facts if c not in have)
    by_rule = pl.col.reason.is_in([arm.rule, "above_cut"])
    frame = frame.with_row_index("row")
    details = _details(rule, arm)
    parts = [  # each text is made only for the prompts it is about
        part.select("row", detail=details[reason])
        for (reason,), part in frame.partition_by("reason", as_dict=True).items()
    ]
    empty = pl.DataFrame(schema={"row": frame.schema["row"], "detail": pl.String})
    return (
        frame.join(pl.concat([empty, *parts]), on="row", how="left", maintain_order="left")
        .with_columns(
            stage=pl.lit("selection"),
            rule=pl.when(by_rule).then(pl.lit(arm.rule)).otherwise("reason"),
            outcome=pl.when("selected").then(pl.lit("keep")).otherwise(pl.lit("drop")),
            policy_hash=pl.lit(policy_hash),
        )
        .select(list(DECISIONS.columns))
    )


_SIGNALS = ("signal_mean", "signal_gain", "still_visits", "releases_ago")


def _details(rule: Rule, arm: ArmSettings) -> dict[str, pl.Expr]:
    """Return what to tell people, by reason."""
    if rule.whole:
        picked = pl.format("every scored prompt of {} is kept", "group")
        left = picked
    else:
        end = "highest" if rule.sign < 0 else "lowest"
        share = f"among the {100 * arm.fraction:.4g}% taken from {{}}, {end} first"
        value = pl.format(f"{rule.measure} {{}}", pl.col.value.round(4))
        if arm.rule in ADAPTIVE_RULES:
            few = pl.col.full.cast(pl.Int64) > pl.col.samples.cast(pl.Int64)
            told = pl.format("{}, as expected of {} samples by the {} drawn,", value, "full", "samples")
            value = pl.when(few.fill_null(value=False)).then(told).otherwise(value)
        place = pl.format("(percentile {}, {} with the same)", pl.col.percentile.round(4), "tie_size")
        last = pl.coalesce(pl.format("the last one taken has {}", pl.col.threshold.round(4)), pl.lit("none was taken"))
        picked = pl.format(f"{{}} is {share} {{}}", value, "group", place)
        left = pl.format(f"{{}} is not {share} {{}}: {{}}", value, "group", place, last)
    counts = pl.format("{} of {} rollouts have a reward", pl.col.scored, pl.col.samples)
    still, h = pl.col.still_visits, pl.lit(arm.hysteresis)
    since = pl.format(
        "was left at a mean reward of {} ({} before), and rests since, {} trained releases ago",
        pl.col.signal_mean.cast(pl.Float64).round(3),
        (pl.col.signal_mean.cast(pl.Float64) - pl.col.signal_gain.cast(pl.Float64).fill_null(0.0)).round(3),
        "releases_ago",
    )
    return {
        arm.rule: picked,
        "above_cut": left,
        "floor": pl.format("{}; let in by the floor of its domain", left),
        "ceiling": pl.format("{}; left out by the ceiling of its domain", picked),
        "guard_all_zero": pl.format(
            f"{{}}; every reward is 0, and at most {100 * arm.max_all_zero_share:.4g}% of those taken may be such",
            left,
        ),
        "unscored": pl.coalesce(counts, pl.lit("too few rollouts have a reward")),
        "contaminated": pl.coalesce(
            pl.format("contains an item of {}", pl.col.contaminated_by), pl.lit("contains an item of an evaluation set")
        ),
        "not_applicable": pl.lit(f"rule {arm.rule} needs {', '.join(rule.needs)}, which this prompt does not have"),
        "outside_band": pl.lit(f"pass rate is outside {arm.band[0]:.4g} to {arm.band[1]:.4g}"),
        "original": pl.lit(
            "in the original pool, which is always trained on"
            if arm.include_original
            else "in the original pool, which this arm leaves out"
        ),
        "eval": pl.lit("in the eval pool: scored, never trained on"),
        "heldout": pl.lit("held out of training"),
        "gold_conflict": pl.lit("two different ground truths are known for this prompt"),
        "hysteresis": pl.format("{}; it was selected before, and stays within hysteresis = {}", left, h),
        "hysteresis_waits": pl.format(
            "{}; prompts that were selected before hold the places (hysteresis = {})", left, h
        ),
        "rested_learnt": pl.format("a training run has learnt it: it {}", since),
        "rested_stuck": pl.format("it does not move: {} visits on end gave the same reward; it {}", still, since),
        "retired": pl.format("it does not move, tried again: {} visits on end gave one and the same reward", still),
        "bad_gold": pl.lit("its verifier cannot use its ground truth; stage gold_checks says why"),
        "suspect_gold": pl.lit("no rollout passed, and most gave one and the same other answer"),
        "guard_uncertain": pl.lit(
            f"the reward models are less certain of its scores than max_reward_model_uncertainty = "
            f"{arm.max_reward_model_uncertainty} allows; see difficulty.reward_model_uncertainty"
        ),
        "guard_disagreement": pl.lit(
            f"the reward models order its responses otherwise than its rewards do, more often than "
            f"max_source_disagreement = {arm.max_source_disagreement} allows; see difficulty.source_disagreement"
        ),
        "override": pl.lit("decided by a person"),
    }
