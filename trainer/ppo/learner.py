"""Taking optimizer steps: gradients of a minibatch, accumulated from its parts, clipped, refused where not finite."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from trainer.ppo import update
from trainer.ppo.prompts import PpoError
from trainer.ppo.tensors import Minibatch, collate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trainer.ppo.experience import Advantages, Experience
    from trainer.ppo.models import Models
    from warehouse.settings import PpoSettings

BETAS, EPSILON = (0.9, 0.95), 1e-5  # of Adam (arXiv 2401.06080, section 4; 2403.17031)
_RATIO_ROUNDING = {torch.float32: 1e-3, torch.bfloat16: 0.1}


@dataclass
class Told:
    """Sums over the tokens of all minibatches of a step, and what came of each minibatch."""

    tokens: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    norms: dict[str, list[float]] = field(default_factory=dict)
    minibatches: int = 0
    skipped: int = 0

    def add(self, **values: torch.Tensor) -> None:
        """Add sums over tokens."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)

    def mean(self, name: str) -> float:
        """Return the mean over tokens, 0 where nothing was learnt."""
        return self.sums.get(name, 0.0) / max(self.tokens, 1)


class Learner:
    """The optimizer of policy and critic.

    Args:
        models: that learn.
        settings: `[ppo]`.
    """

    def __init__(self, models: Models, settings: PpoSettings) -> None:
        self.models, self.settings = models, settings
        self.groups: dict[str, list[torch.nn.Parameter]] = {"policy": list(models.policy.parameters())}
        if models.critic is not None:
            self.groups["critic"] = list(models.critic.parameters())
        self._peaks = [settings.rate, settings.critic_rate][: len(self.groups)]
        self.optimizer = torch.optim.Adam(
            [{"params": p, "lr": rate} for p, rate in zip(self.groups.values(), self._peaks, strict=True)],
            betas=BETAS,
            eps=EPSILON,
        )

    def rates(self, step: int) -> list[float]:
        """Return the learning rates of a step, of policy and critic: rising at first, then perhaps falling to 0."""
        share = min(1.0, (step + 1) / (self.settings.warmup_steps + 1))
        if self.settings.anneal:
            share *= 1 - step / self.settings.steps
        return [peak * share for peak in self._peaks]

    def learn(
        self,
        seen: Experience,
        judged: Advantages,
        epochs: Sequence[Iterable[Minibatch]],
        step: int,
        coefficient: float,
    ) -> Told:
        """Go over the responses of a step, minibatch by minibatch.

        Args:
            seen: of the step.
            judged: likewise.
            epochs: minibatches of each epoch; the parts of the first are those that `seen` was made in.
            step: from 0, for the rates and for messages.
            coefficient: of the KL, where it is a term of the loss.

        Raises:
            PpoError: a loss or gradient is not finite, or the first ratio is not 1. No step is taken with it.
        """
        told = Told()
        for group, rate in zip(self.optimizer.param_groups, self.rates(step), strict=True):
            group["lr"] = rate
        for minibatch in (m for epoch in epochs for m in epoch):
            tokens = int(sum(seen.mask[part].sum() for part in minibatch))
            if not tokens:
                continue
            if told.skipped or self._too_far(told):
                told.skipped += 1
                continue
            self.optimizer.zero_grad(set_to_none=True)
            before = dict(told.sums)
            for part in minibatch:
                self._accumulate(seen, judged, part, tokens, coefficient, told, step)
            told.tokens += tokens
            told.minibatches += 1
            told.sums["last_kl"] = (told.sums["update_kl"] - before.get("update_kl", 0.0)) / tokens
            if told.minibatches == 1:
                self._check_first(told, step)
            self._step(told, step)
        return told

    def _accumulate(
        self,
        seen: Experience,
        judged: Advantages,
        part: list[int],
        tokens: int,
        coefficient: float,
        told: Told,
        step: int,
    ) -> None:
        """Add the gradient of a part of a minibatch."""
        settings, models = self.settings, self.models
        rows = collate([seen.responses[i] for i in part], models.pad, models.device)
        width = rows.mask.shape[1]
        with models.computing():
            logp, entropy = models.logprobs(models.policy, rows)
            values = None if models.critic is None else models.critic(rows)[:, :width]
        old, reference = seen.old[part, :width], seen.reference[part, :width]
        policy = update.policy_loss(logp, old, judged.advantages[part, :width], rows.mask, settings.clip, tokens)
        loss = policy.loss
        if settings.entropy_coefficient:
            loss = loss - settings.entropy_coefficient * entropy.sum() / tokens
        if values is not None:
            value, clipped = update.value_loss(
                values, seen.values[part, :width], judged.returns[part, :width], rows.mask, settings.value_clip, tokens
            )
            loss = loss + settings.value_coefficient * value
            told.add(value_loss=value.detach() * tokens, value_clipped=clipped)
        elif coefficient:
            penalty = update.kl_estimate(logp, reference, settings.kl)
            loss = loss + coefficient * (penalty * rows.mask).sum() / tokens
        if not torch.isfinite(loss):
            ids = ", ".join(sorted({seen.responses[i].prompt.prompt_id for i in part})[:5])
            self._fail(step, f"the loss is {float(loss.detach())} for prompts {ids}")
        loss.backward()  # type: ignore[no-untyped-call]
        told.add(
            policy_loss=policy.loss.detach() * tokens,
            clipped=policy.clipped,
            update_kl=policy.kl,
            ratio=policy.ratio,
            ratio_squared=policy.ratio_squared,
        )

    def _step(self, told: Told, step: int) -> None:
        for name, parameters in self.groups.items():
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, self.settings.grad_clip))
            if not math.isfinite(norm):
                self._fail(step, f"the gradient of the {name} is {norm}")
            told.norms.setdefault(name, []).append(norm)
        self.optimizer.step()

    def _too_far(self, told: Told) -> bool:
        return self.settings.epoch_kl is not None and told.sums.get("last_kl", 0.0) > self.settings.epoch_kl

    def _check_first(self, told: Told, step: int) -> None:
        """Nothing has changed yet, so that ratio 1, KL 0 and no clipping are what a right computation gives."""
        off = abs(told.mean("ratio") - 1) + abs(told.mean("update_kl"))
        if off > _RATIO_ROUNDING[self.models.dtype] or told.sums["clipped"]:
            self._fail(step, f"before any update the ratio is {told.mean('ratio'):.6f} and not 1")

    def _fail(self, step: int, problem: str) -> None:
        msg = f"step {step + 1} of {self.settings.steps}: {problem}; the last checkpoint stays. Try a lower ppo.rate"
        raise PpoError(msg)
