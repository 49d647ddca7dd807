"""What an ingested batch holds, table by table, in frames of bounded size."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from warehouse.curation.dedup import bands_of
from warehouse.curation.minhash import band_keys, to_bytes
from warehouse.ingest.staging import BLOCK_BITS, ROW_BITS, shorten
from warehouse.schemas import DECISIONS, PROMPTS, REJECTED_PROMPTS, SIGNATURES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

    from warehouse.settings import IngestSettings

FRAME_ROWS = 50_000
FRAME_BYTES = 128 << 20


@dataclass(frozen=True)
class Ingested:
    """A batch whose rows are all decided on. Text stays in the staged `chunks` until it is asked for."""

    rows_read: int
    index: pl.DataFrame  # one row for each prompt found, in order: staging's index and `dedup.FATES`
    signature_array: NDArray[np.uint32]  # shape (len(index), signature_size)
    chunks: list[Path]
    hashes: list[str]  # of the files, in order
    settings: IngestSettings
    ingested_at: datetime
    policy_hash: str

    @cached_property
    def counts(self) -> dict[str, int]:
        """Rows by what became of them; they add up to `rows_read`, or the staged chunks are damaged."""
        counts = {"prompts": 0, "duplicate": 0, "near_duplicate": 0, "quarantined": 0, "filtered": 0}
        for outcome, count in self.index.group_by("outcome").len().iter_rows():
            counts["prompts" if outcome == "kept" else outcome] += count
        for chunk in self.chunks:
            for outcome, count in _staged_rejected(chunk, ["outcome"]).group_by("outcome").len().iter_rows():
                counts[outcome] += count
        return counts

    def prompts(self) -> Iterator[pl.DataFrame]:
        """Yield the rows of `prompts`, sorted by prompt_id over all frames."""
        staged = [c / "prompts.parquet" for c in self.chunks]
        for part in self._kept():
            ids = part.get_column("prompt_id")
            rows = (
                pl.scan_parquet(staged)
                .filter(pl.col("prompt_id").is_between(pl.lit(ids[0]), pl.lit(ids[-1])))
                .join(part.lazy().select("ordinal", "split", "gold_conflict"), on="ordinal", how="inner")
                .with_columns(ingested_at=pl.lit(self.ingested_at))
                .select([pl.col(c).cast(t) for c, t in PROMPTS.columns.items()])
                .collect()
            )
            yield rows.sort("prompt_id")

    def signatures(self) -> Iterator[pl.DataFrame]:
        """Yield the rows of `signatures`, sorted by prompt_id over all frames."""
        bands = bands_of(self.settings)
        for part in self._kept():
            own = np.asarray(self.signature_array[part.get_column("place").to_numpy()])
            yield part.select(
                "prompt_id",
                "split",
                "gold_hash",
                pl.Series("bands", band_keys(own, bands)).arr.to_list(),
                pl.Series("signature", to_bytes(own), dtype=pl.Binary),
            ).select(list(SIGNATURES.columns))

    def rejected(self) -> Iterator[pl.DataFrame]:
        """Yield the rows of `rejected_prompts`, chunk by chunk in the order of reading.

        `raw` is the row's text as it was found, cut where it is very long; of a duplicate, whose row was good, it is
        the messages and the gold as JSON.
        """
        place = pl.col("ordinal") // (1 << ROW_BITS)
        gone = self._gone().with_columns(chunk=place).partition_by("chunk", as_dict=True, include_key=False)
        held: list[pl.DataFrame] = []
        for chunk in self.chunks:
            file, block = map(int, chunk.name.split("-"))
            own = gone.get(((file << BLOCK_BITS) | block,))
            parts = [_staged_rejected(chunk, None)]
            if own is not None:
                parts.append(_duplicates(chunk, own))
            held.append(pl.concat(parts, how="diagonal_relaxed").sort("row"))
            if sum(f.height for f in held) >= FRAME_ROWS or sum(f.estimated_size() for f in held) >= FRAME_BYTES:
                yield _rejected_frame(held)
                held = []
        if any(f.height for f in held):
            yield _rejected_frame(held)

    def decisions(self) -> Iterator[pl.DataFrame]:
        """Yield the rows of `decisions`: one for every row that was dropped, quarantined or flagged. Sorted."""
        parts = [*self._drops(), *self._flags()]
        parts += [self._quarantines(_staged_rejected(c, ["source_row", "outcome", "reason_code"])) for c in self.chunks]
        rows = pl.concat([self._decision(p) for p in parts]).sort("prompt_id", "rule", "detail")
        for start in range(0, rows.height, FRAME_ROWS):
            yield rows.slice(start, FRAME_ROWS)

    def _kept(self) -> Iterator[pl.DataFrame]:
        """Yield the kept part of the index, sorted by prompt_id, in parts whose text is of bounded size."""
        kept = self.index.with_row_index("place").filter(pl.col("outcome") == "kept").sort("prompt_id")
        if not kept.height:
            return
        size = kept.get_column("bytes").cum_sum().to_numpy() // FRAME_BYTES
        number = size * (1 + kept.height) + np.arange(kept.height) // FRAME_ROWS
        cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), kept.height]
        for start, end in itertools.pairwise(cuts):
            yield kept.slice(start, end - start)

    def _gone(self) -> pl.DataFrame:
        return self.index.filter(pl.col("outcome") != "kept")

    def _source_row(self) -> pl.Expr:
        """Return "<file hash>:<row>" of rows of the index."""
        file = (pl.col("ordinal") // (1 << (ROW_BITS + BLOCK_BITS))).replace_strict(
            list(range(len(self.hashes))), self.hashes, return_dtype=pl.String
        )
        return pl.format("{}:{}", file, pl.col("row"))

    def _drops(self) -> Iterator[pl.DataFrame]:
        threshold = (
            pl.when(pl.col("reason_code") == "near_duplicate")
            .then(self.settings.near_duplicate_threshold)
            .when(pl.col("reason_code") == "split_conflict")
            .then(self.settings.heldout_neighbour_threshold)
        )
        yield self._gone().select(
            "prompt_id",
            rule="reason_code",
            outcome=pl.lit("drop"),
            value="similarity",
            threshold=threshold,
            detail=pl.format("{} matches {}", self._source_row(), "matched_prompt_id"),
        )

    def _flags(self) -> Iterator[pl.DataFrame]:
        kept = self.index.filter(pl.col("outcome") == "kept")
        near, share = self.settings.near_duplicate_threshold, self.settings.heldout_share
        yield _flag(kept.filter("gold_conflict"), "gold_conflict", None, None, self._source_row())
        other = kept.filter(pl.col("other_gold_of").is_not_null())
        similarity = pl.col("other_gold_similarity")
        yield _flag(other, "near_duplicate_other_gold", similarity, near, pl.col("other_gold_of"))
        yield _flag(kept.filter(pl.col("split") == "heldout"), "heldout", None, share, self._source_row())

    def _quarantines(self, rejected: pl.DataFrame) -> pl.DataFrame:
        quarantined = pl.col("outcome") == "quarantined"
        return rejected.select(
            prompt_id=pl.lit(""),
            rule="reason_code",
            outcome=pl.when(quarantined).then(pl.lit("quarantine")).otherwise(pl.lit("drop")),
            value=pl.lit(None, pl.Float64),
            threshold=pl.lit(None, pl.Float64),
            detail="source_row",
        )

    def _decision(self, rows: pl.DataFrame) -> pl.DataFrame:
        whole = rows.with_columns(
            stage=pl.lit("prompts"), arm=pl.lit(""), policy_hash=pl.lit(self.policy_hash, pl.String)
        )
        return whole.select([pl.col(c).cast(t) for c, t in DECISIONS.columns.items()])


def _flag(
    rows: pl.DataFrame, rule: str, value: pl.Expr | None, threshold: float | None, detail: pl.Expr
) -> pl.DataFrame:
    return rows.select(
        "prompt_id",
        rule=pl.lit(rule),
        outcome=pl.lit("flag"),
        value=pl.lit(None, pl.Float64) if value is None else value,
        threshold=pl.lit(threshold, pl.Float64),
        detail=detail,
    )


def _staged_rejected(chunk: Path, columns: list[str] | None) -> pl.DataFrame:
    return pl.read_parquet(chunk / "rejected.parquet", columns=columns)


def _duplicates(chunk: Path, gone: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of `rejected_prompts` for the duplicates of one chunk."""
    wanted = ["ordinal", "source", "source_row", "prompt_id", "messages", "ground_truth"]
    text = pl.scan_parquet(chunk / "prompts.parquet").select(wanted)
    rows = text.join(gone.lazy().drop("prompt_id"), on="ordinal", how="inner").collect().sort("ordinal")
    raw = [
        shorten(json.dumps({"messages": m, "ground_truth": g}, ensure_ascii=False))
        for m, g in rows.select("messages", "ground_truth").iter_rows()
    ]
    reason = pl.format("similarity {} to prompt {}", pl.col("similarity").round(3), "matched_prompt_id")
    return rows.select(
        "row", "source", "source_row", "prompt_id", "matched_prompt_id", "outcome", "reason_code",
        reason=pl.when(pl.col("outcome") == "near_duplicate").then(reason).otherwise(
            pl.format("the same as prompt {}", "matched_prompt_id")
        ),
        raw=pl.Series(raw, dtype=pl.String),
    )  # fmt: skip


def _rejected_frame(parts: list[pl.DataFrame]) -> pl.DataFrame:
    rows = pl.concat(parts, how="diagonal_relaxed")
    missing = [pl.lit(None, pl.String).alias(c) for c in REJECTED_PROMPTS.columns if c not in rows.columns]
    return rows.with_columns(missing).select([pl.col(c).cast(t) for c, t in REJECTED_PROMPTS.columns.items()])
