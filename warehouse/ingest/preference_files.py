"""A file of preference pairs, read once into a folder: pairs in parts, rejected rows, and counts of every row."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import polars as pl

from warehouse.ingest.fields import RowError, keep
from warehouse.ingest.preferences import PairReader
from warehouse.ingest.readers import read_rows
from warehouse.ingest.staging import shorten
from warehouse.schemas import PREFERENCES, REJECTED_PREFERENCES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from warehouse.ingest.preferences import PairRow
    from warehouse.settings import PreferencesSettings

PART_ROWS = 20_000
COUNTS = ("rows_read", "pairs", "duplicate", "filtered", "quarantined")
_COUNTS, _REJECTED = "counts.json", "rejected.parquet"


def read_pairs(
    section: PreferencesSettings, path: Path, file_hash: str, folder: Path, told: Callable[[int], None]
) -> None:
    """Read a file into a folder, whole or not at all; the same pair twice counts once.

    Args:
        section: how a row is read.
        path: the file.
        file_hash: of it; names rejected rows.
        folder: to write; what is there is replaced.
        told: is told how many rows are read.

    Raises:
        InputError: the file cannot be opened.
    """
    partial = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    reading = _Reading(section, path, file_hash)
    for number, frame in enumerate(reading.pairs()):
        frame.write_parquet(partial / f"pairs-{number:06d}.parquet")
        told(reading.counts["rows_read"])
    rejected = pl.DataFrame(reading.rejected, schema=REJECTED_PREFERENCES.columns, orient="row")
    rejected.write_parquet(partial / _REJECTED)
    counts = {name: reading.counts[name] for name in COUNTS}
    (partial / _COUNTS).write_text(json.dumps(counts), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def is_read(folder: Path) -> bool:
    """Tell whether a folder holds what `read_pairs` writes."""
    return (folder / _COUNTS).is_file()


def pairs_of(folder: Path) -> Iterator[pl.DataFrame]:
    """Yield the pairs of a folder, columns of `preferences`, some at a time in the order of the file."""
    for part in sorted(folder.glob("pairs-*.parquet")):
        yield pl.read_parquet(part)


def rejected_of(folder: Path) -> pl.DataFrame:
    """Return the rejected rows of a folder, columns of `rejected_preferences`."""
    return pl.read_parquet(folder / _REJECTED)


def counts_of(folder: Path) -> dict[str, int]:
    """Return `COUNTS`: every row that was read is a pair, a duplicate, filtered out or quarantined."""
    found: dict[str, int] = json.loads((folder / _COUNTS).read_text(encoding="utf-8"))
    return found


class _Reading:
    """One pass over a file."""

    def __init__(self, section: PreferencesSettings, path: Path, file_hash: str) -> None:
        self._section, self._path, self._file_hash = section, path, file_hash
        self._reader = PairReader(section)
        self._seen: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.rejected: list[tuple[str, str, str, str, str, str]] = []

    def pairs(self) -> Iterator[pl.DataFrame]:
        """Yield the pairs, some at a time; afterwards `counts` and `rejected` hold the rest of the rows."""
        rows: list[PairRow] = []
        for raw in read_rows(self._path, encoding=self._section.encoding):
            self.counts["rows_read"] += 1
            try:
                pair = self._pair(raw.value, raw.error)
            except RowError as error:
                self._reject(raw.row, raw.raw, error)
                continue
            if pair is not None:
                rows.append(pair)
            if len(rows) == PART_ROWS:
                yield _frame(rows)
                rows = []
        if rows:
            yield _frame(rows)

    def _pair(self, value: dict[str, Any] | None, error: RowError | None) -> PairRow | None:
        """Return a pair that is new; None for a row that is filtered out, or a pair that was there already."""
        if error is not None or value is None:
            raise error or RowError("broken_row", "the row cannot be read")
        if keep(self._section.where, value) is not None:
            self.counts["filtered"] += 1
            return None
        pair = self._reader.read(value)
        if pair.pair_id in self._seen:
            self.counts["duplicate"] += 1
            return None
        self._seen.add(pair.pair_id)
        self.counts["pairs"] += 1
        return pair

    def _reject(self, row: int, text: str, error: RowError) -> None:
        self.counts["quarantined"] += 1
        named = (str(self._path), "quarantined", error.reason_code, error.message, shorten(text))
        self.rejected.append((f"{self._file_hash}:{row}", *named))


def _frame(rows: list[PairRow]) -> pl.DataFrame:
    columns = PREFERENCES.columns
    return pl.DataFrame([r._asdict() for r in rows], schema_overrides=columns).select(list(columns))
