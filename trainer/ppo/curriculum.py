"""Which prompts a step takes: the phases of a release one after the other, each with its share of the steps."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from trainer.ppo.prompts import PpoError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.ppo.prompts import Prompt


@dataclass(frozen=True)
class Phase:
    """A phase of the curriculum.

    Attributes:
        name: of the phase.
        prompts: in the order of the release.
        first: its first step, from 0.
        steps: that it takes, 1 at least.
    """

    name: str
    prompts: tuple[Prompt, ...]
    first: int
    steps: int

    def take(self, start: int, count: int, seed: int) -> list[Prompt]:
        """Return `count` prompts from place `start` on: in the order of the release, and shuffled when they come again.

        A function of its arguments alone, so that a resumed training takes what the unbroken one does.
        """
        found: list[Prompt] = []
        order: list[Prompt] = []
        of_round = -1
        for place in range(start, start + count):
            number, inside = divmod(place, len(self.prompts))
            if number != of_round:
                of_round, order = number, list(self.prompts)
                if number:
                    Random(f"{seed} {self.name} {number}").shuffle(order)
            found.append(order[inside])
        return found


def plan_phases(prompts: Sequence[Prompt], steps: int) -> list[Phase]:
    """Divide the steps among the phases by their rows, in the order in which the phases begin.

    Raises:
        PpoError: there are fewer steps than phases.
    """
    by_name: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        by_name.setdefault(prompt.phase, []).append(prompt)
    if steps < len(by_name):
        msg = f"ppo.steps = {steps}, but the release has {len(by_name)} phases: {', '.join(by_name)}"
        raise PpoError(msg)
    free = steps - len(by_name)  # each has one step, and the rest goes by rows: largest remainder, earlier ones first
    quotas = [free * len(rows) / len(prompts) for rows in by_name.values()]
    counts = [int(q) for q in quotas]
    short = sorted(range(len(quotas)), key=lambda i: (counts[i] - quotas[i], i))
    for i in short[: free - sum(counts)]:
        counts[i] += 1
    phases, first = [], 0
    for (name, rows), count in zip(by_name.items(), counts, strict=True):
        phases.append(Phase(name, tuple(rows), first, count + 1))
        first += count + 1
    return phases


def phase_of(phases: Sequence[Phase], step: int) -> Phase:
    """Return the phase of a step, counted from 0."""
    return next(p for p in phases if step < p.first + p.steps)
