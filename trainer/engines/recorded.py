"""Rollouts that the user already has: read them from files, and serve them as an engine. No torch.

A sample keeps the number it was recorded under, or is numbered in the order of files and rows. Nothing is lost: rows
read = rows used + rows filtered by `where` + rows rejected; a rejected row carries its place, its reason and its text.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import polars as pl

from trainer.engines.contract import REFERENCE, SCORED, Completion, Request
from trainer.engines.recorded_formats import Sample, join_of, samples_of
from warehouse.ingest.fields import RowError, keep
from warehouse.ingest.readers import read_rows
from warehouse.schemas import ROLLOUTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from warehouse.ingest.raw import RawRow
    from warehouse.settings.model import RolloutsSettings

ROWS = pl.Schema(
    {
        "policy": pl.String,
        "prompt_id": pl.String,  # null where the row is joined by key
        "key": pl.String,
        "sample": pl.Int64,
        "response": pl.String,
        "reasoning": pl.String,
        "finish_reason": pl.String,
        "recorded_score": pl.Float64,
        "file": pl.String,
        "row": pl.Int64,
    }
)
REJECTED = pl.Schema(
    {"file": pl.String, "row": pl.Int64, "reason_code": pl.String, "reason": pl.String, "raw": pl.String}
)
ROLLOUT_COLUMNS = pl.Schema(ROLLOUTS.columns)


@dataclass(frozen=True)
class RecordedRows:
    """What some rows of recorded rollouts became.

    Attributes:
        rows: schema `ROWS`, one row a sample.
        rejected: schema `REJECTED`, one row a row that could not be used.
        read: rows found in the files; `filtered` of them were left out by `where`.
    """

    rows: pl.DataFrame
    rejected: pl.DataFrame
    read: int
    filtered: int


class _Numbering:
    """Numbers samples per (policy, prompt), and notices a number that comes twice."""

    def __init__(self) -> None:
        self._next: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._seen: defaultdict[tuple[str, str], set[int]] = defaultdict(set)

    def number(self, join: str, samples: list[Sample]) -> list[int]:
        """Return the samples' numbers. Raises RowError `duplicate_sample`; then none of them counts as seen."""
        explicit: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for s in samples:
            if s.number is not None:
                explicit[s.policy, join].append(s.number)
        for key, numbers in explicit.items():
            if len(set(numbers)) < len(numbers) or not self._seen[key].isdisjoint(numbers):
                again = next(n for i, n in enumerate(numbers) if n in numbers[:i] or n in self._seen[key])
                raise RowError("duplicate_sample", f"sample {again} of this prompt comes twice (policy {key[0]})")
        for key, numbers in explicit.items():
            self._seen[key].update(numbers)
        result = []
        for s in samples:
            if s.number is None:
                result.append(self._next[s.policy, join])
                self._next[s.policy, join] += 1
            else:
                result.append(s.number)
        return result


class _Chunk:
    """Columns that fill up row by row."""

    def __init__(self) -> None:
        self.rows: list[tuple[object, ...]] = []
        self.rejected: list[tuple[object, ...]] = []
        self.read = 0
        self.filtered = 0

    def add(self, settings: RolloutsSettings, numbering: _Numbering, file: str, found: RawRow) -> None:
        """Take one row: into samples, or the count of filtered rows, or the rejected ones."""
        self.read += 1
        try:
            if found.error is not None or found.value is None:
                raise found.error or RowError("not_an_object", "the row holds no object")
            if keep(settings.where, found.value) is not None:
                self.filtered += 1
                return
            prompt, key = join_of(settings, found.value)
            samples = samples_of(settings, found.value)
            numbers = numbering.number(prompt or key or "", samples)
        except RowError as error:
            self.rejected.append((file, found.row, error.reason_code, error.message, found.raw))
            return
        if not samples:
            self.rejected.append((file, found.row, "no_samples", "the row lists no samples", found.raw))
        for s, n in zip(samples, numbers, strict=True):
            self.rows.append(
                (s.policy, prompt, key, n, s.response, s.reasoning, s.finish_reason, s.score, file, found.row)
            )

    def done(self) -> RecordedRows:
        """Return what has been taken."""
        return RecordedRows(
            pl.DataFrame(self.rows, schema=ROWS, orient="row"),
            pl.DataFrame(self.rejected, schema=REJECTED, orient="row"),
            self.read,
            self.filtered,
        )


def stream_recorded(
    settings: RolloutsSettings, paths: Sequence[Path], chunk_rows: int = 20_000
) -> Iterator[RecordedRows]:
    """Yield recorded rollouts in chunks of at most `chunk_rows` file rows, so that memory stays bounded.

    Files are read in the order given (sort them: samples without a number are numbered in this order). A row that
    cannot be used is rejected and the import goes on.

    Raises:
        warehouse.ingest.readers.InputError: a path is missing or of unknown format.
    """
    numbering, chunk = _Numbering(), _Chunk()
    for path in paths:
        for found in read_rows(path, encoding=settings.encoding):
            chunk.add(settings, numbering, str(path), found)
            if chunk.read >= chunk_rows:
                yield chunk.done()
                chunk = _Chunk()
    if chunk.read:
        yield chunk.done()


def read_recorded(settings: RolloutsSettings, paths: Sequence[Path]) -> RecordedRows:
    """Return all recorded rollouts of the files at once; see `stream_recorded`."""
    chunks = list(stream_recorded(settings, paths))
    return RecordedRows(
        pl.concat([ROWS.to_frame(), *(c.rows for c in chunks)]),
        pl.concat([REJECTED.to_frame(), *(c.rejected for c in chunks)]),
        sum(c.read for c in chunks),
        sum(c.filtered for c in chunks),
    )


def join_by_key(rows: pl.DataFrame, keys: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Fill in `prompt_id` for rows that came by key; return (rows with a prompt, rows whose key no prompt has).

    Args:
        rows: schema `ROWS`.
        keys: columns key, prompt_id. A key of several prompts gives the rows to each of them.
    """
    named = rows.filter(pl.col("prompt_id").is_not_null())
    by_key = rows.filter(pl.col("prompt_id").is_null()).drop("prompt_id")
    pairs = keys.select("key", "prompt_id").unique()
    joined = by_key.join(pairs, on="key", how="left").select(ROWS.names())
    found, lost = joined.filter(pl.col("prompt_id").is_not_null()), joined.filter(pl.col("prompt_id").is_null())
    return settle_numbers(pl.concat([named.select(ROWS.names()), found])), lost


def settle_numbers(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows sorted, with sample numbers that are unique per (policy, prompt).

    Numbers clash where rollouts of one policy come from several sections, or several keys name one prompt (merged
    duplicates); then all samples of that prompt are numbered anew in the order of file and row. Others keep theirs.
    """
    prompt = ("policy", "prompt_id")
    clash = pl.struct(*prompt, "sample").is_duplicated().any().over(prompt)
    anew = pl.int_range(pl.len(), dtype=pl.Int64).over(prompt)
    return rows.sort(*prompt, "file", "row", "sample").with_columns(
        pl.when(clash).then(anew).otherwise("sample").alias("sample")
    )


def split_references(rows: pl.DataFrame, reference_samples: int) -> pl.DataFrame:
    """Return the rows with a column `role`: of each prompt, the last so many samples become reference samples.

    Best-of-N must not judge the samples it was chosen from, so the two are disjoint; at least one sample stays scored.
    """
    rank = pl.col("sample").rank("ordinal", descending=True).over("policy", "prompt_id")
    is_reference = (rank <= reference_samples) & (rank < pl.len().over("policy", "prompt_id"))
    return rows.with_columns(pl.when(is_reference).then(pl.lit(REFERENCE)).otherwise(pl.lit(SCORED)).alias("role"))


class RecordedEngine:
    """Recorded rollouts of one policy, as an engine.

    A request names a sample by number; one that was never recorded yields nothing, so a caller that asks for 8 gets
    what there is. Sampling and seeds of requests are ignored: they are unknown for what is recorded.

    Args:
        rows: schema `ROWS` (`policy`, `key`, `file`, `row` are not needed), `prompt_id` never null; with a column
            `role` where some samples are for reference (`split_references`), else all are scored.
        name: the policy's name; it is the fingerprint, as nothing else is known about the model.

    Raises:
        ValueError: two rows are the same sample, or a row has no prompt.
    """

    def __init__(self, rows: pl.DataFrame, name: str) -> None:
        self.fingerprint = f"recorded:{name}"
        role = [] if "role" in rows.columns else [pl.lit(SCORED).alias("role")]
        unknown = {c: t for c, t in ROLLOUT_COLUMNS.items() if c not in rows.columns and c != "role"}
        self._frame = (
            rows.with_columns(*role, *(pl.lit(None, dtype=t).alias(c) for c, t in unknown.items()))
            .with_columns(pl.lit("recorded").alias("engine"), pl.lit(value=True).alias("recorded"))
            .select(ROLLOUT_COLUMNS.names())
            .cast(ROLLOUT_COLUMNS)
            .sort("prompt_id", "role", "sample")
        )
        if self._frame["prompt_id"].null_count():
            msg = f"recorded rollouts of {name!r}: a row has no prompt_id; join rows that came by key first"
            raise ValueError(msg)
        if self._frame.select(pl.struct("prompt_id", "role", "sample").is_duplicated().any()).item():
            msg = f"recorded rollouts of {name!r}: a sample number comes twice for one prompt"
            raise ValueError(msg)

    def frame_for(self, prompt_ids: Iterable[str]) -> pl.DataFrame:
        """Return the rollouts of some prompts straight as a frame (schema of the table `rollouts`), sorted by key."""
        wanted = pl.DataFrame({"prompt_id": pl.Series(list(prompt_ids), dtype=pl.String)}).unique()
        return self._frame.join(wanted, on="prompt_id", how="semi").sort("prompt_id", "role", "sample")

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield the recorded sample of each request that has one, in the order of the requests."""
        source = iter(requests)
        while window := list(islice(source, 65_536)):
            asked = pl.DataFrame(
                {
                    "prompt_id": [r.prompt_id for r in window],
                    "role": [r.role for r in window],
                    "sample": [r.sample for r in window],
                },
                schema={"prompt_id": pl.String, "role": pl.String, "sample": pl.Int64},
            )
            found = asked.join(self._frame, on=["prompt_id", "role", "sample"], how="inner", maintain_order="left")
            for row in found.select(ROLLOUT_COLUMNS.names()).iter_rows():
                yield Completion(*row)

    def close(self) -> None:
        """Hold nothing."""
