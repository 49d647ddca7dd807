"""Writing rows: Parquet and JSON lines, a batch at a time, one file a phase where that is wanted."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from trainer.exports.contract import Format, Record, compact

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Writer(Protocol):
    """One file that is being written."""

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Add rows."""

    def close(self) -> None:
        """Finish the file."""


class JsonLines:
    """A row a line, UTF-8, keys in the order that the format gives them."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")

    def write(self, rows: list[dict[str, Any]]) -> None:
        self._file.writelines(compact(row) + "\n" for row in rows)

    def close(self) -> None:
        self._file.close()


class Parquet:
    """A row group a batch; every column has its type, also where all values are null."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._file = pq.ParquetWriter(path, schema, compression="zstd", compression_level=3)

    def write(self, rows: list[dict[str, Any]]) -> None:
        self._file.write_table(pa.Table.from_pylist(rows, schema=self._schema))

    def close(self) -> None:
        self._file.close()


def write_split(
    folder: Path, name: str, form: Format, batches: Iterable[list[Record]], *, raw: bool, by_phase: bool
) -> dict[str, int]:
    """Write the rows of one split and return file name -> rows, in order.

    Args:
        folder: where the files go.
        name: of the file, or its beginning where there is one a phase: `train-01-code`.
        form: how a row looks.
        batches: the rows, in order.
        raw: prompts are text.
        by_phase: begin a file where the phase changes.
    """
    written: dict[str, int] = {}
    file: Writer | None = None
    current: str | None = None
    path = ""
    try:
        for batch in batches:
            for phase, records in groupby(batch, key=lambda record: str(record.row["phase"])):
                if file is None or (by_phase and phase != current):
                    if file is not None:
                        file.close()
                    stem = f"{name}-{len(written) + 1:02d}-{_plain(phase)}" if by_phase else name
                    path, current = f"{stem}.{form.suffix}", phase
                    file = _open(folder / path, form, raw=raw)
                    written[path] = 0
                rows = [form.row(record) for record in records]
                file.write(rows)
                written[path] += len(rows)
    finally:
        if file is not None:
            file.close()
    return written


def _open(path: Path, form: Format, *, raw: bool) -> Writer:
    path.parent.mkdir(parents=True, exist_ok=True)
    return JsonLines(path) if form.schema is None else Parquet(path, form.schema(raw))


def _plain(phase: str) -> str:
    """Return a phase's name as it may stand in a file's name anywhere."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", phase).strip("-.") or "phase"
