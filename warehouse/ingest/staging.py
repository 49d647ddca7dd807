"""First pass: blocks of rows become staged chunks, files that a killed run finds again.

A chunk is a folder with `prompts.parquet` (sorted by prompt_id), `index.parquet` (what deduplication needs, in row
order), `rejected.parquet` and `rows.json`. It is written beside its place and renamed into it: it is whole or absent.
"""

from __future__ import annotations

import functools
import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.curation.minhash import signatures, to_bytes
from warehouse.ingest.fields import RowError
from warehouse.ingest.rows import FilteredError, Prompt, RowMapper
from warehouse.settings import IngestSettings, SourceSettings

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.ingest.raw import Block, RawRow

RAW_CHARS = 10_000  # of a rejected row that are kept
BLOCK_BITS, ROW_BITS = 20, 24  # an ordinal is file, block and place in the block, in one integer

_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
_TEXT_COLUMNS = (
    "prompt_id", "source", "source_row", "pool", "domain", "messages", "raw_text", "verifier", "ground_truth", "tools",
    "extra", "key", "licence",
)  # fmt: skip
_FEW_VALUES = ["source", "pool", "domain", "verifier", "licence"]


@dataclass(frozen=True)
class Task:
    """One block to stage: where it is from, how its rows are read, where it goes. Settings travel as JSON text."""

    block: Block
    file: int
    number: int
    file_hash: str
    source: str
    ingest: str
    folder: Path


@dataclass
class _Chunk:
    prompts: list[Prompt] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    rejected: list[tuple[int, str, str, str, str]] = field(default_factory=list)


def stage(task: Task) -> int:
    """Parse and map a block, write its chunk, and return its number of rows."""
    mapper, source, ingest = _mapper(task.source, task.ingest)
    chunk = _Chunk()
    rows = 0
    for row in task.block.parse():
        rows += 1
        _take(chunk, row, mapper)
    partial = task.folder.with_name(task.folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    _write_prompts(chunk, task, source, ingest, partial)
    _write_rejected(chunk, task, source, partial)
    (partial / "rows.json").write_text(json.dumps(rows))
    partial.rename(task.folder)
    return rows


def shorten(raw: str) -> str:
    """Return the text of a rejected row, cut to `RAW_CHARS` with a note of what is missing."""
    if len(raw) <= RAW_CHARS:
        return raw
    return f"{raw[:RAW_CHARS]} [... {len(raw) - RAW_CHARS} more characters]"


@functools.lru_cache(maxsize=256)
def _mapper(source: str, ingest: str) -> tuple[RowMapper, SourceSettings, IngestSettings]:
    source_settings = SourceSettings.model_validate_json(source)
    ingest_settings = IngestSettings.model_validate_json(ingest)
    return RowMapper(source_settings, ingest_settings), source_settings, ingest_settings


def _take(chunk: _Chunk, row: RawRow, mapper: RowMapper) -> None:
    if row.value is None:
        error = row.error or RowError("broken_json", "the row could not be read")
        chunk.rejected.append((row.row, "quarantined", error.reason_code, error.message, shorten(row.raw)))
        return
    try:
        prompt = mapper.map(row.value)
    except RowError as error:
        chunk.rejected.append((row.row, "quarantined", error.reason_code, error.message, shorten(row.raw)))
    except FilteredError as reason:
        chunk.rejected.append((row.row, "filtered", "filtered", str(reason), shorten(row.raw)))
    else:
        chunk.prompts.append(prompt)
        chunk.rows.append(row.row)


def _write_prompts(chunk: _Chunk, task: Task, source: SourceSettings, ingest: IngestSettings, folder: Path) -> None:
    prompts = chunk.prompts
    base = ((task.file << BLOCK_BITS) | task.number) << ROW_BITS
    texts = [p.text for p in prompts]
    found = signatures(texts, shingle_words=ingest.shingle_words, size=ingest.signature_size)
    index = {
        "ordinal": pa.array(range(base, base + len(prompts)), pa.int64()),
        "row": pa.array(chunk.rows, pa.int64()),
        "prompt_id": pa.array([p.prompt_id for p in prompts], pa.string()),
        "gold_hash": pa.array([p.gold_hash for p in prompts], pa.string()),
        "pool": pa.array([source.pool] * len(prompts), pa.string()),
        "bytes": pa.array([len(t) for t in texts], pa.int64()),
        "signature": pa.array(to_bytes(found), pa.binary(ingest.signature_size * 4)),
    }
    _save(pa.table(index), folder / "index.parquet", dictionary=["pool"])
    order = sorted(range(len(prompts)), key=lambda i: (prompts[i].prompt_id, i))
    columns = {
        "source": [source.name] * len(prompts),
        "source_row": [f"{task.file_hash}:{chunk.rows[i]}" for i in order],
        "pool": [source.pool] * len(prompts),
    }
    data: dict[str, Any] = {"ordinal": pa.array([base + i for i in order], pa.int64())}
    for name in _TEXT_COLUMNS:
        if name == "messages":
            data[name] = _messages([prompts[i] for i in order])
        else:
            values = columns.get(name) or [getattr(prompts[i], name) for i in order]
            data[name] = pa.array(values, pa.string())
    _save(pa.table(data), folder / "prompts.parquet", dictionary=_FEW_VALUES)


def _messages(prompts: list[Prompt]) -> pa.Array:
    offsets, roles, contents = [0], [], []
    for prompt in prompts:
        for role, content in prompt.messages:
            roles.append(role)
            contents.append(content)
        offsets.append(len(roles))
    columns = [pa.array(roles, pa.string()), pa.array(contents, pa.string())]
    pairs = pa.StructArray.from_arrays(columns, fields=list(_MESSAGE))
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pairs)


def _write_rejected(chunk: _Chunk, task: Task, source: SourceSettings, folder: Path) -> None:
    rows = chunk.rejected
    table = pa.table(
        {
            "row": pa.array([r[0] for r in rows], pa.int64()),
            "source": pa.array([source.name] * len(rows), pa.string()),
            "source_row": pa.array([f"{task.file_hash}:{r[0]}" for r in rows], pa.string()),
            **{
                name: pa.array([r[i] for r in rows], pa.string())
                for i, name in enumerate(("outcome", "reason_code", "reason", "raw"), start=1)
            },
        }
    )
    _save(table, folder / "rejected.parquet", dictionary=["source", "outcome", "reason_code"])


def _save(table: pa.Table, path: Path, dictionary: list[str]) -> None:
    pq.write_table(table, path, row_group_size=2_000, compression="lz4", use_dictionary=dictionary)
