"""Where the progress of the stages goes: nowhere, unless a front end in this process listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int | None], None]  # what, done, of how many (None: not known)


def silent(_what: str, _done: int, _total: int | None) -> None:
    """Show no progress."""


_listener: Progress = silent


@contextmanager
def listening(progress: Progress) -> Iterator[None]:
    """Send the progress of every stage that runs inside the block to `progress`."""
    global _listener
    before, _listener = _listener, progress
    try:
        yield
    finally:
        _listener = before


def report(what: str, done: int, total: int | None) -> None:
    """Tell the listener how far a stage is."""
    _listener(what, done, total)
