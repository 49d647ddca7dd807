"""Tables: how a stage writes them, and how a reader gets a consistent view of them.

Every table is a Delta table partitioned by `build_id` (and `batch`, `policy_id`). A reader takes a `Snapshot`: the
ledger, and for every table exactly the files of the builds that the ledger names.
"""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError

from warehouse.hashing import FrameHasher
from warehouse.ledger import KEEP_LOG, Build, Commit, Ledger, live_commits, rows_id
from warehouse.opened import keep, opened
from warehouse.schemas import TABLES, conform
from warehouse.snapshot import Snapshot, actions_of, files_of, in_key_order, rows_of, scan_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from warehouse.home import Home

__all__ = ["Snapshot", "StageWriter", "Store", "StoreError", "describe"]

_ATTEMPTS = 12
_latest: dict[Path, tuple[str, Snapshot]] = {}  # tables of a home -> the state of its ledger, and a view of all tables


class StoreError(RuntimeError):
    """The tables cannot give or take what was asked."""


class Store:
    """Reads and writes the tables of one home."""

    def __init__(self, home: Home) -> None:
        self.home = home.create()
        self.ledger = Ledger(home)
        if not (home.tables / "commits" / "_delta_log").is_dir() or not all(
            (home.tables / t / "_delta_log").is_dir() for t in TABLES
        ):
            self._create_tables()

    def _create_tables(self) -> None:
        with self.home.lock("tables"):
            for table in TABLES.values():
                path = self.home.tables / table.name
                if not DeltaTable.is_deltatable(str(path)):
                    write_deltalake(
                        path,
                        pl.DataFrame(schema=table.stored),
                        partition_by=list(table.partitions),
                        configuration=KEEP_LOG,
                    )
            self.ledger.create()

    def snapshot(self, tables: Iterable[str] | None = None) -> Snapshot:
        """Return a consistent view: what is committed now, and nothing half.

        Replaced rows leave the tables only after a newer ledger row, so a view whose ledger did not move while the
        tables were opened is whole; otherwise it is taken again. While the ledger does not move, all views show the
        same, so the newest of this process is handed out again: a run asks for dozens, and opening tables takes time.
        """
        state, kept = _latest.get(self.home.tables, ("", None))
        if kept is not None and self.ledger.state() == state:
            return kept
        state = self.ledger.state()
        view = self._open(list(TABLES if tables is None else tables))
        if tables is None and self.ledger.state() == state:
            _latest[self.home.tables] = state, view
        return view

    def _open(self, names: list[str]) -> Snapshot:
        for _ in range(50):
            version = self.ledger.version()
            commits = self.ledger.read()
            tables = {n: opened(self.home.tables / n) for n in names}
            if self.ledger.version() == version:
                return Snapshot(self.home, commits, tables, version)
        msg = "the tables kept changing while they were being opened; try again"
        raise StoreError(msg)

    def stored(self, name: str) -> pl.LazyFrame:
        """Return every row that a table holds, `build_id` included: also those that no reader sees (yet, or any more).

        For accounts: what a killed run spent is spent.
        """
        table = opened(self.home.tables / name)
        actions = actions_of(table)
        marks = set(actions.get_column("partition.build_id")) if actions.height else set()
        return scan_files(TABLES[name], files_of(table, marks), keep_build=True)

    def moved_since(self, view: Snapshot) -> bool:
        """Tell whether anything was committed after a view was taken."""
        return self.ledger.version() != view.ledger_version

    @contextmanager
    def exclusive(self, key: tuple[str, str, str]) -> Iterator[None]:
        """Hold one stage of one batch (stage, batch, variant). Others who want the same wait here."""
        with self.home.lock("-".join(x for x in ("stage", *key) if x)):
            yield

    def writer(self, build: Build, run_id: str = "", view: Snapshot | None = None) -> StageWriter:
        """Return what writes a build that is made from a view. Only for who holds its stage (`exclusive`)."""
        return StageWriter(self, build, run_id, view)

    @contextmanager
    def stage(self, build: Build, run_id: str = "") -> Iterator[StageWriter]:
        """Open a stage for writing. Others who want the same stage of the same batch wait here, then see it done."""
        with self.exclusive(build.key):
            yield self.writer(build, run_id)

    def abandon(self, batch: str, why: str, run_id: str = "") -> Commit:
        """Take a batch out of every view, for good; its rows stay on disk."""
        return self.ledger.append(
            {
                "stage": "batch",
                "batch": batch,
                "variant": "",
                "state": "abandoned",
                "build_id": "",
                "rows_id": "",
                "data_version": "",
                "extends": False,
                "inputs": {"why": why},
                "run_id": run_id,
            }
        )

    def retire(self, policy: str, why: str, counts: dict[str, int] | None = None) -> Commit:
        """Take what a policy has so far out of every view. Rolled out again, it counts again.

        `counts` keeps what its unfinished builds took, which no commit names.
        """
        return self.ledger.append(
            {
                "stage": "policy",
                "batch": "",
                "variant": policy,
                "state": "retired",
                "build_id": "",
                "rows_id": "",
                "data_version": "",
                "extends": False,
                "counts": counts or {},
                "inputs": {"why": why},
            }
        )

    def unseen(self, older_than: datetime) -> dict[str, set[str]]:
        """Return table -> marks of rows that no reader sees, last written before a time. See `Snapshot.unseen`."""
        return self._open(list(TABLES)).unseen(older_than)

    def drop(self, name: str, condition: str) -> None:
        """Take the rows of whole partitions out of a table: only rows that no reader sees."""

        def delete() -> None:
            DeltaTable(self.home.tables / name).delete(condition)

        _retry(delete)

    def tidy(self, keep_hours: int, pinned: dict[str, list[int]] | None = None) -> None:
        """Delete what interrupted runs left for good, and data files replaced more than `keep_hours` ago.

        Args:
            keep_hours: age below which nothing is touched.
            pinned: table -> Delta versions whose files stay whatever their age, for releases that name them.
        """
        older_than = datetime.now(UTC) - timedelta(hours=keep_hours)
        for name, marks in self.unseen(older_than).items():
            for mark in sorted(marks):
                _delete(self.home.tables / name, mark)
        for name in TABLES:
            table = DeltaTable(self.home.tables / name)
            table.vacuum(
                retention_hours=keep_hours,
                dry_run=False,
                enforce_retention_duration=False,
                keep_versions=(pinned or {}).get(name),
            )


class StageWriter:
    """Writes one build of one stage. Nothing shows before `commit`; what a killed run wrote can be continued."""

    def __init__(self, store: Store, build: Build, run_id: str, view: Snapshot | None = None) -> None:
        self._store = store
        self._view = view
        self.build = build
        self._run_id = run_id
        self._written: dict[str, bool] = {}
        commits = store.ledger.read()
        self._previous = live_commits(commits).get(build.key)
        self.committed = self._previous is not None and self._previous.build_id == build.build_id
        self._rows = rows_id(build, commits)

    @property
    def view(self) -> Snapshot:
        """Return what the build is made from; by now others may have committed more."""
        return self._store.snapshot() if self._view is None else self._view

    @property
    def rows_id(self) -> str:
        """Return what marks the rows of this build in the tables."""
        return self._rows

    @property
    def previous(self) -> Commit | None:
        """Return the live commit that this build will replace."""
        return self._previous

    def written(self, table: str) -> pl.LazyFrame:
        """Return the rows that this build has in a table already, from a run that was killed perhaps."""
        self._written[table] = True
        return scan_files(TABLES[table], files_of(opened(self._store.home.tables / table), {self._rows}))

    def of_others(self, table: str) -> pl.LazyFrame:
        """Return the rows that other builds of this stage, batch and variant have, with `build_id`.

        They are of the build before, and of builds that were never finished.
        """
        found = opened(self._store.home.tables / table)
        actions = actions_of(found)
        marks: set[str] = set()
        if actions.height:
            mine = pl.col("partition.batch") == self.build.batch
            if "policy_id" in TABLES[table].partitions:
                mine &= pl.col("partition.policy_id") == self.build.variant
            marks = set(actions.filter(mine).get_column("partition.build_id")) - {self._rows}
        return scan_files(TABLES[table], files_of(found, marks), keep_build=True)

    def append(self, table: str, frame: pl.DataFrame) -> None:
        """Add rows, atomically. Rows of a chunk must come whole: after a kill the chunk is there or it is not."""
        self._written[table] = True
        self._append(table, frame)

    def write(self, table: str, frames: pl.DataFrame | Iterable[pl.DataFrame]) -> int:
        """Write all rows of this build in a table, replacing any from an earlier attempt; return their number."""
        self._written[table] = True
        if isinstance(frames, pl.DataFrame):
            frames = [frames]
        self._delete(table, self._rows)
        rows = 0
        for frame in frames:
            if frame.height:
                self._append(table, frame)
                rows += frame.height
        return rows

    def commit(
        self,
        main: str,
        counts: dict[str, int] | None = None,
        *,
        extends: bool = False,
        checks: dict[str, Any] | None = None,
    ) -> Commit:
        """Make everything this build wrote visible at once.

        Args:
            main: the table whose content is the data version that later stages look at.
            counts: what to show people (rows read, kept, dropped, ...).
            extends: the decisions add to those of the previous build of this stage.
            checks: what the checks of the stage found, by name.
        """
        build = self.build
        tables = {n: rows_of(opened(self._store.home.tables / n), self._rows) for n in self._written}
        version = self._content_hash(main)
        commit = self._store.ledger.append(
            {
                "stage": build.stage,
                "batch": build.batch,
                "variant": build.variant,
                "state": "complete",
                "build_id": build.build_id,
                "rows_id": self._rows,
                "data_version": version,
                "extends": extends,
                "tables": tables,
                "counts": counts or {},
                "checks": checks or {},
                "inputs": dict(build.inputs),
                "code_version": build.code_version,
                "policy_hash": build.policy_hash,
                "run_id": self._run_id,
            }
        )
        self.committed = True
        self._retire(keep_decisions=extends)
        return commit

    def _retire(self, *, keep_decisions: bool) -> None:
        """Take the replaced build's rows out of the tables; their files stay for time travel."""
        old = self._previous
        if old is None or old.build_id == self.build.build_id:
            return
        for name in old.tables:
            if name != "decisions" or not keep_decisions:
                self._delete(name, old.rows_id)

    def _content_hash(self, name: str) -> str:
        table = TABLES[name]
        files = files_of(opened(self._store.home.tables / name), {self._rows})
        scan = scan_files(table, files)
        hasher = FrameHasher(table.columns, exclude=table.volatile)
        for part in in_key_order(scan, table):
            hasher.update(part)
        return hasher.hexdigest()

    def _append(self, name: str, frame: pl.DataFrame) -> None:
        table = TABLES[name]
        ready = conform(table, frame).sort([k for k in table.key if k in table.columns])
        own = {"batch": self.build.batch, "policy_id": self.build.variant, "build_id": self._rows}
        ready = ready.with_columns(pl.lit(own[p]).alias(p) for p in table.partitions)
        path = self._store.home.tables / name
        metadata = {"preppo.stage": self.build.stage, "preppo.build": self.build.build_id, "preppo.run": self._run_id}

        def write() -> None:
            own = DeltaTable(path)
            write_deltalake(
                own,
                ready.select(list(table.stored)),
                mode="append",
                schema_mode="merge",  # a home from before a column was added gets it now
                writer_properties=WriterProperties(
                    max_row_group_size=table.row_group_rows, compression="ZSTD", compression_level=3
                ),
                commit_properties=CommitProperties(custom_metadata=metadata, max_commit_retries=50),
            )
            keep(path, own)

        _retry(write)

    def _delete(self, name: str, mark: str) -> None:
        _delete(self._store.home.tables / name, mark)


def _retry(action: Callable[[], None]) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            action()
        except CommitFailedError:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0.02, 0.1) * (attempt + 1))  # spreads writers, decides nothing
        else:
            return


def _delete(path: Path, mark: str) -> None:
    def delete() -> None:
        if files_of(opened(path), {mark}):
            own = DeltaTable(path)
            own.delete(f"build_id = '{mark}'")
            keep(path, own)

    _retry(delete)


def describe(commit: Commit) -> dict[str, Any]:
    """Return a commit as plain data for people."""
    return {**commit.as_row(), "tables": commit.tables, "counts": commit.counts, "inputs": commit.inputs}
