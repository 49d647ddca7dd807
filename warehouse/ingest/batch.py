"""Ingest a batch in two passes: stage every block of its files, then decide on all rows at once.

The first pass is parallel and holds a few blocks in memory. The second needs ids and signatures only; text comes back
from the staged chunks, a range of prompt_ids at a time. The result does not depend on the number of workers or on the
size of the chunks, nor on whether the first pass was interrupted.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from warehouse.curation.dedup import resolve
from warehouse.curation.minhash import from_bytes
from warehouse.ingest.ingested import Ingested
from warehouse.ingest.readers import InputError, dataset_blocks, file_hash, read_blocks, same_hash
from warehouse.ingest.staging import Task, stage
from warehouse.settings import outcome_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

    from warehouse.ingest.raw import Block
    from warehouse.settings import Settings, SourceSettings

STAGING_VERSION = 1  # raise when a staged chunk changes its form or meaning
_SMALL_BYTES = 4 << 20  # below this, starting processes costs more than they save


@dataclass(frozen=True)
class SourceFile:
    """A registered input: a file of a source, or (without `path`) a data set."""

    source: str
    path: Path | None
    file_hash: str
    dataset: str | None = None


def ingest_batch(
    files: Sequence[SourceFile],
    settings: Settings,
    *,
    earlier: pl.LazyFrame,
    work: Path,
    workers: int,
    ingested_at: datetime,
    policy_hash: str = "",
    progress: Callable[[int], None] | None = None,
) -> Ingested:
    """Read files, and decide for every row what becomes of it.

    Args:
        files: in the order in which copies win.
        settings: of the sources and of ingest.
        earlier: the `signatures` table of all earlier batches.
        work: a folder of this batch's own. Chunks that an interrupted call left there, for the same files and settings,
            are used again.
        workers: processes that parse; 1 parses in this one.
        ingested_at: written to every prompt.
        policy_hash: written to every decision.
        progress: called with the number of rows read so far.

    Returns:
        The rows of every table, to be fetched in parts while `work` exists.

    Raises:
        InputError: a file is missing, of unknown format, or not the one that was registered.
        ValueError: a file's source is not in the settings, or earlier signatures do not fit the settings.
    """
    sources = {s.name: s for s in settings.source}
    unknown = sorted({f.source for f in files} - set(sources))
    if unknown:
        msg = f"no [[source]] is called {', '.join(unknown)}; the settings have {sorted(sources)}"
        raise ValueError(msg)
    for file in files:  # before anything is staged: chunks of other bytes must not be taken for this file's later
        if file.path is not None and file.path.is_file():
            same_hash(file.path, file_hash(file.path), file.file_hash)
    _prepare(work, files, settings)
    tasks = _tasks(files, sources, settings, work)
    rows_read = 0
    try:
        for rows in _staged(tasks, workers if _is_large(files) else 1):
            rows_read += rows
            if progress is not None:
                progress(rows_read)
    except InputError:
        shutil.rmtree(work, ignore_errors=True)
        raise
    chunks = sorted(p for p in (work / "chunks").iterdir() if p.suffix != ".part")
    index, signatures = _load_index(chunks, settings.ingest.signature_size, work)
    fates = resolve(index.select("prompt_id", "gold_hash", "pool"), signatures, earlier, settings.ingest, work)
    hashes = [f.file_hash for f in files]
    return Ingested(
        rows_read=rows_read,
        index=pl.concat([index, fates], how="horizontal"),
        signature_array=signatures,
        chunks=chunks,
        hashes=hashes,
        settings=settings.ingest,
        ingested_at=ingested_at,
        policy_hash=policy_hash,
    )


def _prepare(work: Path, files: Sequence[SourceFile], settings: Settings) -> None:
    """Throw away what was staged for other files or settings."""
    names = {f.source for f in files}
    own = [s for s in settings.source if s.name in names]
    ingest = settings.ingest.model_copy(update={"evaluation_sets": []})
    plan = {
        "version": STAGING_VERSION,
        "files": [[f.source, f.file_hash] for f in files],
        "settings": outcome_hash(own, ingest),
        "encodings": [s.encoding for s in own],
        "chunk_rows": settings.ingest.chunk_rows,
    }
    written = work / "plan.json"
    if not written.is_file() or json.loads(written.read_text()) != plan:
        shutil.rmtree(work / "chunks", ignore_errors=True)
    (work / "chunks").mkdir(parents=True, exist_ok=True)
    written.write_text(json.dumps(plan))


def _tasks(
    files: Sequence[SourceFile], sources: dict[str, SourceSettings], settings: Settings, work: Path
) -> Iterator[Task]:
    ingest = settings.ingest.model_copy(update={"evaluation_sets": []}).model_dump_json()
    for number, file in enumerate(files):
        source = sources[file.source]
        as_json = source.model_dump_json()
        for block_number, block in enumerate(_blocks(file, source, settings.ingest.chunk_rows)):
            folder = work / "chunks" / f"{number:06d}-{block_number:07d}"
            yield Task(block, number, block_number, file.file_hash, as_json, ingest, folder)


def _blocks(file: SourceFile, source: SourceSettings, rows: int) -> Iterator[Block]:
    if file.path is not None:
        return read_blocks(file.path, encoding=source.encoding, block_rows=rows, expected_hash=file.file_hash)
    name = file.dataset or source.dataset or ""
    return dataset_blocks(name, source.dataset_config, source.split, block_rows=rows, expected_hash=file.file_hash)


def _is_large(files: Sequence[SourceFile]) -> bool:
    paths = [f.path for f in files if f.path is not None]
    return len(paths) < len(files) or sum(p.stat().st_size for p in paths if p.is_file()) > _SMALL_BYTES


def _staged(tasks: Iterator[Task], workers: int) -> Iterator[int]:
    """Stage the chunks that are not there yet; yield the rows of each, in order."""
    if workers == 1:
        for task in tasks:
            yield _rows_of(task) if task.folder.is_dir() else stage(task)
        return
    # Fresh processes: a fork of one with running threads (Polars, Arrow) can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context)
    waiting: deque[Future[int] | int] = deque()
    try:
        for task in tasks:
            waiting.append(_rows_of(task) if task.folder.is_dir() else pool.submit(stage, task))
            if len(waiting) > workers + 1:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _rows_of(task: Task) -> int:
    return int((task.folder / "rows.json").read_text())


def _result(rows: Future[int] | int) -> int:
    return rows if isinstance(rows, int) else rows.result()


def _load_index(chunks: list[Path], size: int, work: Path) -> tuple[pl.DataFrame, NDArray[np.uint32]]:
    """Return the index of all chunks in order, without signatures, and these as a memory-mapped array (N, size)."""
    schema = pl.Schema(
        {
            "ordinal": pl.Int64,
            "row": pl.Int64,
            "prompt_id": pl.String,
            "gold_hash": pl.String,
            "pool": pl.String,
            "bytes": pl.Int64,
        }
    )
    parts = [pl.DataFrame(schema=schema)]
    with (work / "signatures.u32").open("wb") as file:
        for chunk in chunks:
            part = pl.read_parquet(chunk / "index.parquet")
            file.write(from_bytes(part.get_column("signature").to_list(), size).tobytes())
            parts.append(part.select(list(schema)).cast(schema))
    index = pl.concat(parts)
    if not index.height:
        return index, np.empty((0, size), np.uint32)
    return index, np.memmap(work / "signatures.u32", np.uint32, "r", shape=(index.height, size))
