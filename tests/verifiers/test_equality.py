"""Comparing shapes, exactly and in three values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.answers import Chain, Group, Leaf, Refused, read
from verifiers.equality import Asked, Comparison, same
from verifiers.numerals import tidy


def compared(gold, answer, **asked):
    return same(read(tidy(gold)), read(tidy(answer)), Comparison(Asked(**asked)))


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("5", Leaf),
        ("5 cm", Leaf),
        ("x = 5", Leaf),
        ("2 + 3 = 5", Leaf),
        (r"x \pm 1", Group),
        ("1, 2", Group),
        ("1 or 2", Group),
        ("(1, 2)", Group),
        (r"\{1, 2\}", Group),
        (r"(1, 2) \cup (3, 4)", Group),
        (r"\begin{pmatrix} 1 & 2 \end{pmatrix}", Group),
        ("1 : 2", Group),
        (r"\mathbb{R}", Group),
        (r"\emptyset", Group),
        ("x < 2", Chain),
        ("1 < x < 2", Chain),
        ("x^2 + y^2 = 1", Chain),
        ("2x = 10", Chain),
        ("5 = 6", Refused),
        ("x = x", Refused),
        ("0 = 0", Refused),
        ("= 5", Refused),
        ("x + 1 = 1 + x", Refused),
        (r"\{x \mid x > 5\}", Leaf),
        ("(5)", Leaf),
        (r"x \in (1, 2)", Group),
    ],
)
def test_shapes(text, shape):
    assert type(read(tidy(text))) is shape


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("(1, 2)", "(1.0, 4/2)"),
        (r"\mathbb{R} \setminus \{2, 1\}", r"(-\infty,1)\cup(1,2)\cup(2,\infty)"),
        (r"\infty", "infinity"),
        (r"2\sqrt{3}", "2*sqrt(3)"),
        (r"2\pi", "2pi"),
        ("1, 2", "2, 1"),
        (r"\{1, 2\}", r"\{2, 1\}"),
        (r"(1,2)\cup(3,4)", r"(3,4)\cup(1,2)"),
        ("(1, 2, 3)", "[1, 2, 3]"),
        (r"(1,2]\cup(2,3)", "(1, 3)"),
        (r"(-\infty, 1)\cup(2, \infty)", "x < 1 or x > 2"),
        ("x < 2", "2 > x"),
        ("2x < 4", "x < 2"),
        ("-x < 4", "x > -4"),
        ("y = 2x + 1", "2x - y + 1 = 0"),
        ("x^2 + y^2 = 1", "2x^2 + 2y^2 = 2"),
        (r"\pm 5", "5, -5"),
        ("x = 1, y = 2", "(1, 2)"),
        ("x = 1, y = 2", "y = 2, x = 1"),
        ("(x, y) = (1, 2)", "(1, 2)"),
        ("n = 2, 5, 13", "2, 5, 13"),
        (r"\{5\}", "5"),
        ("1 : 5", "1:5"),
        ("1 : 5", "1/5"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix} 1 \\ 2.0 \end{bmatrix}"),
        (r"\langle 1, 2 \rangle", "(1, 2)"),
        (r"[1, 2)", r"1 \le x < 2"),
        ("x \\ne 1", r"(-\infty,1)\cup(1,\infty)"),
        (r"5 \text{ cm}", r"0.05 \text{ m}"),
        ("101_2", "101"),
        ("1,000, 2,000", "1000, 2000"),
        ("(1,000, 2)", "(1000, 2)"),
        (r"\text{Yes}", "yes"),
        (r"\sqrt{8}", r"2\sqrt 2"),
        (r"10/3", "3.33333333"),
        (r"x \in \{1, 2\}", r"\{1, 2\}"),
    ],
)
def test_equal(gold, answer):
    assert compared(gold, answer) is True


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("(1, 2)", "(2, 1)"),
        ("(1, 2)", "[1, 2]"),
        ("1, 2", "(1, 2)"),
        ("2, 2, 3", "2, 3"),
        ("(1, 2, 3)", "[1, 2, 3)"),
        (r"\{1, 2\}", "(1, 2)"),
        (r"(1,2)\cup(2,3)", "(1, 3)"),
        ("x < 2", "x > 2"),
        ("x < 2", r"x \le 2"),
        ("2x < 4", "x > 2"),
        ("x < 2", "y < 2"),
        ("x < 1 or x > 2", "y < 1 or y > 2"),
        ("x < 1 or x > 2", "x < 1 or y > 2"),
        ("x = 5", "y = 5"),
        ("y = 2x + 1", "2x + y + 1 = 0"),
        ("(1, 2)", "y = 1, x = 2"),
        ("[1, 2)", "1, 2"),
        ("5", r"\{5, 6\}"),
        ("1 : 5", "5 : 1"),
        ("3 : 1", "3"),
        (r"x \in \{1, 2\}", r"y \in \{1, 2\}"),
        (r"(-\infty, 1)", r"(\infty, 1)"),
        (r"5 \text{ cm}", r"5 \text{ m}"),
        ("5", r"\infty"),
        ("x^2", "X^2"),
        (r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
        ("May", "yMa"),
        ("x < 2^{-98}", "x < 2^{-99}"),
        ("1/3", "0.33333"),
    ],
)
def test_unequal(gold, answer):
    assert compared(gold, answer) is False


@pytest.mark.parametrize(
    ("gold", "answer"), [(r"\ln 4", r"2\ln 2"), (r"\sqrt 2", "1.414214"), ("(1, e^x)", "(1, e^{x})"), ("5!", "120")]
)
def test_left_to_the_symbolic_comparison(gold, answer):
    assert compared(gold, answer) is None


def test_what_the_prompt_says_decides_about_types():
    assert compared("0.5", r"0.5\%") is False
    assert compared("0.5", r"0.5\%", percent=True) is True
    assert compared("50", r"50\%") is True
    assert compared("50", r"50\%", percent=False) is False
    assert compared("0.5", r"50\%", percent=False) is True
    assert compared("101", "101_2") is False
    assert compared("101", "101_2", base=True) is True
    assert compared("(1, 2)", "1 < x < 2") is False
    assert compared("(1, 2)", "1 < x < 2", interval=True) is True
    assert compared("[1, 2]", "1, 2", interval=False) is True


values = st.recursive(
    st.sampled_from(["1", "2", "0.5", r"\frac{1}{2}", "x", "2x+1", r"\sqrt{2}", r"\pi", "-3", "i", "even"]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda items: "(" + ", ".join(items) + ")"),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: r"\{" + ", ".join(items) + r"\}"),
        st.lists(inner, min_size=2, max_size=3).map(", ".join),
    ),
    max_leaves=5,
)


@given(values)
def test_everything_equals_itself(text):
    assert compared(text, text) is not False


@given(values, values)
def test_equality_is_symmetric_between_answers_of_one_shape(left, right):
    one, other = read(tidy(left)), read(tidy(right))
    if type(one) is type(other) and getattr(one, "kind", "") == getattr(other, "kind", ""):
        assert compared(left, right) == compared(right, left)


@given(st.text(max_size=60), st.text(alphabet="12x,;:()[]{}\\=<> oréandcup", max_size=60))
def test_any_two_texts_are_compared_without_failing(gold, answer):
    for left, right in ((gold, answer), (answer, gold), (answer, answer)):
        assert compared(left, right) in (True, False, None)
