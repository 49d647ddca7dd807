"""The score that each prompt would have after all its samples, from those that were drawn.

Where samples are drawn adaptively, raw means will not do: 0 of 4 is no match for 0 of 30. So a selection ranks by the
expected full-sample score. Of a prompt that has all its samples that is its score, so nothing changes where nothing
was left out.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from warehouse.curation.beliefs import MomentBeliefs, PassBeliefs
from warehouse.curation.evidence import EVIDENCE
from warehouse.settings.model import ADAPTIVE_RULES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.curation.beliefs import Beliefs, Floats
    from warehouse.settings.model import ArmSettings

OF_PASSES: Final = ("learnability", "band")  # rules that look at pass rates, and say nothing of other rewards
DIGITS: Final = 9  # of what is compared, so that the last bit of a sum decides nothing


def beliefs_of(frame: pl.DataFrame, rule: str, band: tuple[float, float]) -> Beliefs | None:
    """Return the beliefs about the prompts of one group, or None where the rule does not apply to its rewards.

    Args:
        frame: the columns of EVIDENCE, of prompts that have a reward or may still get one.
        rule: one of ADAPTIVE_RULES.
        band: lowest and highest pass rate, for rule `band`.
    """
    left = np.maximum((frame["full"] - frame["drawn"]).to_numpy(), 0).astype(np.int64)
    scored, mean = frame["scored"].to_numpy(), frame["mean"].fill_null(0.0).to_numpy()
    if frame["binary"].all():
        passes = np.rint(mean * scored).astype(np.int64)
        return PassBeliefs(left, scored, passes, partial(score_of, rule=rule, band=band))
    if rule in OF_PASSES:
        return None
    variance = frame["variance"].fill_null(0.0).to_numpy()
    return MomentBeliefs(left, scored, mean, variance, by_variance=rule == "variance")


def score_of(rate: Floats, rule: str, band: tuple[float, float]) -> Floats:
    """Return the rule's score of pass rates, as `rules` has it: the lowest is picked first."""
    if rule == "pre_ppo":
        score = rate
    elif rule == "band":
        score = np.abs(rate - sum(band) / 2)
    else:  # the variance of rewards that are 0 or 1 is the learnability
        score = -rate * (1.0 - rate)
    return np.round(score, DIGITS)


def edge_of(rule: str, band: tuple[float, float]) -> float:
    """Return the largest score that the rule takes at all."""
    return (band[1] - band[0]) / 2 if rule == "band" else np.inf


def is_partial(frame: pl.DataFrame, arm: ArmSettings) -> bool:
    """Tell whether an arm must rank by expected scores: some prompt of a frame with `full` lacks samples."""
    if arm.rule not in ADAPTIVE_RULES or "full" not in frame.columns:
        return False
    return bool((frame["full"] > frame["samples"]).any())


def expected(frame: pl.DataFrame, arm: ArmSettings) -> pl.DataFrame:
    """Return what an arm ranks by, one row a prompt, in the order of the frame.

    Args:
        frame: group, full, samples, scored, mean, variance, pass_rate, learnability, binary, as `difficulty` and
            `selection` have them; `scored` is at least 1.
        arm: its rule, one of ADAPTIVE_RULES, and band.

    Returns:
        score: the expected score after all samples, lowest first; null where the rule does not apply.
        all_zero: whether all rewards are more likely than not to be 0 then.
        inside: whether the score is more likely than not to be one that the rule takes at all.
    """
    evidence = _evidence(frame, arm.rule).with_row_index("place")
    score, all_zero = np.full(frame.height, np.nan), np.zeros(frame.height, np.bool_)
    inside: NDArray[np.bool_] = np.ones(frame.height, np.bool_)
    # Rules for pass rates say nothing of other rewards, and those of their group all the same.
    ranked = evidence.filter("binary") if arm.rule in OF_PASSES else evidence
    for group in ranked.partition_by("group"):
        beliefs = beliefs_of(group, arm.rule, arm.band)
        if beliefs is None:
            continue
        rows = group["place"].to_numpy()
        score[rows] = np.round(beliefs.score, DIGITS)
        all_zero[rows] = beliefs.zeros > 0.5
        inside[rows] = beliefs.above(edge_of(arm.rule, arm.band)) < 0.5
    return pl.DataFrame({
        "score": pl.Series(score).fill_nan(None),
        "all_zero": pl.Series(all_zero),
        "inside": pl.Series(inside),
    })  # fmt: skip


def _evidence(frame: pl.DataFrame, rule: str) -> pl.DataFrame:
    """Return difficulty as EVIDENCE. What a pass threshold makes of rewards counts for rules that look at passes."""
    rate, learnability = pl.col.pass_rate, pl.col.learnability
    if rule in OF_PASSES:
        known = {"mean": rate, "variance": learnability, "binary": pl.col.binary}
    else:  # rewards in [0, 1] are 0 and 1 alone where they have the mean and the variance of their passes
        plain = pl.col.binary & (rate == pl.col.mean) & ((learnability - pl.col.variance).abs() < 1e-12)
        known = {"mean": pl.col.mean, "variance": pl.col.variance, "binary": plain}
    return frame.select(
        pl.lit(None, pl.String).alias("prompt_id"),
        "group",
        full=pl.max_horizontal("full", "samples"),
        drawn="samples",
        scored="scored",
        **{name: value for name, value in known.items() if name != "binary"},
        binary=known["binary"].fill_null(value=False),
    ).cast(EVIDENCE)
