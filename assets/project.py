"""A project: settings, the home they curate into, and the batches found by them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from assets.files import content_hash
from trainer.nursery.demo import write_demo
from warehouse.batches import Batch, Batches, BatchFile
from warehouse.home import Home
from warehouse.ingest.raw import InputError
from warehouse.ingest.readers import dataset_hash, expand
from warehouse.settings import Settings, load_settings
from warehouse.store import Store

if TYPE_CHECKING:
    from warehouse.settings import SourceSettings


DEMO = Path(__file__).resolve().parents[1] / "examples" / "demo" / "preppo.toml"


@dataclass(frozen=True)
class Project:
    """Everything that a stage needs to know about where it works."""

    settings: Settings
    base: Path  # relative paths in the settings start here
    home: Home

    @cached_property
    def store(self) -> Store:
        """Return the tables of the home."""
        return Store(self.home)

    @property
    def batches(self) -> Batches:
        """Return the batches of the home."""
        return Batches(self.home)

    @property
    def workers(self) -> int:
        """Return the number of processes for ingest and verification."""
        return self.settings.engine.workers or os.cpu_count() or 1

    def live_batches(self) -> list[Batch]:
        """Return the batches that nobody abandoned, in order."""
        abandoned = {c.batch for c in self.store.ledger.read() if c.state == "abandoned"}
        return [b for b in self.batches.all() if b.key not in abandoned]

    def source(self, name: str) -> SourceSettings:
        """Return a `[[source]]` by name.

        Raises:
            KeyError: a batch names a source that the settings no longer have.
        """
        for source in self.settings.source:
            if source.name == name:
                return source
        msg = (
            f"the settings have no [[source]] named {name!r}, but a batch holds files of it; bring it back, or abandon"
        )
        raise KeyError(msg)

    def source_files(self) -> list[BatchFile]:
        """Return the files that the sources name now, hashed, in the order of the settings.

        An inbox may have been emptied: a source that a batch knows already need not have files.

        Raises:
            InputError: a source never had any file.
        """
        found: list[BatchFile] = []
        known = {f.source for b in self.batches.all() for f in b.files}
        for source in self.settings.source:
            if source.dataset is not None:
                digest = dataset_hash(source.dataset, source.dataset_config, source.split)
                found.append(BatchFile(source.name, digest, dataset=source.dataset))
            elif source.path is not None:
                try:
                    paths = expand(source.path, self.base)
                except InputError:
                    if source.name not in known:
                        raise
                    paths = []
                found += [BatchFile(source.name, content_hash(p), path=str(p)) for p in paths]
        return found

    def overrides_path(self) -> Path | None:
        """Return the file in which people overrule, where it exists."""
        name = self.settings.overrides
        path = self.base / (name or "overrides.jsonl")
        return path if path.is_file() or name is not None else None


def open_project(config: Path | None = None, home: Path | None = None) -> Project:
    """Load the settings and open the home. Without any settings file, the demo's, on generated questions.

    Args:
        config: the settings file; default `$PREPPO_CONFIG`, then `./preppo.toml`.
        home: the home; default `$PREPPO_HOME`, then `./.preppo`.

    Raises:
        SettingsError: the settings cannot be used.
    """
    opened = Home(home).create()
    named = os.environ.get("PREPPO_CONFIG")
    loaded = load_settings(Path(named) if config is None and named else config)
    if loaded.file is not None:
        return Project(loaded.settings, loaded.base, opened)
    questions = opened.root / "demo"
    if not (questions / "eval.jsonl").is_file():
        with opened.lock("demo"):
            questions.mkdir(exist_ok=True)
            write_demo(questions)
    return Project(load_settings(DEMO).settings, questions, opened)
