"""Which rows of a batch are new prompts: exact and near duplicates, and the held-out split.

Order is (batch, source, file, row). Two rows compare only inside their class: prompts to train on (pools `original` and
`new`), or prompts to evaluate on (`eval`).

1. Exact duplicates have one prompt_id. Inside a batch the first copy with a gold stays, else the first; copies with
   different golds set `gold_conflict` on it. A copy of an earlier batch's prompt goes, whatever its gold.
2. A prompt to train on whose id a prompt of the `eval` pool has goes (`evaluation_prompt`): one id must not be both.
   An eval prompt that comes after its copy was committed for training goes instead (`training_prompt`), and selection
   counts that copy as an evaluation prompt from then on. What merely overlaps is for decontamination.
   The `eval` pool itself loses only exact copies: a score over part of a published set compares with nothing.
3. Near duplicates: a row goes if its similarity to an earlier *kept* row is at least `near_duplicate_threshold`. With
   `near_duplicate_golds = "differ"` a row whose gold differs from that one's is another task (numbers changed, say) and
   stays, flagged. A missing gold differs from none.
4. The split: a kept row inherits `train` or `heldout` from earlier kept rows at least `heldout_neighbour_threshold`
   similar, so that no held-out prompt has a near copy in train; where they disagree the row goes (`split_conflict`).
   Without such rows a hash of the prompt_id decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from warehouse.curation.minhash import Bands, band_keys, choose_bands, from_bytes
from warehouse.curation.neighbours import Memberships, walk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from warehouse.settings import IngestSettings

    U32 = NDArray[np.uint32]
    I64 = NDArray[np.int64]

TRAINING_PROMPT = "training_prompt"
_KEYS_AT_ONCE = 4_000_000  # band keys held in memory to be looked up among earlier batches
_ROWS_AT_ONCE = 50_000

FATES = pl.Schema(
    {
        "outcome": pl.String,  # kept, duplicate, near_duplicate
        "reason_code": pl.String,
        "matched_prompt_id": pl.String,
        "similarity": pl.Float64,
        "split": pl.String,
        "gold_conflict": pl.Boolean,
        "other_gold_of": pl.String,  # kept beside this near copy, whose gold differs
        "other_gold_similarity": pl.Float64,
    }
)


def bands_of(settings: IngestSettings) -> Bands:
    """Return the band layout that the settings ask for."""
    return choose_bands(
        settings.signature_size, settings.near_duplicate_threshold, settings.heldout_neighbour_threshold
    )


def is_heldout(prompt_id: str, share: float) -> bool:
    """Say whether a prompt without neighbours is held out: by the last 32 bits of its id, which nothing else reads."""
    return int(prompt_id[-8:], 16) < share * 2**32


def resolve(
    index: pl.DataFrame, signatures: U32, earlier: pl.LazyFrame, settings: IngestSettings, work: Path
) -> pl.DataFrame:
    """Return the fate of each row of a batch: columns `FATES`, in the order of `index`.

    Args:
        index: `prompt_id`, `gold_hash`, `pool` of every prompt of the batch, in order. N rows.
        signatures: shape (N, signature_size); may be a memory map.
        earlier: `prompt_id`, `split`, `gold_hash`, `bands`, `signature` of all earlier batches.
        settings: thresholds.
        work: a folder for what does not fit in memory.

    Raises:
        ValueError: earlier signatures have another size.
    """
    index = index.with_row_index("at").with_columns(pl.col("at").cast(pl.Int64), evaluation=pl.col("pool") == "eval")
    earlier = earlier.with_columns(evaluation=pl.col("split") == "eval")
    fates = _exact(index, earlier)
    rows = index.filter(~pl.col("evaluation") & (fates.sort("at").get_column("outcome") == "kept"))
    if rows.height:
        before = earlier.filter(~pl.col("evaluation")).drop("evaluation")
        near = _NearPass(rows, signatures, before, settings, work).run()
        fates = fates.update(near, on="at", how="left", maintain_order="left")
    return fates.sort("at").select([pl.col(c).cast(t) for c, t in FATES.items()])


def _exact(index: pl.DataFrame, earlier: pl.LazyFrame) -> pl.DataFrame:
    """Return a fate for each row as far as equal prompt_ids decide it; `kept` for the rest."""
    keys = ["evaluation", "prompt_id"]
    ranked = index.sort(*keys, pl.col("gold_hash").is_null(), "at")
    groups = ranked.group_by(keys, maintain_order=True).agg(
        pl.col("at").first().alias("winner"),
        pl.col("gold_hash").first().alias("winner_gold"),
        (pl.col("gold_hash").drop_nulls().n_unique() > 1).alias("conflict"),
    )
    known = (
        earlier.select(*keys, pl.col("gold_hash").alias("earlier_gold"))
        .join(index.lazy().select("prompt_id").unique(), on="prompt_id", how="semi")
        .collect(engine="streaming")
    )
    evaluated = pl.concat(
        [known.filter("evaluation").select("prompt_id"), index.filter("evaluation").select("prompt_id")]
    ).unique()
    trained = known.filter(~pl.col("evaluation")).select("prompt_id").unique()
    rows = (
        index.join(groups, on=keys, how="left", maintain_order="left")
        .join(known.with_columns(known=True), on=keys, how="left", maintain_order="left")
        .join(evaluated.with_columns(evaluated=True), on="prompt_id", how="left", maintain_order="left")
        .join(trained.with_columns(trained=True), on="prompt_id", how="left", maintain_order="left")
    )
    in_evaluation = ~pl.col("evaluation") & pl.col("evaluated").fill_null(value=False)
    in_training = pl.col("evaluation") & pl.col("trained").fill_null(value=False)
    is_known = pl.col("known").fill_null(value=False)
    other = pl.when(is_known).then("earlier_gold").otherwise("winner_gold")
    reason = (
        pl.when(in_evaluation)
        .then(pl.lit("evaluation_prompt"))
        .when(in_training)
        .then(pl.lit(TRAINING_PROMPT))
        .when(pl.col("gold_hash").is_not_null() & other.is_not_null() & (pl.col("gold_hash") != other))
        .then(pl.lit("gold_conflict"))
        .when(is_known & pl.col("gold_hash").is_not_null() & other.is_null())
        .then(pl.lit("brings_gold"))
        .otherwise(pl.lit("duplicate"))
    )
    gone = in_evaluation | in_training | is_known | (pl.col("at") != pl.col("winner"))
    return rows.select(
        "at",
        outcome=pl.when(gone).then(pl.lit("duplicate")).otherwise(pl.lit("kept")),
        reason_code=pl.when(gone).then(reason),
        matched_prompt_id=pl.when(gone).then("prompt_id"),
        similarity=pl.when(gone).then(1.0),
        split=pl.when(~gone & pl.col("evaluation")).then(pl.lit("eval")),
        gold_conflict=~gone & pl.col("conflict"),
        other_gold_of=pl.lit(None, pl.String),
        other_gold_similarity=pl.lit(None, pl.Float64),
    )


@dataclass(frozen=True)
class _Fate:
    """What became of a row that has similar predecessors; `matched` and `other` are (row, similarity)."""

    split: int
    reason_code: str | None = None
    matched: tuple[int, float] | None = None
    other: tuple[int, float] | None = None


_NONE, _TRAIN, _HELDOUT = -1, 0, 1
_SPLITS = {"train": _TRAIN, "heldout": _HELDOUT}


class _NearPass:
    """Near duplicates and splits of the prompts to train on.

    Rows are numbered: first the earlier batches' prompts that share a band with this batch, then the batch's own.
    """

    def __init__(
        self, rows: pl.DataFrame, signatures: U32, earlier: pl.LazyFrame, settings: IngestSettings, work: Path
    ) -> None:
        self._settings = settings
        self._bands = bands_of(settings)
        self._at = rows.get_column("at").to_numpy().astype(np.int64)
        self._signatures = signatures
        known, self._known_signatures = self._earlier(earlier, work)
        self._first = known.height
        both = pl.concat([known.select("prompt_id", "gold_hash"), rows.select("prompt_id", "gold_hash")])
        self._ids = both.get_column("prompt_id")
        self._golds = _number(both.get_column("gold_hash").str.slice(0, 15)).fill_null(-1).to_numpy()
        wanted = _number(self._ids.str.slice(-8)) < settings.heldout_share * 2**32
        self._own_split = np.where(wanted.to_numpy(), _HELDOUT, _TRAIN)
        self._splits = np.full(len(both), _NONE)
        self._splits[: self._first] = known.get_column("split").replace_strict(_SPLITS, return_dtype=pl.Int64)
        self._fates: dict[int, _Fate] = {}

    def run(self) -> pl.DataFrame:
        """Return the fates that near duplicates and neighbours decide, for every row."""
        members = Memberships(len(self._ids))
        for first, count in _band_groups(self._bands, members.rows):
            known = band_keys(self._known_signatures, self._bands, first, count)
            keys = np.concatenate([known, self._keys(first, count)])
            for band in range(count):
                members.add_band(np.ascontiguousarray(keys[:, band]))
        threshold = min(self._settings.near_duplicate_threshold, self._settings.heldout_neighbour_threshold)
        walk(members, self._first, self._splits[: self._first] == _HELDOUT, self._similarity, threshold, self._decide)
        return self._frame()

    def _earlier(self, earlier: pl.LazyFrame, work: Path) -> tuple[pl.DataFrame, U32]:
        """Return the earlier prompts that share a band with the batch, sorted by id, and their signatures."""
        parts: list[pl.DataFrame] = []
        for first, count in _band_groups(self._bands, len(self._at)):
            keys = pl.DataFrame({"bands": self._keys(first, count).reshape(-1)}).unique()
            shared = earlier.select("prompt_id", pl.col("bands").list.slice(first, count)).explode("bands")
            met = shared.join(keys.lazy(), on="bands", how="semi").select("prompt_id").unique()
            parts.append(met.collect(engine="streaming"))
        ids = pl.concat(parts).unique().sort("prompt_id").with_row_index("place")
        wanted = earlier.join(ids.lazy(), on="prompt_id", how="inner")
        known = wanted.select("place", "prompt_id", "split", "gold_hash").collect(engine="streaming").sort("place")
        size = self._settings.signature_size
        if not ids.height:
            return known, np.empty((0, size), np.uint32)
        found = np.memmap(work / "earlier-signatures.u32", np.uint32, "w+", shape=(ids.height, size))
        for part in wanted.select("place", "signature").collect_batches(chunk_size=_ROWS_AT_ONCE):
            found[part.get_column("place").to_numpy()] = from_bytes(part.get_column("signature").to_list(), size)
        return known, found

    def _keys(self, first: int, count: int) -> I64:
        parts = [
            band_keys(self._signatures[self._at[i : i + _ROWS_AT_ONCE]], self._bands, first, count)
            for i in range(0, len(self._at), _ROWS_AT_ONCE)
        ]
        return np.concatenate(parts)

    def _similarity(self, one: I64, two: I64) -> NDArray[np.float64]:
        found = np.empty(len(one))
        for i in range(0, len(one), 8192):
            same = self._signature(one[i : i + 8192]) == self._signature(two[i : i + 8192])
            found[i : i + 8192] = np.count_nonzero(same, axis=1) / self._settings.signature_size
        return found

    def _signature(self, rows: I64) -> U32:
        if not self._first:
            return np.asarray(self._signatures[self._at[rows]])
        found = np.empty((len(rows), self._settings.signature_size), np.uint32)
        old = rows < self._first
        found[old] = self._known_signatures[rows[old]]
        found[~old] = self._signatures[self._at[rows[~old] - self._first]]
        return found

    def _decide(self, row: int, similar: list[tuple[int, float]]) -> tuple[bool, bool]:
        similar = [(i, s) for i, s in similar if self._splits[i] != _NONE]
        if not similar:
            self._splits[row] = self._own_split[row]
        else:
            fate = self._fates[row] = self._judge(row, similar)
            self._splits[row] = fate.split
        return bool(self._splits[row] != _NONE), bool(self._splits[row] == _HELDOUT)

    def _judge(self, row: int, similar: list[tuple[int, float]]) -> _Fate:
        near = [(i, s) for i, s in similar if s >= self._settings.near_duplicate_threshold]
        same_task = [(i, s) for i, s in near if not self._golds_differ(row, i)]
        if same_task:
            return _Fate(_NONE, "near_duplicate", self._most_similar(same_task))
        other = self._most_similar(near) if near else None
        close = [(i, s) for i, s in similar if s >= self._settings.heldout_neighbour_threshold]
        heldout = [(i, s) for i, s in close if self._splits[i] == _HELDOUT]
        if heldout and len(heldout) < len(close):
            return _Fate(_NONE, "split_conflict", self._most_similar(heldout))
        split = self._splits[close[0][0]] if close else self._own_split[row]
        return _Fate(int(split), other=other)

    def _golds_differ(self, one: int, two: int) -> bool:
        if self._settings.near_duplicate_golds == "ignore":
            return False
        golds = self._golds[one], self._golds[two]
        return -1 not in golds and golds[0] != golds[1]

    def _most_similar(self, pairs: list[tuple[int, float]]) -> tuple[int, float]:
        return min(pairs, key=lambda p: (-p[1], self._ids[p[0]]))

    def _frame(self) -> pl.DataFrame:
        undecided = self._splits == _NONE
        undecided[list(self._fates)] = False
        undecided[: self._first] = False
        self._splits[undecided] = self._own_split[undecided]
        names = {number: name for name, number in _SPLITS.items()}
        splits = pl.Series("split", self._splits[self._first :]).replace_strict(names, default=None)
        touched = sorted(self._fates.items())
        some = pl.DataFrame(
            [
                (
                    int(self._at[row - self._first]),
                    "kept" if fate.reason_code is None else "near_duplicate",
                    fate.reason_code,
                    *self._named(fate.matched),
                    *self._named(fate.other),
                )
                for row, fate in touched
            ],
            schema={
                "at": pl.Int64,
                "outcome": pl.String,
                "reason_code": pl.String,
                "matched_prompt_id": pl.String,
                "similarity": pl.Float64,
                "other_gold_of": pl.String,
                "other_gold_similarity": pl.Float64,
            },
            orient="row",
        )
        rows = pl.DataFrame({"at": self._at, "split": splits})
        return rows.join(some, on="at", how="left").sort("at")

    def _named(self, match: tuple[int, float] | None) -> tuple[str | None, float | None]:
        return (None, None) if match is None else (self._ids[match[0]], match[1])


def _number(hexadecimal: pl.Series) -> pl.Series:
    return hexadecimal.str.to_integer(base=16, dtype=pl.Int64)


def _band_groups(bands: Bands, rows: int) -> Iterator[tuple[int, int]]:
    """Yield (first, count) so that the keys of `count` bands of all rows fit in memory."""
    together = max(1, min(bands.count, _KEYS_AT_ONCE // max(rows, 1)))
    for first in range(0, bands.count, together):
        yield first, min(together, bands.count - first)
