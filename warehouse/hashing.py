"""Content hashes of frames: the same rows give the same hash, however they are chunked or stored."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable

DIGEST_BYTES = 16


def text_hash(*parts: str) -> str:
    """Return 32 hex characters over some texts; borders count, so ("ab", "c") differs from ("a", "bc")."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def json_hash(value: Any) -> str:
    """Return 32 hex characters over a JSON value, independent of the order of keys."""
    return text_hash(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


class FrameHasher:
    """Hash rows in order, chunk by chunk. Only logical content counts: never buffers, chunk borders or files.

    Every column feeds digests of its own (nulls, lengths, values), which are plain concatenations over the rows; a
    null's value is fixed, so that what lies under a null cannot show.
    """

    def __init__(self, schema: pl.Schema | dict[str, Any], exclude: Iterable[str] = ()) -> None:
        leave_out = set(exclude)
        self._columns = {name: _ColumnHasher(schema[name]) for name in sorted(schema) if name not in leave_out}
        self._types = {name: str(schema[name]) for name in self._columns}

    def update(self, frame: pl.DataFrame) -> None:
        """Add the rows of a frame that has at least the columns of the schema."""
        for name, hasher in self._columns.items():
            hasher.update(frame.get_column(name))

    def hexdigest(self) -> str:
        """Return 32 hex characters."""
        return text_hash(*(x for name, h in self._columns.items() for x in (name, self._types[name], h.hexdigest())))


class _ColumnHasher:
    def __init__(self, kind: Any) -> None:
        self._children: dict[str, _ColumnHasher] = {}
        if isinstance(kind, pl.List):
            self._children["item"] = _ColumnHasher(kind.inner)
        elif isinstance(kind, pl.Struct):
            self._children = {f.name: _ColumnHasher(f.dtype) for f in kind.fields}
        self._nulls = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._lengths = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._values = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def update(self, column: pl.Series) -> None:
        self._nulls.update(column.is_null().to_numpy().tobytes())
        kind = column.dtype
        if isinstance(kind, pl.List):
            self._lengths.update(column.list.len().fill_null(0).cast(pl.Int64).to_numpy().tobytes())
            self._children["item"].update(column.drop_nulls().explode(empty_as_null=False, keep_nulls=False))
        elif isinstance(kind, pl.Struct):
            for field in kind.fields:
                self._children[field.name].update(column.struct.field(field.name))
        elif kind in (pl.String, pl.Binary):
            data = column.cast(pl.Binary).drop_nulls()
            self._lengths.update(data.bin.size().cast(pl.Int64).to_numpy().tobytes())
            self._values.update(_joined(data))
        else:
            self._values.update(_fixed_width(column).tobytes())

    def hexdigest(self) -> str:
        own = [self._nulls.hexdigest(), self._lengths.hexdigest(), self._values.hexdigest()]
        return text_hash(*own, *(x for n, c in sorted(self._children.items()) for x in (n, c.hexdigest())))


def _joined(data: pl.Series) -> bytes | memoryview:
    """Return the bytes of all values one after another."""
    if data.is_empty():
        return b""
    import pyarrow as pa

    array = data.to_arrow().cast(pa.large_binary())
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    return memoryview(array.buffers()[2])[int(offsets[0]) : int(offsets[-1])]


def _fixed_width(column: pl.Series) -> np.ndarray[Any, Any]:
    if column.dtype == pl.Boolean:
        return column.fill_null(value=False).to_numpy()
    if column.dtype.is_temporal():
        return column.cast(pl.Int64).fill_null(0).to_numpy()
    return column.fill_null(0).to_numpy()


def frame_hash(frame: pl.DataFrame, exclude: Iterable[str] = ()) -> str:
    """Return the hash of a frame's rows in their present order: sort before, where the order carries nothing."""
    hasher = FrameHasher(frame.schema, exclude)
    hasher.update(frame)
    return hasher.hexdigest()
