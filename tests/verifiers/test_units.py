"""Units of measurement."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.units import factors, has_degrees, is_radians, readings


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("cm", "m", 100),
        ("cm", "mm", Fraction(1, 10)),
        ("$", "cents", Fraction(1, 100)),
        ("km/h", "mph", Fraction("1.609344")),
        ("m/s", "km per hour", Fraction(5, 18)),
        ("square feet", "ft^2", 1),
        ("cm ^2", "square cm", 1),
        ("hours", "minutes", Fraction(1, 60)),
        ("inches", "feet", 12),
        ("feet tall", "ft", 1),
        ("$ per day", "$", 1),
        ("dollars per apple", "$", 1),
        ("apples", "cm", 1),
        ("", "cm", 1),
        ("°C", "celsius", 1),
        ("pounds", "£", 1),
    ],
)
def test_converted(gold, answer, expected):
    assert expected in factors(gold, answer)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("cm^2", "cm"),
        ("$", "€"),
        ("degrees", "radians"),
        ("days", "years"),
        ("m", "s"),
        ("$", "cm"),
        ("miles per hour", "miles per gallon"),
        ("°C", "°F"),
    ],
)
def test_incomparable(gold, answer):
    assert factors(gold, answer) is None
    assert factors(answer, gold) is None


def test_angles():
    assert has_degrees("°") and has_degrees("degrees") and not has_degrees("cm")
    assert is_radians("radians") and not is_radians("degrees")


KNOWN = [
    "cm",
    "m",
    "km",
    "ft",
    "hours",
    "s",
    "$",
    "cents",
    "kg",
    "lbs",
    "km/h",
    "m^2",
    "square feet",
    "°",
    "per",
    "apples",
]


@given(
    st.lists(st.sampled_from(KNOWN), max_size=4).map(" ".join),
    st.lists(st.sampled_from(KNOWN), max_size=4).map(" ".join),
)
def test_conversion_there_and_back(gold, answer):
    there, back = factors(gold, answer), factors(answer, gold)
    assert (there is None) == (back is None)
    assert there is None or sorted(1 / factor for factor in there) == sorted(back)
    assert 1 in factors(gold, gold)


@given(st.text(max_size=80))
def test_any_words_are_read_or_not_without_failing(words):
    readings(words)
