"""Read rows out of files: JSON lines, JSON, Parquet, CSV; in blocks, so that no file is ever in memory as a whole.

A file becomes `Block`s (cheap: splitting lines, reading record batches), and a block becomes `RawRow`s (parsing). The
two steps are apart because blocks are made in one process and parsed in many. A row that cannot be read is a `RawRow`
with an error; only what concerns the path itself (missing, unknown format, changed since it was registered) raises.
"""

from __future__ import annotations

import codecs
import glob
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.ingest.fields import RowError
from warehouse.ingest.formats import csv_rows, json_values, looks_like_lines, parquet_blocks
from warehouse.ingest.huggingface import dataset_blocks, dataset_hash, read_dataset
from warehouse.ingest.lines import ByteSource, HashingFile, grouped, line_blocks, lines, wide_lines
from warehouse.ingest.raw import Block, InputError, RawRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "Block",
    "InputError",
    "RawRow",
    "RowError",
    "dataset_blocks",
    "dataset_hash",
    "expand",
    "file_hash",
    "read_blocks",
    "read_dataset",
    "read_rows",
    "same_hash",
]

SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".csv")


def read_rows(path: Path, *, encoding: str = "utf-8", start_row: int = 0) -> Iterator[RawRow]:
    """Yield the rows of one file, from `start_row` on.

    Raises:
        InputError: no such file, or its suffix is none of those known.
    """
    for block in read_blocks(path, encoding=encoding):
        if block.first_row + block.rows > start_row:
            yield from (row for row in block.parse() if row.row >= start_row)


def read_blocks(
    path: Path, *, encoding: str = "utf-8", block_rows: int = 20_000, expected_hash: str | None = None
) -> Iterator[Block]:
    """Yield the blocks of one file. The same file and `block_rows` give the same blocks.

    Args:
        path: the file; its suffix (with or without `.gz`) names the format.
        encoding: of text formats.
        block_rows: rows (lines) in a block, at most.
        expected_hash: the file's `file_hash` as it was registered; checked when the last block has been read.

    Raises:
        InputError: no such file, unknown suffix or encoding, or the content is not the one registered.
    """
    kind = _kind(path)
    try:
        codecs.lookup(encoding)
    except LookupError:
        msg = f"{path}: unknown encoding {encoding!r}; write a Python codec name such as utf-8 or cp1252"
        raise InputError(msg) from None
    if kind == ".parquet":
        if expected_hash is not None:
            same_hash(path, file_hash(path), expected_hash)
        yield from parquet_blocks(path, block_rows)
        return
    with HashingFile(path) as file:
        source = ByteSource(file, compressed=path.suffix == ".gz")
        if kind == ".csv":
            yield from grouped(csv_rows(lines(source), encoding), block_rows)
        elif not _newline_is_ascii(encoding):
            yield from grouped(wide_lines(source, encoding), block_rows)
        elif kind == ".json" and not looks_like_lines(source):
            yield from grouped(json_values(source, encoding), block_rows)
        else:
            yield from line_blocks(source, encoding, block_rows)
        if expected_hash is not None:
            same_hash(path, file.finish(), expected_hash)


def expand(patterns: str | Sequence[str], base: Path) -> list[Path]:
    """Return the files that path patterns name (`**` walks folders), absolute, sorted, each once.

    Raises:
        InputError: a pattern names no file.
    """
    found: set[Path] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        full = str(base / Path(pattern).expanduser())
        matches = {Path(p).resolve() for p in glob.glob(full, recursive=True)}  # noqa: PTH207 (absolute patterns)
        files = {p for p in matches if p.is_file()}
        if not files:
            hint = "it is a folder; name its files, e.g. with /*.jsonl" if matches else "check the path and the pattern"
            msg = f"{pattern}: no file matches (looked for {full}); {hint}"
            raise InputError(msg)
        found |= files
    return sorted(found)


def file_hash(path: Path) -> str:
    """Return 32 hex characters: BLAKE2b (16 bytes) of the file's bytes."""
    with HashingFile(path) as file:
        return file.finish()


def _kind(path: Path) -> str:
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix.lower() not in SUFFIXES or (suffix.lower() == ".parquet" and path.suffix == ".gz"):
        msg = f"{path}: unknown format; known suffixes are {', '.join(SUFFIXES)}, text ones also with .gz"
        raise InputError(msg)
    if not path.is_file():
        msg = f"{path}: no such file"
        raise InputError(msg)
    return suffix.lower()


def same_hash(path: Path, found: str, expected: str) -> None:
    """Raise InputError where a file no longer holds what was registered."""
    if found != expected:
        msg = (
            f"{path}: the file has changed since it was registered (hash {found}, was {expected}); put it back, or "
            "take its batch out with `preppo run --abandon BATCH`: the file as it is now becomes a new batch"
        )
        raise InputError(msg)


def _newline_is_ascii(encoding: str) -> bool:
    return "\n{".encode(encoding) == b"\n{"
