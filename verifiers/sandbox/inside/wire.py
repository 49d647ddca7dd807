"""Plain data on a pipe between the test program and the solution: one JSON line a message.

JSON's own types carry themselves; every JSON object is a tag, `{"t": type, "v": value}`, for the other plain types of
Python. Subclasses travel as their base type, so no override of the solution's reaches the test program. What is not
plain data travels as a number, `{"t": "ref"}`, that the solution's side can look up.
"""

import json
import math
from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_LINE = 16 << 20
MAX_ITEMS = 1_000_000
MAX_DEPTH = 100
MAX_BITS = 200_000
_SMALL = 1 << 53


class NotPlain(Exception):
    """A value cannot be sent."""


def encode(value: Any, reference: Callable[[Any], int] | None = None) -> Any:
    """Return `value` as JSON data. `reference` numbers what is not plain data; without it that is refused.

    Raises:
        NotPlain: not plain data, more than `MAX_ITEMS` items, or nested deeper than `MAX_DEPTH`.
    """
    return _Encoder(reference).encode(value, 0)


class _Encoder:
    def __init__(self, reference: Callable[[Any], int] | None) -> None:
        self.reference = reference
        self.items = 0

    def encode(self, value: Any, depth: int) -> Any:
        if value is None or value is True or value is False:
            return value
        self.items += 1
        if self.items > MAX_ITEMS or depth > MAX_DEPTH:
            raise NotPlain("too many items" if self.items > MAX_ITEMS else "nested too deep")
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
        for base, name in _SEQUENCES:
            if isinstance(value, base):
                items = [self.encode(item, depth + 1) for item in base.__iter__(value)]
                return items if name == "list" else {"t": name, "v": items}
        if isinstance(value, dict):
            pairs = [[self.encode(key, depth + 1), self.encode(item, depth + 1)] for key, item in dict.items(value)]
            return {"t": "dict", "v": pairs}
        return self._rare(value, depth)

    def _rare(self, value: Any, depth: int) -> Any:
        if isinstance(value, bytes | bytearray):
            return {"t": type(value).__mro__[-2].__name__, "v": bytes(value).hex()}
        if isinstance(value, complex):
            return {"t": "complex", "v": [self.encode(value.real, depth), self.encode(value.imag, depth)]}
        if isinstance(value, range):
            return {"t": "range", "v": [self.encode(end, depth) for end in (value.start, value.stop, value.step)]}
        if isinstance(value, Fraction):
            return {"t": "fraction", "v": [self.encode(value.numerator, depth), self.encode(value.denominator, depth)]}
        if isinstance(value, Decimal):
            return {"t": "decimal", "v": Decimal.__str__(value)}
        if type(value).__module__ == "numpy":
            return self._numpy(value, depth)
        if isinstance(value, Iterator) and self.reference is not None:
            items = []
            for item in value:
                items.append(self.encode(item, depth + 1))
                if self.items > MAX_ITEMS:
                    raise NotPlain("an iterator without end")
            return {"t": "iterator", "v": items}
        if self.reference is None:
            raise NotPlain(f"a value of type {type(value).__name__}")
        return {"t": "ref", "v": self.reference(value), "k": type(value).__name__[:80]}

    def _numpy(self, value: Any, depth: int) -> Any:
        if hasattr(value, "ndim") and value.ndim > 0:
            return {"t": "array", "v": self.encode(value.tolist(), depth + 1), "k": str(value.dtype)}
        return self.encode(value.item(), depth + 1)


_SEQUENCES: tuple[tuple[Any, str], ...] = (
    (list, "list"),
    (tuple, "tuple"),
    (set, "set"),
    (frozenset, "frozenset"),
    (deque, "deque"),
    (type({}.keys()), "list"),
    (type({}.values()), "list"),
    (type({}.items()), "list"),
)
_DECODED: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": deque,
    "iterator": iter,
    "dict": dict,
    "range": lambda ends: range(*ends),
    "complex": lambda parts: complex(*parts),
    "fraction": lambda parts: Fraction(*parts),
}


def decode(data: Any, reference: Callable[[int, str], Any]) -> Any:
    """Return the value of JSON data made by `encode`. `reference` makes what stands for a number.

    Raises:
        Exception: the data was not made by `encode`; any exception means so.
    """
    if isinstance(data, list):
        return [decode(item, reference) for item in data]
    if not isinstance(data, dict):
        if isinstance(data, int) and data.bit_length() > MAX_BITS:
            raise NotPlain("an integer too long")
        return data
    tag, value = data["t"], data["v"]
    if tag == "int":
        if len(value) > MAX_BITS // 4 + 3:
            raise NotPlain("an integer too long")
        return int(value, 16)
    if tag == "float":
        return {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[value]
    if tag in ("bytes", "bytearray"):
        raw = bytes.fromhex(value)
        return raw if tag == "bytes" else bytearray(raw)
    if tag == "decimal":
        return Decimal(value[:10_000])
    if tag == "ref":
        return reference(int(value), str(data["k"]))
    if tag == "array":
        import numpy  # only where an array was sent, so numpy is there

        return numpy.array(decode(value, reference), dtype=data["k"])
    return _DECODED[tag]([decode(item, reference) for item in value])


def dump(message: Any) -> bytes:
    """Return one message as a line."""
    return json.dumps(message, allow_nan=False).encode() + b"\n"


def load(line: bytes) -> Any:
    """Return the message of a line."""
    return json.loads(line)
