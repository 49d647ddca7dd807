"""Limits on expressions."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.limits import MAX_DEPTH, MAX_LENGTH, balanced, exceeded


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("x" * (MAX_LENGTH + 1), "characters"), ("9" * 201, "digits"), ("1,000" * 60, "digits"),
        ("(" * (MAX_DEPTH + 1) + ")" * (MAX_DEPTH + 1), "deep"), ("2^{10001}", "exponent"), ("2**10001", "exponent"),
        ("9^{9^9}", "exponent"), ("9^9^9", "exponent"), ("10^{10^{10}}", "exponent"), ("x^{5!}", "exponent"),
        ("((10^{100})^{100})^{100}", "exponent"), ("2^{200 \\cdot 300}", "exponent"), ("e^{e^{e^{e^e}}}", "high"),
        ("x^2+" * 61, "powers"), ("5001!", "factorial"), ("9!!", "factorial"), ("(720!)!", "factorial"),
        ("(10^6)!", "factorial"), ("(3000 \\cdot 3)!", "factorial"),
    ],
)  # fmt: skip
def test_over_a_limit(text, limit):
    assert limit in exceeded(text)


@pytest.mark.parametrize(
    "text",
    [
        "2^{10000}", "x^{n+1}", "10^{-5}", "2^{2^{10}}", "2024!", "3!!", "(n+1)!", "x \\neq 3", "5,000!",
        "5^{6.29248125}", "(995^2,994^2)", "2^{2009} \\cdot 3^{1000}", "e^{e^{e^e}}", "x^{100}y^{100}z^{100}", "", "^",
        "!",
    ],
)  # fmt: skip
def test_within_limits(text):
    assert exceeded(text) is None


@given(st.text(alphabet="0123456789^{}()!xe,. *", max_size=600))
def test_any_text_is_judged_quickly(text):
    started = time.perf_counter()
    exceeded(text)
    balanced(text)
    assert time.perf_counter() - started < 1


def test_balanced_braces():
    assert balanced(r"\frac{1}{2}") and balanced(r"\{1, 2\}") and balanced("")
    assert not balanced(r"\frac{1}{2") and not balanced("}{")
