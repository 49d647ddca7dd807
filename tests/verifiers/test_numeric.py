"""Numbers within a tolerance."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers import Status
from verifiers.contract import BadGold
from verifiers.numeric import check, parse_gold


@pytest.mark.parametrize(
    ("gold", "response", "status"),
    [
        (3.2, "3.2", "correct"), (3.2, "3.2000001", "correct"), (3.2, "3.201", "incorrect"),
        ("1/3", "0.3333333", "correct"),
        ({"answer": 3.2, "rel_tol": 0.1}, "x = 3.5", "correct"),
        ({"answer": 3.2, "rel_tol": 0}, "3.2000001", "incorrect"),
        ({"answer": 0, "abs_tol": 0.1}, "it is .05", "correct"), ({"answer": 0}, "it is .05", "incorrect"),
        ([1, 2], "2", "correct"), (0.5, "50%", "correct"), (3.2, "three", "unparsed"),
        (5, r"\boxed{\sqrt{25}}", "unparsed"),
        (5, "5 or 6", "unparsed"), (5, "#### 5 apples", "correct"), (5, "x = 5", "correct"),
        ("$1,000", "1000", "correct"), (300000, "3e5", "correct"), (5, "It costs 5 dollars", "correct"),
        (5, "The answer is 5 or so", "correct"), (5, "it is 5km", "correct"), (5, "it is not 5", "unparsed"),
        (5, "The answer is at most 5.", "unparsed"), (5, "it is 5x", "unparsed"), (5, "it is 5e9", "unparsed"),
    ],
)  # fmt: skip
def test_numbers(gold, response, status):
    assert check(response, parse_gold(gold), "").status.value == status


@pytest.mark.parametrize(
    "gold",
    [None, True, "x", "", [], {}, {"answer": "x"}, {"answer": 1, "abs_tol": -1}, {"answer": 1, "rel_tol": "a"},
     {"answer": 1, "rel_tol": 1},
     {"answer": 1, "tol": 1}, float("inf"), "1e999", {"answer": 1, "rel_tol": True}],
)  # fmt: skip
def test_bad_golds(gold):
    with pytest.raises(BadGold):
        parse_gold(gold)


@given(st.integers(-10000, 10000), st.integers(-10000, 10000), st.integers(0, 1000))
def test_the_tolerance_is_exact(gold, answer, tolerance):
    parsed = parse_gold({"answer": gold, "rel_tol": 0, "abs_tol": tolerance / 1000})
    expected = abs(Fraction(gold) - answer) <= Fraction(tolerance, 1000)
    assert (check(f"#### {answer}", parsed, "").status is Status.correct) == expected
