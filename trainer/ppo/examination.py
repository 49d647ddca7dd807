"""Looking at the held-out prompts every few steps, and keeping the policy that was best on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.ppo.checkpoint import State, save_policy
from trainer.ppo.evaluate import evaluate
from trainer.ppo.record import HELDOUT, METRICS, Record

if TYPE_CHECKING:
    from trainer.ppo.models import Models
    from trainer.ppo.rollouts import Sampler
    from trainer.ppo.training import Told, Training
    from verifiers.hybrid import HybridReward


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
        if found["score"] is not None and (state.best is None or found["score"] > state.best):
            state.best, state.best_step = found["score"], state.step
            save_policy(self._models, self._record.folder / "best")
        self._told(line)

    def scores(self) -> tuple[float | None, float | None]:
        """Return the first and the last score."""
        lines = [row for row in self._record.lines(METRICS) if row["kind"] == "evaluation"]
        return (lines[0]["score"], lines[-1]["score"]) if lines else (None, None)
