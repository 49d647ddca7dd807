"""`preppo status`: batches, what is stale and why, rejected rollouts, releases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table

from assets.discovery import stale_batches
from warehouse.releases import list_releases

if TYPE_CHECKING:
    from assets.project import Project


def home_status(project: Project) -> dict[str, Any]:
    """Return the state of a home as plain data."""
    view = project.store.snapshot()
    stale = stale_batches(project)
    abandoned = {c.batch: c.inputs.get("why", "") for c in view.commits if c.state == "abandoned"}
    known = {(f.source, f.file_hash) for b in project.batches.all() for f in b.files}
    return {
        "home": str(project.home.root),
        "new_files": [f.path or f.dataset for f in project.source_files() if (f.source, f.file_hash) not in known],
        "batches": [
            {
                "batch": b.key,
                "files": len(b.files),
                "registered_at": b.registered_at,
                "state": "abandoned"
                if b.key in abandoned
                else f"stale from {stale[b.key]}"
                if b.key in stale
                else "ok",
                "why": abandoned.get(b.key, ""),
                "counts": c.counts if (c := view.commit("prompts", b.key)) else {},
            }
            for b in project.batches.all()
        ],
        "stages": [
            {
                "stage": c.stage,
                "batch": c.batch,
                "variant": c.variant,
                "committed_at": c.committed_at,
                "counts": c.counts,
                "warnings": [f"{n}: {f['detail']}" for n, f in c.checks.items() if not f["passed"]],
            }
            for c in view.live.values()
        ],
        "releases": [
            {"release_id": r.release_id, "arm": r.arm, "created_at": r.manifest["created_at"], **r.counts}
            for r in list_releases(project.home.releases)
        ],
    }


def render(found: dict[str, Any]) -> Group:
    """Return the state of a home for a terminal."""
    batches = _table("Batches", "batch", "state", "files", "rows read", "prompts", "rejected")
    for b in found["batches"]:
        counts = b["counts"]
        rejected = sum(counts.get(k, 0) for k in ("duplicate", "near_duplicate", "quarantined", "filtered"))
        read, kept = counts.get("rows_read", "-"), counts.get("prompts", "-")
        batches.add_row(b["batch"], b["state"], str(b["files"]), str(read), str(kept), str(rejected))
    stages = _table("Last commit of each stage", "stage", "batch", "variant", "at (UTC)", "rows", "warnings")
    for s in sorted(found["stages"], key=lambda s: str(s["committed_at"])):
        counts = s["counts"]
        rows = next((counts[k] for k in ("rows", "prompts", "samples", "train_rows") if k in counts), "")
        at = f"{s['committed_at']:%Y-%m-%d %H:%M}"
        stages.add_row(s["stage"], s["batch"], s["variant"][:12], at, str(rows), "\n".join(s["warnings"]))
    releases = _table("Releases", "release", "arm", "at (UTC)", "prompts", "rows", "held out")
    for r in found["releases"]:
        numbers = (str(r["train_prompts"]), str(r["train_rows"]), str(r["heldout"]))
        releases.add_row(r["release_id"][:12], r["arm"], str(r["created_at"])[:16], *numbers)
    new = [f"new files, not yet in a batch: {', '.join(map(str, found['new_files']))}"] if found["new_files"] else []
    return Group(f"home {found['home']}", *new, "", batches, "", stages, "", releases)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table
