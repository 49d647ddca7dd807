"""Releases: immutable folders with the rows to train on, in order, and everything that says why.

A release id hashes logical content: the training rows in their order, the held-out rows, the policy and the inputs. It
covers no file bytes, no times and no run. The same inputs give the same id and, with the same locked versions, the
same bytes of the three Parquet files.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from warehouse.card import write_card
from warehouse.hashing import json_hash
from warehouse.release_inputs import READ_TABLES, ReleaseInputs, release_inputs
from warehouse.release_rows import BUCKET_ROWS, ReleaseError, Written, write_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "PARQUET_FILES", "Release", "ReleaseError", "ReleaseInputs", "file_hash", "list_releases", "load_release",
    "pinned_versions", "release_id", "release_inputs", "verify_release", "write_release",
]  # fmt: skip

PARQUET_FILES = ("train.parquet", "heldout.parquet", "decisions.parquet")
_HISTORY = "history.txt"
_WRITING = ".writing-"


@dataclass(frozen=True)
class Release:
    """A release on disk.

    Attributes:
        release_id: 32 hex characters.
        folder: where it lies.
        manifest: what `manifest.json` says.
    """

    release_id: str
    folder: Path
    manifest: dict[str, Any]

    @property
    def arm(self) -> str:
        """Return the name of the selection policy."""
        return str(self.manifest["arm"])

    @property
    def counts(self) -> dict[str, Any]:
        """Return the numbers of rows and prompts."""
        return dict(self.manifest["counts"])

    def train(self) -> pl.LazyFrame:
        """Return the training rows, in curriculum order."""
        return pl.scan_parquet(self.folder / "train.parquet")

    def heldout(self) -> pl.LazyFrame:
        """Return the held-out rows, by prompt_id."""
        return pl.scan_parquet(self.folder / "heldout.parquet")

    def decisions(self) -> pl.LazyFrame:
        """Return the decisions that held when it was made, by prompt_id."""
        return pl.scan_parquet(self.folder / "decisions.parquet")


def write_release(folder: Path, inputs: ReleaseInputs, *, bucket_rows: int = BUCKET_ROWS) -> Release:
    """Write a release under `folder` and return it; a release that is there already stays as it is.

    Everything is written into a hidden folder beside, synced to disk, and renamed into place, so that a release is
    there whole or not at all. `history.txt` gets a line each time, so that `latest` means the one asked for last.

    Args:
        folder: the home's `releases`.
        inputs: see `ReleaseInputs`.
        bucket_rows: rows held in memory at once, roughly (5 million prompts of 1 KB: see benchmarks). Decides nothing.

    Raises:
        ReleaseError: the curriculum names prompts that are missing or may not be trained on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=_WRITING))
    try:
        release = _write(temporary, inputs, bucket_rows)
        target = folder / release.release_id
        if not target.exists():
            _sync(temporary)
            temporary.chmod(0o755)
            try:
                temporary.rename(target)
            except OSError:
                if not target.exists():  # else another writer was faster, with the same content
                    raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _remember(folder, release.release_id)
    return _read(target)


def release_id(
    train_hash: str, heldout_hash: str, arm: str, policy: Mapping[str, Any], inputs: Mapping[str, str]
) -> str:
    """Return the 32 hex characters that name a release.

    Args:
        train_hash: `FrameHasher` over the training rows in order.
        heldout_hash: the same over the held-out rows, sorted by prompt_id.
        arm: name of the selection policy.
        policy: settings as plain JSON.
        inputs: name -> hash.
    """
    return json_hash(["release", train_hash, heldout_hash, arm, dict(policy), dict(inputs)])


def list_releases(folder: Path) -> list[Release]:
    """Return all releases, the one that was asked for last at the end."""
    if not folder.is_dir():
        return []
    found = [_read(p) for p in folder.iterdir() if not p.name.startswith(".") and (p / "manifest.json").is_file()]
    last = {name: i for i, name in enumerate(_history(folder))}
    return sorted(found, key=lambda r: (last.get(r.release_id, -1), r.manifest["created_at"], r.release_id))


def load_release(folder: Path, which: str = "latest", arm: str | None = None) -> Release:
    """Return a release by id, by an unambiguous start of it, or the `latest` (of an arm).

    Raises:
        ReleaseError: there is none such, or several.
    """
    releases = [r for r in list_releases(folder) if arm is None or r.arm == arm]
    if not releases:
        of_arm = "" if arm is None else f" of arm {arm!r}"
        msg = f"there is no release{of_arm} yet under {folder}; `preppo run` makes one"
        raise ReleaseError(msg)
    if which == "latest":
        return releases[-1]
    found = [r for r in releases if r.release_id.startswith(which.lower())] if which else []
    if len(found) != 1:
        ids = ", ".join(r.release_id[:12] for r in (found or releases)[-5:])
        what = f"{len(found)} releases start with {which!r}" if found else f"no release starts with {which!r}"
        msg = f"{what}; there are: {ids}"
        raise ReleaseError(msg)
    return found[0]


def verify_release(release: Release) -> list[str]:
    """Return what differs between the files and the manifest; an empty list means that all is as it was written."""
    wrong = []
    for name, told in release.manifest["files"].items():
        path = release.folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif file_hash(path) != told["blake2b"]:
            wrong.append(f"{name} was changed after the release was written")
    told_id = release_id(
        release.manifest["content"]["train"],
        release.manifest["content"]["heldout"],
        release.manifest["arm"],
        release.manifest["policy"],
        release.manifest["inputs"],
    )
    if told_id != release.release_id or release.folder.name != release.release_id:
        wrong.append(f"manifest.json was changed: its content has the id {told_id}")
    return wrong


def pinned_versions(folder: Path) -> dict[str, list[int]]:
    """Return table -> Delta versions that the rebuild of some release reads, for `Store.tidy` and `preppo gc` to keep.

    A release names the versions of all tables; rollouts, verdicts and rewards went into it by way of `difficulty`.
    """
    pinned: dict[str, set[int]] = {}
    for release in list_releases(folder):
        for table, version in release.manifest["tables"]["versions"].items():
            if table in READ_TABLES:
                pinned.setdefault(table, set()).add(version)
    return {table: sorted(versions) for table, versions in pinned.items()}


def file_hash(path: Path) -> str:
    """Return the BLAKE2b (16 bytes, hex) of a file's bytes."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _write(folder: Path, inputs: ReleaseInputs, bucket_rows: int) -> Release:
    work = folder / ".parts"
    work.mkdir()
    written = write_rows(inputs, folder, work, bucket_rows)
    shutil.rmtree(work)
    manifest = _manifest(inputs, written, folder)
    (folder / "manifest.json").write_text(
        json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8"
    )
    write_card(folder, manifest, written, inputs.funnel)
    return Release(manifest["release_id"], folder, manifest)


def _manifest(inputs: ReleaseInputs, written: Written, folder: Path) -> dict[str, Any]:
    groups = written.groups
    train = groups.filter(pl.col("part") == "train")
    files = {n: {"bytes": (folder / n).stat().st_size, "blake2b": file_hash(folder / n)} for n in PARQUET_FILES}
    policy = json.loads(json.dumps(dict(inputs.policy)))
    return {
        "format": 1,
        "release_id": release_id(
            written.content["train"], written.content["heldout"], inputs.arm, policy, inputs.inputs
        ),
        "arm": inputs.arm,
        "policy": policy,
        "policy_hash": inputs.policy_hash,
        "inputs": dict(inputs.inputs),
        "models": [dict(m) for m in inputs.models],
        "policy_ids": list(inputs.policy_ids),
        "overrides": inputs.overrides.drop("line", strict=False).sort("prompt_id", "field").to_dicts(),
        "code_version": inputs.code_version,
        "software": {"python": platform.python_version(), "polars": pl.__version__},
        "counts": {
            "train_rows": written.rows["train"],
            "train_prompts": written.prompts,
            "heldout": written.rows["heldout"],
            "decisions": written.rows["decisions"],
            "rows_by_phase": _sums(train, "phase"),
            "rows_by_domain": _sums(train, "domain"),
            "rows_by_pool": _sums(train, "pool"),
            "rows_by_source": _sums(train, "source"),
        },
        "content": written.content,
        "files": files,
        "tables": {"ledger_seq": inputs.ledger_seq, "versions": dict(inputs.versions)},
        "builds": ["/".join(b) for b in inputs.builds],
        "created_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "run_id": inputs.run_id,
    }


def _sums(groups: pl.DataFrame, column: str) -> dict[str, int]:
    summed = groups.group_by(pl.col(column).fill_null("unknown")).agg(pl.col("rows").sum()).sort(column)
    return dict(summed.iter_rows())


def _read(folder: Path) -> Release:
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        return Release(str(manifest["release_id"]), folder, manifest)
    except (OSError, ValueError, KeyError) as error:
        msg = f"{folder / 'manifest.json'} cannot be read ({error}); restore the folder or remove it"
        raise ReleaseError(msg) from error


def _sync(folder: Path) -> None:
    """Force a folder's files and names to disk."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        path.chmod(0o444)
        with path.open("rb") as file:
            os.fsync(file.fileno())
    for directory in (*(p for p in folder.rglob("*") if p.is_dir()), folder):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove_leftovers(folder: Path) -> None:
    """Remove what writers that were killed more than a day ago left behind."""
    limit = datetime.now(UTC).timestamp() - 24 * 3600
    for path in folder.glob(f"{_WRITING}*"):
        if path.stat().st_mtime < limit:
            shutil.rmtree(path, ignore_errors=True)


def _history(folder: Path) -> list[str]:
    path = folder / _HISTORY
    if not path.is_file():
        return []
    lines = path.read_text("utf-8").splitlines()
    return [line.partition(" ")[0] for line in lines]


def _remember(folder: Path, name: str) -> None:
    """Note that a release was asked for. The line is short, and appended by one write."""
    with (folder / _HISTORY).open("a", encoding="utf-8") as file:
        file.write(f"{name} {datetime.now(UTC).isoformat()}\n")
        file.flush()
        os.fsync(file.fileno())
