"""Delta tables opened to be read, and kept as long as nothing is added to their log.

To open a table is to list and replay its log, which takes longer than most of what is then asked of it; a run asks
hundreds of times, and most tables have not moved since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltalake import DeltaTable

if TYPE_CHECKING:
    from pathlib import Path

_Entry = tuple[int, int, int]
_kept: dict[Path, tuple[DeltaTable, int, _Entry | None]] = {}  # a table, its version, and the log entry that made it


def opened(path: Path) -> DeltaTable:
    """Return a table as it is now. Others are handed the same object: who changes a table opens one of their own.

    Versions are numbered without gaps and appear whole, so a table whose last entry in the log is still the same file,
    and has no successor, has not moved.
    """
    table, version, entry = _kept.get(path, (None, 0, None))
    if table is None or entry is None or entry != _entry(path, version) or _log(path, version + 1).exists():
        table = DeltaTable(path)
        keep(path, table)
    return table


def keep(path: Path, table: DeltaTable) -> None:
    """Hand a table out from now on: one that was just opened, or that its writer is done with."""
    version = int(table.version())
    _kept[path] = table, version, _entry(path, version)


def _log(path: Path, version: int) -> Path:
    return path / "_delta_log" / f"{version:020d}.json"


def _entry(path: Path, version: int) -> _Entry | None:
    """Return what tells a log entry from that of another table at the same place; None: it was tidied away."""
    try:
        stat = _log(path, version).stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
