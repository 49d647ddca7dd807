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
from urllib.parse import unquote

import polars as pl
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError

from warehouse.hashing import FrameHasher
from warehouse.ledger import KEEP_LOG, Build, Commit, Ledger, live_commits, rows_id, visible_decisions
from warehouse.schemas import TABLES, TIME, Table, conform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from warehouse.home import Home

_ATTEMPTS = 12
_BUCKET_ROWS = 400_000  # rows held in memory at once while a build is hashed
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
            opened = {n: DeltaTable(self.home.tables / n) for n in names}
            if self.ledger.version() == version:
                return Snapshot(self.home, commits, opened, version)
        msg = "the tables kept changing while they were being opened; try again"
        raise StoreError(msg)

    def stored(self, name: str) -> pl.LazyFrame:
        """Return every row that a table holds, `build_id` included: also those that no reader sees (yet, or any more).

        For accounts: what a killed run spent is spent.
        """
        opened = DeltaTable(self.home.tables / name)
        actions = _actions(opened)
        marks = set(actions.get_column("partition.build_id")) if actions.height else set()
        return _scan(TABLES[name], _files(opened, marks), keep_build=True)

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

    def retire(self, policy: str, why: str, run_id: str = "") -> Commit:
        """Take what a policy has so far out of every view. Rolled out again, it counts again."""
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
                "inputs": {"why": why},
                "run_id": run_id,
            }
        )

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
        for name, marks in self._open(list(TABLES)).unseen(older_than).items():
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
    def previous(self) -> Commit | None:
        """Return the live commit that this build will replace."""
        return self._previous

    def written(self, table: str) -> pl.LazyFrame:
        """Return the rows that this build has in a table already, from a run that was killed perhaps."""
        self._written[table] = True
        opened = DeltaTable(self._store.home.tables / table)
        return _scan(TABLES[table], _files(opened, {self._rows}))

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
        tables = {n: _rows(DeltaTable(self._store.home.tables / n), self._rows) for n in self._written}
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
        files = _files(DeltaTable(self._store.home.tables / name), {self._rows})
        scan = _scan(table, files)
        hasher = FrameHasher(table.columns, exclude=table.volatile)
        for part in _in_key_order(scan, table):
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
            write_deltalake(
                path,
                ready.select(list(table.stored)),
                mode="append",
                schema_mode="merge",  # a home from before a column was added gets it now
                writer_properties=WriterProperties(
                    max_row_group_size=table.row_group_rows, compression="ZSTD", compression_level=3
                ),
                commit_properties=CommitProperties(custom_metadata=metadata, max_commit_retries=50),
            )

        _retry(write)

    def _delete(self, name: str, mark: str) -> None:
        _delete(self._store.home.tables / name, mark)


class Snapshot:
    """A consistent view of the committed tables. Immutable; take a new one to see newer commits."""

    def __init__(
        self, home: Home, commits: list[Commit], tables: dict[str, DeltaTable], ledger_version: int = -1
    ) -> None:
        self.home = home
        self.commits = commits
        self.ledger_version = ledger_version  # of the Delta table behind the ledger; -1: a view put together by hand
        self.live = live_commits(commits)
        self._tables = tables
        self._decision_builds = visible_decisions(commits)

    def scan(self, name: str) -> pl.LazyFrame:
        """Return a table lazily, columns as in its schema."""
        return _scan(TABLES[name], self.files(name))

    def scan_builds(self, name: str, commits: Iterable[Commit]) -> pl.LazyFrame:
        """Return the rows that some of the live commits wrote."""
        return _scan(TABLES[name], _files(self._tables[name], {c.rows_id for c in commits}))

    def files(self, name: str) -> list[str]:
        """Return the Parquet files that hold the visible rows of a table."""
        if name == "decisions":
            return _files(self._tables[name], set(self._decision_builds))
        return _files(self._tables[name], {c.rows_id for c in self.live.values() if name in c.tables})

    def decision_builds(self) -> dict[str, Commit]:
        """Return the commits whose decisions count, by build id."""
        return self._decision_builds

    def decisions(self) -> pl.LazyFrame:
        """Return the current decisions: the newest row of each (stage, arm, batch, prompt, rule), with its commit.

        A decision that was withdrawn is no longer among them.
        """
        order = pl.LazyFrame(
            [(b, c.seq, c.run_id, c.committed_at) for b, c in self._decision_builds.items()],
            schema={"build_id": pl.String, "seq": pl.Int64, "run_id": pl.String, "committed_at": TIME},
            orient="row",
        )
        rows = _scan(TABLES["decisions"], self.files("decisions"), keep_build=True).join(order, on="build_id")
        extending = {c.key for c in self._decision_builds.values() if c.extends}
        if extending:
            key = ["stage", "arm", "batch", "prompt_id", "rule"]
            rows = rows.filter(pl.col("seq") == pl.col("seq").max().over(key))
        return rows.filter(pl.col("outcome") != "withdrawn").drop("build_id")

    def commit(self, stage: str, batch: str, variant: str = "") -> Commit | None:
        """Return the live commit of a stage, if there is one."""
        return self.live.get((stage, batch, variant))

    def of_stage(self, stage: str, batch: str | None = None) -> list[Commit]:
        """Return the live commits of a stage, ordered by batch and variant."""
        return [c for k, c in sorted(self.live.items()) if k[0] == stage and (batch is None or k[1] == batch)]

    def is_current(self, build: Build) -> bool:
        """Tell whether this very build is the live one, so that there is nothing to do."""
        commit = self.live.get(build.key)
        return commit is not None and commit.build_id == build.build_id

    def unseen(self, older_than: datetime) -> dict[str, set[str]]:
        """Return table -> marks of rows that no reader sees, last written before a time.

        They are of runs that were killed: before a commit, or after one and before the replaced rows were deleted. Rows
        of abandoned batches are not among them.
        """
        abandoned = {c.batch for c in self.commits if c.state == "abandoned"}
        kept = {c.rows_id for c in self.live.values()} | {c.rows_id for c in self.commits if c.batch in abandoned}
        limit = int(older_than.timestamp() * 1000)
        left: dict[str, set[str]] = {}
        for name, table in self._tables.items():
            actions = _actions(table)
            if actions.height:
                newest = actions.group_by("partition.build_id").agg(pl.col("modification_time").max())
                old = newest.filter(pl.col("modification_time") < limit).get_column("partition.build_id").to_list()
                left[name] = set(old) - kept - (set(self._decision_builds) if name == "decisions" else set())
        return left

    def versions(self) -> dict[str, int]:
        """Return the Delta version of every table in this view, to pin them."""
        return {n: int(t.version()) for n, t in self._tables.items()}


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
        opened = DeltaTable(path)
        if _files(opened, {mark}):
            opened.delete(f"build_id = '{mark}'")

    _retry(delete)


def _actions(table: DeltaTable) -> pl.DataFrame:
    return pl.DataFrame(table.get_add_actions(flatten=True))


def _files(table: DeltaTable, builds: set[str]) -> list[str]:
    actions = _actions(table)
    if actions.is_empty() or not builds:
        return []
    root = unquote(str(table.table_uri).removeprefix("file://")).rstrip("/")
    mine = actions.filter(pl.col("partition.build_id").is_in(list(builds)))
    return sorted(f"{root}/{p}" for p in mine.get_column("path"))


def _rows(table: DeltaTable, build_id: str) -> int:
    actions = _actions(table)
    if actions.is_empty():
        return 0
    return int(actions.filter(pl.col("partition.build_id") == build_id).get_column("num_records").sum())


def _scan(table: Table, files: list[str], *, keep_build: bool = False) -> pl.LazyFrame:
    schema = table.stored if keep_build else table.schema
    if not files:
        return pl.LazyFrame(schema=schema)
    hive = dict.fromkeys(table.partitions, pl.String)
    # Files written before a column was added have nulls in it.
    scan = pl.scan_parquet(
        files, hive_partitioning=True, hive_schema=hive, schema=pl.Schema(table.columns), missing_columns="insert"
    )
    return scan.select(list(schema))


def _in_key_order(scan: pl.LazyFrame, table: Table) -> Iterator[pl.DataFrame]:
    """Yield the rows sorted by key, in parts that fit in memory: by prefix of the first key column, a hex id."""
    rows = scan.select(pl.len()).collect().item()
    keys = [k for k in table.key if k in table.columns]
    if rows <= _BUCKET_ROWS or keys[0] != "prompt_id":
        yield scan.sort(keys).collect()
        return
    buckets = min(256, max(2, rows // _BUCKET_ROWS + 1))
    borders = [f"{i * 65536 // buckets:04x}" for i in range(buckets + 1)]
    for i, low in enumerate(borders[:-1]):
        inside = pl.col("prompt_id") >= low
        if i < buckets - 1:
            inside &= pl.col("prompt_id") < borders[i + 1]
        yield scan.filter(inside).sort(keys).collect()


def describe(commit: Commit) -> dict[str, Any]:
    """Return a commit as plain data for people."""
    return {**commit.as_row(), "tables": commit.tables, "counts": commit.counts, "inputs": commit.inputs}
