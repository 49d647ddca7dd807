"""What is still to be carried out, and what does not show."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.operators import hidden, kinds


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (r"\sum_{i=1}^{10} i", "sum"),
        (r"\prod_i i", "product"),
        (r"\int_0^1 x dx", "integral"),
        (r"\iint f", "integral"),
        (r"\lim_{n} a_n", "limit"),
        (r"\det A", "determinant"),
        (r"\begin{vmatrix} 1 \end{vmatrix}", "determinant"),
        (r"\gcd(4, 6)", "greatest common divisor"),
        ("gcd(4, 6)", "greatest common divisor"),
        ("lcm(4, 6)", "least common multiple"),
        (r"\binom{5}{2}", "binomial"),
        (r"\dbinom{5}{2}", "binomial"),
        (r"5 \choose 2", "binomial"),
        ("C(5, 2)", "binomial"),
        ("_5C_2", "binomial"),
        ("5!", "factorial"),
        (r"7 \bmod 5", "remainder"),
        (r"\lfloor 2.5 \rfloor", "rounding"),
        (r"\max(1, 2)", "extremum"),
        ("|x|", "absolute value"),
        (r"\left|x\right|", "absolute value"),
        (r"\ln 2", "logarithm"),
        ("log 2", "logarithm"),
        (r"\sin x", "trigonometric function"),
        (r"\arctan x", "trigonometric function"),
        (r"\frac{d}{dx} x", "derivative"),
        ("f'(x)", "derivative"),
        (r"1 + \cdots + n", "ellipsis"),
        ("0.333...", "ellipsis"),
        (r"a \Rightarrow b", "implication"),
        (r"x \ne 5", "negation"),
        (r"x \approx 5", "approximation"),
        ("at least 5", "comparison with words"),
        (r"\phantom{5}", "invisible text"),
    ],
)
def test_found(text, kind):
    assert kind in kinds(text)


@pytest.mark.parametrize(
    "text",
    [
        "5",
        r"\frac{1}{2}",
        r"\sqrt[3]{2}",
        "x^2 - 3x + 1",
        "2^{10}",
        r"3 \cdot 4",
        r"\pi",
        r"(1, 2) \cup (3, \infty)",
        r"\{1, 2\}",
        r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
        "x = 5",
        r"x \le 5",
        r"x \in [1, 2)",
        "a_1 + a_2",
        r"\alpha\beta",
        "even",
        "Monday",
        r"\pm 5",
        "e^{x}",
        "5 apples",
        "1,000",
        "50%",
        r"30\unit{°}",
        "n(n+1)",
        "CP",
        r"\theta_1",
    ],
)
def test_arithmetic_powers_and_roots_are_none(text):
    assert kinds(text) == frozenset()


def test_hidden_characters():
    assert not hidden("x² + π ≤ 5 × é ñ 中文 ½")
    for character in "\u200b\u00ad\u202e\ufeff\x00\x1b\ud800\ue000\U000e0035\ufe0f\u2066":
        assert hidden(f"1{character}5")


@given(st.text(max_size=100))
def test_any_text(text):
    kinds(text)
    hidden(text)
