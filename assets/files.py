"""The content of outside files by hash, each file read once a process."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from warehouse.ingest.readers import file_hash

if TYPE_CHECKING:
    from pathlib import Path


def content_hash(path: Path) -> str:
    """Return `file_hash` of a file; a file whose size and times are those of before is not read again.

    Stages ask for the same hashes over and over while they look for what is stale, and files are large.
    """
    stat = path.stat()
    return _hash(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


@functools.lru_cache(maxsize=65_536)
def _hash(path: Path, *_what_it_was: int) -> str:
    return file_hash(path)
