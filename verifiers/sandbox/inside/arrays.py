"""numpy as the tests see it: an empty result is close to nothing.

`numpy.allclose([], 9.0)` is true, because the empty array broadcasts: `return []` would pass every test that compares
numbers so. In the sandbox of the tests, comparisons of something empty with something else do not hold.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

_TRUTHS = ("allclose", "array_equiv")
_ARRAYS = ("isclose",)
_CLAIMS = (
    "assert_allclose",
    "assert_almost_equal",
    "assert_approx_equal",
    "assert_array_almost_equal",
    "assert_array_almost_equal_nulp",
    "assert_array_equal",
    "assert_equal",
)


def guard() -> None:
    """Put the guarded functions into numpy; a second time changes nothing."""
    if hasattr(np.allclose, "guarded"):
        return
    for name in _TRUTHS:
        setattr(np, name, _guarded(getattr(np, name), lambda: False))
    for name in _ARRAYS:
        setattr(np, name, _guarded(getattr(np, name), lambda: np.array([False])))
    for name in _CLAIMS:
        setattr(np.testing, name, _guarded(getattr(np.testing, name), _refuse))


def _refuse() -> None:
    raise AssertionError("one side is empty, the other is not")


def _guarded(function: Callable[..., Any], otherwise: Callable[[], Any]) -> Callable[..., Any]:
    def compare(one: Any, other: Any, *args: Any, **kwargs: Any) -> Any:
        if (np.size(one) == 0) != (np.size(other) == 0):
            return otherwise()
        return function(one, other, *args, **kwargs)

    compare.guarded = True  # type: ignore[attr-defined]
    return compare
