"""Where people overrule: a JSONL file, one word of one person about one prompt a line."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import polars as pl

from warehouse.schemas import DECISIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OVERRIDES = pl.Schema(
    {
        "prompt_id": pl.String,
        "field": pl.String,
        "value": pl.String,
        "who": pl.String,
        "why": pl.String,
        "line": pl.Int64,
    }
)
KEYS = ("prompt_id", "field", "value", "who", "why")


class OverrideError(ValueError):
    """The overrides file cannot be used; the message names the line and what to do."""


def _no_constant(name: str) -> Any:
    msg = f"{name} is no JSON value"
    raise ValueError(msg)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _one_of(*allowed: str) -> Callable[[Any], bool]:
    return lambda value: value in allowed


FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "selected": (_is_bool, "true or false"),
    "suspect_gold": (_is_bool, "true or false"),
    "domain": (_is_name, "the name of a domain"),
    "verifier": (lambda v: v is None or _is_name(v), "the name of a verifier, or null"),
    "split": (_one_of("train", "heldout"), '"train" or "heldout"'),
    "pool": (_one_of("original", "new", "eval"), '"original", "new" or "eval"'),
    "ground_truth": (lambda _: True, "the ground truth in its verifier's form, or null"),
}
_BOOLEANS = ("selected", "suspect_gold")


def read_overrides(path: Path) -> pl.DataFrame:
    """Return prompt_id, field, value (JSON text), who, why, line; one row per (prompt_id, field), sorted.

    The last line about a prompt's field counts, so the file can be appended to like a log. Empty lines are skipped.

    Raises:
        OverrideError: the first line that cannot be used, by number, or a file that cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = (
            f"cannot read the overrides file {path}: {error}. Fix the path in `overrides` of preppo.toml, or remove it"
        )
        raise OverrideError(msg) from error
    rows = [_row(line, f"{path}, line {n}", n) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    frame = pl.DataFrame(rows, schema=OVERRIDES, orient="row")
    return frame.unique(("prompt_id", "field"), keep="last", maintain_order=True).sort("prompt_id", "field")


def _row(line: str, where: str, number: int) -> tuple[str, str, str, str, str, int]:
    try:
        row = json.loads(line, parse_constant=_no_constant)
        json.dumps(row, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:  # UnicodeEncodeError and JSONDecodeError are ValueErrors
        msg = f"{where}: not JSON that can be used ({error}). Each line is an object with {', '.join(KEYS)}"
        raise OverrideError(msg) from error
    if not isinstance(row, dict) or set(row) != set(KEYS):
        have = sorted(row) if isinstance(row, dict) else type(row).__name__
        msg = f"{where}: has {have}; each line is an object with exactly {', '.join(KEYS)}"
        raise OverrideError(msg)
    for key in ("prompt_id", "who", "why"):
        if not _is_name(row[key]):
            msg = f"{where}: {key} is {row[key]!r}; it must be a text that is not empty"
            raise OverrideError(msg)
    if not re.fullmatch(r"[0-9a-f]{32}", row["prompt_id"]):
        msg = f"{where}: prompt_id {row['prompt_id']!r} is not an id (32 characters of 0-9 and a-f)"
        raise OverrideError(msg)
    if not isinstance(row["field"], str) or row["field"] not in FIELDS:
        msg = f"{where}: field {row['field']!r} cannot be overruled; allowed: {', '.join(FIELDS)}"
        raise OverrideError(msg)
    accepts, wanted = FIELDS[row["field"]]
    if not accepts(row["value"]):
        msg = f"{where}: value {row['value']!r} of {row['field']}; allowed: {wanted}"
        raise OverrideError(msg)
    value = json.dumps(row["value"], ensure_ascii=False, sort_keys=True)
    return row["prompt_id"], row["field"], value, row["who"], row["why"], number


def apply_overrides(frame: pl.DataFrame, overrides: pl.DataFrame) -> pl.DataFrame:
    """Return the frame (prompts, or candidates of a selection) with every applicable override in place.

    `selected` becomes the column override_selected (added, null where nobody spoke). The other fields replace the
    column of their name, where the frame has it. A ground truth becomes JSON text, as the prompts table holds it. The
    order of rows stays.
    """
    out = frame
    if "override_selected" not in out.columns:
        out = out.with_columns(override_selected=pl.lit(None, pl.Boolean))
    for name in FIELDS:
        column = "override_selected" if name == "selected" else name
        said = overrides.filter(pl.col.field == name)
        if column not in out.columns or said.is_empty():
            continue
        said = said.select("prompt_id", said=_decoded(name), spoken=pl.lit(value=True))
        value = pl.when("spoken").then("said").otherwise(column)
        out = (
            out.join(said, on="prompt_id", how="left", maintain_order="left")
            .with_columns(value.alias(column))
            .drop("said", "spoken")
        )
    return out


def _decoded(name: str) -> pl.Expr:
    """Return the value as its column holds it, from JSON text."""
    absent = pl.col.value == "null"
    if name in _BOOLEANS:
        return pl.col.value == "true"
    if name == "ground_truth":
        return pl.when(absent.not_()).then("value")
    return pl.when(absent.not_()).then(pl.col.value.str.json_decode(pl.String))


def override_decisions(
    overrides: pl.DataFrame, policy_hash: str, *, known: pl.Series | None = None, arm: str | None = None
) -> pl.DataFrame:
    """Return the columns of `decisions`, stage "overrides": one row an override, rule "override:<field>".

    The outcome of `selected` is keep or drop, of the others flag. With `known` (prompt ids), an override about a
    prompt that is not among them is flagged as without effect.
    """
    without = (
        overrides["prompt_id"].is_in(known.implode()).not_()
        if known is not None
        else pl.repeat(False, overrides.height, eager=True)
    )
    said = pl.format("{} set to {} by {}: {}", "field", "value", "who", "why")
    choice = pl.when(pl.col.value == "true").then(pl.lit("keep")).otherwise(pl.lit("drop"))
    frame = overrides.with_columns(without=without)
    return frame.select(
        "prompt_id",
        stage=pl.lit("overrides"),
        arm=pl.lit(arm, pl.String),
        rule=pl.format("override:{}", "field"),
        outcome=pl.when((pl.col.field == "selected") & pl.col.without.not_()).then(choice).otherwise(pl.lit("flag")),
        value=pl.when(pl.col.field.is_in(_BOOLEANS)).then((pl.col.value == "true").cast(pl.Float64)),
        threshold=pl.lit(None, pl.Float64),
        detail=pl.when("without").then(pl.format("{} (no such prompt: without effect)", said)).otherwise(said),
        policy_hash=pl.lit(policy_hash),
    ).select(list(DECISIONS.columns))
