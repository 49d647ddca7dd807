"""Whole numbers in proportion to weights, exactly and in one way only."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def exact(value: float) -> Fraction:
    """Return a setting as the decimal number that its user wrote: 0.1 is a tenth."""
    return Fraction(str(value))


def round_half_up(value: Fraction) -> int:
    """Return the nearest integer, halves upwards."""
    return int((value + Fraction(1, 2)).__floor__())


def apportion(total: int, weights: Mapping[str, int | float]) -> dict[str, int]:
    """Return whole numbers that sum to `total`, in proportion to the weights, by largest remainders.

    Each name gets the integer part of its share; what is left goes one each to the largest remainders, ties by name.
    All zeros where the weights sum to 0.
    """
    exactly = {name: exact(w) for name, w in weights.items()}
    whole = sum(exactly.values(), Fraction(0))
    if whole == 0:
        return dict.fromkeys(weights, 0)
    shares = {name: total * w / whole for name, w in exactly.items()}
    out = {name: int(share.__floor__()) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: (out[name] - shares[name], name))
    for name in by_remainder[: total - sum(out.values())]:
        out[name] += 1
    return out


def apportion_within(total: int, weights: Mapping[str, int | float], room: Mapping[str, int]) -> dict[str, int]:
    """Return `apportion`, but no name gets more than its room; the others take over what it cannot hold.

    The sum is `total`, or all the room there is.
    """
    out = dict.fromkeys(weights, 0)
    open_names = {name: w for name, w in weights.items() if room.get(name, 0) > 0 and w > 0}
    left = total
    while open_names and left > 0:
        shares = apportion(left, open_names)
        full = [name for name in open_names if shares[name] >= room[name]]
        if not full:
            return {**out, **shares}
        for name in full:
            out[name] = room[name]
            left -= room[name]
            del open_names[name]
    return out
