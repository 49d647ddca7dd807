"""A row as it was found, and a stretch of a file that holds such rows."""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from warehouse.ingest.fields import RowError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

_LONE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class InputError(ValueError):
    """An input path cannot be used at all; the message names it and says what to do."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as it was found. `row` counts from 0 (physical lines for line formats); `raw` is its text."""

    row: int
    raw: str
    value: dict[str, Any] | None
    error: RowError | None


@dataclass(frozen=True)
class Block:
    """A stretch of a file, not yet parsed: lines (bytes), or a record batch, or rows that were parsed on the way."""

    first_row: int
    rows: int
    encoding: str = "utf-8"
    lines: bytes | None = None
    batch: pa.RecordBatch | None = None
    parsed: tuple[RawRow, ...] = field(default=())

    def parse(self) -> Iterator[RawRow]:
        """Yield the rows. Blank lines are no rows."""
        if self.lines is not None:
            for i, line in enumerate(self.lines.split(b"\n")):
                if line and not line.isspace():
                    yield parse_line(self.first_row + i, line, self.encoding)
        elif self.batch is not None:
            yield from _batch_rows(self.first_row, self.batch)
        else:
            yield from self.parsed


def _batch_rows(first_row: int, batch: pa.RecordBatch) -> Iterator[RawRow]:
    try:
        values = batch.to_pylist()
    except UnicodeDecodeError as error:
        if batch.num_rows == 1:
            bad = RowError("wrong_encoding", f"a text column is not utf-8: {error.reason}")
            yield RawRow(first_row, error.object.decode(errors="backslashreplace"), None, bad)
            return
        half = batch.num_rows // 2
        yield from _batch_rows(first_row, batch.slice(0, half))
        yield from _batch_rows(first_row + half, batch.slice(half))
        return
    for i, value in enumerate(values):
        yield parsed_row(first_row + i, json.dumps(value, ensure_ascii=False, default=str), value)


def parse_line(row: int, line: bytes, encoding: str = "utf-8") -> RawRow:
    """Parse one line of JSON; the row carries an error where that fails."""
    if row == 0 and line.startswith(codecs.BOM_UTF8):
        line = line[3:]
    try:
        text = line.decode(encoding)
    except UnicodeDecodeError as error:
        raw = line.decode(encoding, errors="backslashreplace").strip()
        return RawRow(
            row, raw, None, RowError("wrong_encoding", f"not {encoding}: {error.reason} at byte {error.start}")
        )
    return parse_text(row, text.strip())


def parse_text(row: int, text: str) -> RawRow:
    """Parse one JSON object from text; the row carries an error where that fails."""
    if "\x00" in text:
        return RawRow(row, text.replace("\x00", "\\x00"), None, RowError("nul_bytes", "the line holds NUL bytes"))
    try:
        value = json.loads(text)
    except RecursionError:
        return RawRow(row, text, None, RowError("broken_json", "nested too deeply"))
    except ValueError as error:  # JSONDecodeError, or an integer of more digits than Python converts
        return RawRow(row, text, None, RowError("broken_json", str(error)))
    return parsed_row(row, text, value)


def parsed_row(row: int, text: str, value: Any) -> RawRow:
    """Return the row for a parsed value: an error unless it is an object of valid Unicode."""
    if not isinstance(value, dict):
        return RawRow(
            row, text, None, RowError("not_an_object", f"a row must be an object, this is {_json_type(value)}")
        )
    if "\\u" in text and _LONE_SURROGATE.search(text) and not _is_unicode(value):
        return RawRow(row, text, None, RowError("wrong_encoding", "an escape \\uD8..-\\uDF.. without its other half"))
    return RawRow(row, text, value, None)


def _is_unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def _json_type(value: Any) -> str:
    names = {list: "a list", str: "a string", bool: "true or false", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
