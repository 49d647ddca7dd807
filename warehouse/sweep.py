"""What lies on the disk of a home and nobody needs: rows and files of retired policies, of killed runs, of the past.

Nothing here decides what is needed. Only for who holds the home alone (`Home.lock("sweep")`): files go at once, and a
reader with an older view would miss them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable

from warehouse.schemas import TABLES
from warehouse.usage import spent, unfinished

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from warehouse.home import Home
    from warehouse.ledger import Commit
    from warehouse.store import Store

POLICY_TABLES = tuple(t.name for t in TABLES.values() if "policy_id" in t.partitions)


@dataclass(frozen=True)
class Pile:
    """Some files of one kind, the rows of the tables that go with them, and their bytes when they were found."""

    files: tuple[Path, ...] = ()
    rows: int = 0
    size: int = 0


def pile_of(files: Iterable[Path], rows: int = 0) -> Pile:
    """Return a pile of the files that are there."""
    there = sorted({f for f in files if f.is_file()})
    return Pile(tuple(there), rows, sum(f.stat().st_size for f in there))


def stored_policies(home: Home) -> set[str]:
    """Return the policies that have files in any table."""
    return {
        unquote(f.name.removeprefix("policy_id="))
        for name in POLICY_TABLES
        for f in (home.tables / name).glob("batch=*/policy_id=*")
        if any(f.glob("*/*.parquet"))
    }


def policy_bytes(home: Home, policy: str) -> int:
    """Return the bytes of a policy's current files in all tables."""
    mine = pl.col("partition.policy_id") == policy
    return sum(_sum(home, name, mine, "size_bytes") for name in POLICY_TABLES)


def pinned_files(home: Home, pinned: Mapping[str, Sequence[int]]) -> set[Path]:
    """Return the files that the pinned versions of the tables name."""
    found: set[Path] = set()
    for name, versions in pinned.items():
        for version in versions:
            uris = DeltaTable(home.tables / name, version=version).file_uris()
            found |= {Path(unquote(uri.removeprefix("file://"))) for uri in uris}
    return found


def policy_pile(home: Home, policy: str, commits: Iterable[Commit], kept: set[Path]) -> Pile:
    """Return what a policy has: its rows and files in the tables, those of builds long replaced included."""
    mine = [c.rows_id for c in commits if c.variant == policy and "decisions" in c.tables]
    files = [f for n in POLICY_TABLES for f in (home.tables / n).glob(f"batch=*/policy_id={policy}/*/*.parquet")]
    files += [f for mark in mine for f in (home.tables / "decisions").glob(f"batch=*/build_id={mark}/*.parquet")]
    rows = sum(_sum(home, n, pl.col("partition.policy_id") == policy) for n in POLICY_TABLES)
    return pile_of((f for f in files if f not in kept), rows)


def retire(store: Store, policy: str, why: str, kept: set[Path]) -> None:
    """Take a policy out of the views, then the tables, then the disk. Killed in between, it can be repeated."""
    commits = store.ledger.read()
    pile = policy_pile(store.home, policy, commits, kept)
    marks = [c.rows_id for c in commits if c.variant == policy and "decisions" in c.tables]
    lost = unfinished(commits, store.stored("generation").filter(pl.col("policy_id") == policy)).collect()
    store.retire(policy, why, spent(lost))
    for name in POLICY_TABLES:
        store.drop(name, f"policy_id = '{policy}'")
    for mark in marks:
        store.drop("decisions", f"build_id = '{mark}'")
    remove(pile)


def unseen_piles(store: Store, keep_hours: int, kept: set[Path]) -> dict[tuple[str, str], Pile]:
    """Return (table, build) -> the rows that a killed run left more than `keep_hours` ago."""
    limit = datetime.now(UTC) - timedelta(hours=keep_hours)
    piles = {}
    for name, marks in store.unseen(limit).items():
        for mark in sorted(marks):
            files = (store.home.tables / name).glob(f"**/build_id={mark}/*.parquet")
            rows = _sum(store.home, name, pl.col("partition.build_id") == mark)
            piles[name, mark] = pile_of((f for f in files if f not in kept), rows)
    return piles


def replaced_files(home: Home, keep_hours: int, pinned: Mapping[str, Sequence[int]]) -> Pile:
    """Return the data files that were replaced more than `keep_hours` ago and that no release is made again from."""
    found = []
    for name in TABLES:
        table = DeltaTable(home.tables / name)
        gone = table.vacuum(
            retention_hours=keep_hours,
            dry_run=True,
            enforce_retention_duration=False,
            keep_versions=list(pinned.get(name, [])) or None,
        )
        found += [home.tables / name / unquote(path) for path in gone]
    return pile_of(f for f in found if f.suffix == ".parquet")


def remove(pile: Pile) -> None:
    """Delete the files of a pile, and the folders that this leaves empty."""
    for file in pile.files:
        file.unlink(missing_ok=True)
    for folder in {p for f in pile.files for p in list(f.parents)[:3] if "=" in p.name}:
        if folder.is_dir() and not any(p.is_file() for p in folder.rglob("*")):
            for empty in sorted((p for p in [*folder.rglob("*"), folder] if p.is_dir()), reverse=True):
                empty.rmdir()


def _sum(home: Home, name: str, condition: pl.Expr, column: str = "num_records") -> int:
    actions = pl.DataFrame(DeltaTable(home.tables / name).get_add_actions(flatten=True))
    return int(actions.filter(condition)[column].sum()) if actions.height else 0
