"""The losses of the reward models, as functions of tensors. Each returns one value a pair, unless it says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy, logsigmoid, normalize, softplus

if TYPE_CHECKING:
    from trainer.reward_models.heads import Rewards


def bradley_terry(
    difference: torch.Tensor, margin: torch.Tensor | float = 0.0, target: torch.Tensor | float = 1.0
) -> torch.Tensor:
    """Return -t log sigmoid(d - m) - (1 - t) log sigmoid(-(d - m)).

    The adaptive margin of arXiv 2401.06080 is printed outside of the sigmoid, where it has no gradient; here it is
    inside.

    Args:
        difference: reward of the chosen less that of the rejected response, [n] or [n, k].
        margin: m, in units of the reward.
        target: t, the probability that the label is right: 1, or 1 - a for label smoothing, or one value a pair (soft).
    """
    d = difference - margin
    return -(target * logsigmoid(d) + (1 - target) * logsigmoid(-d))


def text_regulariser(
    kind: str, chosen: torch.Tensor, rejected: torch.Tensor, beta: float, reference: torch.Tensor | None = None
) -> torch.Tensor:
    """Return GRM's regulariser of the kept language model head (arXiv 2406.10216, section 3).

    Args:
        kind: "sft": -log sigmoid(beta lp_c); "dpo-noref": of lp_c - lp_r; "dpo": of that less the reference's.
        chosen: lp_c, the summed log-probability of the chosen response's tokens, [n], in nats.
        rejected: lp_r.
        beta: their scale.
        reference: lp_c - lp_r under the untrained model, [n]; for "dpo".

    Raises:
        ValueError: no such kind, or "dpo" without a reference.
    """
    if kind == "sft":
        return -logsigmoid(beta * chosen)
    if kind == "dpo-noref":
        return -logsigmoid(beta * (chosen - rejected))
    if kind == "dpo" and reference is not None:
        return -logsigmoid(beta * (chosen - rejected - reference))
    msg = f"no text regulariser {kind!r}, or it lacks its reference"
    raise ValueError(msg)


def simcse(first: torch.Tensor, second: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return [n]: two dropout passes of the same text attract, those of others repel (arXiv 2401.06080, SimCSE).

    Args:
        first: features of one pass, [n, width].
        second: of the other.
        temperature: of the cosine similarities.
    """
    similarity = normalize(first, dim=1) @ normalize(second, dim=1).T / temperature
    return cross_entropy(similarity, torch.arange(len(first), device=first.device), reduction="none")


def swav(
    first: torch.Tensor, second: torch.Tensor, prototypes: torch.Tensor, temperature: float, epsilon: float = 0.05
) -> torch.Tensor:
    """Return [n]: each pass predicts the cluster that the other was assigned to (arXiv 2401.06080, SwAV).

    Args:
        first: features of one pass, [n, width].
        second: of the other.
        prototypes: [clusters, width].
        temperature: of the predictions.
        epsilon: of Sinkhorn's entropy, which spreads the texts evenly over the clusters.
    """
    scores = [normalize(x, dim=1) @ normalize(prototypes, dim=1).T for x in (first, second)]
    codes = [_sinkhorn(s.detach() / epsilon) for s in scores]
    predicted = [torch.log_softmax(s / temperature, dim=1) for s in scores]
    return -((codes[0] * predicted[1]).sum(dim=1) + (codes[1] * predicted[0]).sum(dim=1)) / 2


def _sinkhorn(scores: torch.Tensor, rounds: int = 3) -> torch.Tensor:
    """Return soft assignments [n, clusters]: rows sum to 1, columns are about even."""
    q = torch.exp(scores - scores.max())
    for _ in range(rounds):
        q = q / q.sum(dim=0, keepdim=True) / q.shape[1]
        q = q / q.sum(dim=1, keepdim=True) / q.shape[0]
    return q * q.shape[0]


def labelled_targets(chosen: torch.Tensor, rejected: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what stage 1's rewards and the label together say of both responses: targets for the Gaussian heads.

    The paper (arXiv 2409.15360) does not say what the heads are fitted to; this is ours. Under Bradley-Terry the latent
    difference D is logistic around d = r_c - r_r. Given that the chosen response won, its mean is
    E[D | D > 0] = softplus(d) / sigmoid(d), which both responses make up for in halves. So where labels and rewards
    agree, little is added; where they do not, targets are far from the rewards, and the heads learn to be uncertain.

    Args:
        chosen: r_c of stage 1, [n].
        rejected: r_r.
    """
    d = (chosen - rejected).double()
    surplus = torch.where(d > -30, softplus(d) / torch.sigmoid(d), 1.0) - d  # for d far below 0 the quotient goes to 1
    half = (surplus / 2).to(chosen.dtype)
    return chosen + half, rejected - half


def gaussian_nll(rewards: Rewards, target: torch.Tensor, beta: float) -> torch.Tensor:
    """Return [n, k]: the negative log-likelihood of the targets, times std^(2 beta) as a constant (arXiv 2203.09168).

    Args:
        rewards: of n texts by k Gaussian heads.
        target: [n].
        beta: 0 is the plain likelihood; towards 1 the means are fitted as by a squared error.
    """
    assert rewards.std is not None
    z = (target[:, None] - rewards.mean) / rewards.std
    return (z.square() / 2 + rewards.std.log()) * rewards.std.detach() ** (2 * beta)


def sampled_mse(rewards: Rewards, target: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Return [n, k]: (mean + std noise - y)^2, whose expectation (mean - y)^2 + std^2 drives every std to zero.

    A reading of arXiv 2409.15360's stage 2, kept to show that: after it the head of smallest std is an arbitrary one.
    """
    assert rewards.std is not None
    return (rewards.mean + rewards.std * noise - target[:, None]).square()


def meta_difference(rewards: torch.Tensor) -> torch.Tensor:
    """Return J = 2 / k^2 sum over i < j of sigmoid(|r_i - r_j|), a scalar (MetaRM, arXiv 2401.06080, section 4).

    Args:
        rewards: of k responses of the policy, [k].
    """
    k = len(rewards)
    i, j = torch.triu_indices(k, k, offset=1, device=rewards.device)
    return 2 / k**2 * torch.sigmoid((rewards[i] - rewards[j]).abs()).sum()
