"""The rule verifiers as a source of the hybrid reward (reasoning task verifiers, arXiv 2503.22230, section 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verifiers.contract import Task, Verdict
from verifiers.hybrid import RTV, Reward, Scorable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verifiers.pool import VerifierPool


class RuleVerifiers:
    """Rewards by verdicts.

    Args:
        pool: that verifies.
        budget_s: for one verdict, in seconds; default: what its verifier says.
    """

    def __init__(self, pool: VerifierPool, budget_s: float | None = None) -> None:
        self._pool, self._budget_s = pool, budget_s

    def __call__(self, items: Sequence[Scorable]) -> list[Reward]:
        """Return one reward a response, in order; what could not be decided has a status and none."""
        answered = [item for item in items if item.response is not None]
        verdicts = iter(self._pool.verify([task_of(item, self._budget_s) for item in answered]))
        return [reward_of(item, None if item.response is None else next(verdicts)) for item in items]


def task_of(item: Scorable, budget_s: float | None = None) -> Task:
    """Return what a verifier is asked about a response."""
    prompt = item.messages[-1][1] if item.messages else ""
    return Task(
        item.verifier or "",
        item.response or "",
        item.ground_truth,
        prompt=prompt,
        budget_s=budget_s,
        finish_reason=item.finish_reason,
    )


def reward_of(item: Scorable, verdict: Verdict | None) -> Reward:
    """Return what a verdict rewards a response with; None where there was no response to verify."""
    if verdict is None:
        return _unanswered(item)
    by = f"{verdict.verifier}@{verdict.version}"
    status, detail = str(verdict.status), verdict.detail
    return Reward(item.prompt_id, item.sample, verdict.score, RTV, by, status, detail, verdict.score)


def _unanswered(item: Scorable) -> Reward:
    status = "error" if item.finish_reason == "error" else "no_response"
    return Reward(item.prompt_id, item.sample, None, RTV, None, status, f"{status}: there is no response")
