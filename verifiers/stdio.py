"""Whether a program printed what was expected.

Line by line; blanks at the end of a line and blank lines at the end do not count, all else does. With a tolerance,
lines are compared token by token, and two tokens that are decimal numbers agree within it, unless both are integers.
"""

import re
from fractions import Fraction

_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_INTEGER = re.compile(r"[-+]?[0-9]+")
MAX_NUMERAL = 400


def same_output(printed: str, expected: str, compare: dict[str, float]) -> bool:
    """Compare two outputs; `compare` may hold `rel_tol` and `abs_tol`."""
    left, right = _lines(printed), _lines(expected)
    if left == right:
        return True
    if not ("rel_tol" in compare or "abs_tol" in compare) or len(left) != len(right):
        return False
    rel_tol, abs_tol = Fraction(compare.get("rel_tol", 0)), Fraction(compare.get("abs_tol", 0))
    for one, other in zip(left, right, strict=True):
        tokens, wanted = one.split(), other.split()
        if len(tokens) != len(wanted):
            return False
        if not all(_same(token, want, rel_tol, abs_tol) for token, want in zip(tokens, wanted, strict=True)):
            return False
    return True


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same(token: str, expected: str, rel_tol: Fraction, abs_tol: Fraction) -> bool:
    if token == expected:
        return True
    if max(len(token), len(expected)) > MAX_NUMERAL:
        return False
    if not (_NUMBER.fullmatch(token) and _NUMBER.fullmatch(expected)):
        return False
    if _INTEGER.fullmatch(token) and _INTEGER.fullmatch(expected):
        return int(token) == int(expected)
    want = Fraction(expected)
    return abs(Fraction(token) - want) <= max(rel_tol * abs(want), abs_tol)
