"""What a reader sees of the tables: exactly the files of the builds that the ledger names."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

import polars as pl

from warehouse.ledger import Commit, live_commits, visible_decisions
from warehouse.schemas import TABLES, TIME, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from deltalake import DeltaTable

    from warehouse.home import Home
    from warehouse.ledger import Build

_BUCKET_ROWS = 400_000  # rows held in memory at once while a build is hashed


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
        self._files: dict[str, list[str]] = {}

    def scan(self, name: str) -> pl.LazyFrame:
        """Return a table lazily, columns as in its schema."""
        return scan_files(TABLES[name], self.files(name))

    def scan_builds(self, name: str, commits: Iterable[Commit]) -> pl.LazyFrame:
        """Return the rows that some of the live commits wrote."""
        return scan_files(TABLES[name], files_of(self._tables[name], {c.rows_id for c in commits}))

    def files(self, name: str) -> list[str]:
        """Return the Parquet files that hold the visible rows of a table."""
        if name not in self._files:
            live = {c.rows_id for c in self.live.values() if name in c.tables}
            builds = set(self._decision_builds) if name == "decisions" else live
            self._files[name] = files_of(self._tables[name], builds)
        return list(self._files[name])

    def is_uneven(self, name: str) -> bool:
        """Tell whether files of a table were written before one of its columns was added."""
        actions = actions_of(self._tables[name])
        if actions.is_empty():
            return False
        # Files have counts of nulls for columns that are no lists; a column that a file lacks has none.
        counted = [f"null_count.{c}" for c, kind in TABLES[name].columns.items() if not isinstance(kind, pl.List)]
        known = [c for c in counted if c in actions.columns]
        return len(known) < len(counted) or actions.select(pl.any_horizontal(pl.col(known).is_null().any())).item()

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
        rows = scan_files(TABLES["decisions"], self.files("decisions"), keep_build=True).join(order, on="build_id")
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
            actions = actions_of(table)
            if actions.height:
                newest = actions.group_by("partition.build_id").agg(pl.col("modification_time").max())
                old = newest.filter(pl.col("modification_time") < limit).get_column("partition.build_id").to_list()
                left[name] = set(old) - kept - (set(self._decision_builds) if name == "decisions" else set())
        return left

    def versions(self) -> dict[str, int]:
        """Return the Delta version of every table in this view, to pin them."""
        return {n: int(t.version()) for n, t in self._tables.items()}


def actions_of(table: DeltaTable) -> pl.DataFrame:
    """Return what the log of a table says of each of its files."""
    return pl.DataFrame(table.get_add_actions(flatten=True))


def files_of(table: DeltaTable, builds: set[str]) -> list[str]:
    """Return the paths of the files that some builds have in a table."""
    actions = actions_of(table)
    if actions.is_empty() or not builds:
        return []
    root = unquote(str(table.table_uri).removeprefix("file://")).rstrip("/")
    mine = actions.filter(pl.col("partition.build_id").is_in(list(builds)))
    return sorted(f"{root}/{p}" for p in mine.get_column("path"))


def rows_of(table: DeltaTable, build_id: str) -> int:
    """Return how many rows a build has in a table."""
    actions = actions_of(table)
    if actions.is_empty():
        return 0
    return int(actions.filter(pl.col("partition.build_id") == build_id).get_column("num_records").sum())


def scan_files(table: Table, files: list[str], *, keep_build: bool = False) -> pl.LazyFrame:
    """Return the rows of some files of a table, columns as in its schema."""
    schema = table.stored if keep_build else table.schema
    if not files:
        return pl.LazyFrame(schema=schema)
    hive = dict.fromkeys(table.partitions, pl.String)
    # Files written before a column was added have nulls in it.
    scan = pl.scan_parquet(
        files, hive_partitioning=True, hive_schema=hive, schema=pl.Schema(table.columns), missing_columns="insert"
    )
    return scan.select(list(schema))


def in_key_order(scan: pl.LazyFrame, table: Table) -> Iterator[pl.DataFrame]:
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
