"""Results of queries for people and for other programs: a text table, CSV, JSON, Parquet."""

from __future__ import annotations

import io
import json
from datetime import date, time
from pathlib import Path
from typing import IO, Any, Literal

import polars as pl

from warehouse.home import write_atomically

Format = Literal["table", "csv", "json", "parquet"]
FORMATS: tuple[Format, ...] = ("table", "csv", "json", "parquet")


class OutputError(ValueError):
    """The result cannot be written in this form to this place."""


def write_output(frame: pl.DataFrame, form: Format, out: Path | IO[str]) -> None:
    """Write a result as a table for people, CSV, JSON (an array of objects) or Parquet.

    Args:
        frame: the result of `query`.
        form: CSV has nested columns as JSON text.
        out: a path, replaced at once when everything is written, or a text stream (not for Parquet).

    Raises:
        OutputError: Parquet is asked for on a text stream.
    """
    if isinstance(out, Path) and (out.is_dir() or not out.parent.is_dir()):
        msg = f"--out {out}: {'that is a folder' if out.is_dir() else 'there is no such folder'}; name a file in one"
        raise OutputError(msg)
    if form == "parquet":
        if not isinstance(out, Path):
            msg = "parquet is binary: give a file with --out"
            raise OutputError(msg)
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd", compression_level=3)
        write_atomically(out, buffer.getvalue())
        return
    text = {"csv": _csv, "json": _json, "table": render_table}[form](frame)
    if isinstance(out, Path):
        write_atomically(out, text)
    else:
        out.write(text)


def render_table(frame: pl.DataFrame, width: int | None = None) -> str:
    """Return a frame as an aligned text table; cells are cut only where `width` (characters) is given."""
    from rich.console import Console
    from rich.table import Table as RichTable

    grid = RichTable(box=None, pad_edge=False, header_style="bold")
    for name, kind in frame.schema.items():
        grid.add_column(name, justify="right" if kind.is_numeric() else "left", overflow="ellipsis", no_wrap=True)
    for row in frame.iter_rows():
        grid.add_row(*(_cell(x) for x in row))
    text = io.StringIO()
    Console(file=text, width=width or 100_000, color_system=None, markup=False).print(grid)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _csv(frame: pl.DataFrame) -> str:
    nested = [c for c, t in frame.schema.items() if t.is_nested()]
    flat = frame.with_columns(
        pl.Series(c, [None if v is None else dump_json(v) for v in frame.get_column(c).to_list()], dtype=pl.String)
        for c in nested
    )
    return flat.write_csv()


def _json(frame: pl.DataFrame) -> str:
    return dump_json(frame.to_dicts(), indent=1) + "\n"


def dump_json(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON text; times as ISO 8601, bytes as hex."""
    return json.dumps(value, ensure_ascii=False, default=_plain, indent=indent)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, (date, time)) else str(value)


def _cell(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = dump_json(value) if isinstance(value, (list, dict)) else str(value)
    return text.replace("\n", "\\n")
