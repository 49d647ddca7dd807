"""Batches: which source files came in together, numbered by one allocator in the order they came."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from warehouse.hashing import json_hash
from warehouse.home import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from warehouse.home import Home

_KEY = re.compile(r"(\d{6})-[0-9a-f]{8}")


@dataclass(frozen=True)
class BatchFile:
    """One input of a batch: a file, or a split of a data set. `file_hash` is the BLAKE2b (16 bytes) of its content."""

    source: str
    file_hash: str
    path: str | None = None
    dataset: str | None = None


@dataclass(frozen=True)
class Batch:
    """Files that are ingested together. The key is `NNNNNN-<hash8>`; numbers are never used twice."""

    key: str
    files: tuple[BatchFile, ...]
    registered_at: str

    @property
    def content_hash(self) -> str:
        """Return the hash of what the batch holds, wherever its files lie."""
        return json_hash([[f.source, f.file_hash] for f in self.files])


class Batches:
    """The batches of a home, each a small manifest in `batches/`."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def all(self) -> list[Batch]:
        """Return every batch, in order."""
        paths = sorted(p for p in self._home.batches.glob("*.json") if _KEY.fullmatch(p.stem))
        return [_read(p) for p in paths]

    def get(self, key: str) -> Batch:
        """Return a batch by its key, or by an unambiguous start of it.

        Raises:
            KeyError: with the keys that exist.
        """
        found = [b for b in self.all() if b.key.startswith(key)]
        if len(found) != 1:
            msg = f"no batch {key!r}" if not found else f"{key!r} could be {[b.key for b in found]}"
            raise KeyError(f"{msg}; batches: {', '.join(b.key for b in self.all()) or 'none yet'}")
        return found[0]

    def register(self, files: Sequence[BatchFile]) -> Batch | None:
        """Number the files that no batch has yet as one new batch; None where all are known.

        Two processes that find the same file at the same time register it once: the allocator holds a lock.
        """
        with self._home.lock("batches"):
            existing = self.all()
            known = {(f.source, f.file_hash) for b in existing for f in b.files}
            new: dict[tuple[str, str], BatchFile] = {}
            for f in files:
                if (f.source, f.file_hash) not in known:
                    new.setdefault((f.source, f.file_hash), f)
            if not new:
                return None
            number = 1 + max((int(b.key[:6]) for b in existing), default=0)
            fresh = tuple(new.values())
            key = f"{number:06d}-{json_hash([[f.source, f.file_hash] for f in fresh])[:8]}"
            batch = Batch(key, fresh, datetime.now(UTC).isoformat(timespec="seconds"))
            write_atomically(self._home.batches / f"{key}.json", json.dumps(asdict(batch), indent=1) + "\n")
            return batch


def _read(path: Path) -> Batch:
    data = json.loads(path.read_text(encoding="utf-8"))
    return Batch(data["key"], tuple(BatchFile(**f) for f in data["files"]), data["registered_at"])
