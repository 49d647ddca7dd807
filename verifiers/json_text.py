"""JSON text read strictly: what RFC 8259 leaves open, and what Python's reader lets pass, is refused here.

Refused: NaN and Infinity, a key twice in one object, lone surrogates, a byte-order mark, anything after the
value. Numbers are exact: an integral value is an int however it is written (1.0, 1e2), others are Decimal.
"""

import json
import re
from decimal import Context, Decimal, InvalidOperation
from typing import Any

MAX_LENGTH = 200_000
"""Characters of a document."""

MAX_DEPTH = 64
"""Arrays and objects inside one another."""

MAX_DIGITS = 300
"""Characters of a numeral, and the size of its exponent."""

_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_EXACT = Context(prec=MAX_DIGITS)


class NotJson(ValueError):
    """The text is not JSON; the message says why and where."""


class OverLimit(NotJson):
    """The text may be JSON, but is longer, deeper or has longer numbers than is read."""


def loads(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        OverLimit: over `MAX_LENGTH`, `MAX_DEPTH` or `MAX_DIGITS`.
        NotJson: anything else that is not strictly JSON.
    """
    if len(text) > MAX_LENGTH:
        message = f"limit: a document of more than {MAX_LENGTH} characters"
        raise OverLimit(message)
    if depth(text) > MAX_DEPTH:
        message = f"limit: more than {MAX_DEPTH} arrays and objects inside one another"
        raise OverLimit(message)
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_number, parse_float=_number
        )
    except NotJson:
        raise
    except ValueError as error:
        raise NotJson(str(error)) from None
    if not text.isascii() or "\\u" in text:
        _refuse_surrogates(value)
    return value


def depth(text: str) -> int:
    """Return how many brackets are open at once at most, those in strings left out."""
    deepest = level = 0
    for match in _STRUCTURE.finditer(text):
        if match[0] in "[{":
            level += 1
            deepest = max(deepest, level)
        elif match[0] in "]}":
            level -= 1
    return deepest


def exact(value: Any) -> Any:
    """Return a value that Python's own reader made, with its doubles as the numbers they print as."""
    if isinstance(value, float):
        return _number(repr(value))
    if isinstance(value, list):
        return [exact(item) for item in value]
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    return value


def canonical(value: Any) -> str:
    """Return one text for each value: sorted keys, no blanks, numbers in one form."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{_text(key)}:{canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, Decimal):
        return str(value).lower()
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            message = f"the key {key[:60]!r} comes twice in one object"
            raise NotJson(message)
        found[key] = value
    return found


def _refuse_surrogates(value: Any) -> None:
    if isinstance(value, str):
        if _SURROGATE.search(value):
            message = "half of a surrogate pair in a string"
            raise NotJson(message)
    elif isinstance(value, list | dict):
        for item in value:
            _refuse_surrogates(item)
        if isinstance(value, dict):
            _refuse_surrogates(list(value.values()))


def _constant(name: str) -> Any:
    message = f"{name} is no JSON value"
    raise NotJson(message)


def _number(numeral: str) -> int | Decimal:
    if len(numeral) > MAX_DIGITS:
        message = f"limit: a number of more than {MAX_DIGITS} characters"
        raise OverLimit(message)
    if numeral.lstrip("-").isdigit():
        return int(numeral)
    try:
        number = Decimal(numeral)
    except InvalidOperation:  # an exponent beyond what the library knows
        number = Decimal("inf")
    if number.is_infinite() or (number and abs(number.adjusted()) > MAX_DIGITS):
        message = f"limit: a number with an exponent of more than {MAX_DIGITS}"
        raise OverLimit(message)
    number = number.normalize(_EXACT)
    return int(number) if number == number.to_integral_value() else number
