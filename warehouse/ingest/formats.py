"""The formats that are not lines: JSON arrays, CSV, Parquet."""

from __future__ import annotations

import codecs
import csv
import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.ingest.fields import RowError
from warehouse.ingest.lines import MAX_LINE_BYTES, READ_BYTES, grouped
from warehouse.ingest.raw import Block, RawRow, parsed_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from warehouse.ingest.lines import ByteSource


def looks_like_lines(source: ByteSource) -> bool:
    """Say whether a `.json` file holds JSON lines, as many published ones do."""
    head = source.read()
    source.push_back(head)
    first = head.removeprefix(codecs.BOM_UTF8).lstrip().split(b"\n", 1)[0]
    if not first.startswith(b"{"):
        return False
    try:
        json.loads(first)
    except ValueError:
        return False
    return True


def json_values(source: ByteSource, encoding: str) -> Iterator[RawRow]:
    """Yield the elements of one JSON array, or the objects that follow one another, without holding the file.

    After a syntax error nothing says where the next element starts: the rest of such a file is one bad row.
    """
    utf8 = codecs.lookup(encoding).name == "utf-8"
    # Bytes that do not decode become lone surrogates: only the elements that hold them are bad.
    decoder = codecs.getincrementaldecoder("utf-8-sig" if utf8 else encoding)("surrogateescape" if utf8 else "replace")
    scan = json.JSONDecoder().raw_decode
    text, row, needed, ended, opened = "", 0, 1, False, False
    while True:
        while not ended and len(text) < needed:
            data = source.read()
            ended = not data
            text += decoder.decode(data, final=ended)
        text = text.lstrip(" \t\r\n,") if row else text.lstrip()
        if not opened and text.startswith("["):
            opened, text = True, text[1:].lstrip()
        if text.startswith("]") and opened:
            break
        if not text and not ended:
            needed = 1
            continue
        if not text:
            break
        try:
            value, end = scan(text)
        except (ValueError, RecursionError) as error:
            if not ended and len(text) <= MAX_LINE_BYTES:
                needed = 2 * len(text)
                continue
            bad = source.error or RowError("broken_json", f"{error}; the rest of the file cannot be read")
            yield RawRow(row, _printable(text[:READ_BYTES]), None, bad)
            return
        if not ended and end == len(text):  # a number or a word could go on
            needed = len(text) + 1
            continue
        yield _element(row, text[:end], value, encoding)
        text, row, needed = text[end:], row + 1, 1
    if source.error is not None:
        yield RawRow(row, "", None, source.error)


def _element(row: int, text: str, value: object, encoding: str) -> RawRow:
    replaced = "\ufffd" in text and codecs.lookup(encoding).name != "utf-8"
    if replaced or (not text.isascii() and _printable(text) != text):
        return RawRow(row, _printable(text), None, RowError("wrong_encoding", f"not {encoding}"))
    return parsed_row(row, text, value)


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def csv_rows(lines: Iterator[bytes], encoding: str) -> Iterator[RawRow]:
    """Records of a CSV file with a header line. An empty cell is a null."""
    taken: list[str] = []
    problem: list[RowError] = []

    def decoded() -> Iterator[str]:
        for line in lines:
            try:
                text = line.decode(encoding)
            except UnicodeDecodeError as error:
                text = line.decode(encoding, errors="backslashreplace")
                problem.append(RowError("wrong_encoding", f"not {encoding}: {error.reason} at byte {error.start}"))
            taken.append(text)
            yield text

    csv.field_size_limit(MAX_LINE_BYTES)
    reader = csv.reader(decoded(), strict=True)
    header: list[str] | None = None
    row = 0
    while True:
        taken.clear()
        problem.clear()
        cells: list[str] = []
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as broken:
            problem.append(RowError("broken_csv", str(broken)))
        except RowError as damaged:
            yield RawRow(row, "".join(taken), None, damaged)
            return
        raw = "".join(taken).rstrip("\r\n").replace("\x00", "\\x00")
        if header is None:
            header = [c.removeprefix("\ufeff").strip() for c in cells]
            if problem or len(set(header)) != len(header):
                error = problem[0] if problem else RowError("broken_csv", f"the header names a column twice: {header}")
                yield RawRow(row, raw, None, error)
                return
            continue
        if not cells and not problem:
            continue
        if not problem and any("\x00" in c for c in cells):
            problem.append(RowError("nul_bytes", "the record holds NUL bytes"))
        if not problem and len(cells) != len(header):
            problem.append(RowError("broken_csv", f"{len(cells)} cells, the header has {len(header)}"))
        value = None if problem else {name: cell or None for name, cell in zip(header, cells, strict=True)}
        yield RawRow(row, raw, value, problem[0] if problem else None)
        row += 1


def parquet_blocks(path: Path, block_rows: int) -> Iterator[Block]:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        yield Block(0, 1, parsed=(RawRow(0, "", None, RowError("unreadable_parquet", str(error))),))
        return
    first = 0
    with file:
        for group in range(file.metadata.num_row_groups):
            end = first + file.metadata.row_group(group).num_rows
            try:
                for batch in file.iter_batches(block_rows, row_groups=[group]):
                    yield Block(first, batch.num_rows, batch=batch)
                    first += batch.num_rows
            except (pa.ArrowException, OSError) as error:
                bad = RowError("unreadable_parquet", f"row group {group}: {error}")
                yield from grouped((RawRow(row, "", None, bad) for row in range(first, end)), block_rows)
            first = end
