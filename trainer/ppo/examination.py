"""Looking at the held-out prompts every few steps, and keeping the policy that was best on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer.ppo.checkpoint import State, save_policy
from trainer.ppo.evaluate import evaluate
from trainer.ppo.record import HELDOUT, METRICS, Record

if TYPE_CHECKING:
    from trainer.ppo.models import Models
    from trainer.ppo.rollouts import Sampler
    from trainer.ppo.training import Told, Training
    from verifiers.hybrid import HybridReward

COMPARABLE = 0.05  # of the responses: where so many fewer could be decided, a score is no better for being higher


class Examination:
    """Evaluates, writes down, tells, and keeps the best policy so far in `best`; nothing where nothing is held out."""

    def __init__(
        self,
        training: Training,
        reward: HybridReward,
        sampler: Sampler,
        models: Models,
        record: Record,
        told: Told,
    ) -> None:
        self._training, self._reward, self._sampler = training, reward, sampler
        self._models, self._record, self._told = models, record, told

    def __call__(self, state: State) -> None:
        """Examine the policy as it is after the steps of `state`, which learns of a new best."""
        heldout = self._training.prompts.heldout
        if not heldout:
            return
        found, by_prompt = evaluate(self._sampler, heldout, self._reward, self._training.settings)
        line = {"kind": "evaluation", "step": state.step, **found}
        self._record.add(METRICS, [line])
        self._record.add(
            HELDOUT, [{"step": state.step, "prompt_id": p, "score": s} for p, s in sorted(by_prompt.items())]
        )
        if _better(found, state):
            state.best, state.best_step, state.decided = found["score"], state.step, 1 - found["undecided"]
            save_policy(self._models, self._record.folder / "best")
        self._told(line)


def _better(found: dict[str, Any], state: State) -> bool:
    """Tell whether an evaluation is a new best: of scores that rest on about as much, the higher one.

    Where far less could be decided than for the best so far, as while a verifier is away, the score is of other
    prompts and does not count; where far more could, it takes the place of the other.
    """
    if found["score"] is None:
        return False
    more: float = 1 - found["undecided"] - state.decided
    if state.best is None or abs(more) > COMPARABLE:
        return more > 0
    return bool(found["score"] > state.best)
