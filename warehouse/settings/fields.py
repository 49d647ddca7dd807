"""How a value is taken out of a row, and which rows count: what sections about files have in common."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from warehouse.settings.section import Section

Share = Annotated[float, Field(ge=0.0, le=1.0)]


def _regular_expression(value: str | None) -> str | None:
    try:
        re.compile(value or "")
    except re.error as error:
        msg = f"no regular expression: {error}"
        raise ValueError(msg) from None
    return value


class FieldSpec(Section):
    """How one value is taken out of a row.

    Exactly one of `column`, `template`, `value`, `object` is given. `extract` (a regular expression with one group; the
    last match counts), `map` (exact replacements) and `default` (for a null) are applied in this order.
    `index` picks one element where the column holds a list. `column` may be a dotted path into nested objects.
    `parse_json` says that the text found is JSON, to be read as what it stands for (a gold column of JSON text).
    """

    column: str | None = None
    template: str | None = None
    value: Any = None
    object: dict[str, Any] | None = None
    index: int | None = None
    extract: str | None = None
    map: dict[str, Any] | None = None
    parse_json: bool = False
    default: Any = None

    @field_validator("extract")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        return _regular_expression(value)

    @model_validator(mode="after")
    def _one_origin(self) -> FieldSpec:
        origins = [n for n in ("column", "template", "value", "object") if getattr(self, n) is not None]
        if len(origins) != 1:
            msg = f"needs exactly one of column, template, value, object; has {origins or 'none'}"
            raise ValueError(msg)
        return self


def _column(value: Any) -> Any:
    if isinstance(value, str):
        return {"template": value} if "{" in value else {"column": value}
    return value


def _literal(value: Any) -> Any:
    return {"value": value} if isinstance(value, str) else value


ColumnField = Annotated[FieldSpec, BeforeValidator(_column)]  # a bare string names a column, or is a "{template}"
LiteralField = Annotated[FieldSpec, BeforeValidator(_literal)]  # a bare string is the value itself


class Where(Section):
    """Keep a row only if the condition holds. Rows filtered out are counted, never silently lost."""

    column: str
    equals: Any = None
    is_in: list[Any] | None = None
    not_in: list[Any] | None = None
    not_null: bool | None = None
    matches: str | None = None

    @field_validator("matches")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        return _regular_expression(value)
