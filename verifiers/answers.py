r"""The shape of an answer: a value, a list, a set, an ordered tuple or interval, a union, a matrix, a relation.

`read` splits a tidy text into these, down to leaves that are single values; what the leaves mean is decided in
equality.py. Shapes are told apart by their brackets alone, so that reading never needs a parser of mathematics.
"""

import re
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from verifiers import algebra
from verifiers.formulas import UNICODE, read_form
from verifiers.numerals import Number, canonical, parse_number, split_unit, tidy
from verifiers.prose import alternatives

MAX_ITEMS = 256
_MAX_DEPTH = 8


class Leaf(NamedTuple):
    """One value.

    Attributes:
        text: the value without name and unit.
        name: of `name = value`, else empty.
        unit: words after the value, else empty.
        number: the value when the text is one number.
    """

    text: str
    name: str = ""
    unit: str = ""
    number: Number | None = None


class Group(NamedTuple):
    """Several values.

    Attributes:
        kind: `list` (bare), `set`, `union`, `ratio`, `matrix`, or the two brackets of something ordered, such as `(]`.
        items: the values; rows of a matrix are groups of kind `row`.
        name: of `name = values`, else empty.
    """

    kind: str
    items: "tuple[Value, ...]"
    name: str = ""

    @property
    def ordered(self) -> bool:
        """Whether this is a tuple or an interval."""
        return len(self.kind) == 2


class Chain(NamedTuple):
    """Values with relations between them: `1 < x`, `x^2 + y^2 = 1`. `signs` are `=`, `<`, `<=`, `>`, `>=`, `!=`."""

    values: tuple[str, ...]
    signs: tuple[str, ...]


class Refused(NamedTuple):
    """A text that is no answer, whatever the gold, and why."""

    reason: str


Value = Leaf | Group | Chain | Refused

INFINITY, MINUS_INFINITY = Leaf("\\infty"), Leaf("-\\infty")
REALS = Group("()", (MINUS_INFINITY, INFINITY))

_PLAIN_SQRT = re.compile(r"(?<![\\A-Za-z])sqrt ?(?:\(([^()]*)\)|\{([^{}]*)\})")
_PLAIN_COMMAND = re.compile(
    r"(?<![\\A-Za-z])(?:(?P<bare>pi)(?![A-Za-z])|infinity(?![A-Za-z])"
    r"|(?P<function>(?:arc)?(?:sin|cos|tan|cot|sec|csc)|ln|log|exp)(?=[ (_^0-9\\]))"
)
_EXCEPT = re.compile(
    r"(?:\\mathbb ?\{R\}|\\mathbb ?R|\(-\\infty, ?\+?\\infty\)) ?(?:\\setminus|\\backslash|-) ?\\\{(.*)\\\}"
)
_SET_BUILDER = re.compile(
    r"\\\{ ?[A-Za-z](?: ?\\in ?\\mathbb ?(?:\{R\}|R))? ?(?:\\mid(?![A-Za-z])|[|:]) ?(?P<condition>[^|:]*)\\\}"
)
_REALS = re.compile(r"\\mathbb ?(?:\{R\}|R)|\\R|ℝ")
_EMPTY = re.compile(r"\\emptyset|\\varnothing|∅|\\\{ ?\\\}")
_MEMBER = re.compile(r"(?:([A-Za-z])|\([A-Za-z](?:_[0-9])?(?:, ?[A-Za-z](?:_[0-9])?)*\)) ?\\in(?![A-Za-z]) ?")
_UNION = re.compile(r"\\cup(?![A-Za-z])")
_MATRIX = re.compile(r"\\begin\{(?P<kind>[pb]?matrix|array)\}(?:\{[clr|]*\})?(?P<rows>.*)\\end\{(?P=kind)\}", re.DOTALL)
_TUPLE_OF_NAMES = re.compile(r"\(([A-Za-z](?:, ?[A-Za-z])*)\)")
# `x =`, `f(2) =`, `\\angle ABC =`, `Total cost =` name a value; `2x =`, `x^2 =` and `\\frac{x}{2} =` do not give one.
_NAME = re.compile(r"\|[A-Z]{2}\||\\overline ?\{[A-Z]{2}\}|\\?[A-Za-z][A-Za-z0-9_'{}\\ ]*(?:\([^()=]*\))?")
_NO_NAME = re.compile(
    r"\\(?:[dt]?frac|sqrt|pi(?![A-Za-z])|cdot|times|div|pm|sum|int|prod|lim|log|ln|lg|exp|sin|cos|tan|cot|sec|csc|arc)"
    r"|\\(?:lnot|neg|not)(?![A-Za-z])|\bnot\b",
    re.IGNORECASE,
)
_SIGN = re.compile(r"(?<![:\\])=|[<>]=?|\\(?:leqslant|geqslant|leq|geq|le|ge|lt|gt|neq|ne)(?![A-Za-z])")
_SIGNS = {"\\le": "<=", "\\leq": "<=", "\\leqslant": "<=", "\\lt": "<", "\\ge": ">=", "\\geq": ">=", "\\gt": ">"} | {
    "\\geqslant": ">=", "\\ne": "!=", "\\neq": "!="
}  # fmt: skip
_PAIRS = {"(": ")", "[": "]", "\\{": "\\}", "\\langle": "\\rangle", "\\lbrace": "\\rbrace"}
_PERCENT_FACTORS = (Fraction(1), Fraction(100), Fraction(1, 100))
_OPENING = re.compile(r"\\\{|\\langle|\\lbrace|[(\[]")
_CLOSING = re.compile(r"(?:\\\}|\\rangle|\\rbrace|[)\]])$")
_COMMA, _COLON = re.compile("[,;]"), re.compile(":")
_LEVEL = re.compile(r"[(\[{]|[)\]}]|\\langle|\\rangle")


@lru_cache(maxsize=1 << 13)
def read(text: str, depth: int = 0) -> Value:
    """Return the shape of a tidy text."""
    if text.isascii():
        number = parse_number(text)
        if number is not None:
            return _number_leaf(text, number)
    text = _with_commands(text.translate(UNICODE)).strip()
    if depth > _MAX_DEPTH:
        return Leaf(text)
    if member := _MEMBER.match(text):
        found = read(tidy(text[member.end() :]), depth + 1)
        return found._replace(name=member[1]) if isinstance(found, Group) and member[1] else found
    if _REALS.fullmatch(text):
        return REALS
    if _EMPTY.fullmatch(text):
        return Group("set", ())
    for reader in (_matrix, _all_except, _bracketed, _list, _union, _plus_minus, _relation, _ratio):
        shape = reader(text, depth)
        if shape is not None:
            return shape
    number = parse_number(text)
    if number is not None:
        return _number_leaf(text, number)
    value, unit = split_unit(text)
    return Leaf(re.sub(r"^\+ ?", "", value), "", unit)


def _number_leaf(text: str, number: Number) -> Leaf:
    # Without words: they would be read as a product of letters.
    plain = text if re.fullmatch(r"[^A-Za-z$%]*|-?\\frac[^A-Za-z]*", text) else canonical(number._replace(unit=""))
    return Leaf(plain, "", number.unit, number)


def _with_commands(text: str) -> str:
    """Write plain sqrt(x), sin(x), pi and infinity as commands."""
    text = _PLAIN_SQRT.sub(r"\\sqrt{\1\2}", text)
    return _PLAIN_COMMAND.sub(
        lambda match: "\\pi " if match["bare"] else "\\infty " if match["function"] is None else f"\\{match[0]}", text
    )


def condition(text: str) -> str:
    r"""Return the condition of a set of real numbers `\{x \mid x > 1\}`; any other text as it is."""
    match = _SET_BUILDER.fullmatch(text)
    return text if match is None else match["condition"].strip()


def _inner(text: str, depth: int) -> Value:
    return read(tidy(text), depth + 1)


def _matrix(text: str, depth: int) -> Value | None:
    match = _MATRIX.fullmatch(text)
    if match is None or "\\begin" in match["rows"]:
        return None
    rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?", match["rows"].replace("\\hline", "")) if row.strip()]
    return Group("matrix", tuple(Group("row", tuple(_inner(cell, depth) for cell in row.split("&"))) for row in rows))


def _bracketed(text: str, depth: int) -> Value | None:
    opening, closing = _OPENING.match(text), _CLOSING.search(text)
    if opening is None or closing is None or not _one_pair(text, opening.end(), closing.start()):
        return None
    parts = split(text[opening.end() : closing.start()], _COMMA)
    is_set = opening[0] in ("\\{", "\\lbrace")
    if is_set != (closing[0] in ("\\}", "\\rbrace")) or len(parts) > MAX_ITEMS:
        return None
    if len(parts) == 1 and not is_set:
        return None
    if re.search(r"\\mid|[|:]", text):
        return None  # {x | x > 1}
    items = tuple(_inner(part, depth) for part in _thousands(parts))
    if is_set:
        return Group("set", items)
    kind = (opening[0] + closing[0]).replace("\\langle", "(").replace("\\rangle", ")")
    return Group(kind, items)


def _one_pair(text: str, start: int, end: int) -> bool:
    level = 1
    for match in _LEVEL.finditer(text, start, end):
        level += 1 if match[0] in ("(", "[", "{", "\\langle") else -1
        if level == 0:
            return False
    return level == 1


def _thousands(parts: list[str]) -> list[str]:
    """Join "1", "000" again where other commas of the same brackets are followed by a space and this one is not."""
    spaced = [part.startswith((" ", "~", "\\")) for part in parts[1:]]
    if not any(spaced) or all(spaced):
        return parts
    joined = parts[:1]
    for part, space in zip(parts[1:], spaced, strict=True):
        digits = re.fullmatch(r"[0-9]{3}(?:\.[0-9]+)?", part.strip())
        if not space and digits and re.search(r"[0-9]{1,3}$", joined[-1]):
            joined[-1] += "," + part
        else:
            joined.append(part)
    return joined


def split(text: str, separator: re.Pattern[str]) -> list[str]:
    """Split a text at a separator outside all brackets."""
    parts, level, start, position = [], 0, 0, 0
    both = re.compile(f"{_LEVEL.pattern}|{separator.pattern}")
    while (match := both.search(text, position)) is not None:
        position = max(match.end(), position + 1)
        if match[0] in ("(", "[", "{", "\\langle"):
            level += 1
        elif match[0] in (")", "]", "}", "\\rangle"):
            level -= 1
        elif level == 0:
            parts.append(text[start : match.start()])
            start = match.end()
    parts.append(text[start:])
    return parts


def _all_except(text: str, _depth: int) -> Value | None:
    """Read the reals without some rational numbers as a union of intervals."""
    match = _EXCEPT.fullmatch(text)
    if match is None:
        return None
    points = [leaf for part in split(match[1], _COMMA) if isinstance(leaf := read(tidy(part)), Leaf)]
    numbers = {leaf.number.value: leaf for leaf in points if leaf.number is not None}
    if not numbers or len(points) != len(split(match[1], _COMMA)) or len(numbers) != len(points):
        return None
    ends = [MINUS_INFINITY, *(numbers[value] for value in sorted(numbers)), INFINITY]
    return Group("union", tuple(Group("()", pair) for pair in pairwise(ends)))


def _list(text: str, depth: int) -> Value | None:
    parts = alternatives(text)
    if len(parts) < 2 or len(parts) > MAX_ITEMS:
        return None
    items: list[Value] = []
    for part in parts:
        item = read(part, depth + 1)
        previous = items[-1] if items else None
        # n = 2, 5, 13
        if isinstance(item, Leaf) and isinstance(previous, Leaf) and previous.name and not item.name:
            item = item._replace(name=previous.name)
        items.append(item)
    return next((item for item in items if isinstance(item, Refused)), None) or Group("list", tuple(items))


def _union(text: str, depth: int) -> Value | None:
    parts = split(text, _UNION)
    if len(parts) < 2 or len(parts) > MAX_ITEMS:
        return None
    return Group("union", tuple(_inner(part, depth) for part in parts))


def _plus_minus(text: str, depth: int) -> Value | None:
    if text.count("\\pm") != 1 or text.count("\\mp") > 1:
        return None
    name, sign, value = text.rpartition("=")
    if sign and ("\\pm" in name or not _NAME.fullmatch(name.strip())):
        return None
    plus = re.sub(r"\\mp ?", "-", re.sub(r"\\pm ?", "+", value))
    minus = re.sub(r"\\mp ?", "+", re.sub(r"\\pm ?", "-", value))
    return Group("list", (_inner(plus, depth), _inner(minus, depth)), squeezed(name))


def _ratio(text: str, depth: int) -> Value | None:
    if not re.fullmatch(r"[^:]+(?::[^:=]+)+", text):
        return None
    return Group("ratio", tuple(_inner(part, depth) for part in split(text, _COLON)))


def _relation(text: str, depth: int) -> Value | None:
    if not _SIGN.search(text):
        return None
    signs: list[str] = []
    values = split(text, _SIGN)
    position = 0
    for value in values[:-1]:
        position += len(value)
        match = _SIGN.match(text, position)
        if match is None:
            return None
        signs.append(_SIGNS.get(match[0], match[0]))
        position = match.end()
    if not signs:
        return None
    values = [tidy(value) for value in values]
    if not all(values):
        return Refused("a relation without one of its sides")
    if set(signs) != {"="}:
        return Chain(tuple(values), tuple(signs))
    return _equation(values, depth)


def _equation(values: list[str], depth: int) -> Value:
    if any(_identical(left, right) for left, right in pairwise(values)):
        return Refused("an identity says nothing")
    if len(values) == 2 and is_name(values[-1]) and _constant(values[0]):
        values.reverse()  # 5 = x
    constants = [value for value in values if not is_name(value) and _constant(value)]
    ends_in_value = values[-1] in constants
    if ends_in_value and not all(_consistent(value, values[-1]) for value in constants):
        return Refused("a chain of equations that contradicts itself")
    names = _TUPLE_OF_NAMES.fullmatch(values[0])
    found = read(values[-1], depth + 1)
    if names and isinstance(found, Group) and found.ordered:
        return _with_names(found, names[1].replace(" ", "").split(","))
    if is_name(values[0]) and (ends_in_value or len(values) == 2):
        if isinstance(found, Leaf | Group) and not found.name:
            return found._replace(name=squeezed(values[0]))
    elif ends_in_value and len(constants) == len(values):
        return found  # 2 + 3 = 5
    return Chain(tuple(values), ("=",) * (len(values) - 1))


def _with_names(found: Group, names: list[str]) -> Value:
    """Return (x, y) = (1, 2) as the list x = 1, y = 2."""
    items = [item for item in found.items if isinstance(item, Leaf)]
    if len(items) != len(names) or len(items) != len(found.items):
        return found
    return Group("list", tuple(item._replace(name=name) for item, name in zip(items, names, strict=True)))


def is_name(text: str) -> bool:
    """Whether a text is the left side of an equation that gives a value."""
    return _NAME.fullmatch(text) is not None and not _NO_NAME.search(text)


def _identical(left: str, right: str) -> bool:
    if squeezed(left) == squeezed(right):
        return True
    forms = read_form(left), read_form(right)
    if forms[0] is None or forms[1] is None or not algebra.variables(forms[0]):
        return False
    return algebra.equal(forms[0], forms[1])


def _constant(text: str) -> bool:
    if parse_number(text) is not None:
        return True
    form = read_form(text)
    return form is not None and not algebra.variables(form)


def _consistent(value: str, last: str) -> bool:
    """Whether two constants of one chain of equations agree, up to the rounding of the last one and to percent."""
    numbers = parse_number(value), parse_number(last)
    if any(number is not None and number.unit for number in numbers):
        return True  # 5 m = 500 cm
    forms = [
        algebra.constant(number.value) if number else read_form(text)
        for number, text in zip(numbers, (value, last), strict=True)
    ]
    if forms[0] is None or forms[1] is None:
        return True
    if any(algebra.equal(forms[0], algebra.multiply(forms[1], algebra.constant(by))) for by in _PERCENT_FACTORS):
        return True
    places = len(last.partition(".")[2]) if re.fullmatch(r"[^.]*\.[0-9]+", last) else 0
    near = algebra.approximate(algebra.add(forms[0], forms[1], -1))
    return places > 0 and near is not None and abs(near) <= 1.001 * 10.0**-places


def squeezed(text: str) -> str:
    """Remove spaces, which carry no meaning in LaTeX mathematics except after a command and between two words."""
    return re.sub(r"(?<![A-Za-z0-9]) +| +(?![A-Za-z0-9])", "", text)
