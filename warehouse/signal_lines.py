"""Scores that trainers elsewhere logged, as rows of `training_signals`.

The reward function of an export appends a line of JSON a response (`training_run_id`, `release_id`, `step` where known,
`prompt_id`, `sample`, `reward`, `source`, `status`, `worker`); `kl`, `advantage_mean`, `response_tokens` and
`policy_id` are taken where somebody adds them, other fields are ignored. A step that is not known is step 0: all
samples of the prompt in this training are then one visit. A line that cannot be used is counted with its reason.

`sample` counts within the process that scored (`worker`), in the table within the training, step and prompt, over
workers in order of their names. So a file that has grown may number the samples of another one anew, and what is known
of a step and prompt is replaced as a whole.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from warehouse.schemas import TRAINING_SIGNALS, conform
from warehouse.training_signals import OtherSignalsError, keep_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from warehouse.store import Store

SHOWN = 10
_CHUNK = 100_000
_ID = re.compile(r"[0-9a-f]{32}")
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@=+-]{0,99}")  # it names a lock, too
_KEY = ["training_run_id", "step", "prompt_id"]
_COLUMNS = {**TRAINING_SIGNALS.columns, "worker": pl.String}


class SignalsError(ValueError):
    """A file of signals cannot be read, or holds none; the message says which and why."""


@dataclass
class Signals:
    """What some files held.

    Attributes:
        frame: rows with the columns of `training_signals`, sorted by its key.
        rejected: reason -> lines that could not be used.
        examples: the first of them, as `file:line: reason`.
    """

    frame: pl.DataFrame
    rejected: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)


def read_signals(files: Sequence[Path]) -> Signals:
    """Read JSON lines; see the module for what they hold.

    Reasons for a rejection: `not_json`, `not_an_object`, `bad_NAME` of a field, and `duplicate`: the same worker
    logged the same sample before.

    Raises:
        SignalsError: a file cannot be opened.
    """
    rejected: Counter[str] = Counter()
    examples: list[str] = []
    frames = [pl.DataFrame(schema=_COLUMNS)]
    rows: list[dict[str, Any]] = []
    seen: set[tuple[Any, ...]] = set()
    for where, line in _lines(files):
        reason, row = _row(line)
        if row is not None:
            key = (row["training_run_id"], row["step"], row["prompt_id"], row["worker"], row["sample"])
            if key in seen:
                reason, row = "duplicate", None
            else:
                seen.add(key)
        if row is None:
            rejected[reason] += 1
            if len(examples) < SHOWN:
                examples.append(f"{where}: {reason}")
            continue
        rows.append(row)
        if len(rows) == _CHUNK:
            frames.append(pl.DataFrame(rows, schema=_COLUMNS))
            rows = []
    frames.append(pl.DataFrame(rows, schema=_COLUMNS))
    return Signals(_numbered(pl.concat(frames)), dict(sorted(rejected.items())), examples)


def import_signals(store: Store, signals: Signals) -> dict[str, int]:
    """Put signals into the table, a commit a training; return training -> rows that it then has.

    All files of a training are to be given together, since samples are counted over them; the same ones again change
    nothing, and those that have grown since add what is new. Where what is known would be lost nothing is imported.

    Raises:
        SignalsError: there is nothing to import, a training names several releases, or rewards that are known of a step
            and prompt are not among those that are given for it.
    """
    if signals.frame.is_empty():
        told = "; ".join(signals.examples) or "the files are empty"
        msg = f"no line is a signal of a training: {told}"
        raise SignalsError(msg)
    try:
        commits = keep_signals(store, signals.frame, counted=True)
    except OtherSignalsError as error:
        msg = (
            f"{error}, and would be lost; nothing was imported. Give all files of a training together. If these are of "
            "another training, it has the same name: each needs a PREPPO_TRAINING_RUN_ID of its own"
        )
        raise SignalsError(msg) from None
    except ValueError as error:
        msg = f"{error}: each needs a PREPPO_TRAINING_RUN_ID of its own"
        raise SignalsError(msg) from None
    return {commit.variant: commit.counts["rows"] for commit in commits}


def _lines(files: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    for path in files:
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield f"{path}:{number}", line
        except OSError as error:
            msg = f"{path}: {error.strerror or error}"
            raise SignalsError(msg) from None


def _row(line: bytes) -> tuple[str, dict[str, Any] | None]:
    """Return a line as a row, or the reason why it is none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return "not_json", None
    if not isinstance(value, dict):
        return "not_an_object", None
    for name, good in _FIELDS.items():
        if not good(value.get(name)):
            return f"bad_{name}", None
    row = {name: value.get(name) for name in _COLUMNS}
    row["worker"] = row["worker"] or ""
    return "", row


def _numbered(frame: pl.DataFrame) -> pl.DataFrame:
    """Count samples within training, step and prompt."""
    if frame.is_empty():
        return conform(TRAINING_SIGNALS, frame.drop("worker"))
    ordered = frame.with_columns(pl.col("step").fill_null(0)).sort([*_KEY, "worker", "sample"])
    counted = ordered.with_columns(sample=pl.int_range(pl.len(), dtype=pl.Int64).over(_KEY))
    return conform(TRAINING_SIGNALS, counted.drop("worker")).sort([*_KEY, "sample"])


def _text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 1000 and "\0" not in value and value.isprintable()


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


def _number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


def _id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _run(value: object) -> bool:
    return isinstance(value, str) and _RUN.fullmatch(value) is not None


def _or_null(good: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or good(value)


_FIELDS: dict[str, Callable[[object], bool]] = {
    "training_run_id": _run,
    "prompt_id": _id,
    "sample": _count,
    "step": _or_null(_count),
    "reward": _or_null(_number),
    "source": _or_null(_text),
    "status": _or_null(_text),
    "release_id": _id,
    "policy_id": _or_null(_text),
    "kl": _or_null(_number),
    "advantage_mean": _or_null(_number),
    "response_tokens": _or_null(_count),
    "worker": _or_null(_text),
}


def summary(rejected: dict[str, int]) -> str:
    """Return the rejections as text, empty where there are none."""
    return ", ".join(f"{count} {reason}" for reason, count in rejected.items())
