"""What a training writes beside its weights: metrics, signals, held-out scores, as JSON lines that a resumed one cuts.

`metrics.jsonl` and `signals.jsonl` hold nothing that differs between repetitions: they are the same, byte for byte,
whether or not a training was interrupted. What the clock says is in `timing.jsonl`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl

from warehouse.home import write_atomically
from warehouse.schemas import TRAINING_SIGNALS, conform

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILES = METRICS, SIGNALS, HELDOUT, TIMING = "metrics.jsonl", "signals.jsonl", "heldout.jsonl", "timing.jsonl"


class Record:
    """The files of one training.

    Args:
        folder: where they are.
        done: steps that count; lines of later ones, which a killed training left, are cut off.
    """

    def __init__(self, folder: Path, done: int | None) -> None:
        self.folder = folder
        for name in FILES:
            path = folder / name
            kept = [] if done is None else [row for row in read_lines(path) if row["step"] <= done]
            write_atomically(path, "".join(map(_line, kept)))

    def add(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Append lines, each with its `step`."""
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write("".join(map(_line, rows)))

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return what a file holds so far."""
        return read_lines(self.folder / name)

    def write_signals(self) -> pl.DataFrame:
        """Write `signals.parquet`, with the columns of the table `training_signals`, and return it."""
        schema = pl.Schema(TRAINING_SIGNALS.columns)
        rows = pl.DataFrame(read_lines(self.folder / SIGNALS), schema=schema)
        found = conform(TRAINING_SIGNALS, rows).sort(TRAINING_SIGNALS.key)
        found.write_parquet(self.folder / "signals.parquet")
        return found


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file of JSON lines; a last line that was cut while it was written does not count."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
