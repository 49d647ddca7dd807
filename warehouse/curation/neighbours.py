"""Find, row by row in order, the earlier kept rows that share a band: arrays in blocks instead of sets of objects.

Buckets are the band keys that at least two rows share. A bucket remembers its first `BUCKET_LIMIT` kept rows (and as
many held-out ones): in a corpus of one template, where every row meets every other, work stays linear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    I64 = NDArray[np.int64]
    F64 = NDArray[np.float64]

BUCKET_LIMIT = 32
BLOCK_ROWS = 256


class Memberships:
    """Which row is in which bucket: entries (row, bucket), sorted by row."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._row: list[I64] = []
        self._bucket: list[I64] = []
        self.sizes: list[I64] = []
        self._buckets = 0

    def add_band(self, keys: I64) -> None:
        """Add the buckets of one band; `keys` has one key for each row, shape (rows,)."""
        shared = np.flatnonzero(pl.Series(keys).is_duplicated().to_numpy())
        if not len(shared):
            return
        _, bucket, sizes = np.unique(keys[shared], return_inverse=True, return_counts=True)
        self._row.append(shared)
        self._bucket.append(bucket + self._buckets)
        self.sizes.append(sizes)
        self._buckets += len(sizes)

    def entries(self) -> tuple[I64, I64]:
        """Return the rows and the buckets of all entries, sorted by row."""
        if not self._row:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        row = np.concatenate(self._row)
        order = np.argsort(row, kind="stable")
        return row[order], np.concatenate(self._bucket)[order]

    def bucket_sizes(self) -> I64:
        """Return how many rows each bucket has."""
        return np.concatenate(self.sizes) if self.sizes else np.empty(0, np.int64)


class Slots:
    """The first kept rows of every bucket."""

    def __init__(self, sizes: I64) -> None:
        self._limit = np.minimum(sizes, BUCKET_LIMIT)
        self._start = np.cumsum(self._limit) - self._limit
        self._filled = np.zeros(len(sizes), np.int64)
        self._rows = np.empty(int(self._limit.sum()), np.int32)

    def insert(self, row: I64, bucket: I64) -> None:
        """Remember kept rows, in order; entries sorted by row."""
        if not len(row):
            return
        order = np.argsort(bucket, kind="stable")
        row, bucket = row[order], bucket[order]
        rank = _rank_in_group(bucket)
        place = self._filled[bucket] + rank
        fits = place < self._limit[bucket]
        self._rows[self._start[bucket[fits]] + place[fits]] = row[fits]
        self._filled += np.bincount(bucket[fits], minlength=len(self._filled)) if len(fits) > 4096 else 0
        if len(fits) <= 4096:
            np.add.at(self._filled, bucket[fits], 1)

    def meet(self, row: I64, bucket: I64) -> tuple[I64, I64]:
        """Return pairs (row, remembered row) that share a bucket, with repetitions."""
        counts = self._filled[bucket]
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        at = np.arange(total) - np.repeat(ends - counts, counts) + np.repeat(self._start[bucket], counts)
        return np.repeat(row, counts), self._rows[at].astype(np.int64)


def pairs_within(row: I64, bucket: I64) -> tuple[I64, I64]:
    """Return pairs (later row, earlier row) that share a bucket, the earlier among the bucket's first here."""
    order = np.lexsort((row, bucket))
    row, bucket = row[order], bucket[order]
    rank = _rank_in_group(bucket)
    before = np.minimum(rank, BUCKET_LIMIT)
    total = int(before.sum())
    if not total:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    group_start = np.arange(len(row)) - rank
    ends = np.cumsum(before)
    at = np.arange(total) - np.repeat(ends - before, before) + np.repeat(group_start, before)
    return np.repeat(row, before), row[at]


def _rank_in_group(sorted_groups: I64) -> I64:
    index = np.arange(len(sorted_groups))
    starts = np.concatenate([[True], sorted_groups[1:] != sorted_groups[:-1]])
    return index - np.maximum.accumulate(np.where(starts, index, 0))


def walk(
    members: Memberships,
    first: int,
    heldout: NDArray[np.bool_],
    similarity: Callable[[I64, I64], F64],
    threshold: float,
    decide: Callable[[int, list[tuple[int, float]]], tuple[bool, bool]],
) -> None:
    """Walk the rows in order and let `decide` see each row's similar kept predecessors.

    Args:
        members: buckets of all rows; rows below `first` are kept already.
        first: the first row to decide on.
        heldout: shape (first,): which of the rows below `first` are held out.
        similarity: of pairs (row, row), vectorised.
        threshold: the smallest similarity that matters.
        decide: takes a row and its similar predecessors as (row, similarity), and returns (kept, held out). Those from
            the row's own block may be ones that it rejected: it must skip them.
    """
    row, bucket = members.entries()
    sizes = members.bucket_sizes()
    kept_slots, heldout_slots = Slots(sizes), Slots(sizes)
    split = int(np.searchsorted(row, first))
    kept_slots.insert(row[:split], bucket[:split])
    mine = heldout[row[:split]]
    heldout_slots.insert(row[:split][mine], bucket[:split][mine])
    present = np.unique(row[split:])
    for start in range(0, len(present), BLOCK_ROWS):
        block = present[start : start + BLOCK_ROWS]
        low, high = np.searchsorted(row, [block[0], block[-1] + 1])
        block_row, block_bucket = row[low:high], bucket[low:high]
        edges = _edges(block_row, block_bucket, (kept_slots, heldout_slots), similarity, threshold)
        fate = [decide(int(r), edges.get(int(r), [])) for r in block]
        at = np.searchsorted(block, block_row)
        kept = np.array([k for k, _ in fate])[at]
        held = np.array([k and h for k, h in fate])[at]
        kept_slots.insert(block_row[kept], block_bucket[kept])
        heldout_slots.insert(block_row[held], block_bucket[held])


def _edges(
    row: I64, bucket: I64, slots: tuple[Slots, ...], similarity: Callable[[I64, I64], F64], threshold: float
) -> dict[int, list[tuple[int, float]]]:
    met = [pairs_within(row, bucket), *(s.meet(row, bucket) for s in slots)]
    later = np.concatenate([m[0] for m in met])
    earlier = np.concatenate([m[1] for m in met])
    pairs = np.unique((later << 32) | earlier)
    later, earlier = pairs >> 32, pairs & 0xFFFFFFFF
    similar = similarity(later, earlier)
    near = np.flatnonzero(similar >= threshold)
    found: dict[int, list[tuple[int, float]]] = {}
    for i, j, s in zip(later[near].tolist(), earlier[near].tolist(), similar[near].tolist(), strict=True):
        found.setdefault(i, []).append((j, s))
    return found
