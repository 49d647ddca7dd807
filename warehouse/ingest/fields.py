"""Take one value out of a row, as a `FieldSpec` says."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from warehouse.settings import FieldSpec, Where

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][\w .-]*)\}")
_INTS = "|ints"
_INTEGER = re.compile(r"[-+]?\d{1,18}", re.ASCII)


class RowError(Exception):
    """A row cannot be used; `reason_code` is for counting, the message for people."""

    def __init__(self, reason_code: str, message: str) -> None:
        super().__init__(message)
        self.reason_code = reason_code
        self.message = message

    def __reduce__(self) -> tuple[type[RowError], tuple[str, str]]:
        """Travel between processes with both arguments."""
        return RowError, (self.reason_code, self.message)


def getter(spec: FieldSpec | None) -> Callable[[Mapping[str, Any]], Any]:
    """Return `resolve` for one spec; plain columns and constants, most fields, without its detours."""
    if spec is None:
        return lambda _row: None
    steps = (spec.index, spec.extract, spec.map, spec.default)
    if spec.parse_json or any(s is not None for s in steps):
        return lambda row: resolve(spec, row)
    if spec.column is not None:
        name = spec.column
        return lambda row: row[name] if name in row else column(row, name)
    if spec.template is not None:
        template = spec.template
        return lambda row: _fill(template, row)
    return lambda row: _origin(spec, row)


def resolve(spec: FieldSpec | None, row: Mapping[str, Any]) -> Any:
    """Return the value that `spec` describes, or None for a null.

    Raises:
        RowError: `missing_column` where a named column is not in the row; `wrong_type` where `index` meets no list;
            `no_match` where `extract` finds nothing; `unmapped` where `map` does not know the value and there is no
            `default`; `broken_value` where `parse_json` meets no JSON.
    """
    if spec is None:
        return None
    value = _origin(spec, row)
    if value is not None and spec.index is not None:
        value = _element(value, spec)
    if value is not None and spec.extract is not None:
        value = _extract(value, spec)
    if value is not None and spec.map is not None:
        if str(value) in spec.map:
            value = spec.map[str(value)]
        elif spec.default is not None:
            value = spec.default
        else:
            raise RowError("unmapped", f"{value!r} in {_name(spec)} is not among {sorted(spec.map)}")
    if value is not None and spec.parse_json:
        value = _json(value, spec)
    return spec.default if value is None else value


def _name(spec: FieldSpec) -> str:
    return f"template {spec.template!r}" if spec.template is not None else f"column {spec.column!r}"


def _origin(spec: FieldSpec, row: Mapping[str, Any]) -> Any:
    if spec.column is not None:
        return column(row, spec.column)
    if spec.template is not None:
        return _fill(spec.template, row)
    if spec.object is not None:
        return _object(spec.object, row)
    return spec.value


def column(row: Mapping[str, Any], name: str) -> Any:
    """Return a column of a row; a dotted name walks into nested objects. Raises RowError `missing_column`."""
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise RowError("missing_column", f"no column {name!r}; the row has {sorted(map(str, row))}")
        value = value[part]
    return value


def _fill(template: str, row: Mapping[str, Any]) -> str:
    def text(match: re.Match[str]) -> str:
        value = column(row, match[1])
        return "" if value is None else str(value)

    return _PLACEHOLDER.sub(text, template)


def _extract(value: Any, spec: FieldSpec) -> str:
    found = re.findall(spec.extract or "", str(value))
    if not found:
        raise RowError("no_match", f"nothing in {_name(spec)} matches {spec.extract!r}")
    last = found[-1]
    text: str = last[-1] if isinstance(last, tuple) else last
    return text.strip()


def _element(value: Any, spec: FieldSpec) -> Any:
    if not isinstance(value, list) or spec.index is None:
        raise RowError("wrong_type", f"{_name(spec)} should hold a list, holds {type(value).__name__}")
    if not -len(value) <= spec.index < len(value):
        raise RowError("missing_column", f"{_name(spec)} holds {len(value)} items, index {spec.index} is asked")
    return value[spec.index]


def _json(value: Any, spec: FieldSpec) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise RowError("broken_value", f"{_name(spec)} should hold JSON text: {error}") from None


def _object(value: Any, row: Mapping[str, Any]) -> Any:
    """Build a nested object in which a string "$name" stands for the column `name` ("$$" for a dollar sign).

    "$name|ints" stands for the list of whole numbers that the column holds as text, such as "3 4 4 13" or "[3, 4]".
    """
    if isinstance(value, str):
        if value.startswith("$$"):
            return value[1:]
        return _named(value[1:], row) if value.startswith("$") else value
    if isinstance(value, dict):
        return {k: _object(v, row) for k, v in value.items()}
    if isinstance(value, list):
        return [_object(v, row) for v in value]
    return value


def _named(name: str, row: Mapping[str, Any]) -> Any:
    if name in row or not name.endswith(_INTS):
        return column(row, name)
    value = column(row, name.removesuffix(_INTS))
    if value is None:
        return None
    words = re.split(r"[\s,;]+", str(value).strip("[]() \t\n"))
    if not all(_INTEGER.fullmatch(w) for w in words):
        raise RowError("wrong_type", f"column {name.removesuffix(_INTS)!r} should hold whole numbers, holds {value!r}")
    return [int(w) for w in words]


def keep(conditions: list[Where], row: Mapping[str, Any]) -> str | None:
    """Return None where every condition holds, else the first that fails, in words."""
    for c in conditions:
        value = column(row, c.column)
        if c.not_null is not None and (value is not None) != c.not_null:
            return f"{c.column} is {'null' if value is None else 'not null'}"
        if c.equals is not None and value != c.equals:
            return f"{c.column} is not {c.equals!r}"
        if c.is_in is not None and value not in c.is_in:
            return f"{c.column} is not one of {c.is_in}"
        if c.not_in is not None and value in c.not_in:
            return f"{c.column} is one of {c.not_in}"
        if c.matches is not None and not (isinstance(value, str) and re.search(c.matches, value)):
            return f"{c.column} does not match {c.matches!r}"
    return None
