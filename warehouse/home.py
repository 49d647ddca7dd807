"""The home: one folder that holds everything preppo keeps, and the locks that order its writers."""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class HomeError(ValueError):
    """The home cannot be used; the message says why."""


class Home:
    """Paths of a home, by default `$PREPPO_HOME` or `./.preppo`."""

    def __init__(self, root: Path | None = None) -> None:
        chosen = root if root is not None else Path(os.environ.get("PREPPO_HOME") or ".preppo")
        self.root = chosen.resolve()
        self.tables = self.root / "tables"
        self.releases = self.root / "releases"
        self.models = self.root / "models"
        self.dagster = self.root / "dagster"
        self.batches = self.root / "batches"  # one manifest a batch
        self.inbox = self.root / "inbox"  # files that the sensor took
        self.work = self.root / "work"  # resumable intermediate files; safe to delete while nothing runs
        self.locks = self.root / "locks"

    def create(self) -> Home:
        """Make the folders that are missing, and return self.

        Raises:
            HomeError: the path holds characters that the tables cannot be stored under.
        """
        if any(c in str(self.root) for c in "[]%*?"):
            msg = f"home {self.root}: the path must not contain any of [ ] % * ?; choose another (--home, PREPPO_HOME)"
            raise HomeError(msg)
        try:
            self._make_folders()
        except OSError as error:
            msg = f"home {self.root}: cannot be made ({error.strerror or error}); choose another (--home, PREPPO_HOME)"
            raise HomeError(msg) from None
        return self

    def _make_folders(self) -> None:
        for name in ("tables", "releases", "models", "dagster", "batches", "inbox", "work", "locks"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def lock(self, name: str, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
        """Hold a lock; the kernel releases it when the process dies, however it dies.

        Args:
            name: of the lock.
            shared: hold it together with others who do; nobody holds it alone meanwhile.
            wait: until it is free.

        Raises:
            BlockingIOError: it is not free, and not to be waited for.
        """
        self.locks.mkdir(parents=True, exist_ok=True)
        with (self.locks / f"{name}.lock").open("a") as handle:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
            try:
                yield
            finally:
                fcntl.flock(handle, fcntl.LOCK_UN)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a small file so that a reader sees all of it or none, also after a power cut."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
