"""What a home no longer needs: retired policies, replaced files, rows that were never committed, intermediate files."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assets.policies import own_policy_id, recorded_policy_id
from assets.preferences import pair_files
from assets.recorded import imports
from warehouse.releases import list_releases, pinned_versions
from warehouse.sweep import (
    Pile,
    pile_of,
    pinned_files,
    policy_pile,
    remove,
    replaced_files,
    retire,
    stored_policies,
    unseen_piles,
)

if TYPE_CHECKING:
    from pathlib import Path

    from assets.project import Project

_EVERY_S = 24 * 3600
_SEVERAL = ("reasoning360", "skywork")  # formats whose files name their policies; the section's name starts the names


@dataclass(frozen=True)
class Policy:
    """A policy that has rows in a home.

    Attributes:
        policy_id: its id.
        name: of its model or of its recorded rollouts; empty where nothing of it was ever committed.
        why: it is kept, or goes.
        pile: what it has, for one that goes.
    """

    policy_id: str
    name: str
    why: str
    pile: Pile = field(default_factory=Pile)


@dataclass(frozen=True)
class Sweep:
    """What `preppo gc` finds.

    Attributes:
        kept: policies that stay.
        retired: policies that go.
        unseen: (table, build) -> rows that killed runs left.
        replaced: data files that were replaced long ago.
        work: intermediate folders that nothing will read again.
    """

    kept: list[Policy]
    retired: list[Policy]
    unseen: dict[tuple[str, str], Pile]
    replaced: Pile
    work: Pile

    @property
    def size(self) -> int:
        """Return the bytes that go."""
        return sum(p.size for p in (*(p.pile for p in self.retired), *self.unseen.values(), self.replaced, self.work))


def tidy(project: Project) -> bool:
    """Delete what is older than `storage.keep_hours` and no release names; at most once a day. Tell whether it ran."""
    home, hours = project.home, project.settings.storage.keep_hours
    marker = home.work / "tidied"
    if marker.exists() and time.time() - marker.stat().st_mtime < _EVERY_S:
        return False
    with home.lock("tidy"):
        project.store.tidy(hours, pinned_versions(home.releases))
        for folder in _unwanted_work(project):
            shutil.rmtree(folder, ignore_errors=True)
        marker.touch()
    return True


def look(project: Project) -> Sweep:
    """Return what could go, and touch nothing.

    Raises:
        ModelError: the model of the settings cannot be had, so nobody knows which policy is the current one.
    """
    home, hours, commits = project.home, project.settings.storage.keep_hours, project.store.ledger.read()
    pinned = pinned_versions(home.releases)
    files = pinned_files(home, pinned)
    names = {c.variant: c.inputs.get("policy", "") for c in commits if c.stage == "rollouts"}
    reasons = _needed(project, names)
    stored = sorted(stored_policies(home), key=lambda p: (names.get(p, ""), p))
    kept = [Policy(p, names.get(p, ""), reasons[p]) for p in stored if p in reasons]
    why = "neither the policy of the settings, nor recorded rollouts of theirs, nor named by a release"
    retired = [
        Policy(p, names.get(p, ""), why, policy_pile(home, p, commits, files)) for p in stored if p not in reasons
    ]
    # One that is gone already may have left what a release is made again from.
    retired = [p for p in retired if p.pile.files or p.pile.rows]
    gone = {f for p in retired for f in p.pile.files}
    unseen = unseen_piles(project.store, hours, files | gone)
    gone |= {f for p in unseen.values() for f in p.files}
    replaced = replaced_files(home, hours, pinned)
    return Sweep(
        kept=kept,
        retired=retired,
        unseen={k: pile for k, pile in unseen.items() if pile.files},
        replaced=pile_of(f for f in replaced.files if f not in gone),
        work=pile_of(f for folder in _unwanted_work(project) for f in folder.rglob("*")),
    )


def sweep(project: Project) -> Sweep:
    """Remove what `look` finds, and return it. Only for who holds the lock `sweep` of the home alone."""
    store, hours = project.store, project.settings.storage.keep_hours
    found = look(project)
    pinned = pinned_versions(project.home.releases)
    files = pinned_files(project.home, pinned)
    for policy in found.retired:
        retire(store, policy.policy_id, policy.why, files)
    store.tidy(hours, pinned)
    for pile in found.unseen.values():
        remove(pile)
    for folder in _unwanted_work(project):
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _needed(project: Project, names: dict[str, str]) -> dict[str, str]:
    """Return policy id -> why its rollouts are kept."""
    found: dict[str, str] = {}
    for release in list_releases(project.home.releases):
        models = [m["policy_id"] for m in release.manifest["models"] if "policy_id" in m]
        for policy in (*release.manifest["policy_ids"], *models):
            found[policy] = f"release {release.release_id[:12]} names it"
    for section in project.settings.rollouts:
        found[recorded_policy_id(section.name)] = "recorded rollouts of the settings"
        if section.format in _SEVERAL:
            mine = {p for p, name in names.items() if name.startswith(section.name) and p == recorded_policy_id(name)}
            found |= dict.fromkeys(mine, "recorded rollouts of the settings")
    own = own_policy_id(project.settings.policy)
    return found if own is None else found | {own: "the policy of the settings"}


def _unwanted_work(project: Project) -> list[Path]:
    """Return intermediate folders that no setting names and nobody touched for `storage.keep_hours`."""
    work = project.home.work
    wanted = {i.key for i in imports(project)} | {f.key for f in pair_files(project)}
    limit = time.time() - project.settings.storage.keep_hours * 3600
    patterns = ("prompts-*", "rebuild-*", "recorded/*", "preferences/*")
    folders = [f for pattern in patterns for f in work.glob(pattern)]
    return sorted(f for f in folders if f.name not in wanted and f.stat().st_mtime < limit)
