"""When a result is the expected one, for golds of the kind `calls`."""

import json
import math
from collections import Counter
from typing import Any


def same(got: Any, expected: Any, options: dict[str, Any]) -> bool:
    """Whether a result is the expected one.

    The expected value is JSON: a tuple is a list there, and the keys of a dict are texts. Booleans are no numbers.
    An expected integer must be met exactly, by an int or a float; an expected float within `rel_tol` (1e-6) of it or
    `abs_tol` (1e-9). Where the gold states a tolerance, it holds for every pair of which one is a float. `unordered`
    compares the outermost list as a multiset, `"deep"` the lists in it too.
    """
    unordered = options.get("unordered")
    if isinstance(expected, list):
        if unordered and isinstance(got, list | tuple | set | frozenset):
            inner = options if unordered == "deep" else {**options, "unordered": False}
            return _same_unordered(list(got), expected, inner)
        return (
            isinstance(got, list | tuple)
            and len(got) == len(expected)
            and all(same(left, right, _inner(options)) for left, right in zip(got, expected, strict=True))
        )
    if isinstance(expected, dict):
        if not isinstance(got, dict) or len(got) != len(expected):
            return False
        texts = {key if isinstance(key, str) else _key(key): item for key, item in got.items()}
        inner = _inner(options)
        return texts.keys() == expected.keys() and all(same(texts[key], expected[key], inner) for key in expected)
    if type(expected) in (int, float):
        return type(got) in (int, float) and _same_number(got, expected, options)
    return type(got) is type(expected) and bool(got == expected)


def _inner(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options for what a container holds."""
    return {**options, "unordered": False} if options.get("unordered") is True else options


def _same_number(got: float, expected: float, options: dict[str, Any]) -> bool:
    if got == expected:
        return True
    if type(got) is int and type(expected) is int:
        return False
    if type(expected) is int and not ("rel_tol" in options or "abs_tol" in options):
        return False
    try:
        difference, scale = abs(got - expected), abs(expected)
    except OverflowError:
        return False
    if not math.isfinite(difference):
        return False
    return bool(difference <= max(options.get("rel_tol", 1e-6) * scale, options.get("abs_tol", 1e-9)))


def _key(key: Any) -> str:
    return {True: "true", False: "false", None: "null"}[key] if isinstance(key, bool | None) else str(key)


def _same_unordered(got: list[Any], expected: list[Any], options: dict[str, Any]) -> bool:
    """Compare multisets: what is equal as it stands is set aside, then numbers by size, then all else pair by pair."""
    if len(got) != len(expected):
        return False
    wanted = Counter(map(_text, expected))
    rest = []
    for item in got:
        text = _text(item)
        if wanted[text] > 0:
            wanted[text] -= 1
        else:
            rest.append(item)
    left = []
    for item in expected:
        if wanted[_text(item)] > 0:
            wanted[_text(item)] -= 1
            left.append(item)
    if all(type(item) in (int, float) for item in (*rest, *left)):
        if any(math.isnan(item) for item in rest):
            return False
        # Intervals around ordered numbers are ordered by both ends, so if any pairing holds, this one does.
        return all(same(one, other, options) for one, other in zip(sorted(rest), sorted(left), strict=True))
    return _matched(rest, left, options)


def _matched(got: list[Any], expected: list[Any], options: dict[str, Any]) -> bool:
    """Whether all items can be paired (Kuhn's algorithm: an item may take the place of one that finds another)."""
    fits: list[list[int]] = []
    for item in got:
        fits.append([place for place, want in enumerate(expected) if same(item, want, options)])
        if not fits[-1]:
            return False
    taken: dict[int, int] = {}

    def place(item: int, tried: set[int]) -> bool:
        for at in fits[item]:
            if at not in tried:
                tried.add(at)
                if at not in taken or place(taken[at], tried):
                    taken[at] = item
                    return True
        return False

    return all(place(item, set()) for item in range(len(got)))


def _text(value: Any) -> str:
    """Return a text that equal plain values share. Those of unequal ones differ."""
    if isinstance(value, tuple):
        value = list(value)
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError):
        return f"{type(value).__name__} {id(value)}"
