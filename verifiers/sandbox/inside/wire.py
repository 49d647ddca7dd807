"""Plain data on a pipe between the test program and the solution: one JSON line a message.

JSON's own types carry themselves; every JSON object is a tag, `{"t": type, "v": value}`, for the other plain types of
Python. Subclasses travel as their base type, so no override of the solution's reaches the test program. What is not
plain data travels as a number, `{"t": "ref"}`, that the solution's side can look up. Containers that can change are
numbered in the order in which they are complete, arguments and then results: where one comes again it travels as
`{"t": "same"}`, so that what is one object on this side is one on the other too.
"""

import builtins
import json
import math
import re
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

MAX_LINE = 16 << 20
MAX_ITEMS = 1_000_000
MAX_DEPTH = 100
MAX_BITS = 200_000
MAX_RANGE = 10_000_000
MAX_EXPONENT = 10_000
CHUNK = 1_000
"""Items of an iterator that travel at a time."""

_SMALL = 1 << 53
_JSON = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_DTYPE = re.compile(r"bool|u?int(?:8|16|32|64)|float(?:16|32|64)|complex(?:64|128)|<U\d{1,4}|object")


class NotPlain(Exception):
    """A value cannot be sent, or a message was not made by an `Encoder`."""


class Encoder:
    """Turns values into JSON data, within limits on all of one message.

    Args:
        made: the numbered containers so far; more are added to it.
    """

    def __init__(self, made: list[Any] | None = None) -> None:
        self.made = [] if made is None else made
        self.numbers = {id(container): number for number, container in enumerate(self.made)}
        self.items = 0

    def refer(self, value: Any) -> dict[str, Any]:
        """Return what stands for an object that is no plain data."""
        raise NotPlain(f"a value of type {type(value).__name__}")

    def stream(self, iterator: Iterator[Any], depth: int) -> dict[str, Any]:
        """Return the data of an iterator."""
        return {"t": "iterator", "v": [self.encode(item, depth) for item in iterator]}

    def encode(self, value: Any, depth: int = 0) -> Any:
        """Return a value as JSON data.

        Raises:
            NotPlain: more than `MAX_ITEMS` items, nested deeper than `MAX_DEPTH`, too long a number, or no plain data.
        """
        self.items += 1
        if self.items > MAX_ITEMS or depth > MAX_DEPTH:
            raise NotPlain("too many items" if self.items > MAX_ITEMS else "nested too deep")
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, int):
            number = int.__int__(value)
            if number.bit_length() > MAX_BITS:
                raise NotPlain(f"an integer of more than {MAX_BITS} bits")
            return number if -_SMALL < number < _SMALL else {"t": "int", "v": hex(number)}
        if isinstance(value, float):
            real = float.__float__(value)
            return real if math.isfinite(real) else {"t": "float", "v": repr(real)}
        if id(value) in self.numbers:
            return {"t": "same", "v": self.numbers[id(value)]}
        return self.content(value, depth)

    def content(self, value: Any, depth: int = 0) -> Any:
        """Return what a value holds, even if it is numbered."""
        for base, name in _SEQUENCES:
            if isinstance(value, base):
                items = [self.encode(item, depth + 1) for item in base.__iter__(value)]
                if base in _MUTABLE:
                    self._number(value)
                return items if name == "list" else {"t": name, "v": items}
        if isinstance(value, dict):
            pairs = [[self.encode(key, depth + 1), self.encode(item, depth + 1)] for key, item in dict.items(value)]
            self._number(value)
            name = next((name for kind, name in _DICTS if isinstance(value, kind)), "dict")
            return {"t": name, "v": pairs}
        return self._rare(value, depth)

    def _number(self, value: Any) -> None:
        if id(value) not in self.numbers:
            self.numbers[id(value)] = len(self.made)
            self.made.append(value)  # which also keeps its id from being another's

    def _rare(self, value: Any, depth: int) -> Any:
        if isinstance(value, bytes):
            return {"t": "bytes", "v": bytes(value).hex()}
        if isinstance(value, bytearray):
            self._number(value)
            return {"t": "bytearray", "v": bytes(value).hex()}
        if isinstance(value, complex):
            return {"t": "complex", "v": [self.encode(value.real, depth), self.encode(value.imag, depth)]}
        if isinstance(value, range):
            return {"t": "range", "v": [self.encode(end, depth) for end in (value.start, value.stop, value.step)]}
        if isinstance(value, _known("fractions", "Fraction")):
            return {"t": "fraction", "v": [self.encode(value.numerator, depth), self.encode(value.denominator, depth)]}
        if isinstance(value, decimal := _known("decimal", "Decimal")):
            return {"t": "decimal", "v": decimal.__str__(value)}
        if isinstance(value, _VIEWS):
            return {"t": type(value).__name__, "v": [self.encode(item, depth + 1) for item in value]}
        if type(value).__module__ == "numpy":
            return self._numpy(value, depth)
        if type(value).__module__ == "datetime" and (found := _time(value)) is not None:
            return found
        if isinstance(value, re.Match | Match):
            return {
                "t": "match",
                "v": [self.encode(part, depth) for part in (value.span(), value.group(), *value.groups())],
            }
        if isinstance(value, Iterator):
            return self.stream(value, depth + 1)
        if (name := _BUILTIN_TYPES.get(id(value))) is not None:
            return {"t": "type", "v": name}
        return self.refer(value)

    def _numpy(self, value: Any, depth: int) -> Any:
        if hasattr(value, "ndim") and value.ndim > 0:
            data = {"t": "array", "v": self.encode(value.tolist(), depth + 1), "k": str(value.dtype)}
            self._number(value)
            return data
        return self.encode(value.item(), depth + 1) if hasattr(value, "item") else self.refer(value)


_SEQUENCES: tuple[tuple[Any, str], ...] = (
    (list, "list"),
    (tuple, "tuple"),
    (set, "set"),
    (frozenset, "frozenset"),
    (deque, "deque"),
)
_BUILTIN_TYPES = {id(value): name for name, value in vars(builtins).items() if isinstance(value, type)}
_MUTABLE = (list, set, deque)
_DICTS: tuple[tuple[Any, str], ...] = ((OrderedDict, "ordered"), (Counter, "counter"))
_VIEWS: tuple[Any, ...] = (type({}.keys()), type({}.values()), type({}.items()))


class Match:
    """What is kept of a match of a regular expression: enough for its truth, and for what was found where."""

    def __init__(self, parts: list[Any]) -> None:
        self.place, *self.found = parts

    def group(self, number: int = 0) -> Any:
        """Return one group; 0 for all of it."""
        return self.found[number]

    def groups(self) -> tuple[Any, ...]:
        """Return all groups."""
        return tuple(self.found[1:])

    def span(self) -> tuple[int, int]:
        """Return where it begins and ends."""
        start, end = self.place
        return start, end


class _Nothing:
    """A type that no value is of."""


def _known(module: str, name: str) -> Any:
    """Return a type of a module that is imported already, else one of which nothing is: no value can be of it."""
    found = sys.modules.get(module)
    return _Nothing if found is None else getattr(found, name)


def _time(value: Any) -> dict[str, Any] | None:
    kind = type(value).__name__
    if kind == "timedelta":
        return {"t": "timedelta", "v": [value.days, value.seconds, value.microseconds]}
    if (
        kind in ("date", "datetime", "time")
        and getattr(value, "tzinfo", None) is None
        and not getattr(value, "fold", 0)
    ):
        return {"t": kind, "v": value.isoformat()}
    return None


class Decoder:
    """Turns JSON data into values. Whatever it raises means that no `Encoder` made the data.

    Args:
        made: the numbered containers so far; more are added to it.
    """

    def __init__(self, made: list[Any] | None = None) -> None:
        self.made = [] if made is None else made

    def refer(self, data: dict[str, Any]) -> Any:
        """Return what stands for an object of the other side."""
        raise NotPlain(f"a reference to {data['v']}")

    def stream(self, items: list[Any], _data: dict[str, Any]) -> Iterator[Any]:
        """Return an iterator of which the first items have come."""
        return iter(items)

    def decode(self, data: Any) -> Any:
        """Return the value of JSON data."""
        if isinstance(data, list):
            return self._made([self.decode(item) for item in data])
        if not isinstance(data, dict):
            return data
        tag, value = data["t"], data["v"]
        if tag in _PARTS:
            return _PARTS[tag]([self.decode(item) for item in value])
        if tag in _MUTABLE_PARTS:
            return self._made(_MUTABLE_PARTS[tag]([self.decode(item) for item in value]))
        if tag in _PAIRS:
            return self._made(_PAIRS[tag]([(self.decode(key), self.decode(item)) for key, item in value]))
        if tag in _TEXTS:
            return _TEXTS[tag](value)
        if tag == "bytearray":
            return self._made(bytearray.fromhex(value))
        if tag == "iterator":
            return self.stream([self.decode(item) for item in value], data)
        if tag == "ref":
            return self.refer(data)
        if tag == "same":
            return self.made[value]
        if tag == "array":
            return self._made(self._array(value, data["k"]))
        raise NotPlain(f"an unknown type {tag}")

    def content(self, data: Any) -> Any:
        """Return what a container holds that has a number already."""
        value = self.decode(data)
        self.made.pop()
        return value

    def _made(self, value: Any) -> Any:
        self.made.append(value)
        return value

    def _array(self, value: Any, dtype: str) -> Any:
        if not _DTYPE.fullmatch(dtype):
            raise NotPlain(f"an array of {dtype}")
        import numpy  # only where an array was sent, so numpy is there

        return numpy.array(self.decode(value), dtype=dtype)


def _integer(text: str) -> int:
    if len(text) > MAX_BITS // 4 + 3:
        raise NotPlain("an integer too long")
    return int(text, 16)


def _decimal(text: str) -> Any:
    from decimal import Decimal

    number = Decimal(text)
    if number.is_finite() and not (len(text) <= MAX_EXPONENT and abs(number.adjusted()) <= MAX_EXPONENT):
        raise NotPlain("a decimal too long")
    return number


def _type(name: str) -> type:
    found = getattr(builtins, name)
    if not isinstance(found, type):
        raise NotPlain("a type that is none")
    return found


def _range(ends: Iterable[int]) -> range:
    made = range(*ends)
    if max(abs(made.start), abs(made.stop)) >= sys.maxsize or len(made) > MAX_RANGE:
        raise NotPlain("a range too long")
    return made


def _fraction(parts: list[Any]) -> Any:
    from fractions import Fraction

    numerator, denominator = parts
    if not (type(numerator) is int and type(denominator) is int):
        raise NotPlain("a fraction of other than integers")
    return Fraction(numerator, denominator)


def _moment(kind: str) -> Callable[[Any], Any]:
    def made(value: Any) -> Any:
        import datetime

        return datetime.timedelta(*value) if kind == "timedelta" else getattr(datetime, kind).fromisoformat(value)

    return made


_PARTS: dict[str, Callable[[list[Any]], Any]] = {
    "tuple": tuple,
    "frozenset": frozenset,
    "range": _range,
    "complex": lambda parts: complex(*parts),
    "fraction": _fraction,
    "match": Match,
    "dict_keys": lambda items: dict.fromkeys(items).keys(),
    "dict_values": lambda items: dict(enumerate(items)).values(),
    "dict_items": lambda items: dict(items).items(),
}
_MUTABLE_PARTS: dict[str, Callable[[list[Any]], Any]] = {"set": set, "deque": deque}
_PAIRS: dict[str, Callable[[list[Any]], Any]] = {
    "dict": dict,
    "ordered": OrderedDict,
    "counter": lambda pairs: Counter(dict(pairs)),
}
_TEXTS: dict[str, Callable[[Any], Any]] = {
    "int": _integer,
    "float": lambda name: {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[name],
    "bytes": bytes.fromhex,
    "decimal": _decimal,
    "type": _type,
    "timedelta": _moment("timedelta"),
    "date": _moment("date"),
    "datetime": _moment("datetime"),
    "time": _moment("time"),
}


def first(iterator: Iterator[Any]) -> tuple[list[Any], bool]:
    """Return the next items of an iterator, and whether it may have more."""
    items = list(islice(iterator, CHUNK))
    return items, len(items) == CHUNK


def dump(message: Any) -> bytes:
    """Return one message as a line."""
    return _JSON.encode(message).encode() + b"\n"


def load(line: bytes) -> Any:
    """Return the message of a line."""
    return json.loads(line)
