"""Whether a regular expression matches the empty text, decided without ever running it for long.

The tree of a pattern comes from the parser of Python's own `re`. A pattern that needs a character cannot match
the empty text; any other is tried, unless trying could take too many steps.
"""

import math
import re
from re import _constants, _parser  # type: ignore[attr-defined]  # the only parser that reads what `re` reads
from typing import Any

MAX_REPEAT = 1_000
"""Largest stated count of a repetition."""

MAX_PATHS = 1_000_000
"""Ways through a pattern on the empty text, above which it is not tried."""

MAX_CHARACTERS = 10_000_000
"""Characters in all ranges of a pattern together: compiling goes through each of them."""

_REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT)
_LOOKS = (_constants.ASSERT, _constants.ASSERT_NOT)


class TooComplex(ValueError):
    """The pattern repeats more than is allowed, or has too many ways to match nothing."""


def may_match_empty(pattern: str, flags: int, *, full: bool) -> bool:
    """Return whether the pattern matches the empty text, all of it (`full`) or anywhere, which is the same place.

    Raises:
        re.error: the pattern does not compile.
        TooComplex: over `MAX_REPEAT` or `MAX_PATHS`.
    """
    tree = _parser.parse(pattern, flags)
    paths = _paths(tree)
    if _characters(tree) > MAX_CHARACTERS:
        message = "its classes hold too many characters"
        raise TooComplex(message)
    compiled = re.compile(pattern, flags)
    if tree.getwidth()[0] > 0:
        return False
    if paths > MAX_PATHS:
        message = "it has too many ways to match the empty text"
        raise TooComplex(message)
    return (compiled.fullmatch("") if full else compiled.search("")) is not None


def _characters(tree: Any) -> int:
    """Return how many characters all ranges in a tree of tuples and lists hold."""
    if not isinstance(tree, tuple | list | _parser.SubPattern):
        return 0
    if len(tree) == 2 and tree[0] is _constants.RANGE:
        return int(tree[1][1] - tree[1][0])
    return sum(map(_characters, tree))


def _paths(tree: Any) -> float:
    """Return a bound on the ways through a sequence of nodes on the empty text."""
    product = 1.0
    for operator, argument in tree:
        product *= _node_paths(operator, argument)
    return product


def _node_paths(operator: Any, argument: Any) -> float:
    if operator in _REPEATS:
        low, high, body = argument
        if low > MAX_REPEAT or (high is not _constants.MAXREPEAT and high > MAX_REPEAT):
            message = f"it repeats something more than {MAX_REPEAT} times"
            raise TooComplex(message)
        try:
            return 1.0 + math.pow(1.0 + _paths(body), low + 1)
        except OverflowError:
            return math.inf
    if operator is _constants.BRANCH:
        return sum(_paths(branch) for branch in argument[1])
    if operator is _constants.SUBPATTERN:
        return _paths(argument[-1])
    if operator is _constants.ATOMIC_GROUP:
        return _paths(argument)
    if operator in _LOOKS:
        return _paths(argument[1])
    if operator is _constants.GROUPREF_EXISTS:
        return sum(_paths(branch) for branch in argument[1:] if branch is not None)
    return 1.0
