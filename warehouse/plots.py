"""Small plots as PNG bytes, for the data set card and the asset pages. No global state of matplotlib is touched."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

_KEPT, _ALL = "#c44e52", "#9aa7b8"
_COLUMNS = 3
_MOST_PANELS = 12


def funnel_png(steps: Sequence[tuple[str, int]]) -> bytes:
    """Return horizontal bars, one a step, with counts.

    Args:
        steps: (label, rows) from the first step to the last, as `warehouse.funnel.main_path` gives them.
    """
    figure = _figure(6.0, 0.6 + 0.34 * max(1, len(steps)))
    axes = figure.subplots()
    labels = [label for label, _ in steps]
    counts = [count for _, count in steps]
    axes.barh(range(len(steps)), counts, color=_ALL, height=0.7)
    top = max(counts, default=0) or 1
    for i, count in enumerate(counts):
        axes.text(count + top * 0.01, i, f"{count:,}", va="center", fontsize=8)
    axes.set_yticks(range(len(steps)), labels, fontsize=8)
    axes.set_xlim(0, top * 1.18)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    return _png(figure)


def histogram_png(counts: pl.DataFrame, by: str = "domain", bins: int = 20) -> bytes:
    """Return one small histogram of mean rewards a domain (or source); what is selected in colour, the rest in grey.

    Args:
        counts: columns `by`, bin (0-based), prompts, and perhaps selected (bool).
        by: column that makes the panels; the 12 with most prompts are shown.
        bins: number of equal bins on [0, 1].
    """
    if "selected" not in counts.columns:
        counts = counts.with_columns(selected=pl.lit(value=False))
    sizes = counts.group_by(by).agg(pl.col("prompts").sum()).sort("prompts", by, descending=[True, False])
    panels = sizes.get_column(by).to_list()[:_MOST_PANELS]
    columns = min(_COLUMNS, max(1, len(panels)))
    rows = -(-max(1, len(panels)) // columns)
    figure = _figure(2.6 * columns, 1.7 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for i, axes in enumerate(grid.flat):
        if i >= len(panels):
            axes.set_visible(False)
            continue
        mine = counts.filter(pl.col(by).eq_missing(panels[i]))
        rest, kept = (_heights(mine.filter(pl.col("selected") == which), bins) for which in (False, True))
        left = [b / bins for b in range(bins)]
        axes.bar(left, rest, width=1 / bins, align="edge", color=_ALL)
        axes.bar(left, kept, width=1 / bins, align="edge", color=_KEPT, bottom=rest)
        axes.set_title(f"{panels[i] or 'unknown'} ({sum(rest) + sum(kept):,})", fontsize=8)
        axes.set_xlim(0, 1)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def _heights(counts: pl.DataFrame, bins: int) -> list[int]:
    heights = [0] * bins
    for number, prompts in counts.group_by("bin").agg(pl.col("prompts").sum()).iter_rows():
        heights[number] += prompts
    return heights


def strength_png(table: pl.DataFrame) -> bytes:
    """Return how strong preference labels are, and how many voters are for them, by bucket.

    Args:
        table: columns strength_mean, votes_for, votes, bucket; rows without votes are left out.
    """
    known = table.filter(pl.col("votes") > 0)
    figure = _figure(7.2, 2.6)
    left, right = figure.subplots(1, 2)
    left.hist(known.get_column("strength_mean").to_numpy(), bins=40, color=_ALL)
    left.axvline(0, color=_KEPT, linewidth=1)
    left.set_xlabel("strength (mean difference of rewards)", fontsize=8)
    left.set_ylabel("pairs", fontsize=8)
    share = (pl.col("votes_for").sum() / pl.col("votes").sum()).alias("share")
    buckets = known.group_by("bucket").agg(share).sort("bucket")
    places = buckets.get_column("bucket").to_list()
    right.bar([b + 1 for b in places], (100 * buckets.get_column("share")).to_list(), color=_ALL)
    right.axhline(50, color=_KEPT, linewidth=1)
    right.set_ylim(0, 100)
    right.set_xlabel("bucket by strength, weakest first", fontsize=8)
    right.set_ylabel("votes for the label, %", fontsize=8)
    for axes in (left, right):
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
