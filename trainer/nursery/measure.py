"""Measure what the nursery model can do: pass rates by domain and level, by preppo's own engine and verifiers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.engines.contract import SCORED, Request, Sampling, sample_seed
from trainer.nursery.tasks import DOMAINS, NurseryTask, generate_tasks
from verifiers import Task, verify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.engines.contract import Engine

SAMPLING = Sampling(temperature=1.0, max_tokens=64)
_SEED = 424_242  # not the training stream's, though easy prompts are few enough to occur in both


@dataclass(frozen=True)
class Cell:
    """Pass rates of the prompts of one domain and level; prompts without a verdict at all do not count."""

    domain: str
    level: int
    rates: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Return the mean pass rate."""
        return sum(self.rates) / len(self.rates)

    @property
    def between(self) -> float:
        """Return the share of prompts that are passed sometimes, neither always nor never."""
        return sum(0 < r < 1 for r in self.rates) / len(self.rates)


def pass_rates(
    engine: Engine, tasks: Sequence[NurseryTask], samples: int, *, seed: int = 0, workers: int | None = None
) -> list[float | None]:
    """Return the pass rate of each task over `samples` samples; null where nothing was decided or can be."""
    requests = [
        Request(str(i), SCORED, s, (("user", t.prompt),), None, sample_seed(seed, t.prompt, SCORED, s), SAMPLING)
        for i, t in enumerate(tasks)
        if t.verifier is not None
        for s in range(samples)
    ]
    completions = sorted(engine.generate(requests), key=lambda c: (int(c.prompt_id), c.sample))
    items = [
        Task(t.verifier or "", c.response or "", t.ground_truth, t.prompt, finish_reason=c.finish_reason)
        for c in completions
        for t in [tasks[int(c.prompt_id)]]
    ]
    scores: list[list[float]] = [[] for _ in tasks]
    for completion, verdict in zip(completions, verify(items, workers=workers), strict=True):
        if verdict.score is not None:
            scores[int(completion.prompt_id)].append(verdict.score)
    return [sum(s) / len(s) if s else None for s in scores]


def measure(engine: Engine, prompts: int = 24, samples: int = 8) -> tuple[list[Cell], Counter[str]]:
    """Return one cell per domain and level, over at most so many prompts each, and the unscored prompts by verifier."""
    tasks: list[NurseryTask] = []
    for domain in DOMAINS:
        for level in DOMAINS[domain]:
            drawn = generate_tasks(2 * prompts, _SEED, {domain: 1.0}, {level: 1.0})
            tasks += [t for t in drawn if t.verifier is not None][:prompts]
    unscored: Counter[str] = Counter()
    rates: dict[tuple[str, int], list[float]] = {}
    for task, rate in zip(tasks, pass_rates(engine, tasks, samples), strict=True):
        if rate is None:
            unscored[task.verifier or ""] += 1
        else:
            rates.setdefault((task.domain, task.level), []).append(rate)
    return [Cell(domain, level, tuple(r)) for (domain, level), r in rates.items()], unscored


def table(cells: Sequence[Cell]) -> str:
    """Return the cells as a Markdown table: mean pass rate, and in brackets the share of prompts between 0 and 1."""
    levels = sorted({c.level for c in cells})
    found = {(c.domain, c.level): c for c in cells}
    lines = [
        "| domain | " + " | ".join(f"level {n}" for n in levels) + " |",
        "|---|" + "---|" * len(levels),
    ]
    for domain in dict.fromkeys(c.domain for c in cells):
        row = [found.get((domain, n)) for n in levels]
        texts = ["" if c is None else f"{c.mean:.2f} ({c.between:.2f})" for c in row]
        lines.append(f"| {domain} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"
