"""The bytes of a file, and the lines in them; whatever is damaged becomes a row with an error."""

from __future__ import annotations

import codecs
import hashlib
import io
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.ingest.fields import RowError
from warehouse.ingest.raw import Block, RawRow, parse_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_LINE_BYTES = 32 << 20  # a longer line is one bad row; its head is kept
BLOCK_BYTES = 32 << 20  # a block ends after this many bytes, or after the rows asked for
READ_BYTES = 1 << 20


class HashingFile(io.RawIOBase):
    """A file that hashes what is read from it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._hash = hashlib.blake2b(digest_size=16)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer)
        self._hash.update(memoryview(buffer)[:count])
        return count

    def finish(self) -> str:
        """Read what is left and return the hash of the whole file."""
        while self.read(READ_BYTES):
            pass
        return self._hash.hexdigest()

    def close(self) -> None:
        self._file.close()
        super().close()


class ByteSource:
    """The bytes of a file, decompressed. `error` tells, after the end, why there are no more."""

    def __init__(self, file: HashingFile, *, compressed: bool) -> None:
        self.error: RowError | None = None
        self._pushed = b""
        self._file = file
        self._parts = self._gunzip() if compressed else iter(lambda: file.read(READ_BYTES) or b"", b"")

    def read(self) -> bytes:
        """Return the next bytes, at most about `READ_BYTES`; none at the end."""
        if self._pushed:
            data, self._pushed = self._pushed, b""
            return data
        return next(self._parts, b"")

    def push_back(self, data: bytes) -> None:
        self._pushed = data

    def _gunzip(self) -> Iterator[bytes]:
        """Decompress member after member. (`gzip` itself throws away up to a read's worth before the damage.)"""
        member = zlib.decompressobj(wbits=31)
        data = self._file.read(READ_BYTES // 16 or 1) or b""
        if not data:
            self.error = RowError("truncated_gzip", "an empty file is no gzip file")
        try:
            while data:
                if member.eof:
                    member = zlib.decompressobj(wbits=31)
                if out := member.decompress(data, READ_BYTES):
                    yield out
                data = member.unused_data.lstrip(b"\0") if member.eof else member.unconsumed_tail
                data = data or self._file.read(READ_BYTES // 16 or 1) or b""
                if member.eof:
                    data = data.lstrip(b"\0")  # padding between or after members
        except zlib.error as error:
            self.error = RowError("truncated_gzip", f"the compressed data are damaged here ({error}); the rest is lost")
            return
        while not member.eof and (out := member.decompress(b"", READ_BYTES)):
            yield out
        if not member.eof and self.error is None:
            self.error = RowError("truncated_gzip", "the compressed file ends too early; what is before is kept")


def line_blocks(source: ByteSource, encoding: str, block_rows: int) -> Iterator[Block]:
    """Cut bytes into blocks of whole lines."""
    first, held, count, tail = 0, [], 0, b""  # held: whole lines of the block to come; tail: an unfinished line
    size = 0
    while data := source.read():
        data = tail + data
        end = data.rfind(b"\n") + 1
        tail = data[end:]
        at = 0
        while at < end:
            take, lines = _cut(data, at, end, block_rows - count)
            held.append(data[at:take])
            size += take - at
            count += lines
            at = take
            if count == block_rows or size >= BLOCK_BYTES:
                yield Block(first, count, encoding, b"".join(held))
                first, held, count, size = first + count, [], 0, 0
        if len(tail) > MAX_LINE_BYTES:
            if count:
                yield Block(first, count, encoding, b"".join(held))
            first, held, count, size = first + count, [], 0, 0
            yield Block(first, 1, parsed=(_huge_line(first, tail, encoding),))
            first, tail = first + 1, _rest_of_line(source)
    last = tail if source.error is None else b""
    if count or last:
        yield Block(first, count + bool(last), encoding, b"".join([*held, last]))
    if source.error is not None:
        row = first + count
        yield Block(row, 1, parsed=(RawRow(row, tail.decode(encoding, errors="backslashreplace"), None, source.error),))


def _cut(data: bytes, start: int, end: int, lines: int) -> tuple[int, int]:
    """Return where at most `lines` lines from `start` end, and how many they are."""
    found = data.count(b"\n", start, end)
    if found <= lines:
        return end, found
    breaks = np.flatnonzero(np.frombuffer(data, np.uint8, end - start, start) == 10)
    return start + int(breaks[lines - 1]) + 1, lines


def _rest_of_line(source: ByteSource) -> bytes:
    """Read on to the next line break; return what comes after it."""
    while data := source.read():
        if (end := data.find(b"\n")) >= 0:
            source.push_back(data[end + 1 :])
            break
    return b""


def _huge_line(row: int, head: bytes, encoding: str) -> RawRow:
    text = head[: READ_BYTES // 16].decode(encoding, errors="backslashreplace")
    return RawRow(row, text, None, RowError("huge_line", f"a line of more than {MAX_LINE_BYTES >> 20} MiB"))


def lines(source: ByteSource) -> Iterator[bytes]:
    """Yield physical lines with their line breaks; damage is left in `source.error`."""
    for block in line_blocks(source, "latin-1", 10_000):
        if block.lines is not None:
            yield from block.lines.splitlines(keepends=True)
        elif block.parsed[0].error is not None and block.parsed[0].error.reason_code == "huge_line":
            yield block.parsed[0].raw.encode("latin-1") + b"\n"
    if source.error is not None:
        raise source.error


def wide_lines(source: ByteSource, encoding: str) -> Iterator[RawRow]:
    """Lines of an encoding whose line break is not one byte (UTF-16, UTF-32)."""
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    row, tail = 0, ""
    try:
        while data := source.read():
            *lines, tail = (tail + decoder.decode(data)).split("\n")
            for line in lines:
                yield from _wide_line(row, line, encoding)
                row += 1
        tail += decoder.decode(b"", final=True)
    except UnicodeError as error:  # no byte order mark, say: not even a replacement can be made
        yield RawRow(row, tail, None, RowError("wrong_encoding", f"not {encoding}: {error}"))
        return
    yield from _wide_line(row, tail, encoding)
    if source.error is not None:
        yield RawRow(row + 1, "", None, source.error)


def _wide_line(row: int, line: str, encoding: str) -> Iterator[RawRow]:
    if "\ufffd" in line:
        yield RawRow(row, line, None, RowError("wrong_encoding", f"not {encoding}"))
    elif line.strip():
        yield parse_text(row, line.strip())


def grouped(rows: Iterator[RawRow], block_rows: int) -> Iterator[Block]:
    held: list[RawRow] = []
    size = 0
    for row in rows:
        held.append(row)
        size += len(row.raw)
        if len(held) == block_rows or size >= BLOCK_BYTES:
            yield _block_of(held)
            held, size = [], 0
    if held:
        yield _block_of(held)


def _block_of(rows: list[RawRow]) -> Block:
    return Block(rows[0].row, rows[-1].row + 1 - rows[0].row, parsed=tuple(rows))
