"""The responses of a step: drawn, scored, and drawn again where a prompt's samples tell nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from trainer.ppo.rollouts import Response, Sampler, all_alike, refuse_failures, score

if TYPE_CHECKING:
    from trainer.ppo.checkpoint import State
    from trainer.ppo.curriculum import Phase
    from verifiers.hybrid import HybridReward
    from warehouse.settings import PpoSettings


def gather(
    sampler: Sampler, reward: HybridReward, phase: Phase, settings: PpoSettings, state: State
) -> tuple[list[Response], list[Response]]:
    """Return the scored responses of a step, and those to prompts that were replaced; moves the cursor of the phase.

    Dynamic sampling (DAPO, arXiv 2503.14476, section 3.2): prompts whose samples are all alike give way to the next
    prompts, for some rounds; those of the last round stay as they are.

    Raises:
        PpoError: a reward is no number in [0, 1], or nothing could be rewarded since generating or a source failed.
    """
    kept: list[Response] = []
    replaced: list[Response] = []
    drawn: Counter[str] = Counter()
    rounds = settings.resample_rounds if settings.dynamic_sampling else 0
    while len(kept) < settings.prompts * settings.samples:
        missing = settings.prompts - len(kept) // settings.samples
        prompts = phase.take(state.cursor, missing, settings.seed)
        state.cursor += missing
        fresh = sampler.draw(prompts, settings.samples, settings.seed, f"ppo {state.step}", drawn)
        score(fresh, reward, settings)
        for start in range(0, len(fresh), settings.samples):
            group = fresh[start : start + settings.samples]
            (replaced if rounds and all_alike(group) else kept).extend(group)
        rounds = max(rounds - 1, 0)
    refuse_failures([*kept, *replaced])
    for n, response in enumerate(kept):
        response.group = n // settings.samples
    return kept, replaced
