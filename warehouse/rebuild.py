"""Make a release again from the tables as they were, and compare the bytes."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from warehouse.curation.overrides import OVERRIDES
from warehouse.ledger import Ledger
from warehouse.release_inputs import READ_TABLES
from warehouse.release_rows import ReleaseError, write_rows
from warehouse.releases import PARQUET_FILES, file_hash, release_id, release_inputs
from warehouse.store import Snapshot

if TYPE_CHECKING:
    from warehouse.home import Home
    from warehouse.releases import Release, ReleaseInputs


@dataclass(frozen=True)
class Rebuilt:
    """What came of a rebuild.

    Attributes:
        release_id: the id that the rebuilt rows have.
        matches: file -> whether its bytes are those that the manifest names.
        same_id: whether the rebuilt rows have the id of the release.
    """

    release_id: str
    matches: dict[str, bool]
    same_id: bool


def pinned_inputs(home: Home, release: Release) -> ReleaseInputs:
    """Return what a release was made of, from the table versions and the ledger that its manifest names.

    Raises:
        ReleaseError: the manifest pins no tables, or their old versions are gone.
    """
    manifest = release.manifest
    versions = manifest["tables"]["versions"]
    if not versions:
        msg = f"release {release.release_id} names no table versions, so it cannot be rebuilt from the tables"
        raise ReleaseError(msg)
    commits = [c for c in Ledger(home).read() if c.seq <= manifest["tables"]["ledger_seq"]]
    opened = {name: _open(home, release, name, version) for name, version in versions.items()}
    snapshot = Snapshot(home, commits, opened)
    _check_files(snapshot, release)
    return release_inputs(
        snapshot,
        release.arm,
        policy=manifest["policy"],
        policy_hash=manifest["policy_hash"],
        inputs=manifest["inputs"],
        code_version=manifest["code_version"],
        policy_ids=manifest["policy_ids"],
        models=manifest["models"],
        overrides=pl.DataFrame(manifest["overrides"], schema={c: t for c, t in OVERRIDES.items() if c != "line"}),
        with_funnel=False,
    )


def rebuild(home: Home, release: Release) -> Rebuilt:
    """Derive the rows of a release again, and compare them with the manifest. Nothing of the release is touched.

    Raises:
        ReleaseError: the tables' old versions are gone.
    """
    inputs = pinned_inputs(home, release)
    home.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.work, prefix="rebuild-") as name:
        folder = Path(name)
        (folder / "parts").mkdir()
        written = write_rows(inputs, folder, folder / "parts")
        files = release.manifest["files"]
        matches = {n: file_hash(folder / n) == files[n]["blake2b"] for n in PARQUET_FILES}
    found = release_id(written.content["train"], written.content["heldout"], inputs.arm, inputs.policy, inputs.inputs)
    return Rebuilt(found, matches, found == release.release_id)


def _open(home: Home, release: Release, name: str, version: int) -> DeltaTable:
    try:
        return DeltaTable(home.tables / name, version=version)
    except DeltaError as error:
        msg = (
            f"release {release.release_id[:12]} needs version {version} of table {name}, which {home.tables} no longer "
            f"has ({str(error).splitlines()[0]}); the stored release is complete without it, but cannot be rebuilt"
        )
        raise ReleaseError(msg) from error


def _check_files(snapshot: Snapshot, release: Release) -> None:
    for name in READ_TABLES:
        gone = [f for f in snapshot.files(name) if not Path(f).is_file()]
        if gone:
            msg = (
                f"release {release.release_id[:12]} cannot be rebuilt: housekeeping removed {len(gone)} files of table "
                f"{name} that it was made of; the stored release is complete without them"
            )
            raise ReleaseError(msg)
