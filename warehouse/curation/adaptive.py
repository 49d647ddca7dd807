"""Adaptive sampling: fewer rollouts for the same selection.

Most prompts are decided by a few samples: one that passed three times of four will not be among the hardest tenth.
So every prompt gets `first` samples; then, round by round, the prompts whose decision is worth most get `step` more,
until each decision is certain enough, its prompt has all its samples, or the budget is spent.

    settings = Adaptive(rule="pre_ppo", fraction=0.1, budget_share=0.2)
    evidence = Evidence.of(prompts, rewards)        # prompt_id, group, full; prompt_id, sample, reward
    settings.plan(evidence)                         # prompt_id, start, extra: what to draw next; empty when done
    settings.judge(evidence)                        # keep, certainty, estimates, for every prompt
    settings.decisions(evidence, "main", "...")     # rows for `decisions`
    settings.replay(prompts, rewards)               # all rounds so far: where sampling stands, and the round to draw

A round is a function of exact counts, so it does not depend on the order of rollouts or prompts. There are no random
draws, samples are numbered 0, 1, 2 and so on, and ties go by prompt_id; so `replay` over what a killed run had drawn
asks for exactly what that run would have drawn next, and leaves out what a run with more samples drew beyond.

The method, for one group (domain and reward source) that gives k prompts. `beliefs` has a distribution over the score
X that each prompt would have after all its samples, the lowest of which the rule picks. t is the likely score of the
k-th prompt and d the tolerance, within which two scores count as equal. What is lost by picking a prompt is

    ramp(X) = (X - t) / d, cut off at -1 and 1,

and its lean is E ramp(X), between -1 (surely in) and 1 (surely out). The k lowest leans are the present selection. Let
p be the largest lean in it and q the smallest outside. The worth of knowing a prompt's score is

    E (ramp(X) - q)+ for a prompt that is in,   E (p - ramp(X))+ for one that is out:

how much would be gained on average by changing places, if its score were known. The open prompts of largest worth are
sampled next. A decision is as certain as P(X <= t + d) for a prompt that is in, P(X >= t - d) for one that is out, and
at `confidence` the prompt is left alone. t is taken as known: five values by its distribution changed nothing.

From the literature: comparing those next to the boundary (LUCB, Kalyanakrishnan and others, 2012), worth as expected
opportunity cost (Chick and Inoue, 2001), counts and a posterior per prompt (MoPPS, arXiv 2507.04632, which picks by
Thompson draws). Ours: the ramp, the full-sample score as the target, and the defaults. They were chosen on made-up
pools of pass rates (Beta(.3, .8), Beta(.4, .4), Beta(.2, 1.5), each with 15% zeros), where they matter little: `first`
2 to 8, `step` 1 to 4, 16 to 64 `rounds` and a prior of 2 or 8 prompts differ by about a point in how many of the
selected prompts are the same. A `confidence` of .95 stops too early, and so does a `tolerance` of .04 or more. One was
corrected by a recorded pool: with `first` 2, a tenth of the budget left prompts selected on the strength of 1 of 2.

In the end `selection` ranks by E X (see `expected`). With the same samples that finds as much of the full-sample
selection as the leans do, within a point either way on the recorded sets, and it is a number that people can read.
Sampling itself must go by the leans: with a present selection by E X, of a fifth of HumanEval 88% were found, not 97%.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import polars as pl
from scipy.special import betaincc  # type: ignore[import-untyped]  # ships no type information

from warehouse.curation.apportion import apportion, exact, round_half_up
from warehouse.curation.beliefs import TINY
from warehouse.curation.evidence import Evidence
from warehouse.curation.expected import DIGITS, OF_PASSES, beliefs_of, edge_of
from warehouse.schemas import DECISIONS
from warehouse.settings.model import ADAPTIVE_RULES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.curation.beliefs import Beliefs, Floats

STAGE: Final = "rollouts"
_MOST_STEPS: Final = 4


class Replay(NamedTuple):
    """Where sampling stands.

    Attributes:
        evidence: from the samples that all rounds before asked for.
        plan: the round that is not drawn in full, as `plan` returns it; empty when all is done.
        rounds: how many rounds were drawn in full.
    """

    evidence: Evidence
    plan: pl.DataFrame
    rounds: int


@dataclass(frozen=True)
class Adaptive:
    """How to sample: for which selection, and with what budget.

    Attributes:
        rule: the rule of the arm: pre_ppo, variance, learnability or band. Of prompts whose rewards are not 0 and 1 the
            last two pick none, and none is sampled after the first round.
        fraction: the share of prompts that the arm keeps; spread over the groups as selection does.
        band: lowest and highest pass rate, for rule `band`.
        first: samples that every prompt gets.
        step: samples that a prompt gets in a round after that.
        budget_share: the most that may be drawn, as a share of all samples of all prompts; at least one each.
        confidence: how certain a decision must be for its prompt to get no more.
        tolerance: scores this near count as equal. For pass rates, in pass rates (for variances, in variances); for
            rewards of a model, as a share of the width of the group's scores (mean +- 2 standard deviations).
        max_all_zero_share: of the arm. Where more prompts than these are likely to have only zeros, the selection
            passes over some and reaches that much farther, so the k-th prompt is sought that much farther on.
        min_scored_share: of `[reward]`: a prompt with fewer scored samples is not selected. It is left alone once it is
            certain that it will have fewer, where samples are cut by the token limit, say.
        rounds: about how many rounds the budget lasts.
    """

    rule: str = "pre_ppo"
    fraction: float = 0.10
    band: tuple[float, float] = (0.2, 0.8)
    first: int = 3
    step: int = 4
    budget_share: float = 0.20
    confidence: float = 0.99
    tolerance: float = 0.02
    max_all_zero_share: float = 1.0
    min_scored_share: float = 0.5
    rounds: int = 32

    def __post_init__(self) -> None:
        """Refuse settings that make no sense together."""
        wrong = [
            (self.rule not in ADAPTIVE_RULES, f"rule {self.rule!r} is none of {', '.join(ADAPTIVE_RULES)}"),
            (not 0 < self.fraction <= 1, f"fraction {self.fraction} is not in (0, 1]"),
            (not 0 <= self.band[0] <= self.band[1] <= 1, f"band {self.band} is not two pass rates in order"),
            (min(self.first, self.step, self.rounds) < 1, "samples and rounds are counted from 1"),
            (not 0 < self.budget_share <= 1, f"budget_share {self.budget_share} is not in (0, 1]"),
            (not 0 < self.confidence <= 1, f"confidence {self.confidence} is not in (0, 1]"),
            (self.tolerance <= 0, f"tolerance {self.tolerance} is not positive"),
            (not 0 <= self.max_all_zero_share <= 1, f"max_all_zero_share {self.max_all_zero_share} is not in [0, 1]"),
            (not 0 <= self.min_scored_share <= 1, f"min_scored_share {self.min_scored_share} is not in [0, 1]"),
        ]
        found = [text for is_wrong, text in wrong if is_wrong]
        if found:
            msg = f"adaptive sampling: {'; '.join(found)}"
            raise ValueError(msg)

    def budget(self, prompts: int, samples: int) -> int:
        """Return how many of all the samples of so many prompts may be drawn."""
        return max(int(exact(self.budget_share) * samples), prompts)

    def plan(self, evidence: Evidence) -> pl.DataFrame:
        """Return the next round: prompt_id, start (the first sample number), extra (how many), sorted; empty when done.

        The first round brings every prompt to `first` samples, or to what the budget allows for all. Each further one
        gives `step` each to as many open prompts as 1 / rounds of the budget pays for, those of largest worth first;
        where fewer are open, each gets up to _MOST_STEPS as much, so that the last few do not take many small rounds.
        """
        frame = evidence.frame
        full, drawn, extra = frame["full"].to_numpy(), frame["drawn"].to_numpy(), np.zeros(frame.height, np.int64)
        budget = self.budget(frame.height, int(full.sum()))
        left = budget - int(drawn.sum())
        first = np.minimum(min(self.first, budget // max(1, frame.height)), full)
        if (drawn < first).any():
            turn, wish = np.arange(frame.height), np.maximum(first - drawn, 0)
        else:
            judged = self.judge(evidence)
            is_open = judged["open"].to_numpy()
            worth = np.where(is_open, judged["worth"].to_numpy(), -1.0)
            order = np.lexsort((judged["certainty"].fill_null(1.0).to_numpy(), -worth))  # stable: then by prompt_id
            prompts, some = -(-budget // (self.rounds * self.step)), int(is_open.sum())
            turn = order[: min(prompts, some)]
            steps = min(max(1, prompts // max(1, some)), _MOST_STEPS)
            wish = np.minimum(steps * self.step, full - drawn)
        before = np.cumsum(wish[turn]) - wish[turn]
        extra[turn] = np.clip(left - before, 0, wish[turn])
        return frame.select("prompt_id", start="drawn", extra=pl.Series(extra)).filter(pl.col.extra > 0)

    def judge(self, evidence: Evidence) -> pl.DataFrame:
        """Return what is thought of each prompt, sorted by prompt_id.

        Columns: prompt_id, group, full, drawn, scored; `reward`, the mean reward expected after all samples; `score`,
        the same for the rule's score, by which `selection` ranks, the lowest first; `inside`, whether the rule is more
        likely than not to take such a score at all; `keep`, the selection by leans; `threshold`, t of the group;
        `certainty` of `keep`; `worth`; `open`, whether it may still be sampled. A prompt without a reward is not kept
        and not inside; one that has all its samples and no reward is not ranked: nulls, not open.
        """
        frame = evidence.frame
        rankable = ((frame["scored"] > 0) | (frame["full"] > frame["drawn"])).to_numpy()
        group = frame["group"].to_numpy()
        names, sizes = np.unique(group[rankable], return_counts=True)
        size = dict(zip(names.tolist(), sizes.tolist(), strict=True))
        quota = apportion(round_half_up(exact(self.fraction) * sum(size.values())), size)
        columns = {c: np.full(frame.height, np.nan) for c in ("reward", "score", "threshold", "certainty", "worth")}
        keep, inside = np.zeros(frame.height, np.bool_), np.zeros(frame.height, np.bool_)
        of_rule = frame["binary"].to_numpy() if self.rule in OF_PASSES else np.ones(frame.height, np.bool_)
        columns["certainty"][rankable & ~of_rule], columns["worth"][rankable & ~of_rule] = 1.0, 0.0
        for name in size:
            rows = np.flatnonzero(rankable & of_rule & (group == name))
            if not len(rows):
                continue
            view = self._view(frame[rows], quota[name])
            keep[rows], inside[rows] = view.pop("keep").astype(np.bool_), view.pop("inside").astype(np.bool_)
            for column, values in view.items():
                columns[column][rows] = np.round(values, DIGITS)
        scorable = self._scorable(frame)
        columns["worth"] *= scorable
        is_open = (columns["certainty"] < self.confidence) & (frame["drawn"] < frame["full"]).to_numpy()
        is_open &= scorable > 1 - self.confidence
        return frame.select("prompt_id", "group", "full", "drawn", "scored").with_columns(
            *(pl.Series(c, v).fill_nan(None) for c, v in columns.items()),
            inside=pl.Series(inside),
            keep=pl.Series(keep),
            open=pl.Series(is_open),
        )

    def _scorable(self, frame: pl.DataFrame) -> Floats:
        """Return how likely each prompt is to have enough scored samples in the end.

        Its rate of scored samples has a uniform prior; a prompt none of whose samples failed is taken to be scorable.
        """
        scored, failed = frame["scored"].to_numpy(), (frame["drawn"] - frame["scored"]).to_numpy()
        likely: Floats = np.where(failed > 0, betaincc(1.0 + scored, 1.0 + failed, self.min_scored_share), 1.0)
        return likely

    def decisions(self, evidence: Evidence, arm: str, policy_hash: str) -> pl.DataFrame:
        """Return the columns of `decisions`: one row a prompt, rule "adaptive", about when sampling stopped and why.

        `value` is the certainty and `threshold` the confidence asked for. No prompt is dropped here: the outcome is
        `keep`, or `flag` where the budget ended before the decision was certain, or too little could be scored.
        """
        judged = self.judge(evidence)
        drawn = pl.format("{} of {}", "drawn", "full")
        choice = pl.when("keep").then(pl.lit("taken")).otherwise(pl.lit("left out"))
        known = pl.format("{} by {} with certainty {}", choice, pl.lit(self.rule), pl.col.certainty.round(4))
        whole, unknown = pl.col.drawn >= pl.col.full, pl.col.scored == 0
        few = pl.Series(self._scorable(judged) <= 1 - self.confidence)
        return judged.select(
            stage=pl.lit(STAGE),
            arm=pl.lit(arm),
            prompt_id="prompt_id",
            rule=pl.lit("adaptive"),
            outcome=pl.when(pl.col.open | unknown | few).then(pl.lit("flag")).otherwise(pl.lit("keep")),
            value="certainty",
            threshold=pl.lit(self.confidence, pl.Float64),
            detail=pl.when(unknown)
            .then(pl.format("stopped after {}: no sample has a reward", drawn))
            .when(few)
            .then(pl.format("stopped after {}: only {} have a reward; {}", drawn, "scored", known))
            .when("open")
            .then(pl.format("stopped after {}: budget spent, decision open; {}", drawn, known))
            .when(whole)
            .then(pl.format("drawn in full, {}: {}", drawn, known))
            .otherwise(pl.format("stopped after {}: decision certain; {}", drawn, known)),
            policy_hash=pl.lit(policy_hash),
        ).select(list(DECISIONS.columns))

    def replay(self, prompts: pl.DataFrame, rewards: pl.DataFrame, since: Replay | None = None) -> Replay:
        """Go through the rounds, as far as the samples reach.

        Args:
            prompts: as for `Evidence.of`.
            rewards: as for `Evidence.of`, from a run in any state, or with more samples than were asked for.
            since: where an earlier call came out, with the same prompts and fewer rewards; default: the start.
        """
        evidence, rounds = Evidence.of(prompts, rewards.clear()), 0
        if since is not None:
            evidence, rounds = since.evidence, since.rounds
        while not (plan := self.plan(evidence)).is_empty():
            due = evidence.frame.join(plan, on="prompt_id", how="left").select(
                "prompt_id", limit=pl.col.drawn + pl.col.extra.fill_null(0)
            )
            drawn = rewards.join(due, on="prompt_id").filter(pl.col.sample < pl.col.limit)
            if drawn.height < due["limit"].sum():
                break
            evidence, rounds = Evidence.of(prompts, drawn.select("prompt_id", "sample", "reward")), rounds + 1
        return Replay(evidence, plan, rounds)

    def _view(self, frame: pl.DataFrame, k: int) -> dict[str, Floats | NDArray[np.bool_]]:
        """Judge the prompts of one group, of which k are taken."""
        beliefs = beliefs_of(frame, self.rule, self.band)
        n = frame.height
        out: dict[str, Floats | NDArray[np.bool_]] = {
            "keep": np.zeros(n, np.bool_),
            "inside": np.zeros(n, np.bool_),
            "certainty": np.ones(n),
            "worth": np.zeros(n),
        }
        if beliefs is None:
            return out
        scored = frame["scored"].to_numpy() > 0
        edge = edge_of(self.rule, self.band)
        within = scored & (beliefs.above(edge) < 0.5)  # a prompt without a reward is none that selection would take
        out |= {"reward": beliefs.reward, "score": beliefs.score, "inside": within}
        reach = min(n, k + self._passed_over(beliefs, k))
        if reach == 0 or (reach == n and edge == np.inf):
            out["keep"] = scored & (reach > 0)
            return out
        t = min(beliefs.kth(reach), edge)
        width = self.tolerance * beliefs.spread

        def over(c: float) -> Floats:  # E (ramp - c)+
            return (beliefs.excess(t + c * width) - beliefs.excess(t + width)) / width

        lean = np.round(over(-1.0) - 1.0, DIGITS)
        order = np.lexsort((np.round(beliefs.score, DIGITS), lean, ~within))  # stable: then by prompt_id
        keep = np.zeros(n, np.bool_)
        keep[order[:reach]] = True
        keep &= within
        filled = keep.sum() == reach  # where a band has fewer prompts than its quota, each is compared with its edge
        outside = ~keep & within
        q = float(lean[outside].min()) if filled and outside.any() else (1.0 if filled else 0.0)
        p = float(lean[keep].max()) if filled else 0.0
        wrong = np.where(keep, beliefs.above(t + width), 1.0 - beliefs.above(t - width - 2 * TINY))
        out |= {"keep": keep, "threshold": np.full(n, t), "certainty": 1.0 - wrong}
        return out | {"worth": np.where(keep, over(q), p - lean + over(p))}

    def _passed_over(self, beliefs: Beliefs, k: int) -> int:
        """Return how many all-zero prompts the guard is likely to pass over where the lowest k are wanted."""
        if self.rule != "pre_ppo" or self.max_all_zero_share == 1:
            return 0  # the other rules pick all-zero prompts last
        return max(0, int(round(beliefs.zeros.sum() - float(exact(self.max_all_zero_share) * k), DIGITS)))
