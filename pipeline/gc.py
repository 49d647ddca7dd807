"""`preppo gc`: show what nobody needs any more, and remove it when asked to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
from rich.console import Group
from rich.table import Table

from assets.housekeeping import look, sweep
from pipeline.instance import open_instance
from pipeline.plan import size
from warehouse.store import StoreError

if TYPE_CHECKING:
    from assets.housekeeping import Sweep
    from assets.project import Project

_AT_WORK = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def collect(project: Project, *, remove: bool) -> Sweep:
    """Return what can go; with `remove`, take it away, while no run is at work and none can start.

    Raises:
        StoreError: a run is at work on this home. What it reads must not go, so nothing is removed.
    """
    if not remove:
        return look(project)
    try:
        with project.home.lock("sweep", wait=False):
            with open_instance(project.home) as instance:  # a run of the UI holds no lock between two of its steps
                busy = [r.run_id for r in instance.get_runs(filters=dg.RunsFilter(statuses=_AT_WORK))]
            if busy:
                raise StoreError(_busy(f"run {busy[0]}"))
            return sweep(project)
    except BlockingIOError:
        raise StoreError(_busy("a run")) from None


def _busy(who: str) -> str:
    return f"{who} is at work on this home; nothing was removed: `preppo gc --yes` again when it has ended"


def as_json(found: Sweep, *, removed: bool) -> dict[str, Any]:
    """Return what goes and what stays as plain data."""
    return {
        "removed": removed,
        "bytes": found.size,
        "kept": [{"policy_id": p.policy_id, "name": p.name, "why": p.why} for p in found.kept],
        "retired": [
            {"policy_id": p.policy_id, "name": p.name, "why": p.why, "rows": p.pile.rows, "bytes": p.pile.size}
            for p in found.retired
        ],
        "uncommitted": [
            {"table": t, "build_id": b, "rows": p.rows, "bytes": p.size} for (t, b), p in found.unseen.items()
        ],
        "replaced_files": {"files": len(found.replaced.files), "bytes": found.replaced.size},
        "intermediate_files": {"files": len(found.work.files), "bytes": found.work.size},
    }


def render(found: dict[str, Any]) -> Group:
    """Return the same for a terminal."""
    goes = _table("Went" if found["removed"] else "Would go", "what", "rows", "bytes", "why")
    for p in found["retired"]:
        goes.add_row(f"policy {p['policy_id'][:12]} {p['name']}", f"{p['rows']:,}", size(p["bytes"]), p["why"])
    tables = sorted({u["table"] for u in found["uncommitted"]})
    for table in tables:
        mine = [u for u in found["uncommitted"] if u["table"] == table]
        rows, amount = sum(u["rows"] for u in mine), sum(u["bytes"] for u in mine)
        goes.add_row(f"uncommitted {table}", f"{rows:,}", size(amount), "of runs that were killed")
    for kind, why in (
        ("replaced_files", "replaced longer ago than storage.keep_hours, and no release is made of them"),
        ("intermediate_files", "older than storage.keep_hours, and nothing will read them"),
    ):
        if found[kind]["files"]:
            goes.add_row(
                kind.replace("_", " "), "", size(found[kind]["bytes"]), f"{found[kind]['files']:,} files: {why}"
            )
    stays = _table("Policies that stay", "policy", "name", "why")
    for p in found["kept"]:
        stays.add_row(p["policy_id"][:12], p["name"], p["why"])
    if not goes.row_count:
        return Group("nothing to remove", "", stays)
    told = (
        f"{size(found['bytes'])} freed"
        if found["removed"]
        else (f"{size(found['bytes'])} in all; nothing was touched. `preppo gc --yes` removes it")
    )
    return Group(goes, "", stays, "", f"{told}; releases, and what they are made again from, stay")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in ("rows", "bytes") else "left")
    return table
