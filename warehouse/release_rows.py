"""The rows of a release, made in parts that fit in memory and written so that the same rows give the same bytes.

Prompts are read by ranges of prompt_id, which their files are sorted by. Rows for training come out in curriculum
order, so each range is cut by position, laid aside, and every range of positions is then sorted by itself and
streamed into one Parquet file with fixed row groups and compression.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.io.plugins import register_io_source

from warehouse.curation.overrides import apply_overrides
from warehouse.decisions import WITHDRAWN
from warehouse.hashing import FrameHasher
from warehouse.schemas import DIFFICULTY, MESSAGES, Columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from warehouse.release_inputs import ReleaseInputs

BUCKET_ROWS = 100_000
ROW_GROUP_ROWS = 10_000
DECISION_ROW_GROUP_ROWS = 50_000
_LEVEL = 3  # zstd

_S, _I, _F, _B = pl.String, pl.Int64, pl.Float64, pl.Boolean
_DIFFICULTY: Columns = {c: t for c, t in DIFFICULTY.columns.items() if c not in {"prompt_id", "source"}}
# fmt: off
ROWS: Columns = {
    "position": _I, "phase": _S, "occurrence": _I, "prompt_id": _S, "messages": MESSAGES, "raw_text": _S, "domain": _S,
    "pool": _S, "verifier": _S, "ground_truth": _S, "reference": _S, "reference_kind": _S, "source": _S, "licence": _S,
    "batch": _S, "key": _S, "policy_id": _S, "reward_source": _S, **_DIFFICULTY, "rule": _S, "score": _F, "group": _S,
    "percentile": _F, "reason": _S, "extra": _S, "tools": _S,
}
DECISION_ROWS: Columns = {
    "prompt_id": _S, "stage": _S, "arm": _S, "batch": _S, "variant": _S, "rule": _S, "outcome": _S, "value": _F,
    "threshold": _F, "detail": _S, "reason": _S, "policy_hash": _S,
}
# fmt: on
_PROMPT_COLUMNS = [
    "prompt_id",
    "messages",
    "raw_text",
    "domain",
    "pool",
    "verifier",
    "ground_truth",
    "source",
    "licence",
    "batch",
    "key",
    "extra",
    "tools",
]  # fmt: skip
HISTOGRAM_BINS = 20
GROUPS = ["part", "domain", "source", "licence", "pool", "phase"]


class ReleaseError(RuntimeError):
    """A release cannot be written, found or rebuilt; the message says why and what to do."""


@dataclass
class Written:
    """What was written: hashes of logical content, and what people want to see counted."""

    content: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    prompts: int = 0  # in train, each counted once
    phases: list[str] = field(default_factory=list)  # in the order of the curriculum
    groups: pl.DataFrame = field(default_factory=pl.DataFrame)
    histogram: pl.DataFrame = field(default_factory=pl.DataFrame)


def write_rows(inputs: ReleaseInputs, folder: Path, work: Path, bucket_rows: int = BUCKET_ROWS) -> Written:
    """Write train.parquet, heldout.parquet and decisions.parquet into `folder`.

    Args:
        inputs: frames and facts of one arm.
        folder: where the files go.
        work: an empty folder for intermediate files; as large as the release for a moment.
        bucket_rows: rows held in memory at once, roughly. Decides nothing about the result.

    Raises:
        ReleaseError: the curriculum names a prompt that is missing, held out, or for evaluation.
    """
    curriculum = inputs.curriculum.select("position", "phase", "prompt_id", "occurrence").collect()
    _check_positions(curriculum, inputs.arm)
    rows = max(int(inputs.prompts.select(pl.len()).collect().item()), curriculum.height)
    parts = _Parts(work, bucket_rows, curriculum.height)
    groups, histograms = [], []
    for i, inside in enumerate(_ranges(rows, bucket_rows)):
        bucket = _Bucket(inputs, inside, curriculum.filter(inside))
        parts.lay_aside(i, bucket.train)
        parts.add("heldout", i, bucket.heldout)
        groups.append(bucket.groups())
        histograms.append(bucket.histogram())
    written = Written()
    decisions = int(inputs.decisions.select(pl.len()).collect().item())
    decided = (_decisions(inputs, inside) for inside in _ranges(decisions, bucket_rows * 4, nulls=True))
    _finish(written, "train", ROWS, parts.sorted_train(), folder)
    _finish(written, "heldout", ROWS, parts.of("heldout"), folder)
    _finish(written, "decisions", DECISION_ROWS, decided, folder, DECISION_ROW_GROUP_ROWS)
    written.prompts = curriculum.get_column("prompt_id").n_unique()
    written.phases = curriculum.sort("position").get_column("phase").unique(maintain_order=True).to_list()
    written.groups = pl.concat(groups).group_by(GROUPS).agg(pl.col("rows", "prompts").sum()).sort(GROUPS)
    bins = ["domain", "selected", "bin"]
    written.histogram = pl.concat(histograms).group_by(bins).agg(pl.col("prompts").sum()).sort(bins)
    return written


class _Bucket:
    """Everything about the prompts of one range of ids.

    Attributes:
        train: the rows of the curriculum, in any order.
        heldout: the held-out prompts with a usable gold that no evaluation set contains, by prompt_id.
    """

    def __init__(self, inputs: ReleaseInputs, inside: pl.Expr, curriculum: pl.DataFrame) -> None:
        self._inputs = inputs
        self._inside = inside
        self._selection = inputs.selection.filter(inside).drop("arm", "batch", strict=False).collect()
        contaminated = inputs.contamination.filter(inside).select("prompt_id").unique().collect()
        bad_golds = inputs.bad_golds.filter(inside).select("prompt_id").collect()
        short = inputs.prompts.filter(inside).select("prompt_id", "domain", "pool", "split").collect()
        self._short = (
            apply_overrides(short, inputs.overrides)
            .join(self._selection.select("prompt_id", "reason"), on="prompt_id", how="left")
            .with_columns(
                selected=_among(curriculum.get_column("prompt_id")),
                contaminated=_among(contaminated.get_column("prompt_id")),
                bad_gold=_among(bad_golds.get_column("prompt_id")),
            )
        )
        self._check(curriculum)
        held = (
            (pl.col("split") == "heldout") & (pl.col("pool") != "eval") & ~pl.col("contaminated") & ~pl.col("bad_gold")
        )
        kept = self._short.filter(pl.col("selected") | held).select("prompt_id", held=held)
        self._measured = self._preferred(inputs.difficulty)
        rows = self._describe(kept)
        self.train = _shaped(curriculum.join(rows, on="prompt_id"), ROWS)
        self.heldout = _shaped(rows.filter("held").sort("prompt_id"), ROWS)

    def _check(self, curriculum: pl.DataFrame) -> None:
        where = f"arm {self._inputs.arm}: prompt {{}} of the curriculum"
        short = self._short
        lost = curriculum.join(short, on="prompt_id", how="anti").sort("prompt_id")
        if lost.height:
            msg = f"{where.format(lost['prompt_id'][0])} is not among the prompts; run selection and curriculum again"
            raise ReleaseError(msg)
        twice = short.filter(pl.col("prompt_id").is_duplicated()).sort("prompt_id")
        if twice.height:
            msg = f"prompt {twice['prompt_id'][0]} is stored {twice['prompt_id'].value_counts()['count'][0]} times"
            raise ReleaseError(msg)
        tainted = pl.col("contaminated") & (pl.col("reason").fill_null("") != "override")
        wrong = short.filter("selected").filter((pl.col("split") == "heldout") | (pl.col("pool") == "eval") | tainted)
        if wrong.height:
            row = wrong.sort("prompt_id").row(0, named=True)
            state = "is contaminated" if row["contaminated"] else f"has pool {row['pool']} and split {row['split']}"
            msg = f"{where.format(row['prompt_id'])} {state}: not to be trained on; run selection and curriculum again"
            raise ReleaseError(msg)

    def _describe(self, kept: pl.DataFrame) -> pl.DataFrame:
        prompts = self._inputs.prompts.filter(self._inside).select(_PROMPT_COLUMNS)
        rows = apply_overrides(prompts.join(kept.lazy(), on="prompt_id").collect(), self._inputs.overrides)
        texts = self._preferred(self._inputs.references).select("prompt_id", reference="text", reference_kind="kind")
        chosen = self._selection.select("prompt_id", "rule", "score", "group", "percentile", "reason")
        for more in (self._measured.rename({"source": "reward_source"}), texts, chosen):
            rows = rows.join(more, on="prompt_id", how="left")
        return rows

    def _preferred(self, frame: pl.LazyFrame) -> pl.DataFrame:
        """Return one row a prompt: of the policy that its selection looked at, else of the first one that has a row."""
        policies = self._inputs.policy_ids
        order = pl.col("policy_id").replace_strict(
            list(policies), list(range(len(policies))), default=len(policies), return_dtype=pl.Int64
        )
        looked_at = self._selection.select("prompt_id", looked_at="policy_id").lazy()
        ranked = frame.filter(self._inside).join(looked_at, on="prompt_id", how="left")
        ranked = ranked.with_columns(
            order=pl.when(pl.col("policy_id") == pl.col("looked_at")).then(pl.lit(-1, pl.Int64)).otherwise(order)
        )
        rows = ranked.collect().sort("prompt_id", "order", "policy_id").unique("prompt_id", keep="first")
        return rows.drop("order", "looked_at", "batch", strict=False)

    def groups(self) -> pl.DataFrame:
        """Count rows and prompts of both parts by domain, source, licence, pool and phase."""
        parts = [self.train.with_columns(part=pl.lit("train")), self.heldout.with_columns(part=pl.lit("heldout"))]
        return (
            pl.concat(parts)
            .group_by(GROUPS)
            .agg(rows=pl.len().cast(pl.Int64), prompts=pl.col("prompt_id").n_unique().cast(pl.Int64))
        )

    def histogram(self) -> pl.DataFrame:
        """Count measured prompts by domain, whether they are selected, and bin of the mean reward in [0, 1]."""
        scored = self._measured.filter(pl.col("mean").is_between(0.0, 1.0)).select("prompt_id", "mean")
        binned = (pl.col("mean") * HISTOGRAM_BINS).floor().clip(0, HISTOGRAM_BINS - 1).cast(pl.Int64)
        joined = scored.join(self._short, on="prompt_id").with_columns(bin=binned)
        return joined.group_by("domain", "selected", "bin").agg(prompts=pl.len().cast(pl.Int64))


class _Parts:
    """Rows laid aside in files until it is their turn."""

    def __init__(self, work: Path, bucket_rows: int, positions: int) -> None:
        self._work = work
        self._bucket_rows = bucket_rows
        self._cuts = max(1, -(-positions // bucket_rows))
        self._files: dict[str, list[Path]] = {}

    def add(self, name: str, index: int, frame: pl.DataFrame) -> None:
        path = self._work / f"{name}-{index:05d}.parquet"
        frame.write_parquet(path, compression="lz4")
        self._files.setdefault(name, []).append(path)

    def of(self, name: str) -> Iterator[pl.DataFrame]:
        """Yield what was added, in order, and remove it."""
        for file in self._files.pop(name, []):
            yield pl.read_parquet(file)
            file.unlink()

    def lay_aside(self, index: int, train: pl.DataFrame) -> None:
        cut = (pl.col("position") // self._bucket_rows).clip(0, self._cuts - 1)
        for (number,), part in train.with_columns(cut=cut).partition_by("cut", as_dict=True).items():
            self.add(f"cut-{number:05d}", index, part.drop("cut"))

    def sorted_train(self) -> Iterator[pl.DataFrame]:
        """Yield the training rows in the order of their positions, a cut at a time."""
        for number in range(self._cuts):
            frames = list(self.of(f"cut-{number:05d}"))
            if frames:
                yield pl.concat(frames).sort("position")


def _finish(
    written: Written,
    name: str,
    schema: Columns,
    parts: Iterable[pl.DataFrame],
    folder: Path,
    group_rows: int = ROW_GROUP_ROWS,
) -> None:
    """Hash the rows in order while they are streamed into one file.

    The writer breaks pages where the pieces that it is given end, so it is given one piece a row group: then bytes
    depend on rows alone.
    """
    hasher = FrameHasher(pl.Schema(schema))
    rows = 0

    def pieces(_columns: object, _where: object, _rows: object, _batch: object) -> Iterator[pl.DataFrame]:
        nonlocal rows
        for frame in _regrouped(parts, group_rows, pl.DataFrame(schema=schema)):
            hasher.update(frame)
            rows += frame.height
            yield frame

    register_io_source(pieces, schema=pl.Schema(schema)).sink_parquet(
        folder / f"{name}.parquet",
        compression="zstd",
        compression_level=_LEVEL,
        row_group_size=group_rows,
        maintain_order=True,
    )
    written.content[name] = hasher.hexdigest()
    written.rows[name] = rows


def _regrouped(parts: Iterable[pl.DataFrame], rows: int, empty: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the rows of all parts in frames of exactly `rows` rows, the last one perhaps shorter."""
    left, yielded = empty, False
    for part in parts:
        left = pl.concat([left, part])
        whole = left.height - left.height % rows
        for start in range(0, whole, rows):
            yield left.slice(start, rows).rechunk()
            yielded = True
        left = left.slice(whole).rechunk()
    if left.height or not yielded:
        yield left


def _decisions(inputs: ReleaseInputs, inside: pl.Expr) -> pl.DataFrame:
    """Return the current decisions of a range of ids about the arm or about all arms, with the selection's reason."""
    mine = pl.col("arm").is_null() | pl.col("arm").is_in(["", inputs.arm])
    frame = inputs.decisions.filter(inside & mine).collect()
    if "variant" not in frame.columns:
        frame = frame.with_columns(variant=pl.lit(""))
    key = ["prompt_id", "stage", "arm", "batch", "variant", "rule"]
    if "seq" in frame.columns:
        # Rows that were never prompts have no id and share a key: all rows of the newest build stay.
        frame = frame.filter(pl.col("seq") == pl.col("seq").max().over(key))
    frame = frame.filter(pl.col("outcome") != WITHDRAWN)
    reasons = inputs.selection.filter(inside).select("prompt_id", "reason", stage=pl.lit("selection")).collect()
    return _shaped(frame.join(reasons, on=["prompt_id", "stage"], how="left"), DECISION_ROWS).sort(
        [*key, "outcome", "value", "detail"], nulls_last=True
    )


def _among(ids: pl.Series) -> pl.Expr:
    return pl.col("prompt_id").is_in(ids.unique().implode())


def _ranges(rows: int, bucket_rows: int, *, nulls: bool = False) -> Iterator[pl.Expr]:
    """Yield conditions on prompt_id that cut the hex ids into equal ranges, in order, together covering all."""
    count = min(65536, max(1, -(-rows // bucket_rows)))
    borders = [f"{i * 65536 // count:04x}" for i in range(count)]
    ids = pl.col("prompt_id")
    for i, low in enumerate(borders):
        inside = ids >= low if i else pl.lit(value=True)
        if i < count - 1:
            inside = inside & (ids < borders[i + 1])
            if nulls and i == 0:
                inside = inside | ids.is_null()
        yield inside


def _shaped(frame: pl.DataFrame, columns: Mapping[str, Any]) -> pl.DataFrame:
    given = frame.columns
    return frame.select((pl.col(c) if c in given else pl.lit(None).alias(c)).cast(t) for c, t in columns.items())


def _check_positions(curriculum: pl.DataFrame, arm: str) -> None:
    positions = curriculum.get_column("position")
    if positions.null_count() or positions.n_unique() != positions.len():
        msg = f"arm {arm}: the positions of the curriculum are not unique; run the curriculum again"
        raise ReleaseError(msg)
