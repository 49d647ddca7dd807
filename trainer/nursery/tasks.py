"""Generated tasks of graded difficulty in four domains. Pure Python; the same seed gives the same tasks."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from trainer.nursery import arithmetic, knowledge, programs, wording
from trainer.nursery.task import NurseryTask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["DOMAINS", "EVEN", "NurseryTask", "generate_tasks", "stream_tasks"]

DOMAINS = {
    "math": arithmetic.LEVELS,
    "code": programs.LEVELS,
    "instruction": wording.LEVELS,
    "general": knowledge.LEVELS,
}
EVEN: Mapping[str, float] = {"math": 1.0, "code": 1.0, "instruction": 1.0, "general": 1.0}
_FLAT: Mapping[int, float] = {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0, 5: 1.0}


def stream_tasks(
    seed: int, mix: Mapping[str, float] = EVEN, levels: Mapping[int, float] = _FLAT
) -> Iterator[NurseryTask]:
    """Yield tasks without end; `mix` weighs the domains, `levels` the levels 1 to 5."""
    rng = Random(f"nursery {seed}")
    domains, domain_weights = list(mix), list(mix.values())
    grades, grade_weights = list(levels), list(levels.values())
    while True:
        domain = rng.choices(domains, domain_weights)[0]
        level = rng.choices(grades, grade_weights)[0]
        yield rng.choice(DOMAINS[domain][level])(rng)


def generate_tasks(
    n: int, seed: int, mix: Mapping[str, float] = EVEN, levels: Mapping[int, float] = _FLAT
) -> list[NurseryTask]:
    """Return `n` tasks with distinct prompts.

    Raises:
        ValueError: the generators do not hold that many distinct prompts for this mix.
    """
    tasks: dict[str, NurseryTask] = {}
    for tried, task in enumerate(stream_tasks(seed, mix, levels)):
        if len(tasks) == n:
            break
        if tried > 100 * n + 1000:
            msg = f"only {len(tasks)} distinct prompts for mix {dict(mix)} and levels {dict(levels)}, {n} were asked"
            raise ValueError(msg)
        tasks.setdefault(task.prompt, task)
    return list(tasks.values())
