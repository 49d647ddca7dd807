"""PPO on a release, from the first step to the last (arXiv 1707.06347; for text 1909.08593, 2403.17031).

The reward is the hybrid reward (2503.22230, section 3.1), optionally the robust objective of it (2409.15360); prompts
come in curriculum order, phase after phase. On the CPU the same settings, release, model and threads give the same
weights and metrics, bit for bit, also where a training was killed and went on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from trainer.engines.contract import policy_id, sample_seed, sampling_of
from trainer.ppo import checkpoint
from trainer.ppo.curriculum import phase_of, plan_phases
from trainer.ppo.engines import Drawing
from trainer.ppo.evaluate import evaluate
from trainer.ppo.experience import judge, lengths, observe
from trainer.ppo.learner import Learner
from trainer.ppo.metrics import signal_rows, step_metrics
from trainer.ppo.models import Models
from trainer.ppo.prompts import PpoError
from trainer.ppo.record import HELDOUT, METRICS, SIGNALS, TIMING, Record
from trainer.ppo.rollouts import Response, Sampler, all_alike, score
from trainer.ppo.tensors import minibatches
from trainer.ppo.update import next_coefficient
from warehouse.hashing import json_hash

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.ppo.curriculum import Phase
    from trainer.ppo.prompts import Prompts
    from verifiers.hybrid import HybridReward
    from warehouse.settings import EngineSettings, PolicySettings, PpoSettings


@dataclass(frozen=True)
class Training:
    """Everything that decides a training, but for the reward.

    Attributes:
        prompts: of the release.
        release_id: of it.
        settings: `[ppo]`.
        policy: `[policy]`: the model that learns, and how it samples.
        machine: `[engine]`, of an engine of its own (`ppo.engine = "policy"`); None: that of the weights in training.
    """

    prompts: Prompts
    release_id: str
    settings: PpoSettings
    policy: PolicySettings
    machine: EngineSettings | None = None


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes:
        folder: with `policy` (the last weights), `best`, metrics, signals.
        run_id: 32 hex characters, of everything that decided it.
        steps: that were taken.
        first, last, best: scores on the held-out prompts; None where there are none.
        best_step: where the best one was measured.
        stopped: why it ended early; empty where it did not.
    """

    folder: Path
    run_id: str
    steps: int
    first: float | None
    last: float | None
    best: float | None
    best_step: int
    stopped: str


Told = Callable[[dict[str, Any]], None]  # is given every line of metrics


def train(training: Training, reward: HybridReward, folder: Path, told: Told) -> Trained:
    """Train, going on from the checkpoint in `folder` where there is one.

    Args:
        training: see there.
        reward: that scores responses.
        folder: of this training alone; made where it is missing.
        told: is told of every step and evaluation.

    Raises:
        PpoError: the training cannot start, or a number in it is none.
        ModelError: a model cannot be had.
    """
    settings, policy = training.settings, training.policy
    folder.mkdir(parents=True, exist_ok=True)
    phases = plan_phases(training.prompts.train, settings.steps)
    models = Models(policy, settings)
    learner = Learner(models, settings)
    engine = models.engine
    identity = _identity(training, reward, engine.fingerprint)
    names = {
        "training_run_id": identity,
        "release_id": training.release_id,
        "policy_id": policy_id(
            engine.fingerprint, sampling_of(policy), engine.prompts.chat_template, policy.system_prompt
        ),
    }
    state = checkpoint.resume(folder, identity, models, learner)
    record = Record(folder, None if state is None else state.step)
    drawing = Drawing(models, policy, training.machine, folder / "current")
    sampler = Sampler(drawing, engine.prompts, policy, int(engine.tokenizer.eos_token_id))
    examine = _Examination(training, reward, sampler, record, models, told)
    if state is None:
        state = checkpoint.State(identity, settings.kl_coefficient)
        with models.computing():
            examine(state)

    while state.step < settings.steps and not state.stopped:
        clock = [time.monotonic()]
        phase = phase_of(phases, state.step)
        if state.step == phase.first:
            state.cursor = 0

        # 1. Responses of the policy to the next prompts of the phase, and their rewards.
        with models.computing():
            responses, replaced = _gather(sampler, reward, phase, settings, state)
        clock.append(time.monotonic())

        # 2. Log-probabilities by policy and reference, values by the critic, all before anything changes.
        seed = sample_seed(settings.seed, "order", "ppo", state.step)
        epochs = [
            list(minibatches(lengths(responses), settings.minibatches, settings.micro_batch, seed + epoch))
            for epoch in range(settings.epochs)
        ]
        seen = observe(models, responses, epochs[0])

        # 3. Rewards of tokens, advantages, returns.
        judged = judge(seen, settings, state.coefficient)

        # 4. Epochs of minibatches: clipped losses, one optimizer step each.
        told_of = learner.learn(seen, judged, epochs, state.step, state.coefficient)
        drawing.changed()
        state.step += 1
        clock.append(time.monotonic())

        # 5. What there is to tell, and what it changes: the coefficient, or an early end.
        line: dict[str, Any] = {
            "kind": "step",
            "step": state.step,
            "phase": phase.name,
            "rate": learner.rates(state.step - 1)[0],
        }
        line |= step_metrics(seen, judged, told_of, settings, state.coefficient) | {"replaced": len(replaced)}
        record.add(METRICS, [line])
        record.add(SIGNALS, signal_rows(seen, judged, replaced, names, state.step))
        if settings.kl_target is not None and bool(seen.counted.any()):
            state.coefficient = next_coefficient(
                state.coefficient, line["kl"], settings.kl_target, len(responses), settings.kl_horizon
            )
        if settings.stop_kl is not None and line["kl"] > settings.stop_kl:
            state.stopped = f"KL {line['kl']:.2f} is above ppo.stop_kl = {settings.stop_kl:g}"
        told(line)

        # 6. Held-out prompts, and the checkpoint.
        last = state.step == settings.steps or bool(state.stopped)
        if last or state.step % settings.evaluate_every == 0:
            with models.computing():
                examine(state)
        if last or state.step % settings.checkpoint_every == 0:
            checkpoint.save(folder, state, models, learner)
        clock.append(time.monotonic())
        parts = ("generate_s", "update_s", "evaluate_s")
        spent = {n: round(b - a, 3) for n, (a, b) in zip(parts, pairwise(clock), strict=True)}
        record.add(TIMING, [{"step": state.step, **spent}])

    checkpoint.save_policy(models, folder / "policy")
    record.write_signals()
    first, final = examine.scores()
    return Trained(folder, identity, state.step, first, final, state.best, state.best_step, state.stopped)


def _gather(
    sampler: Sampler, reward: HybridReward, phase: Phase, settings: PpoSettings, state: checkpoint.State
) -> tuple[list[Response], list[Response]]:
    """Return the scored responses of a step, and those to prompts that were replaced; moves the cursor of the phase.

    Dynamic sampling (DAPO, arXiv 2503.14476, section 3.2): prompts whose samples are all alike give way to the next
    prompts, for some rounds; where none is better, the last round's stay.
    """
    kept: list[Response] = []
    replaced: list[Response] = []
    drawn: Counter[str] = Counter()
    rounds = settings.resample_rounds if settings.dynamic_sampling else 0
    while True:
        missing = settings.prompts - len(kept) // settings.samples
        prompts = phase.take(state.cursor, missing, settings.seed)
        state.cursor += missing
        fresh = sampler.draw(prompts, settings.samples, settings.seed, f"ppo {state.step}", drawn)
        score(fresh, reward, settings)
        groups = [fresh[i : i + settings.samples] for i in range(0, len(fresh), settings.samples)]
        for group in groups:
            (replaced if rounds and all_alike(group) else kept).extend(group)
        if len(kept) == settings.prompts * settings.samples:
            break
        rounds -= 1
    for n, response in enumerate(kept):
        response.group = n // settings.samples
    return kept, replaced


class _Examination:
    """Evaluates, tells, and keeps the policy that was best so far in `best`."""

    def __init__(
        self,
        training: Training,
        reward: HybridReward,
        sampler: Sampler,
        record: Record,
        models: Models,
        told: Told,
    ) -> None:
        self._training, self._reward, self._sampler = training, reward, sampler
        self._record, self._models, self._told = record, models, told

    def __call__(self, state: checkpoint.State) -> None:
        heldout = self._training.prompts.heldout
        if not heldout:
            return
        found, by_prompt = evaluate(self._sampler, heldout, self._reward, self._training.settings)
        line = {"kind": "evaluation", "step": state.step, **found}
        self._record.add(METRICS, [line])
        rows = [{"step": state.step, "prompt_id": p, "score": s} for p, s in sorted(by_prompt.items())]
        self._record.add(HELDOUT, rows)
        if found["score"] is not None and (state.best is None or found["score"] > state.best):
            state.best, state.best_step = found["score"], state.step
            checkpoint.save_policy(self._models, self._record.folder / "best")
        self._told(line)

    def scores(self) -> tuple[float | None, float | None]:
        """Return the first and the last score."""
        lines = [row for row in self._record.lines(METRICS) if row["kind"] == "evaluation"]
        return (lines[0]["score"], lines[-1]["score"]) if lines else (None, None)


def _identity(training: Training, reward: HybridReward, fingerprint: str) -> str:
    """Return the hash of everything that decides a training; how often it is saved does not."""
    settings = training.settings.model_dump(exclude={"checkpoint_every"})
    policy = training.policy.model_dump(include={"temperature", "max_tokens", "stop", "system_prompt"})
    rows = [p.prompt_id for part in (training.prompts.train, training.prompts.heldout) for p in part]
    return json_hash(["ppo", training.release_id, rows, fingerprint, settings, policy, sorted(reward.sources)])


__all__ = ["PpoError", "Trained", "Training", "train"]
