"""Work through large tables a range of ids at a time.

Hash tables and joins of a range fit the processor's caches, and memory does not grow with the corpus. Files sorted by
prompt_id, as the store writes them, are read once in all: a range skips the row groups of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from polars.io.plugins import register_io_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_SLICES = 256  # files in another order are read as often
_HEX = 65_536  # ranges are cut at the first four hexadecimal digits


def in_slices(
    frames: list[pl.LazyFrame],
    make: Callable[[list[pl.LazyFrame]], pl.DataFrame],
    schema: pl.Schema,
    slice_rows: int,
) -> pl.LazyFrame:
    """Return the rows that `make` returns for each range of ids, ranges in order, as one lazy frame.

    Args:
        frames: with a column prompt_id; the first has the most rows. None of them is read before the result is.
        make: gets the same frames with the rows of one range, and returns rows about its ids only.
        schema: of what `make` returns.
        slice_rows: how many rows of the first frame to take at a time, roughly. Decides nothing.
    """

    def produce(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        del batch_size  # a hint only
        rows = int(frames[0].select(pl.len()).collect().item())
        for inside in _ranges(rows, slice_rows):
            out = make([frame.filter(inside) for frame in frames])
            out = out if predicate is None else out.filter(predicate)
            out = out if with_columns is None else out.select(with_columns)
            if n_rows is not None:
                out = out.head(n_rows)
                n_rows -= out.height
            yield out
            if n_rows == 0:
                return

    return register_io_source(produce, schema=schema, is_pure=True)


def _ranges(rows: int, slice_rows: int) -> Iterator[pl.Expr]:
    """Yield conditions on prompt_id that together hold for every id, and for each only once."""
    count = min(MAX_SLICES, max(1, -(-rows // slice_rows)))
    borders = [f"{i * _HEX // count:04x}" for i in range(count)]
    for i, low in enumerate(borders):
        inside = pl.lit(value=True) if i == 0 else pl.col.prompt_id >= low
        yield inside if i + 1 == count else inside & (pl.col.prompt_id < borders[i + 1])
