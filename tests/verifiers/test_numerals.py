"""Reading numbers exactly."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.numerals import canonical, parse_number, same_number, tidy


def value(text):
    number = parse_number(tidy(text))
    return None if number is None else number.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 5), ("-5", -5), ("+5", 5), ("5.", 5), (".5", Fraction(1, 2)), ("-.25", Fraction(-1, 4)),
        ("1,600", 1600), ("-$38,000", -38000), ("$-5", -5), (r"\$5.50", Fraction(11, 2)), ("€ 3", 3),
        ("10{,}000", 10000), (r"10\,000", 10000), ("1 000 000", 1000000), (r"900{,}000{,}000", 900000000),
        ("1/2", Fraction(1, 2)), (r"\frac{1}{2}", Fraction(1, 2)), (r"\dfrac12", Fraction(1, 2)),
        (r"-\frac{40}{153}", Fraction(-40, 153)), (r"\frac{-1}{2}", Fraction(-1, 2)), ("1.5/3", Fraction(1, 2)),
        ("1 1/2", Fraction(3, 2)), (r"7 \frac{32}{60}", Fraction(113, 15)), (r"1\frac{1}{10}", Fraction(11, 10)),
        ("1e5", 100000), (r"3 \times 10^{5}", 300000), ("2.5*10^-1", Fraction(1, 4)), ("1.2 x 10^3", 1200),
        ("3.5 million", 3500000), ("-1.8 billion", -1800000000), (r"5 \text{ million}", 5000000), ("2 hundred", 200),
        ("5 apples", 5), ("12 hours/day", 12), ("5cm", 5), ("12 km/h", 12), (r"5 \text{ cm}^2", 5), ("6 (apples)", 6),
        (r"67.5^\circ", Fraction(135, 2)), ("$300$", 300), (r"\(7\)", 7), ("**18**", 18), ("(5)", 5), ("−3", -3),
        (r"\text{5}", 5), ("007", 7), (r"\approx 8.24", Fraction(206, 25)), (r"$\$5$", 5),
    ],
)  # fmt: skip
def test_reads(text, expected):
    assert value(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "5x", "5 x", "3 pi", r"3\pi", "5 or 6", "5 and 6", "5-6", "5, 6", "10 + 2", "2^10", "5!", "x=5",
        "12,34", "1,000,00", "1/0", r"\frac{1}{0}", "0.6666...", "5 dollars and 50 cents", "5 percent of x", "4:30",
        "٣", "५", "½", "five", "1e999999", "1e5000", "9" * 300, "0." + "1" * 300, "--5", "5 times as much", "1.2.3",
    ],
)  # fmt: skip
def test_does_not_read(text):
    assert value(text) is None


def test_a_percent_sign_is_kept_apart():
    number = parse_number("50%")
    assert number is not None and number.percent and number.value == 50
    assert parse_number(tidy(r"85.6 \%")) == parse_number("85.6 percent")


@given(st.integers(-(10**30), 10**30))
def test_integers_are_exact_with_and_without_separators(whole):
    assert value(str(whole)) == value(f"{whole:,}") == value(f"${whole:,}$") == whole


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**12), max_value=10**12))
def test_decimals_are_exact(decimal):
    assert value(format(decimal, "f")) == Fraction(decimal)


@given(st.fractions(max_denominator=10**9))
def test_fractions_are_exact_and_canonical_text_reads_back(fraction):
    latex = rf"\frac{{{fraction.numerator}}}{{{fraction.denominator}}}"
    number = parse_number(latex)
    assert number is not None and number.value == fraction
    assert value(canonical(number)) == fraction
    assert canonical(number) == canonical(parse_number(f"{fraction.numerator}/{fraction.denominator}"))


@given(st.text(max_size=60))
def test_any_text_is_tidied_and_read_without_failing(text):
    tidied = tidy(text)
    parse_number(tidied)
    assert tidy(tidied) == tidy(tidy(tidied))


def same(gold, answer):
    return same_number(parse_number(tidy(gold)), parse_number(tidy(answer)))


@given(st.fractions(max_denominator=999), st.fractions(max_denominator=999))
def test_fractions_are_equal_only_when_equal(left, right):
    assert same(str(left), str(right)) == (left == right)


@given(st.decimals(places=6, min_value=0, max_value=1000), st.decimals(places=6, min_value=0, max_value=1000))
def test_decimals_are_equal_only_when_equal(left, right):
    assert same(format(left, "f"), format(right, "f")) == (Decimal(left) == Decimal(right))


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("50", "50%", True), ("0.5", "50%", True), ("50%", "50", True), ("50%", "0.5", True),
        ("0.5", "0.5%", True), ("50", "0.5", False), ("50%", "5000%", False), ("50", "0.5%", False),
        ("1/3", "0.333333", True), ("1/3", "0.33333", False), ("2/3", "0.666667", True), ("2/3", "0.666666", False),
        ("0.333333", "1/3", True), ("1/4", "0.250001", False), ("1", "0.999999999", False),
        ("12", "12.000000000000002", True), ("0.3", "0.30000000000000004", True), ("12", "12.000000000000001", False),
        ("12", "12.0000001", False), ("12345678901234567890", "12345678901234567891", False),
    ],
)  # fmt: skip
def test_the_policy_of_equality(gold, answer, expected):
    assert same(gold, answer) is expected
