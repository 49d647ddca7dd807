"""Exact normal forms of constants and formulas: rational numbers, real roots of rationals, i, π and variables.

A `Poly` maps monomials to rational coefficients. A monomial is a sorted tuple of (atom, exponent) pairs; atoms are
variables, `#pi`, `#i` (exponent 1) and primes `#2`, `#3`, ... with exponents strictly between 0 and 1, for their
roots. Distinct monomials are linearly independent over the rationals: the roots of distinct primes are (Besicovitch
1940), i is independent of the reals, π is transcendental over all of them, and variables are free. So two formulas
are equal exactly when their normal forms are: for quotients, when they agree multiplied out.

Sizes are bounded; what grows over a bound raises `TooLarge`, and the caller decides by other means.
"""

import math
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

Exponent = int | Fraction
Monomial = tuple[tuple[str, Exponent], ...]
Poly = dict[Monomial, Fraction]

MAX_TERMS = 150
MAX_BITS = 40_000
MAX_RADICAND = 10**8
MAX_EXPANDED_POWER = 24

ONE: Poly = {(): Fraction(1)}


class TooLarge(ArithmeticError):
    """A normal form over the bounds of this module, or a value it does not cover."""


class Form(NamedTuple):
    """A quotient of two polynomials; `below` is never zero."""

    above: Poly
    below: Poly


def constant(value: Fraction | int) -> Form:
    """Return the form of a rational number."""
    return Form({(): Fraction(value)} if value else {}, ONE)


def atom(name: str) -> Form:
    """Return the form of a variable, or of `#pi` or `#i`."""
    return Form({((name, 1),): Fraction(1)}, ONE)


def add(left: Form, right: Form, sign: int = 1) -> Form:
    """Return left + sign * right."""
    if left.below == right.below:
        return Form(_sum(left.above, right.above, sign), left.below)
    above = _sum(_product(left.above, right.below), _product(right.above, left.below), sign)
    return Form(above, _product(left.below, right.below))


def multiply(left: Form, right: Form) -> Form:
    """Return left * right."""
    return Form(_product(left.above, right.above), _product(left.below, right.below))


def divide(left: Form, right: Form) -> Form:
    """Return left / right.

    Raises:
        TooLarge: right is zero, or a bound is exceeded.
    """
    return multiply(left, _inverse(right))


def power(base: Form, exponent: Fraction) -> Form:
    """Return base ** exponent, the real root where the exponent is a fraction.

    Raises:
        TooLarge: a fractional power of anything but a positive monomial of bare variables, 0 to a power that is not
            positive, or a bound is exceeded.
    """
    if exponent.denominator != 1:
        return _root(base, exponent)
    count = int(exponent)
    if count < 0:
        base, count = _inverse(base), -count
    if len(base.above) <= 1 and len(base.below) <= 1:
        return Form(_monomial_power(base.above, count), _monomial_power(base.below, count))
    if count > MAX_EXPANDED_POWER:
        raise TooLarge
    result = Form(ONE, ONE)
    for _ in range(count):
        result = multiply(result, base)
    return result


def equal(left: Form, right: Form) -> bool:
    """Whether two forms are the same function (where both are defined)."""
    if left.below == right.below:
        return left.above == right.above
    return _product(left.above, right.below) == _product(right.above, left.below)


def proportional(left: Form, right: Form) -> Fraction | None:
    """Return the constant that makes the numerator of `right` that of `left`; 0 where it is no rational number.

    None when there is none: two equations "form = 0" are the same equation when there is one.
    """
    ours, theirs = _by_variables(left.above), _by_variables(right.above)
    if not ours or ours.keys() != theirs.keys():
        return None
    first = min(ours)
    top, bottom = ours[first], theirs[first]
    if any(_product(ours[key], bottom) != _product(theirs[key], top) for key in ours):
        return None
    leading = max(bottom)
    factor = top.get(leading, Fraction(0)) / bottom[leading]
    scaled = {monomial: factor * coefficient for monomial, coefficient in bottom.items()}
    return factor if factor and scaled == top else Fraction(0)


def rational(form: Form) -> Fraction | None:
    """Return the value of a form that is a rational number, or None."""
    if not form.above:
        return Fraction(0)
    if len(form.above) == len(form.below) and form.above.keys() == form.below.keys():
        ratios = {form.above[key] / form.below[key] for key in form.above}
        return ratios.pop() if len(ratios) == 1 else None
    return None


def approximate(form: Form) -> float | None:
    """Return a real constant in floating point, or None where there is none or it is out of range."""
    if variables(form) or "#i" in atoms(form):
        return None
    try:
        above, below = (sum(_float(monomial, c) for monomial, c in part.items()) for part in form)
        return above / below
    except (OverflowError, ZeroDivisionError):
        return None


def _float(monomial: Monomial, coefficient: Fraction) -> float:
    value = float(coefficient)
    for name, exponent in monomial:
        value *= (math.pi if name == "#pi" else float(name[1:])) ** float(exponent)
    return value


def atoms(form: Form) -> set[str]:
    """Return the names of the atoms in a form."""
    return {name for part in form for monomial in part for name, _ in monomial}


def variables(form: Form) -> set[str]:
    """Return the names of the variables in a form."""
    return {name for name in atoms(form) if not name.startswith("#")}


def _checked(poly: Poly) -> Poly:
    if len(poly) > MAX_TERMS:
        raise TooLarge
    for coefficient in poly.values():
        if coefficient.numerator.bit_length() > MAX_BITS or coefficient.denominator.bit_length() > MAX_BITS:
            raise TooLarge
    return poly


def _sum(left: Poly, right: Poly, sign: int) -> Poly:
    total = dict(left)
    for monomial, coefficient in right.items():
        value = total.get(monomial, 0) + sign * coefficient
        if value:
            total[monomial] = Fraction(value)
        else:
            total.pop(monomial, None)
    return _checked(total)


def _product(left: Poly, right: Poly) -> Poly:
    if left is ONE or left == ONE:
        return right
    if right is ONE or right == ONE:
        return left
    if len(left) * len(right) > 20 * MAX_TERMS:
        raise TooLarge
    total: Poly = {}
    for first, a in left.items():
        for second, b in right.items():
            monomial, factor = _join(first, second)
            value = total.get(monomial, 0) + a * b * factor
            if value:
                total[monomial] = Fraction(value)
            else:
                total.pop(monomial, None)
    return _checked(total)


def _join(left: Monomial, right: Monomial) -> tuple[Monomial, Fraction]:
    """Multiply two monomials; whole powers of primes and i^2 come out as a factor."""
    if not left or not right:
        return left or right, Fraction(1)
    exponents: dict[str, Exponent] = dict(left)
    for name, exponent in right:
        exponents[name] = exponents.get(name, 0) + exponent
    return _reduced(exponents)


def _reduced(exponents: dict[str, Exponent]) -> tuple[Monomial, Fraction]:
    factor = Fraction(1)
    kept: list[tuple[str, Exponent]] = []
    for name, exponent in sorted(exponents.items()):
        rest = exponent
        if name == "#i":
            factor *= -1 if exponent % 4 >= 2 else 1
            rest = exponent % 2
        elif name.startswith("#") and name != "#pi":
            whole = exponent.__floor__()
            if abs(whole) > MAX_BITS:
                raise TooLarge
            factor *= Fraction(int(name[1:])) ** whole
            rest = exponent - whole
        if rest:
            kept.append((name, rest))
    return tuple(kept), factor


def _inverse(form: Form) -> Form:
    if not form.above:
        raise TooLarge
    if len(form.above) > 1:
        return Form(form.below, form.above)
    ((monomial, coefficient),) = form.above.items()
    flipped, factor = _reduced({name: -exponent for name, exponent in monomial})
    return Form(_product(form.below, {flipped: factor / coefficient}), ONE)


def _monomial_power(poly: Poly, count: int) -> Poly:
    if not poly:
        if count == 0:
            raise TooLarge  # 0^0
        return poly
    ((monomial, coefficient),) = poly.items()
    bits = max(coefficient.numerator.bit_length(), coefficient.denominator.bit_length())
    if bits > 1 and bits * count > MAX_BITS:
        raise TooLarge
    raised, factor = _reduced({name: exponent * count for name, exponent in monomial})
    return _checked({raised: factor * coefficient**count})


def _root(base: Form, exponent: Fraction) -> Form:
    if len(base.above) != 1 or len(base.below) != 1:
        raise TooLarge
    ((top, a),) = base.above.items()
    ((bottom, b),) = base.below.items()
    exponents: dict[str, Exponent] = {}
    # (c x)^(1/n) is c^(1/n) x^(1/n) for c > 0; a root of x^2, of two variables, or of i is another matter.
    names = [name for name, _ in top + bottom]
    if len([name for name in names if not name.startswith("#")]) > 1 or "#i" in names or a / b < 0:
        raise TooLarge
    for part, sign in ((top, 1), (bottom, -1)):
        for name, old in part:
            if not name.startswith("#") and (old != 1 or sign != 1):
                raise TooLarge
            exponents[name] = exponents.get(name, 0) + sign * old * exponent
    value = a / b
    for number, sign in ((value.numerator, 1), (value.denominator, -1)):
        for prime, count in _factors(number):
            exponents[f"#{prime}"] = exponents.get(f"#{prime}", 0) + sign * count * exponent
    if exponents.get("#pi", Fraction(0)).denominator != 1:
        raise TooLarge
    monomial, factor = _reduced(exponents)
    return Form({monomial: factor}, ONE)


@lru_cache(maxsize=4096)
def _factors(number: int) -> tuple[tuple[int, int], ...]:
    if number > MAX_RADICAND:
        raise TooLarge
    found, prime = [], 2
    while prime * prime <= number:
        count = 0
        while number % prime == 0:
            number //= prime
            count += 1
        if count:
            found.append((prime, count))
        prime += 1 if prime == 2 else 2
    return tuple(found) + (((number, 1),) if number > 1 else ())


def _by_variables(poly: Poly) -> dict[Monomial, Poly]:
    """Group a polynomial by its variables: each group's value is the constant that they are multiplied by."""
    groups: dict[Monomial, Poly] = {}
    for monomial, coefficient in poly.items():
        outer = tuple(pair for pair in monomial if not pair[0].startswith("#"))
        inner = tuple(pair for pair in monomial if pair[0].startswith("#"))
        groups.setdefault(outer, {})[inner] = coefficient
    return groups
