"""`preppo status`: batches, what is stale and why, what was generated and what it took, releases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from rich.console import Group
from rich.table import Table

from assets.discovery import stale_batches
from assets.policies import own_policy_id
from assets.progress import duration, number
from warehouse.curation.budget import cost
from warehouse.queries import query
from warehouse.releases import list_releases
from warehouse.usage import SUMS, usage

if TYPE_CHECKING:
    from rich.console import RenderableType

    from assets.project import Project
    from warehouse.store import Snapshot


def home_status(project: Project) -> dict[str, Any]:
    """Return the state of a home as plain data."""
    view = project.store.snapshot()
    budget = project.settings.budget
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
        "generation": _generation(project, view),
        "priced": bool(budget.price_prompt or budget.price_response),
        "truncation": query(view, "FROM truncation WHERE truncated > 0").to_dicts(),
        "releases": [
            {"release_id": r.release_id, "arm": r.arm, "created_at": r.manifest["created_at"], **r.counts}
            for r in list_releases(project.home.releases)
        ],
    }


def _generation(project: Project, view: Snapshot) -> list[dict[str, Any]]:
    """Return what was generated, by policy and what became of it; the last row is the sum of all."""
    sums = usage(view.commits, list(view.live.values()), project.store.stored("generation"))
    names = {c.variant: c.inputs.get("policy", "") for c in view.commits if c.stage == "rollouts"}
    own = own_policy_id(project.settings.policy)
    names = ({own: project.settings.policy.model} if own is not None else {}) | names
    rows = sums.with_columns(model=pl.col("policy_id").replace_strict(names, default="", return_dtype=pl.String))
    total = sums.select(pl.col(SUMS).sum()).with_columns(
        policy_id=pl.lit("all"), stage=pl.lit(""), state=pl.lit(""), model=pl.lit("")
    )
    told = []
    for row in pl.concat([rows, total.select(rows.columns)]).to_dicts():
        rate = row["response_tokens"] / row["seconds"] if row["seconds"] else None
        price = cost(project.settings.budget, row["prompt_tokens"], row["response_tokens"])
        told.append(row | {"tokens_per_second": rate, "cost": price})
    return told if sums.height else []


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
        rows = next((counts[k] for k in ("rows", "prompts", "samples", "train_rows", "pairs") if k in counts), "")
        at = f"{s['committed_at']:%Y-%m-%d %H:%M}"
        stages.add_row(s["stage"], s["batch"], s["variant"][:12], at, str(rows), "\n".join(s["warnings"]))
    parts: list[RenderableType] = []
    if found["generation"]:
        parts += [_generated(found), ""]
    if found["truncation"]:
        cut = _table("Cut by the token limit: without a score", "policy", "domain", "limit", "samples", "cut", "share")
        for t in found["truncation"]:
            told = (str(t["token_limit"] or ""), f"{t['samples']:,}", f"{t['truncated']:,}", f"{t['share']:.1%}")
            cut.add_row(t["policy_id"][:12], t["domain"], *told)
        parts += [cut, ""]
    releases = _table("Releases", "release", "arm", "at (UTC)", "prompts", "rows", "held out")
    for r in found["releases"]:
        numbers = (str(r["train_prompts"]), str(r["train_rows"]), str(r["heldout"]))
        releases.add_row(r["release_id"][:12], r["arm"], str(r["created_at"])[:16], *numbers)
    new = [f"new files, not yet in a batch: {', '.join(map(str, found['new_files']))}"] if found["new_files"] else []
    return Group(f"home {found['home']}", *new, "", batches, "", stages, "", *parts, releases)


def _generated(found: dict[str, Any]) -> Table:
    columns = ["policy", "model", "for", "state", "samples", "prompt tokens", "response tokens", "time", "tokens/s"]
    table = _table(
        "Generated so far, also what was replaced or never finished", *columns, *(["cost"] if found["priced"] else [])
    )
    for g in found["generation"]:
        rate = "" if g["tokens_per_second"] is None else number(g["tokens_per_second"])
        counts = (f"{g[c]:,}" for c in ("samples", "prompt_tokens", "response_tokens"))
        cells = [g["policy_id"][:12], g["model"], g["stage"], g["state"], *counts, duration(g["seconds"]), rate]
        table.add_row(*cells, *([f"{g['cost']:.4g}"] if found["priced"] else []))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table
