"""Stage `preferences`: the pairs of each `[[preferences]]` file, read once; bad rows rejected with their reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from assets.files import content_hash
from assets.progress import report
from assets.stages import Run, Stage, Written
from warehouse.hashing import json_hash
from warehouse.ingest.fields import RowError, keep
from warehouse.ingest.preferences import PairReader
from warehouse.ingest.readers import expand, read_rows
from warehouse.ledger import CORPUS, Build
from warehouse.schemas import PREFERENCES, REJECTED_PREFERENCES
from warehouse.settings import PreferencesSettings, outcome_hash

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from assets.project import Project
    from warehouse.ingest.preferences import PairRow
    from warehouse.store import Snapshot, StageWriter

CHUNK_ROWS = 20_000


@dataclass(frozen=True)
class PairFile:
    """One file under one `[[preferences]]` section."""

    section: PreferencesSettings
    path: Path
    file_hash: str

    @property
    def key(self) -> str:
        """Return what names file and mapping together."""
        return json_hash([self.file_hash, outcome_hash(self.section)])


def pair_files(project: Project) -> list[PairFile]:
    """Return the files that the `[[preferences]]` sections name now, in their order."""
    found = []
    for section in project.settings.preferences:
        found += [PairFile(section, p, content_hash(p)) for p in expand(section.path, project.base)]
    return found


def builds(project: Project, _view: Snapshot, batch: str = CORPUS) -> list[Build]:
    """Return one build a file."""
    return [
        Build("preferences", batch, {"file": f.file_hash}, STAGE.code_version, outcome_hash(f.section), f.key)
        for f in pair_files(project)
    ]


def write(run: Run, _view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Read one file; the same pair twice counts once."""
    chosen = next(f for f in pair_files(run.project) if f.key == build.variant)
    reading = _Reading(chosen)
    writer.write("preferences", reading.pairs())
    rejected = pl.DataFrame(reading.rejected, schema=REJECTED_PREFERENCES.columns, orient="row")
    writer.write("rejected_preferences", rejected)
    counts = {name: reading.counts[name] for name in ("rows_read", "pairs", "duplicate", "filtered", "quarantined")}
    reasons = rejected.group_by("reason_code").len().sort("reason_code").iter_rows()
    return Written(counts | {f"reason_{code}": n for code, n in reasons})


class _Reading:
    """One pass over a file."""

    def __init__(self, file: PairFile) -> None:
        self._file, self._reader = file, PairReader(file.section)
        self._seen: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.rejected: list[tuple[str, str, str, str, str, str]] = []

    def pairs(self) -> Iterator[pl.DataFrame]:
        """Yield the pairs, some at a time; afterwards `counts` and `rejected` hold the rest of the rows."""
        rows: list[PairRow] = []
        for raw in read_rows(self._file.path, encoding=self._file.section.encoding):
            self.counts["rows_read"] += 1
            try:
                pair = self._pair(raw.value, raw.error)
            except RowError as error:
                self._reject(raw.row, raw.raw, error)
                continue
            if pair is not None:
                rows.append(pair)
            if len(rows) == CHUNK_ROWS:
                yield _frame(rows)
                rows = []
                report("preference rows read", self.counts["rows_read"], None)
        if rows:
            yield _frame(rows)

    def _pair(self, value: dict[str, Any] | None, error: RowError | None) -> PairRow | None:
        """Return a pair that is new; None for a row that is filtered out, or a pair that was there already."""
        if error is not None or value is None:
            raise error or RowError("broken_row", "the row cannot be read")
        if keep(self._file.section.where, value) is not None:
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
        where = f"{self._file.file_hash}:{row}"
        named = (str(self._file.path), "quarantined", error.reason_code, error.message, text)
        self.rejected.append((where, *named))


def _frame(rows: list[PairRow]) -> pl.DataFrame:
    return pl.DataFrame([r._asdict() for r in rows], schema_overrides=PREFERENCES.columns).select(
        list(PREFERENCES.columns)
    )


STAGE = Stage("preferences", "preferences", builds, write, __name__)
