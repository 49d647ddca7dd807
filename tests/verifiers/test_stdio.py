"""Whether a program printed what was expected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.stdio import MAX_NUMERAL, same_output

NEAR = {"rel_tol": 1e-6}
CASES = [
    ("9\n", "9\n", {}, True),
    ("9", "9\n", {}, True),
    ("9\n\n\n", "9", {}, True),
    ("9  \t\n", "9\n", {}, True),
    ("9\r\n16\r\n", "9\n16\n", {}, True),
    (" 9\n", "9\n", {}, False),
    ("\n9\n", "9\n", {}, False),
    ("9\n\n16\n", "9\n16\n", {}, False),
    ("9 16\n", "9  16\n", {}, False),
    ("9\n16\n", "9 16\n", {}, False),
    ("9\n", "9\n16\n", {}, False),
    ("9\n16\n", "9\n", {}, False),
    ("", "9\n", {}, False),
    ("9.0\n", "9\n", {}, False),
    ("09\n", "9\n", {}, False),
    ("YES\n", "Yes\n", {}, False),
    ("9\0\n", "9\n", {}, False),
    ("\u0669\n", "9\n", {}, False),
    ("\uff19\n", "9\n", {}, False),
    ("\ufeff9\n", "9\n", {}, False),
    ("9\u200b\n", "9\n", {}, False),
    ("0.3333333", "0.33333333", NEAR, True),
    ("0.3333", "0.33333333", NEAR, False),
    ("0.3333333 1", "0.33333333 1", NEAR, True),
    ("0.3333333  1", "0.33333333 1", NEAR, True),
    ("0.3333333 1 2", "0.33333333 1", NEAR, False),
    ("9.0", "9", NEAR, True),
    ("8.9999999", "9", NEAR, True),
    ("1000001", "1000000", NEAR, False),
    ("1000001.0", "1000000", {"rel_tol": 1e-7}, False),
    ("1e0", "1", NEAR, True),
    ("1e999", "1", NEAR, False),
    ("1e9999", "1e9999", NEAR, True),
    ("1e9999", "1e9998", NEAR, False),
    ("nan", "nan", NEAR, True),
    ("nan", "1", NEAR, False),
    ("inf", "1e300", NEAR, False),
    ("0x9", "9", NEAR, False),
    ("1_0", "10", NEAR, False),
    ("9,", "9", NEAR, False),
    ("Case 1: 0.5000000001", "Case 1: 0.5", NEAR, True),
    ("Case 2: 0.5", "Case 1: 0.5", NEAR, False),
    ("0", "0.0000001", NEAR, False),
    ("0", "0.0000001", {"abs_tol": 1e-6}, True),
    ("-0.0", "0.0", NEAR, True),
    ("-1", "1", {"abs_tol": 0.9}, False),
    ("9" * (MAX_NUMERAL + 1) + ".5", "9" * (MAX_NUMERAL + 1) + ".25", NEAR, False),
]


@pytest.mark.parametrize(("printed", "expected", "compare", "equal"), CASES)
def test_cases(printed, expected, compare, equal):
    assert same_output(printed, expected, compare) is equal


@given(st.text(max_size=200))
def test_every_output_is_its_own(text):
    assert same_output(text, text, {})
    assert same_output(text, text, NEAR)
    assert same_output(text + "\n \n", text, {})


@given(
    st.lists(st.text(alphabet="ab1.- ", max_size=9), max_size=5),
    st.lists(st.text(alphabet="ab1.- ", max_size=9), max_size=5),
)
def test_equal_outputs_have_equal_lines(one, other):
    def lines(text):
        found = [line.rstrip() for line in text]
        while found and not found[-1]:
            found.pop()
        return found

    assert same_output("\n".join(one), "\n".join(other), {}) is (lines(one) == lines(other))


@given(st.text(max_size=100), st.text(max_size=100))
def test_any_two_texts_compare_both_ways_alike(one, other):
    assert same_output(one, other, {}) is same_output(other, one, {})
    assert same_output(one, other, NEAR) in (True, False)


@given(st.floats(-1e9, 1e9), st.floats(0, 1e-3), st.floats(-2, 2))
def test_a_tolerance_is_kept(number, tolerance, by):
    moved = number + by * tolerance
    far = abs(moved - number) > tolerance * (1 + 1e-6) + 1e-6
    if same_output(f"{moved:.12f}", f"{number:.12f}", {"abs_tol": tolerance}):
        assert not far


@pytest.mark.parametrize(
    "text", ["1" * 5_000_000, "1 " * 2_000_000, "\n" * 5_000_000, "." * 5_000_000, "1e" * 2_000_000]
)
def test_a_long_output_costs_its_length(text):
    assert same_output(text, text + "x", NEAR) is False
    assert same_output(text, text, NEAR)
