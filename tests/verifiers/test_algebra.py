"""Exact normal forms."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers import algebra
from verifiers.algebra import TooLarge, add, approximate, atom, constant, divide, equal, multiply, power, proportional

small = st.fractions(min_value=-9, max_value=9, max_denominator=9)


def root(number, degree=2):
    return power(constant(number), Fraction(1, degree))


@st.composite
def forms(draw):
    """Return sums of rational multiples of products of roots, π, i and variables."""
    result = constant(0)
    for _ in range(draw(st.integers(0, 3))):
        term = constant(draw(small))
        for factor in draw(
            st.lists(
                st.sampled_from([root(2), root(6), root(5, 3), atom("#pi"), atom("#i"), atom("x"), atom("y")]),
                max_size=2,
            )
        ):
            term = multiply(term, factor)
        result = add(result, term)
    return result


@given(forms(), forms(), forms())
def test_laws_of_a_commutative_ring(a, b, c):
    assert equal(add(a, b), add(b, a)) and equal(multiply(a, b), multiply(b, a))
    assert equal(multiply(a, add(b, c)), add(multiply(a, b), multiply(a, c)))
    assert equal(add(add(a, b), b, -1), a)


@given(forms(), forms())
def test_division_undoes_multiplication(a, b):
    if not b.above:
        with pytest.raises(TooLarge):
            divide(a, b)
    else:
        assert equal(multiply(divide(a, b), b), a)
        assert equal(divide(multiply(a, b), b), a)


@given(forms(), st.integers(0, 4))
def test_powers_are_repeated_products(a, count):
    if not a.above and count == 0:
        return
    product = constant(1)
    for _ in range(count):
        product = multiply(product, a)
    assert equal(power(a, Fraction(count)), product)


@given(st.integers(1, 10_000), st.integers(2, 6))
def test_a_root_to_its_degree_is_the_number(number, degree):
    assert equal(power(root(number, degree), Fraction(degree)), constant(number))
    assert approximate(root(number, degree)) == pytest.approx(number ** (1 / degree))


@given(small, small)
def test_rationals_are_equal_only_when_equal(a, b):
    assert equal(constant(a), constant(b)) == (a == b)
    assert algebra.rational(constant(a)) == a


@given(st.lists(st.tuples(small, st.sampled_from([1, 2, 3, 5, 6, 7, 10])), max_size=5))
def test_sums_of_square_roots_are_zero_only_when_they_are(terms):
    total = constant(0)
    for coefficient, number in terms:
        total = add(total, multiply(constant(coefficient), root(number)))
    value = math.fsum(float(coefficient) * math.sqrt(number) for coefficient, number in terms)
    # Exactly zero is zero in floating point, and these sums are never nearer to zero than this without being it.
    assert (not total.above) == (abs(value) < 1e-9)


def test_roots_come_out_reduced():
    assert equal(root(8), multiply(constant(2), root(2)))
    assert equal(divide(constant(1), root(2)), multiply(constant(Fraction(1, 2)), root(2)))
    assert equal(divide(constant(1), add(constant(1), root(2))), add(root(2), constant(1), -1))
    assert equal(multiply(root(2), root(3)), root(6))
    assert equal(power(atom("#i"), Fraction(3)), multiply(constant(-1), atom("#i")))


@pytest.mark.parametrize(
    "make",
    [
        lambda: power(constant(9), Fraction(10**6)),
        lambda: power(add(atom("x"), constant(1)), Fraction(9999)),
        lambda: power(constant(10**9 + 7), Fraction(1, 2)),
        lambda: power(constant(-8), Fraction(1, 3)),
        lambda: power(constant(0), Fraction(0)),
        lambda: power(constant(0), Fraction(-1)),
        lambda: divide(atom("x"), constant(0)),
        lambda: power(power(atom("x"), Fraction(2)), Fraction(1, 2)),
        lambda: power(atom("#i"), Fraction(1, 2)),
        lambda: power(add(atom("x"), constant(1)), Fraction(1, 2)),
        lambda: power(multiply(atom("x"), atom("y")), Fraction(1, 2)),
        lambda: power(atom("#pi"), Fraction(1, 2)),
    ],
)
def test_what_is_not_covered_is_refused(make):
    with pytest.raises(TooLarge):
        make()


def test_equations_are_proportional():
    x, y = atom("x"), atom("y")
    line = add(add(multiply(constant(2), x), y, -1), constant(1))
    assert proportional(line, multiply(constant(Fraction(-3, 2)), line)) == Fraction(-2, 3)
    assert proportional(line, multiply(root(2), line)) == 0
    assert proportional(line, add(line, constant(1))) is None
    assert proportional(constant(0), line) is None
