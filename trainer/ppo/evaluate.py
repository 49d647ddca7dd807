"""How good the policy is on prompts that it never trains on: the same seeds each time, so that scores are paired."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from trainer.ppo.rollouts import LOWEST, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.ppo.prompts import Prompt
    from trainer.ppo.rollouts import Response, Sampler
    from verifiers.hybrid import HybridReward
    from warehouse.settings import PpoSettings

ROLE = "evaluation"


def evaluate(
    sampler: Sampler, prompts: Sequence[Prompt], reward: HybridReward, settings: PpoSettings
) -> tuple[dict[str, Any], dict[str, float]]:
    """Return a line of metrics, and the mean score of every prompt that has one.

    A response that was cut counts as the lowest reward here: a policy that does not come to an end does not pass. What
    could not be decided for another reason does not count; how much that is, is told.
    """
    responses = sampler.draw(prompts, settings.evaluate_samples, settings.seed, ROLE, Counter())
    score(responses, reward, settings)
    by_prompt: dict[str, list[float]] = {}
    domains: dict[str, list[float]] = {}
    for response in responses:
        value = _value(response)
        if value is not None:
            by_prompt.setdefault(response.prompt.prompt_id, []).append(value)
            domains.setdefault(response.prompt.domain, []).append(value)
    every = [v for values in by_prompt.values() for v in values]
    number = max(len(responses), 1)
    line = {
        "score": _mean(every),
        "domains": {name: _mean(values) for name, values in sorted(domains.items())},
        "prompts": len(by_prompt),
        "undecided": 1 - len(every) / number,
        "truncated": sum(r.finish_reason == "length" for r in responses) / number,
        "response_tokens": sum(len(r.tokens) for r in responses) / number,
    }
    return line, {name: sum(values) / len(values) for name, values in by_prompt.items()}


def _value(response: Response) -> float | None:
    if response.finish_reason == "length":
        return LOWEST
    return None if response.reward is None else response.reward.reward


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
