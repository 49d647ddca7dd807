"""The rules by which an arm picks prompts, one entry each.

A rule gives every prompt a number, the lowest of which is picked first, and names the columns without which it has
nothing to say. What all rules share (quotas, guards, floors and ceilings) is in `selection` and `guards`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from warehouse.curation.draws import draw

if TYPE_CHECKING:
    from collections.abc import Callable

    from warehouse.settings.model import ArmSettings


@dataclass(frozen=True)
class Rule:
    """A rule: what is picked first, what it needs, and how to speak of it.

    Attributes:
        score: makes the expression to rank by within a group, the lowest first. It may use `.over("group")`.
        needs: columns that must not be null; a prompt without them is `not_applicable`.
        admits: makes the condition a prompt must meet; one that does not is `outside_band`.
        measure: what the number is called in a decision.
        sign: -1 where the score is the negative of the measure, so that decisions show the measure itself.
        tie_break: more columns to rank by, the lowest first, before prompt_id.
        whole: takes every scored prompt, whatever the arm's fraction; the all-zero guard does not apply.
    """

    score: Callable[[ArmSettings], pl.Expr]
    needs: tuple[str, ...] = ()
    admits: Callable[[ArmSettings], pl.Expr] | None = None
    measure: str = "score"
    sign: int = 1
    tie_break: tuple[pl.Expr, ...] = ()
    whole: bool = False


def pre_ppo(arm: ArmSettings) -> pl.Expr:
    """Pre-PPO (arXiv 2503.22230): lowest mean reward first.

    The paper normalises scores within a task domain without saying how; the mid-rank percentile within (domain, reward
    source) is ours, and makes "the lowest 10%" mean the same for every domain. Ties: higher variance first.
    """
    del arm
    return pl.col.mean


def variance(arm: ArmSettings) -> pl.Expr:
    """Reward variance (arXiv 2503.15477): highest first, since low variance makes policy gradients vanish."""
    del arm
    return -pl.col.variance


def learnability(arm: ArmSettings) -> pl.Expr:
    """Learnability p(1 - p) (arXiv 2502.12272): highest first."""
    del arm
    return -pl.col.learnability


def band(arm: ArmSettings) -> pl.Expr:
    """Pass rate inside a band (arXiv 2504.03380): nearest to its middle first."""
    low, high = arm.band
    return (pl.col.pass_rate - (low + high) / 2).abs().round(9)  # .3 and .7 are equally far from .5


def inside_band(arm: ArmSettings) -> pl.Expr:
    """The band itself, both ends included."""
    low, high = arm.band
    return pl.col.pass_rate.is_between(low - 1e-9, high + 1e-9)


def rip(arm: ArmSettings) -> pl.Expr:
    """RIP (arXiv 2501.18578): high worst reward, long worst response, small gap from best to worst.

    The paper filters by a threshold on each of the three; to rank, ours takes the mean of the three mid-rank
    percentiles within the group, each counted from the good end.
    """
    del arm
    gap = pl.col.reward_max - pl.col.reward_min
    terms = [-pl.col.reward_min, -pl.col.worst_response_chars, gap.round(9)]
    ranks = [(2 * t.rank("average").over("group") - 1).cast(pl.Int64) for t in terms]  # twice a mid-rank is whole
    return pl.sum_horizontal(ranks) / (6 * pl.len().over("group"))


def at_random(arm: ArmSettings) -> pl.Expr:
    """A random order that depends on the id and the arm's seed alone: the baseline of equal size."""
    return pl.col.prompt_id.map_batches(
        lambda ids: draw(ids, "selection", arm.seed), return_dtype=pl.Float64, is_elementwise=True
    )


def everything(arm: ArmSettings) -> pl.Expr:
    """No order: every scored prompt is kept."""
    del arm
    return pl.lit(0.0)


RULES: dict[str, Rule] = {
    "pre_ppo": Rule(pre_ppo, needs=("mean",), measure="mean", tie_break=(-pl.col.variance,)),
    "variance": Rule(variance, needs=("variance",), measure="variance", sign=-1),
    "learnability": Rule(learnability, needs=("learnability",), measure="learnability", sign=-1),
    "band": Rule(band, needs=("pass_rate",), admits=inside_band, measure="distance from the middle of the band"),
    "rip": Rule(rip, needs=("reward_min", "reward_max", "worst_response_chars"), measure="RIP rank"),
    "random": Rule(at_random, measure="random draw"),
    "all": Rule(everything, whole=True),
}
