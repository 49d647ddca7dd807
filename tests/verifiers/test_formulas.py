"""Reading formulas into normal forms."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers import algebra
from verifiers.formulas import read_form


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt2}"),
        ("2^{-98}", "4^{-49}"),
        (r"\frac{3+\sqrt5}{2}", r"1.5+\frac{1}{2}\sqrt{5}"),
        ("(x+1)^2", "x^2+2x+1"),
        (r"\frac{x^2-1}{x-1}", "x+1"),
        ("2+3i", "3i+2"),
        ("(1+i)^2", "2i"),
        (r"1200 - 200 \pi", r"200(6-\pi)"),
        ("x**2", "xx"),
        (r"\sqrt[3]{16}", r"2\sqrt[3]{2}"),
        (r"7 \frac{1}{2}", "7.5"),
        (r"2\frac{\sqrt{3}}{3}", r"\frac{2}{\sqrt 3}"),
        (r"1/(1+\sqrt{2})", r"\sqrt{2}-1"),
        (r"-\frac{1}{2}x", r"-\frac{x}{2}"),
        (r"x^{1/2}", r"\sqrt{x}"),
        ("-2^2", "-4"),
        ("x^-1", "1/x"),
        ("1/i", "-i"),
        (r"\sqrt{-4}", "2i"),
        ("a_1+a_{12}", "a_{12}+a_1"),
        (r"2\cdot -3", "-6"),
        ("1,234x", "1234x"),
        (r"\frac\pi 2", r"\pi/2"),
        (r"2π", r"2\pi"),
        ("√2", r"\sqrt{2}"),
        ("x²", "x^2"),
        ("i+j", "j+i"),
        (r"\sqrt{0}", "0"),
    ],
)
def test_equal(left, right):
    forms = read_form(left), read_form(right)
    assert forms[0] is not None and forms[1] is not None
    assert algebra.equal(*forms)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("x", "X"),
        ("R-r", "0"),
        ("2^{-98}", "2^{-99}"),
        ("x^2", "x^2+10^{-400}"),
        (r"\sqrt{2}", "1.41421356237"),
        (r"\pi", "3.14159265358979"),
        ("2+3i", "2+3j"),
        ("a_1", "a_2"),
        (r"\alpha", r"\beta"),
        (r"\sqrt[3]{2}", r"\sqrt{2}"),
        ("ab", "a+b"),
        ("x^3", "x^{3.0000001}"),
    ],
)
def test_unequal(left, right):
    forms = read_form(left), read_form(right)
    assert forms[0] is not None and forms[1] is not None
    assert not algebra.equal(*forms)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1/2x",
        "f(x)",
        "2 3",
        "x 2",
        "1/0",
        "9^{9^9}",
        "0^0",
        "(x+1)^{9999}",
        "x^y",
        "abc",
        r"3\frac{5}{2}",
        "5!",
        "x_",
        "(" * 50,
        "^",
        "5_6",
        r"\sqrt{x^2}",
        r"\sqrt{xy}",
        r"\sqrt23",
        r"\sin x",
        "x=1",
        "1,2",
        "{",
        "}",
        r"\frac{1}",
        r"\sqrt[-3]{2}",
        "e^x",
        "(-8)^{1/3}",
        "x" * 400,
        "9" * 260,
        r"\unit{cm}",
        "°",
        "٣",
        "5%",
        "2^{-999999999}",
    ],
)
def test_not_read(text):
    assert read_form(text) is None


PIECES = [*"0123456789xyi+-*/^_(){}[]., \\π√²\x00é", r"\frac", r"\sqrt", r"\pi", r"\frac{1}{2}", "x^2"]


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_any_text_is_read_or_not_without_failing(text):
    started = time.perf_counter()
    read_form(text)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    "text",
    [
        "(x+y+z+1)^{23}" * 12,
        "(x+1)" * 55,
        r"\frac{1}{1+" * 18 + "1" + "}" * 18,
        "".join(rf"(1+\sqrt{{{n}}})" for n in range(2, 25)),
        "9^{9999}" * 30,
        r"\sqrt{99999989}" * 15,
        "+".join(f"x^{n}" for n in range(60)),
        "((((x+y)^{9})^{9})^{9})^{9}",
        r"(1+\sqrt[997]{2})^{24}" * 8,
        "-" * 290,
    ],
)
def test_large_formulas_are_given_up_quickly(text):
    started = time.perf_counter()
    read_form(text)
    assert time.perf_counter() - started < 1
