"""What a step learns from: log-probabilities, values, and the advantages that follow from the rewards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from trainer.ppo import update
from trainer.ppo.tensors import Minibatch, collate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.ppo.models import Models
    from trainer.ppo.rollouts import Response
    from warehouse.settings import PpoSettings


@dataclass(frozen=True)
class Experience:
    """The responses of a step as the models see them before any update. N responses, T tokens of the longest.

    Attributes:
        responses: all of them; rows of those that are left out have an empty mask.
        mask: bool [N, T].
        old: log-probability of each token by the policy that drew it, [N, T].
        reference: by the reference, [N, T].
        entropy: of the policy, [N, T].
        values: by the critic, of the state before each token and of the last one, [N, T + 1]; zeros without a critic.
    """

    responses: Sequence[Response]
    mask: torch.Tensor
    old: torch.Tensor
    reference: torch.Tensor
    entropy: torch.Tensor
    values: torch.Tensor

    @property
    def counted(self) -> torch.Tensor:
        """Tell which responses are learnt from, bool [N]."""
        return self.mask.any(dim=1)


@dataclass(frozen=True)
class Advantages:
    """What is learnt, [N, T].

    Attributes:
        advantages: 0 in padding.
        returns: that the critic learns; 0 in padding.
        scores: [N], after the robust objective; 0 where a response is left out.
        kl: the estimate that is the penalty.
    """

    advantages: torch.Tensor
    returns: torch.Tensor
    scores: torch.Tensor
    kl: torch.Tensor


def lengths(responses: Sequence[Response]) -> list[int]:
    """Return the tokens of each response with its prompt, 0 where it is left out."""
    return [0 if r.score is None else len(r.context) + len(r.tokens) for r in responses]


@torch.no_grad()
def observe(models: Models, responses: Sequence[Response], first_epoch: Sequence[Minibatch]) -> Experience:
    """Ask all models about the responses, in the very parts that the first epoch is computed in.

    With the same parts there is no rounding between these log-probabilities and those of the first minibatch: its
    ratio is 1. Whatever engine drew the tokens, these are the old log-probabilities.

    Args:
        models: that are asked.
        responses: of a step.
        first_epoch: numbers of responses; those that are left out are in no part.
    """
    size, columns = len(responses), max([len(r.tokens) for r in responses if r.score is not None], default=1)
    mask = torch.zeros(size, columns, dtype=torch.bool, device=models.device)
    constant = torch.full(mask.shape, update.MASKED_LOGPROB, device=models.device)
    old, reference, entropy = constant.clone(), constant.clone(), torch.zeros_like(constant)
    values = torch.zeros(size, columns + 1, device=models.device)
    with models.computing():
        for part in (p for minibatch in first_epoch for p in minibatch):
            rows = collate([responses[i] for i in part], models.pad, models.device)
            index, width = torch.tensor(part, device=models.device), rows.mask.shape[1]
            mask[index, :width] = rows.mask
            old[index, :width], entropy[index, :width] = models.logprobs(models.policy, rows)
            reference[index, :width] = models.logprobs(models.reference, rows)[0]
            if models.critic is not None:
                values[index, : width + 1] = models.critic(rows)
    return Experience(responses, mask, old, reference, entropy, values)


def judge(seen: Experience, settings: PpoSettings, coefficient: float) -> Advantages:
    """Turn scores into advantages, by a critic and GAE or by the mean of a prompt's samples.

    Args:
        seen: of a step.
        settings: `[ppo]`.
        coefficient: of the KL penalty; with a group baseline it is a term of the loss instead.
    """
    device = seen.mask.device

    def of(values: list[Any]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)

    nominal = of([r.score or 0.0 for r in seen.responses])
    scores = update.robust_scores(nominal, of([r.worst or 0.0 for r in seen.responses]), settings.robust)
    kl = update.kl_estimate(seen.old, seen.reference, settings.kl)
    if settings.baseline == "group":
        groups = torch.tensor([r.group for r in seen.responses], device=device)
        each = update.group_advantages(scores, groups, seen.counted, scale=settings.group_scale)
        return Advantages(each[:, None] * seen.mask, torch.zeros_like(kl), scores, kl)
    rewards = update.token_rewards(scores, kl, seen.mask, coefficient)
    if settings.whiten_rewards:
        rewards = update.whiten(rewards, seen.mask, shift_mean=False)
    found, returns = update.advantages(rewards, seen.values, seen.mask, settings.gamma, settings.gae_lambda)
    if settings.whiten_advantages:
        found = update.whiten(found, seen.mask, shift_mean=True)
    return Advantages(found, returns, scores, kl)
