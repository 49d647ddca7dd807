"""The PPO update as pure functions of tensors: nothing here holds a model, a file or a random state.

Shapes: N responses, T tokens of the longest of them, V tokens of the vocabulary. `mask` is bool [N, T], true where a
response has a token that was drawn (the end token is one). What stands where the mask is false decides nothing.

Losses come as sums over tokens that are divided by a number the caller gives: the valid tokens of the whole minibatch,
so that a minibatch that is computed in parts has the gradient of one that is computed at once.

Sources: PPO (arXiv 1707.06347), GAE (1506.02438), RLHF's details (1909.08593, 2009.01325, 2403.17031), the group
baseline (GRPO, 2402.03300), the robust objective (BRME, 2409.15360), k1 and k3 (Schulman, "Approximating KL
divergence", 2020).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch

MASKED_LOGPROB = 1.0  # of every token that is none, for all models alike: its ratio is 1 and its KL is 0
_LEAST_SPREAD = 1e-8

KlKind = Literal["k1", "k3"]


def response_logits(logits: torch.Tensor, context: int) -> torch.Tensor:
    """Return the logits that the tokens of the responses were drawn from, [N, T, V]: those of the position before.

    Args:
        logits: [N, context + T, V], of prompts that are padded on the left and responses that are on the right.
        context: columns of the prompts.
    """
    return logits[:, context - 1 : -1]


def token_logprobs(
    logits: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log-probability and entropy of every token in nats, both fp32 [N, T].

    Both are of softmax(logits / temperature), computed in fp32 whatever the model computes in. Entropy has no
    gradient where nothing asks for it; padding has `MASKED_LOGPROB` and entropy 0.

    Args:
        logits: [N, T, V].
        tokens: int64 [N, T].
        mask: [N, T].
        temperature: that the tokens were drawn with, above 0.
    """
    every = torch.log_softmax(logits.float() / temperature, dim=-1)
    chosen = every.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    entropy = -(every.exp() * every).sum(dim=-1)
    return chosen.masked_fill(~mask, MASKED_LOGPROB), entropy.masked_fill(~mask, 0.0)


def inside(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the values inside the mask and 0 elsewhere: multiplied by 0, a NaN or infinity would stay one."""
    return values.masked_fill(~mask, 0.0)


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean over the mask, 0 where it is empty."""
    return inside(values, mask).sum() / mask.sum().clamp(min=1)


def whiten(values: torch.Tensor, mask: torch.Tensor, *, shift_mean: bool) -> torch.Tensor:
    """Return values of variance 1 over the mask (the sample's, divided by n - 1); padding is 0.

    Args:
        values: [N, T].
        mask: [N, T].
        shift_mean: the mean becomes 0 (advantages), else it stays (rewards).
    """
    mean = masked_mean(values, mask)
    count = mask.sum()
    variance = masked_mean((values - mean) ** 2, mask) * count / (count - 1).clamp(min=1)
    white = (values - mean) * torch.rsqrt(variance + _LEAST_SPREAD)
    return inside(white if shift_mean else white + mean, mask)


def kl_estimate(logp: torch.Tensor, reference: torch.Tensor, kind: KlKind) -> torch.Tensor:
    """Return what each token says of KL(policy || reference), in nats, [N, T].

    k1 is log p - log q: unbiased, of either sign. k3 is q/p - 1 - log(q/p): unbiased, never negative, of less
    variance. Tokens must have been drawn from the policy.
    """
    log_ratio = reference - logp
    return -log_ratio if kind == "k1" else torch.expm1(log_ratio) - log_ratio


def robust_scores(nominal: torch.Tensor, worst: torch.Tensor, share: float) -> torch.Tensor:
    """Return share * nominal + (1 - share) * worst (arXiv 2409.15360, section 3.2), [N]."""
    return share * nominal + (1 - share) * worst


def last_tokens(mask: torch.Tensor) -> torch.Tensor:
    """Return the index of each response's last token, int64 [N]; 0 where a row has none."""
    return (mask.sum(dim=1) - 1).clamp(min=0)


def token_rewards(scores: torch.Tensor, kl: torch.Tensor, mask: torch.Tensor, coefficient: float) -> torch.Tensor:
    """Return the reward of every token, [N, T]: -coefficient * kl, and the score once, at the last token.

    Args:
        scores: [N].
        kl: [N, T], an estimate a token.
        mask: [N, T].
        coefficient: beta, of the penalty.
    """
    rewards = inside(-coefficient * kl, mask)
    at_end = torch.zeros_like(rewards).scatter(1, last_tokens(mask).unsqueeze(1), scores.to(rewards).unsqueeze(1))
    return rewards + inside(at_end, mask)


def advantages(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return advantages and returns by generalised advantage estimation (arXiv 1506.02438), both [N, T].

    A_t = sum over l of (gamma lam)^l delta_{t+l} with delta_t = r_t + gamma V(s_{t+1}) - V(s_t); returns are A + V.
    The state after a response is worth 0, whatever its column holds.

    Args:
        rewards: [N, T].
        values: [N, T + 1], of the state before every token, and of the one after them all.
        mask: [N, T].
        gamma: discount of a token.
        lam: of the estimator.
    """
    columns = rewards.shape[1]
    ended = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)  # is there a token after this one?
    following = inside(values[:, 1:], ended)
    delta = inside(rewards + gamma * following - values[:, :columns], mask)
    running = torch.zeros_like(delta[:, 0])
    found = torch.zeros_like(delta)
    for t in reversed(range(columns)):
        running = delta[:, t] + gamma * lam * running
        found[:, t] = running
    return found, inside(found + values[:, :columns], mask)


def group_advantages(scores: torch.Tensor, groups: torch.Tensor, counted: torch.Tensor, *, scale: bool) -> torch.Tensor:
    """Return each response's score against its group's, [N]: (score - mean) / (deviation + 1e-4).

    Args:
        scores: [N].
        groups: int64 [N], equal for the responses to one prompt.
        counted: bool [N]; others have no part in a mean, and advantage 0.
        scale: divide by the sample's standard deviation (GRPO, arXiv 2402.03300); else not (Dr. GRPO, 2503.20783).
    """
    device = scores.device
    scores, groups, counted = scores.cpu(), groups.cpu(), counted.cpu()  # a GPU adds them up in any order
    number = int(groups.max()) + 1 if len(groups) else 0
    weight = counted.to(scores)
    count = torch.zeros(number).index_add(0, groups, weight)
    mean = torch.zeros_like(count).index_add(0, groups, inside(scores, counted)) / count.clamp(min=1)
    centred = inside(scores - mean[groups], counted)
    if not scale:
        return centred.to(device)
    variance = torch.zeros_like(count).index_add(0, groups, centred**2) / (count - 1).clamp(min=1)
    return (centred / (variance.sqrt() + 1e-4)[groups]).to(device)


class PolicyLoss(NamedTuple):
    """The clipped loss of a part of a minibatch, and sums over its tokens that describe it (no gradients in them).

    Attributes:
        loss: to be minimised; already divided.
        clipped: tokens whose gradient the clip cut off.
        kl: sum of (r - 1) - log r, an estimate of KL(old || new).
        ratio: sum of the ratios r.
        ratio_squared: sum of r squared.
    """

    loss: torch.Tensor
    clipped: torch.Tensor
    kl: torch.Tensor
    ratio: torch.Tensor
    ratio_squared: torch.Tensor


def policy_loss(
    logp: torch.Tensor, old: torch.Tensor, advantage: torch.Tensor, mask: torch.Tensor, clip: float, tokens: int
) -> PolicyLoss:
    """Return PPO's clipped loss (arXiv 1707.06347, equation 7), negated.

    Args:
        logp: [N, T], of the policy as it is.
        old: [N, T], of the policy that drew the tokens.
        advantage: [N, T].
        mask: [N, T].
        clip: epsilon.
        tokens: that the sum is divided by.
    """
    log_ratio, advantage = inside(logp - old, mask), inside(advantage, mask)
    ratio = log_ratio.exp()
    plain, cut = -advantage * ratio, -advantage * ratio.clamp(1 - clip, 1 + clip)
    loss = torch.maximum(plain, cut).sum() / tokens  # where nothing was drawn the advantage is 0
    with torch.no_grad():
        clipped = ((cut > plain) & mask).sum()
        kl = ((torch.expm1(log_ratio) - log_ratio) * mask).sum()
        return PolicyLoss(loss, clipped, kl, (ratio * mask).sum(), (ratio**2 * mask).sum())


def value_loss(
    values: torch.Tensor, old: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, clip: float, tokens: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return half of the larger of plain and clipped squared error, and how many tokens were clipped.

    Args:
        values: [N, T], of the critic as it is.
        old: [N, T], of the critic when the responses were drawn.
        returns: [N, T].
        mask: [N, T].
        clip: how far a value may move from the old one before it brings no gradient.
        tokens: that the sum is divided by.
    """
    values, old, returns = (inside(x, mask) for x in (values, old, returns))
    near = torch.minimum(torch.maximum(values, old - clip), old + clip)
    plain, cut = (values - returns) ** 2, (near - returns) ** 2
    loss = 0.5 * torch.maximum(plain, cut).sum() / tokens
    return loss, ((cut > plain) & mask).sum()


def next_coefficient(coefficient: float, kl: float, target: float, responses: int, horizon: float) -> float:
    """Return the adaptive coefficient after a step (arXiv 1909.08593, section 2.2).

    Args:
        coefficient: beta of the step.
        kl: mean KL of a response, in nats.
        target: that it should have.
        responses: of the step.
        horizon: responses after which a KL that is a fifth off has changed beta by a factor of about 1.2.
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return coefficient * (1 + error * responses / horizon)
