"""Pictures of a training, from its metrics: reward, KL, entropy and response length, by domain where it has domains."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from trainer.ppo.record import METRICS, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_SMOOTH = 5  # steps of the running mean that is drawn over the points
_DOTS = 150  # per inch


def write_plots(folder: Path) -> list[Path]:
    """Write `training.png` beside the metrics, and return what was written; nothing where no step was taken."""
    lines = read_lines(folder / METRICS)
    steps = [line for line in lines if line["kind"] == "step"]
    if not steps:
        return []
    target = folder / "training.png"
    draw(steps, [line for line in lines if line["kind"] == "evaluation"], target)
    return [target]


def draw(steps: Sequence[dict[str, Any]], evaluations: Sequence[dict[str, Any]], target: Path) -> None:
    """Draw the panels of one training.

    Args:
        steps: lines of metrics of the kind `step`.
        evaluations: of the kind `evaluation`.
        target: a PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 3)
    _by_domain(panels[0, 0], steps, "score", "reward in training")
    heldout = panels[0, 1]
    heldout.set_title("score on held-out prompts")
    for name, points in _domains(evaluations, lambda value: value).items():
        heldout.plot(*zip(*points, strict=True), label=name, linewidth=1)
    every = [(line["step"], line["score"]) for line in evaluations if line["score"] is not None]
    if every:
        heldout.plot(*zip(*every, strict=True), label="all", color="black", marker="o", markersize=3)
        heldout.legend(fontsize="small")
    _line(panels[0, 2], steps, ("kl",), "KL from the start, nats a response")
    _line(panels[1, 0], steps, ("entropy",), "entropy, nats a token")
    _by_domain(panels[1, 1], steps, "response_tokens", "tokens of a response")
    _line(panels[1, 2], steps, ("clip_fraction", "update_kl"), "clipped share, KL of the update")
    for panel in panels.flat:
        panel.set_xlabel("step")
        panel.grid(alpha=0.3)
        _shade(panel, steps)
    figure.savefig(target, dpi=_DOTS)


def _line(panel: Any, steps: Sequence[dict[str, Any]], names: Iterable[str], title: str) -> None:
    panel.set_title(title)
    for name in names:
        points = [(line["step"], line[name]) for line in steps if line[name] is not None]
        if points:
            panel.plot(*zip(*_smoothed(points), strict=True), label=name)
    if panel.lines:
        panel.legend(fontsize="small")


def _by_domain(panel: Any, steps: Sequence[dict[str, Any]], name: str, title: str) -> None:
    panel.set_title(title)
    for domain, points in _domains(steps, lambda value: value[name]).items():
        panel.plot(*zip(*_smoothed(points), strict=True), label=domain, linewidth=1)
    if panel.lines:
        panel.legend(fontsize="small")


def _domains(lines: Sequence[dict[str, Any]], of: Any) -> dict[str, list[tuple[int, float]]]:
    """Return the points of every domain, (step, value), where it has a value."""
    found: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        for domain, value in line["domains"].items():
            if value is not None and of(value) is not None:
                found.setdefault(domain, []).append((line["step"], of(value)))
    return dict(sorted(found.items()))


def _smoothed(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return the running mean over the last steps."""
    recent = [[value for _, value in points[max(0, n + 1 - _SMOOTH) : n + 1]] for n in range(len(points))]
    return [(step, sum(some) / len(some)) for (step, _), some in zip(points, recent, strict=True)]


def _shade(panel: Any, steps: Sequence[dict[str, Any]]) -> None:
    """Mark where a phase of the curriculum begins."""
    for before, line in pairwise(steps):
        if before["phase"] != line["phase"]:
            panel.axvline(line["step"] - 0.5, color="grey", linewidth=0.8, linestyle=":")
