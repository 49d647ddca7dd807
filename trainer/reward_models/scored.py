"""Reward models as a source of the hybrid reward: a response is scored by the probability that it beats the best of N.

The same numbers as `warehouse.curation.model_rewards` has them for tables: sigmoid(r(y) - r(reference)), or, without a
reference, of the reward in units of the model's own calibration; the mean over the members of an ensemble.
"""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

from trainer.reward_models.about import models_id
from verifiers.hybrid import REWARD_MODEL, Reward, Scorable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.reward_models.model import RewardModel, Scored

_REFERENCES = 100_000  # whose rewards are remembered


class ModelSource:
    """Rewards by reward models.

    Args:
        models: the members of an ensemble, or one.
        combine: of a member's heads: nominal, mean or worst; see `[reward_model]`.
    """

    def __init__(self, models: Sequence[RewardModel], combine: str = "nominal") -> None:
        self._models, self._combine = models, combine
        self._references: dict[tuple[str, str], list[Scored]] = {}

    def __call__(self, items: Sequence[Scorable]) -> list[Reward]:
        """Return one reward a response, in order. A reference is scored once, however many responses it has."""
        whole = [i for i in items if i.response is not None and i.finish_reason not in ("length", "error")]
        texts = [(item.messages, item.response or "") for item in whole]
        of_members = [list(model.score(texts)) for model in self._models]
        rows = {(i.prompt_id, i.sample): list(own) for i, *own in zip(whole, *of_members, strict=True)}
        self._remember(whole)
        return [self._reward(item, rows.get((item.prompt_id, item.sample))) for item in items]

    def _remember(self, items: Sequence[Scorable]) -> None:
        new = {_reference(i): i for i in items if i.reference is not None and _reference(i) not in self._references}
        if len(self._references) + len(new) > _REFERENCES:
            self._references.clear()
            new = {_reference(i): i for i in items if i.reference is not None}
        texts = [(item.messages, item.reference or "") for item in new.values()]
        for key, *own in zip(new, *(list(model.score(texts)) for model in self._models), strict=True):
            self._references[key] = list(own)

    def _reward(self, item: Scorable, scored: list[Scored] | None) -> Reward:
        where = item.prompt_id, item.sample
        if scored is None:
            status = {"length": "truncated", "error": "error"}.get(item.finish_reason, "no_response")
            return Reward(*where, None, REWARD_MODEL, None, status, f"{status}: there is nothing whole to score")
        best = self._references[_reference(item)] if item.reference is not None else [None] * len(scored)
        problem = next((s.problem for s in [*scored, *best] if s is not None and s.mean is None), None)
        against = "mean" if item.reference is None else "best_of_n"
        by = models_id(self._combine, [m.fingerprint for m in self._models], against)
        if problem is not None:
            return Reward(*where, None, REWARD_MODEL, by, "model_error", problem)
        own, worst = ([self._probability(*pair, how) for pair in zip(self._models, scored, best, strict=True)]
                      for how in (self._combine, "worst"))  # fmt: skip
        return Reward(*where, fmean(own), REWARD_MODEL, by, "scored", against, fmean(worst))

    def _probability(self, model: RewardModel, scored: Scored, best: Scored | None, how: str) -> float:
        """Return the probability that a response beats its reference, by one member."""
        value = combined(scored, how)
        if best is None:
            return _sigmoid((value - model.centre) / model.scale)
        return _sigmoid(value - combined(best, self._combine))


def combined(scored: Scored, how: str) -> float:
    """Return one reward of all heads: nominal (the surest head's, arXiv 2409.15360), mean, or worst (the lowest).

    Raises:
        ValueError: there is no reward.
    """
    if scored.mean is None or scored.nominal is None:
        msg = f"there is no reward: {scored.problem}"
        raise ValueError(msg)
    return {"nominal": scored.nominal, "mean": fmean(scored.mean), "worst": min(scored.mean)}[how]


def _reference(item: Scorable) -> tuple[str, str]:
    return item.prompt_id, item.reference or ""


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
