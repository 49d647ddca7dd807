"""The ledger: one row a committed stage. What it does not name, no reader sees.

A build writes rows into several tables (its decisions among them), each marked with the build's id, and then appends
one row here. That append is the commit point of all of them at once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable, WriterProperties, write_deltalake

from warehouse.hashing import json_hash
from warehouse.opened import keep, opened
from warehouse.schemas import TIME

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from warehouse.home import Home

_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "seq": pl.Int64,
    "stage": pl.String,
    "batch": pl.String,
    "variant": pl.String,
    "state": pl.String,
    "build_id": pl.String,
    "rows_id": pl.String,
    "data_version": pl.String,
    "extends": pl.Boolean,
    "tables": pl.String,
    "counts": pl.String,
    "checks": pl.String,
    "inputs": pl.String,
    "code_version": pl.String,
    "policy_hash": pl.String,
    "run_id": pl.String,
    "committed_at": TIME,
}
SCHEMA = pl.Schema(_COLUMNS)
CORPUS = "corpus"  # the "batch" of the stages that look at all batches together
_COMPACT_FILES = 64
# Old log entries are what a release names to be rebuilt from; delta-rs would drop them at checkpoints after a month.
KEEP_LOG = {"delta.enableExpiredLogCleanup": "false"}
_read: dict[Path, tuple[DeltaTable, list[Commit]]] = {}  # ledgers as they were last opened -> what they say


@dataclass(frozen=True)
class Build:
    """Everything that decides what a stage writes. The same build gives the same rows, so its id can be looked up.

    Attributes:
        stage: name of the stage, which is the name of its asset.
        batch: key of the batch, or `corpus`.
        variant: policy id, arm name, or empty.
        inputs: name of an input -> its data version.
        code_version: of the code that the stage is made of.
        policy_hash: of the settings that decide its outcome.
    """

    stage: str
    batch: str
    inputs: Mapping[str, str]
    code_version: str
    policy_hash: str
    variant: str = ""

    @property
    def build_id(self) -> str:
        """Return the 32 hex characters that name this build."""
        return json_hash([self.stage, self.batch, self.variant, dict(self.inputs), self.code_version, self.policy_hash])

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what a later build of the same thing replaces: stage, batch, variant."""
        return self.stage, self.batch, self.variant


@dataclass(frozen=True)
class Commit:
    """A row of the ledger, as Python values.

    `rows_id` marks the rows in the tables. It is the build id, numbered where the same build was committed before,
    replaced, and is wanted again: rows that a reader may still look at are never written over.
    """

    seq: int
    stage: str
    batch: str
    variant: str
    state: str
    build_id: str
    rows_id: str
    data_version: str
    extends: bool  # decisions add to those of the commit before, instead of replacing them
    tables: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    checks: dict[str, Any] = field(default_factory=dict)  # name -> passed, observed, threshold, detail
    inputs: dict[str, str] = field(default_factory=dict)
    code_version: str = ""
    policy_hash: str = ""
    run_id: str = ""
    committed_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def key(self) -> tuple[str, str, str]:
        """Return stage, batch, variant."""
        return self.stage, self.batch, self.variant

    @staticmethod
    def of_row(row: dict[str, Any]) -> Commit:
        """Read a row of the ledger."""
        decoded = {k: json.loads(row[k]) for k in ("tables", "counts", "checks", "inputs")}
        return Commit(**{**row, **decoded})

    def as_row(self) -> dict[str, Any]:
        """Return the row that the ledger stores."""
        encoded = {k: json.dumps(getattr(self, k), sort_keys=True) for k in ("tables", "counts", "checks", "inputs")}
        return {**{c: getattr(self, c) for c in SCHEMA}, **encoded}


class Ledger:
    """The Delta table `commits` of a home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._path = home.tables / "commits"

    def create(self) -> None:
        """Make the table where it is missing. Call under a lock."""
        if not DeltaTable.is_deltatable(str(self._path)):
            write_deltalake(self._path, pl.DataFrame(schema=SCHEMA), configuration=KEEP_LOG)

    def read(self) -> list[Commit]:
        """Return every commit, oldest first."""
        table = opened(self._path)
        known, commits = _read.get(self._path, (None, []))
        if known is not table:
            commits = [Commit.of_row(r) for r in _rows(table).sort("seq").iter_rows(named=True)]
            _read[self._path] = table, commits
        return list(commits)

    def find(self, stage: str, batch: str, variant: str = "") -> Commit | None:
        """Return the live commit of a stage of a batch, if there is one."""
        return live_commits(self.read()).get((stage, batch, variant))

    def version(self) -> int:
        """Return a number that grows with every commit."""
        return int(opened(self._path).version())

    def state(self) -> str:
        """Return what tells two states of this ledger, and this ledger from any other, apart."""
        table = opened(self._path)
        return f"{table.metadata().id}@{table.version()}"

    def append(self, make: Mapping[str, Any]) -> Commit:
        """Append a commit with the next sequence number, and return it."""
        with self._home.lock("ledger"):
            table = DeltaTable(self._path)
            last = _rows(table)["seq"].max()
            commit = Commit(seq=int(str(last or 0)) + 1, **make)
            write_deltalake(
                table,
                pl.DataFrame([commit.as_row()], schema=SCHEMA),
                mode="append",
                writer_properties=WriterProperties(compression="ZSTD"),
            )
            if len(table.file_uris()) > _COMPACT_FILES:
                DeltaTable(self._path).optimize.compact()
            else:
                keep(self._path, table)
        return commit


def _rows(table: DeltaTable) -> pl.DataFrame:
    # By plain paths: a URI writes a blank as %20, which is not the name of the file.
    files = [unquote(uri.removeprefix("file://")) for uri in table.file_uris()]
    return pl.read_parquet(files).select(list(SCHEMA)) if files else SCHEMA.to_frame()


def rows_id(build: Build, commits: list[Commit]) -> str:
    """Return the mark for the rows of a build that is to be written now."""
    before = sum(c.build_id == build.build_id for c in commits)
    return build.build_id if before == 0 else f"{build.build_id}-{before}"


def counting_commits(commits: list[Commit]) -> list[Commit]:
    """Return the finished builds, oldest first, without those of abandoned batches and of retired policies.

    An abandoned batch is out for good. A policy is out until it is rolled out again: what it commits after it was
    retired counts.
    """
    abandoned = {c.batch for c in commits if c.state == "abandoned"}
    retired = {c.variant: c.seq for c in commits if c.state == "retired"}
    return [
        c
        for c in commits
        if c.state == "complete"
        and c.batch not in abandoned
        # At the corpus a variant names an arm or a file, never a policy.
        and (c.batch == CORPUS or c.seq > retired.get(c.variant, 0))
    ]


def live_commits(commits: list[Commit]) -> dict[tuple[str, str, str], Commit]:
    """Return the newest commit of every (stage, batch, variant) that counts."""
    return {c.key: c for c in counting_commits(commits)}


def visible_decisions(commits: list[Commit]) -> dict[str, Commit]:
    """Return rows id -> commit, for the commits whose decisions count: the live ones, and those they extend."""
    visible: dict[str, Commit] = {}
    closed: set[tuple[str, str, str]] = set()
    for commit in reversed(counting_commits(sorted(commits, key=lambda c: c.seq))):
        if commit.key not in closed:
            visible[commit.rows_id] = commit
            if not commit.extends:
                closed.add(commit.key)
    return visible
