"""Stage `preferences`: the pairs of the `[[preferences]]` files; bad rows rejected with their reason.

What a file holds is kept under `work/`, so each is read once. The stage is one build over all files that the settings
name now: a file that changed, or that nobody names any more, leaves no pair behind.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from assets.files import content_hash
from assets.progress import report
from assets.stages import Run, Stage, Written
from warehouse.hashing import json_hash
from warehouse.ingest.preference_files import COUNTS, counts_of, is_read, pairs_of, read_pairs, rejected_of
from warehouse.ingest.readers import expand
from warehouse.ledger import CORPUS, Build
from warehouse.settings import PreferencesSettings, outcome_hash

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from assets.project import Project
    from warehouse.store import Snapshot, StageWriter


@dataclass(frozen=True)
class PairFile:
    """One file under one `[[preferences]]` section."""

    section: PreferencesSettings
    path: Path
    file_hash: str
    folder: Path

    @property
    def key(self) -> str:
        """Return the name of what reading this file gives: file content, mapping, and the code that reads."""
        return self.folder.name


def pair_files(project: Project) -> list[PairFile]:
    """Return the files that the `[[preferences]]` sections name now, in their order.

    Raises:
        InputError: a section names no file.
    """
    found = []
    for section in project.settings.preferences:
        for path in expand(section.path, project.base):
            digest = content_hash(path)
            name = json_hash([digest, outcome_hash(section), STAGE.code_version])
            found.append(PairFile(section, path, digest, project.home.work / "preferences" / name))
    return found


def builds(project: Project, view: Snapshot, batch: str = CORPUS) -> list[Build]:
    """Return one build over all files; without any, only where pairs of earlier settings have to go."""
    files = pair_files(project)
    if not files and view.commit("preferences", batch) is None:
        return []
    inputs = {f"{number:06d}": f.key for number, f in enumerate(files)}  # of a pair in two files, the first counts
    return [Build("preferences", batch, inputs, STAGE.code_version, outcome_hash())]


def write(run: Run, _view: Snapshot, _build: Build, writer: StageWriter) -> Written:
    """Read what was not read yet, and put all files together; the same pair twice counts once."""
    files = pair_files(run.project)
    for file in files:
        _ensure(run.project, file)
    doubled: Counter[str] = Counter()
    writer.write("preferences", _together(files, doubled))
    writer.write("rejected_preferences", [rejected_of(f.folder) for f in files])
    counts = {name: sum(counts_of(f.folder)[name] for f in files) for name in COUNTS}
    counts["pairs"] -= doubled["pairs"]
    counts["duplicate"] += doubled["pairs"]
    reasons = Counter(code for f in files for code in rejected_of(f.folder)["reason_code"])
    return Written(counts | {f"reason_{code}": n for code, n in sorted(reasons.items())})


def _ensure(project: Project, file: PairFile) -> None:
    if not is_read(file.folder):
        with project.home.lock(f"preferences-{file.key}"):
            if not is_read(file.folder):
                read_pairs(file.section, file.path, file.file_hash, file.folder, _told)


def _told(rows: int) -> None:
    report("preference rows read", rows, None)


def _together(files: list[PairFile], doubled: Counter[str]) -> Iterator[pl.DataFrame]:
    """Yield the pairs of all files, each once; count what an earlier file has already."""
    seen: set[str] = set()
    for file in files:
        for part in pairs_of(file.folder):
            new = part.filter(pl.Series([i not in seen for i in part["pair_id"]], dtype=pl.Boolean))
            doubled["pairs"] += part.height - new.height
            seen.update(new["pair_id"])
            yield new


STAGE = Stage("preferences", "preferences", builds, write, __name__)
