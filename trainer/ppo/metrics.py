"""What is told of a step: a line of metrics, and a row for every response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer.ppo.update import kl_estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.ppo.experience import Advantages, Experience
    from trainer.ppo.learner import Told
    from trainer.ppo.rollouts import Response
    from warehouse.settings import PpoSettings

_OF_TOKENS = {
    "score", "non_score_reward", "kl", "kl_k3", "entropy", "policy_loss", "clip_fraction", "update_kl",
    "ratio_variance", "advantage_spread", "value_loss", "value_clip_fraction", "explained_variance",
}  # fmt: skip


def step_metrics(
    seen: Experience, judged: Advantages, told: Told, settings: PpoSettings, coefficient: float
) -> dict[str, Any]:
    """Return the numbers of a step; means over tokens are over those that were learnt from, null where there are none.

    `kl` is the mean over responses of the sum of k1, in nats; `non_score_reward` is the penalty that came with it;
    `mismatch` is the mean over tokens of |log-probability by the engine - recomputed|, of sums of responses.
    """
    counted, mask = seen.counted, seen.mask
    responses, tokens = max(int(counted.sum()), 1), max(int(mask.sum()), 1)
    kl = float(kl_estimate(seen.old, seen.reference, "k1").sum()) / responses
    ratio = told.mean("ratio")
    penalised = float((judged.kl * mask).sum()) / responses
    found: dict[str, Any] = {
        "score": float((judged.scores * counted).sum()) / responses,
        "non_score_reward": -coefficient * penalised,
        "kl": kl,
        "kl_k3": float(kl_estimate(seen.old, seen.reference, "k3").sum()) / responses,
        "coefficient": coefficient,
        "entropy": float(seen.entropy.sum()) / tokens,
        "policy_loss": told.mean("policy_loss"),
        "clip_fraction": told.mean("clipped"),
        "update_kl": told.mean("update_kl"),
        "ratio_variance": told.mean("ratio_squared") - ratio**2,
        "minibatches": told.minibatches,
        "minibatches_skipped": told.skipped,
        **{f"grad_norm_{n}": sum(norms) / len(norms) for n, norms in told.norms.items()},
        "mismatch": _mismatch(seen),
        "advantage_spread": float(((judged.advantages**2).sum() / tokens).sqrt()),
        **_counts(seen.responses),
    }
    if settings.baseline == "critic":
        found |= {
            "value_loss": told.mean("value_loss"),
            "value_clip_fraction": told.mean("value_clipped"),
            "explained_variance": _explained(seen, judged),
        }
    if not counted.any():  # nothing is known of what was not learnt from: 0 would be read as a score
        found |= dict.fromkeys(_OF_TOKENS & found.keys())
    return found


def _counts(responses: Sequence[Response]) -> dict[str, Any]:
    number = max(len(responses), 1)
    domains: dict[str, list[Response]] = {}
    for response in responses:
        domains.setdefault(response.prompt.domain, []).append(response)
    return {
        "responses": len(responses),
        "left_out": sum(r.score is None for r in responses),
        "eos_rate": sum(r.finish_reason == "stop" for r in responses) / number,
        "response_tokens": sum(len(r.tokens) for r in responses) / number,
        "domains": {name: _domain(some) for name, some in sorted(domains.items())},
    }


def _domain(responses: Sequence[Response]) -> dict[str, Any]:
    scores = [r.score for r in responses if r.score is not None]
    return {
        "responses": len(responses),
        "score": sum(scores) / len(scores) if scores else None,
        "response_tokens": sum(len(r.tokens) for r in responses) / len(responses),
    }


def _mismatch(seen: Experience) -> float | None:
    """Return how far engine and policy are apart, in nats a token; None where the engine tells nothing."""
    sums = (seen.old * seen.mask).sum(dim=1).tolist()
    off, tokens = 0.0, 0
    for response, recomputed in zip(seen.responses, sums, strict=True):
        if response.score is not None and response.engine_logprob is not None:
            off += abs(response.engine_logprob - recomputed)
            tokens += len(response.tokens)
    return off / tokens if tokens else None


def _explained(seen: Experience, judged: Advantages) -> float:
    """Return the share of the returns' variance that the critic foresaw; 0 where they do not vary."""
    returns, values = judged.returns[seen.mask], seen.values[:, :-1][seen.mask]
    spread = float(returns.var(unbiased=False)) if len(returns) else 0.0
    return 1 - float((returns - values).var(unbiased=False)) / spread if spread > 0 else 0.0


def signal_rows(
    seen: Experience, judged: Advantages, replaced: Sequence[Response], names: dict[str, str], step: int
) -> list[dict[str, Any]]:
    """Return a row of `training_signals` for each response of a step.

    Args:
        seen: of the step.
        judged: likewise.
        replaced: responses to prompts that dynamic sampling replaced: rewards without KL and advantage.
        names: training_run_id, release_id, policy_id.
        step: from 1.
    """
    kl = kl_estimate(seen.old, seen.reference, "k1").sum(dim=1).tolist()
    mean = (judged.advantages.sum(dim=1) / seen.mask.sum(dim=1).clamp(min=1)).tolist()
    rows = [
        _signal(response, names, step) | {"kl": kl[n], "advantage_mean": mean[n]}
        if response.score is not None
        else _signal(response, names, step)
        for n, response in enumerate(seen.responses)
    ]
    return rows + [_signal(response, names, step) for response in replaced]


def _signal(response: Response, names: dict[str, str], step: int) -> dict[str, Any]:
    assert response.reward is not None
    return {
        **names,
        "step": step,
        "prompt_id": response.prompt.prompt_id,
        "sample": response.sample,
        "reward": response.reward.reward,
        "source": response.reward.source,
        "kl": None,
        "response_tokens": len(response.tokens) if response.tokens else None,
        "advantage_mean": None,
    }
