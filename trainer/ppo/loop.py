"""PPO on a release, from the first step to the last (arXiv 1707.06347; for text 1909.08593, 2403.17031).

The reward is the hybrid reward (2503.22230, section 3.1), optionally the robust objective of it (2409.15360); prompts
come in curriculum order, phase after phase. On the CPU the same settings, release, model and threads give the same
weights and metrics, bit for bit, also where a training was killed and went on.
"""

from __future__ import annotations

import time
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from trainer.engines.contract import sample_seed
from trainer.ppo import checkpoint
from trainer.ppo.curriculum import phase_of, plan_phases
from trainer.ppo.engines import Drawing
from trainer.ppo.examination import Examination
from trainer.ppo.experience import judge, lengths, observe
from trainer.ppo.gather import gather
from trainer.ppo.learner import Learner
from trainer.ppo.metrics import signal_rows, step_metrics
from trainer.ppo.models import Models
from trainer.ppo.record import METRICS, SIGNALS, TIMING, Record
from trainer.ppo.rollouts import Sampler
from trainer.ppo.tensors import minibatches
from trainer.ppo.training import Told, Trained, Training
from trainer.ppo.update import next_coefficient

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from verifiers.hybrid import HybridReward


def train(
    training: Training,
    reward: HybridReward,
    folder: Path,
    told: Told,
    started: Callable[[], None] = lambda: None,
) -> Trained:
    """Train, going on from the checkpoint in `folder` where there is one.

    Args:
        training: what decides it.
        reward: that scores responses.
        folder: of this training alone; made where it is missing.
        told: is told of every step and evaluation.
        started: is called once the folder is known to hold no other training.

    Raises:
        PpoError: the training cannot start, or a number in it is none.
        ModelError: a model cannot be had.
    """
    models = Models(training.policy, training.settings)
    drawing = Drawing(models, training.policy, training.machine, folder / "current")
    with models.threads(), closing(drawing):
        return _train(training, reward, models, drawing, folder, told, started)


def _train(
    training: Training,
    reward: HybridReward,
    models: Models,
    drawing: Drawing,
    folder: Path,
    told: Told,
    started: Callable[[], None],
) -> Trained:
    settings = training.settings
    folder.mkdir(parents=True, exist_ok=True)
    phases = plan_phases(training.prompts.train, settings.steps)
    learner = Learner(models, settings)
    identity = training.identity(reward, models.engine.fingerprint)
    names = training.names(identity, models.engine.fingerprint)
    state = checkpoint.resume(folder, identity, models, learner)
    started()
    record = Record(folder, None if state is None else state.step)
    if state is not None and state.finished:
        return _trained(record, state)
    end = int(models.engine.tokenizer.eos_token_id)
    sampler = Sampler(drawing, models.engine.prompts, training.policy, end, drawing.computing)
    examine = Examination(training, reward, sampler, models, record, told)
    if state is None:
        state = checkpoint.State(identity, settings.kl_coefficient)
        examine(state)

    while state.step < settings.steps and not state.stopped:
        clock = [time.monotonic()]
        phase = phase_of(phases, state.step)
        if state.step == phase.first:
            state.cursor = 0

        # 1. Responses of the policy to the next prompts of the phase, and their rewards.
        responses, replaced = gather(sampler, reward, phase, settings, state)
        clock.append(time.monotonic())

        # 2. Log-probabilities by policy and reference, values by the critic, all before anything changes.
        seed = sample_seed(settings.seed, "", "order", state.step)
        epochs = [
            list(minibatches(lengths(responses), settings.minibatches, settings.micro_batch, seed + epoch))
            for epoch in range(settings.epochs)
        ]
        seen = observe(models, responses, epochs[0])

        # 3. Rewards of tokens, advantages, returns.
        judged = judge(seen, settings, state.coefficient)

        # 4. Epochs of minibatches: clipped losses, one optimizer step each.
        learnt = learner.learn(seen, judged, epochs, state.step, state.coefficient)
        drawing.changed()
        state.step += 1
        clock.append(time.monotonic())

        # 5. What there is to tell, and what follows from it: the next coefficient, or an early end.
        line: dict[str, Any] = {"kind": "step", "step": state.step, "phase": phase.name}
        line |= {"rate": learner.rates(state.step - 1)[0], "replaced": len(replaced)}
        line |= step_metrics(seen, judged, learnt, settings, state.coefficient)
        record.add(METRICS, [line])
        record.add(SIGNALS, signal_rows(seen, judged, replaced, names, state.step))
        if settings.kl_target is not None and line["kl"] is not None:
            state.coefficient = next_coefficient(
                state.coefficient, line["kl"], settings.kl_target, len(responses), settings.kl_horizon
            )
        if settings.stop_kl is not None and (line["kl"] or 0.0) > settings.stop_kl:
            state.stopped = f"the KL {line['kl']:.2f} is above ppo.stop_kl = {settings.stop_kl:g}"
        told(line)

        # 6. Held-out prompts, and the checkpoint.
        last = state.step == settings.steps or bool(state.stopped)
        if last or state.step % settings.evaluate_every == 0:
            examine(state)
        if last or state.step % settings.checkpoint_every == 0:
            checkpoint.save(folder, state, models, learner)
        clock.append(time.monotonic())
        parts = ("generate_s", "update_s", "evaluate_s")
        spent = {n: round(b - a, 3) for n, (a, b) in zip(parts, pairwise(clock), strict=True)}
        record.add(TIMING, [{"step": state.step, **spent}])

    checkpoint.save_policy(models, folder / "policy")
    record.write_signals()
    checkpoint.finish(folder, state)
    return _trained(record, state)


def _trained(record: Record, state: checkpoint.State) -> Trained:
    scores = [line["score"] for line in record.lines(METRICS) if line["kind"] == "evaluation"] or [None]
    return Trained(
        record.folder, state.identity, state.step, scores[0], scores[-1], state.best, state.best_step, state.stopped
    )
