"""The rows of a release on their way out: which of them can go, and a batch of records at a time.

Memory holds one row group (10,000 rows), however long the release is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow.parquet as pq

from trainer.exports.contract import SPLITS, Format, Options, Record, source_of, task_json
from trainer.exports.errors import ExportError
from trainer.judge.settings import judged_sources
from verifiers.hybrid import REWARD_MODEL, RTV
from warehouse.settings import JudgingSettings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from warehouse.releases import Release

BATCH_ROWS = 10_000
SETTINGS = ("reward", "reward_model", "judge")
"""The sections that the hybrid reward is made of."""


@dataclass(frozen=True)
class Census:
    """What the rows of one split are.

    Attributes:
        rows: in the release.
        unscored: no source rewards them; by the source of their rewards in the release (`none` for nobody).
        raw: exact prefixes for completion, among those that are rewarded or kept.
        chat: messages, among the same.
        tools: of the same, those that name tools.
    """

    rows: int = 0
    unscored: Mapping[str, int] | None = None
    raw: int = 0
    chat: int = 0
    tools: int = 0


def reward_settings(policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a release that decide rewards, as plain JSON."""
    found: dict[str, Any] = json.loads(json.dumps({name: policy[name] for name in SETTINGS if name in policy}))
    return found


def available_sources(policy: Mapping[str, Any], options: Options) -> tuple[str, ...]:
    """Return the sources that the exported reward can ask; see `Options.with_models`."""
    if not options.with_models:
        return (RTV,)
    judges = judged_sources(JudgingSettings.model_validate(policy.get("judge") or {}))
    models = (REWARD_MODEL,) if (policy.get("reward_model") or {}).get("models") else ()
    return (RTV, *judges, *models)


class Rows:
    """The rows of a release that a format takes, checked before the first one is written.

    Args:
        release: on disk.
        form: where they go.
        options: what becomes of those that do not fit.

    Raises:
        ExportError: rows do not fit, and the options say nothing about them; or none are left to train on.
    """

    def __init__(self, release: Release, form: Format, options: Options) -> None:
        self._release, self._options = release, options
        self.sources = available_sources(release.manifest["policy"], options)
        self.census = {split: _census(release, split, self.sources, options) for split in SPLITS}
        _refuse_unscored(self.census, self.sources, options)
        raw, chat = (sum(getattr(c, name) for c in self.census.values()) for name in ("raw", "chat"))
        self.raw = form.raw_prompts and raw > 0 and chat == 0
        if raw and not self.raw and options.raw == "refuse":
            mixed = f"and {chat} chats, and a file has prompts of one kind" if form.raw_prompts else "and no chats"
            holds = mixed if form.raw_prompts else "which the format cannot hold"
            msg = (
                f"format {form.name}: {raw} rows are exact prefixes for completion (raw_text), {holds}: --raw skip "
                "leaves them out, --raw chat sends each as a user's turn (the model then sees its chat template, too)"
            )
            raise ExportError(msg)
        if self.census["train"].raw * (options.raw != "skip" or self.raw) + self.census["train"].chat == 0:
            msg = f"release {release.release_id[:12]} has no training row that format {form.name} could take"
            raise ExportError(msg)

    def skipped(self) -> dict[str, int]:
        """Return how many rows stay behind, by reason; both splits together."""
        unscored = sum(sum((c.unscored or {}).values()) for c in self.census.values())
        raw = sum(c.raw for c in self.census.values())
        return {
            "unscored": unscored if self._options.unscored == "skip" else 0,
            "raw": raw if self._options.raw == "skip" and not self.raw else 0,
        }

    def records(self, split: str) -> Iterator[list[Record]]:
        """Yield the rows of a split in the order of the release, a row group at a time."""
        index = 0
        file = pq.ParquetFile(self._release.folder / f"{split}.parquet")
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            found = []
            for row in batch.to_pylist():
                if (record := self._record(row, split)) is not None:
                    found.append(replace(record, index=index))
                    index += 1
            if found:
                yield found

    def _record(self, row: dict[str, Any], split: str) -> Record | None:
        if source_of(row, self.sources) is None and self._options.unscored == "skip":
            return None
        if row["raw_text"] is None:
            return Record(split, 0, row["messages"], task_json(row, split), row)
        if self.raw:
            return Record(split, 0, row["raw_text"], task_json(row, split), row)
        if self._options.raw == "skip":
            return None
        turns = [{"role": "user", "content": row["raw_text"]}]
        return Record(split, 0, turns, task_json(row | {"messages": turns, "raw_text": None}, split), row)


def _census(release: Release, split: str, sources: Collection[str], options: Options) -> Census:
    case = {
        "verifier": pl.col("verifier"),
        "ground_truth": pl.when(pl.col("ground_truth").is_not_null()).then(pl.lit("")),
        "reference_kind": pl.col("reference_kind"),
        "reward_source": pl.col("reward_source"),
        "raw": pl.col("raw_text").is_not_null(),
        "tools": pl.col("tools").is_not_null(),
    }
    frame = pl.scan_parquet(release.folder / f"{split}.parquet").select(**case)
    cases = frame.group_by(pl.all()).len("rows").collect().sort(pl.all(), nulls_last=True)
    unscored: dict[str, int] = {}
    counts = {"raw": 0, "chat": 0, "tools": 0}
    for row in cases.iter_rows(named=True):
        if source_of(row, sources) is None:
            name = row["reward_source"] or "none"
            unscored[name] = unscored.get(name, 0) + row["rows"]
            if options.unscored == "skip":
                continue
        counts["raw" if row["raw"] else "chat"] += row["rows"]
        counts["tools"] += row["rows"] if row["tools"] else 0
    return Census(int(cases["rows"].sum()), unscored, **counts)


def _refuse_unscored(census: Mapping[str, Census], sources: Collection[str], options: Options) -> None:
    found = {split: c.unscored for split, c in census.items() if c.unscored}
    if not found or options.unscored != "refuse":
        return
    told = "; ".join(
        f"{split}: " + ", ".join(f"{n} rewarded by {s}" if s != "none" else f"{n} by nobody" for s, n in by.items())
        for split, by in found.items()
    )
    total, rows = sum(sum(by.values()) for by in found.values()), sum(c.rows for c in census.values())
    msg = (
        f"{total} of {rows} rows have no reward that the export could call ({', '.join(sources)}): {told}. "
        "--unscored skip leaves them out, --unscored keep exports them without a reward"
        + ("" if options.with_models else ", --with-models adds the judge and the reward models of the release")
    )
    raise ExportError(msg)
