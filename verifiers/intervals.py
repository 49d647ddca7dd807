"""Sets of real numbers: what an inequality describes, and unions of intervals in one normal form."""

import re
from fractions import Fraction
from typing import NamedTuple

from verifiers import algebra
from verifiers.answers import INFINITY, MINUS_INFINITY, Chain, Group, Leaf, Value, read
from verifiers.formulas import read_form

FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!="}
"""The relation that holds between two values when they change sides."""


class Piece(NamedTuple):
    """An interval of rationals, or a point; None is infinite."""

    low: Fraction | None
    low_closed: bool
    high: Fraction | None
    high_closed: bool


def merged(parts: tuple[Value, ...]) -> list[Piece] | None:
    """Return the union of intervals and finite sets of rationals as disjoint pieces; None where it is another set."""
    pieces: list[Piece] = []
    for part in parts:
        if not isinstance(part, Group) or (part.ordered and len(part.items) != 2):
            return None
        ends = [_end(item) for item in part.items]
        if None in ends or part.kind not in ("set", "()", "(]", "[)", "[]"):
            return None
        values = [end for end in ends if end is not None]
        if part.kind == "set":
            if any(value is None for (value,) in values):
                return None
            pieces += [Piece(value, True, value, True) for (value,) in values]
        else:
            if part.items[0] == INFINITY or part.items[1] == MINUS_INFINITY:
                return None
            pieces.append(Piece(values[0][0], part.kind[0] == "[", values[1][0], part.kind[1] == "]"))
    pieces.sort(key=lambda piece: (piece.low is not None, piece.low or 0, not piece.low_closed))
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if last is not None and (last.high is None or piece.low is None or _touch(last, piece)):
            joined[-1] = _joined(last, piece)
        else:
            joined.append(piece)
    return joined


def _end(item: Value) -> tuple[Fraction | None] | None:
    if item in (INFINITY, MINUS_INFINITY):
        return (None,)
    if not isinstance(item, Leaf):
        return None
    form = read_form(item.text)
    value = None if form is None else algebra.rational(form)
    return None if value is None else (value,)


def _touch(left: Piece, right: Piece) -> bool:
    assert left.high is not None and right.low is not None
    return right.low < left.high or (right.low == left.high and (left.high_closed or right.low_closed))


def _joined(left: Piece, right: Piece) -> Piece:
    if left.high is None or right.high is None:
        return left._replace(high=None, high_closed=False)
    if left.high == right.high:
        return left._replace(high_closed=left.high_closed or right.high_closed)
    further = max(left, right, key=lambda piece: piece.high or 0)
    return left._replace(high=further.high, high_closed=further.high_closed)


def variables(value: Value) -> set[str]:
    """Return the variable of a relation, or of each in a list: the first side that is a bare one. Empty for a set."""
    chains = value.items if isinstance(value, Group) else (value,)
    found = [next(filter(_is_variable, chain.values), "") for chain in chains if isinstance(chain, Chain)]
    return {name for name in found if name}


def _is_variable(text: str) -> bool:
    return (
        re.fullmatch(r"\\?[A-Za-z]+(?:_\{?[A-Za-z0-9]+\}?)?(?:\([a-z]\))?", text) is not None and text != INFINITY.text
    )


def as_set(value: Value) -> Group | None:
    """Return the set that an inequality in one variable describes, and a set of numbers as it is."""
    if isinstance(value, Group):
        if value.kind != "list":
            return value if value.kind != "matrix" else None
        parts = [as_set(item) for item in value.items if isinstance(item, Chain)]
        known = [part for part in parts if part is not None]
        if len(known) != len(value.items) or len(variables(value)) > 1:
            return None
        return Group(
            "union", tuple(piece for part in known for piece in (part.items if part.kind == "union" else (part,)))
        )
    if not isinstance(value, Chain):
        return None
    values, signs = value.values, value.signs
    if len(values) == 2 and _is_variable(values[1]) and not _is_variable(values[0]):
        values, signs = values[::-1], (FLIPPED[signs[0]],)
    if len(values) == 2 and _is_variable(values[0]):
        end = read(values[1])
        if signs[0] == "!=":
            return Group("union", (Group("()", (MINUS_INFINITY, end)), Group("()", (end, INFINITY))))
        closed = signs[0].endswith("=")
        if signs[0][0] == "<":
            return Group("(]" if closed else "()", (MINUS_INFINITY, end))
        return Group("[)" if closed else "()", (end, INFINITY)) if signs[0][0] == ">" else None
    if len(values) == 3 and _is_variable(values[1]):
        if signs[0][0] == ">":
            values, signs = values[::-1], (FLIPPED[signs[1]], FLIPPED[signs[0]])
        if signs[0][0] == signs[1][0] == "<":
            kind = ("[" if signs[0] == "<=" else "(") + ("]" if signs[1] == "<=" else ")")
            return Group(kind, (read(values[0]), read(values[2])))
    return None
