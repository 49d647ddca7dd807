"""How values look on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

SHOWN_CHARS = 80  # of a prompt: enough to know it by, too little to stand for the data


def table(frame: pl.DataFrame) -> str:
    """Return a frame as a Markdown table: thousands separators, three digits after the point, nulls empty."""
    head = [frame.columns, ["---:" if t.is_numeric() else "---" for t in frame.dtypes]]
    return "\n".join(f"| {' | '.join(map(cell, row))} |" for row in [*head, *frame.iter_rows()])


def cell(value: Any) -> str:
    """Return one value of a table as text."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")


def listed(parts: Iterable[str]) -> str:
    """Return texts as a list in a sentence."""
    return "; ".join(parts) or "none"


def held(holds: bool) -> str:  # noqa: FBT001 (its only argument is the claim)
    """Return how a claim that follows is to be read."""
    return "**As it should be:**" if holds else "**Not as it should be:**"


def short(text: str) -> str:
    """Return the start of a text on one line, safe inside Markdown."""
    flat = " ".join(text.split())
    cut = flat if len(flat) <= SHOWN_CHARS else f"{flat[: SHOWN_CHARS - 1]}…"
    return "".join(f"\\{c}" if c in "\\`*_[]<>$|" else c for c in cut)
