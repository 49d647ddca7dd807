"""How releases look on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.rebuild import Rebuilt
    from warehouse.releases import Release


def render_releases(releases: Sequence[Release]) -> Table | str:
    """Return one line a release, newest first."""
    if not releases:
        return "no release yet; `preppo run` makes one"
    table = Table(box=None, pad_edge=False)
    for column in ("release", "arm", "at (UTC)", "prompts", "rows", "held out"):
        table.add_column(column)
    for r in reversed(releases):
        numbers = (str(r.counts[k]) for k in ("train_prompts", "train_rows", "heldout"))
        table.add_row(r.release_id[:12], r.arm, str(r.manifest["created_at"])[:16].replace("T", " "), *numbers)
    return table


def render_release(release: Release) -> Group:
    """Return what a release holds and what it was made from."""
    manifest = release.manifest
    facts = Table(box=None, pad_edge=False, show_header=False)
    for name, value in (
        ("release", release.release_id),
        ("arm", release.arm),
        ("folder", str(release.folder)),
        ("created", manifest["created_at"]),
        ("prompts", release.counts["train_prompts"]),
        ("rows", release.counts["train_rows"]),
        ("held out", release.counts["heldout"]),
        ("phases", _sums(release.counts["rows_by_phase"])),
        ("domains", _sums(release.counts["rows_by_domain"])),
        ("pools", _sums(release.counts["rows_by_pool"])),
        ("policy hash", manifest["policy_hash"]),
        ("code version", manifest["code_version"]),
        ("inputs", f"{len(manifest['inputs'])} (manifest.json names each)"),
    ):
        facts.add_row(name, str(value))
    loads = f'datasets.load_dataset("{release.folder}")'
    return Group(facts, "", f"load it with {loads}; is it unchanged? preppo release rebuild {release.release_id[:12]}")


def render_rebuilt(rebuilt: Rebuilt) -> str:
    """Return what came of a rebuild, a line a file."""
    lines = [f"{name}: {'the same bytes' if same else 'differs'}" for name, same in sorted(rebuilt.matches.items())]
    verdict = (
        "rebuilt: the same release"
        if all(rebuilt.matches.values()) and rebuilt.same_id
        else "the rebuilt release differs"
    )
    return "\n".join([*lines, verdict, f"id {rebuilt.release_id}"])


def _sums(counts: dict[str, int]) -> str:
    return ", ".join(f"{k} {v:,}" for k, v in counts.items())
