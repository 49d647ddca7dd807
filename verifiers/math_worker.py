"""The symbolic comparison of the maths verifier. Imported only in worker processes.

Shapes (lists, intervals, matrices, relations) are compared as in the calling process; this module decides pairs of
single values. math-verify's own timeouts rest on signals and are switched off: the pool kills the process instead.
Only its LaTeX parser reads an answer; nothing here calls `sympify` or `parse_expr` on a response.
"""

import hashlib
import logging
import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, NormalizationConfig, _Latex2Sympy
from latex2sympy2_extended.math_normalization import normalize_latex
from math_verify.grader import should_treat_as_complex, sympy_symbolic_eq
from sympy.core.cache import clear_cache
from sympy.core.random import seed

from verifiers.answers import read
from verifiers.contract import Outcome, Status
from verifiers.equality import Asked, Comparison, same
from verifiers.formulas import UNICODE
from verifiers.numerals import DOUBLE_NOISE, Number, is_printed_double, parse_number, rounds_to

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it announces on every import that its timeouts are off

# Its unit stripping takes "5m" for "5", and lower case takes "R - r" for 0: both are off.
_NORMAL = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=False, nits=False, boxed="none", equations=False
)
_CONVERSION = ConversionConfig(lowercase_symbols=False)
_DIGITS = 400
_MARGIN = 150  # two constants are equal when they agree up to these last digits of those compared
MAX_PRECISION = 25_000
_POINT_DIGITS = 50
_POINTS = 4
_EQUAL_AT_POINT = 30
_FACTOR = re.compile(r"(?<=[0-9)]) ?(\(-?[0-9.]+\))")
_FRAC_OF_DIGITS = re.compile(r"\\frac ?([0-9]) ?([0-9])")
_DIGIT_ARGUMENT = re.compile(r"(\\sqrt|\\log_|\^) ?([0-9])(?![0-9])")
_NUMERAL = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+")
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)")
# Read as something else than they are: (n)_{k} as a falling factorial, 101_2 as 101, S' as S, a set as its element.
_MISREAD = re.compile(
    r"[0-9)\]}] ?_|['%;:$]|\\prime|\\approx|\\[{}]|\\[lr]brace|\\text|\\unit"
    r"|\\(?:[lcdv]?dots|cdots|ddots)(?![a-z])|…|\.[0-9]*\.|(?<![0-9])\.(?![0-9])"
    r"|°(?= ?[0-9.])|\\frac ?[0-9 ]{3}|\\sqrt ?[0-9]{2}"
)
_SUBSCRIPT = re.compile(r"_(?:\{[^{}]*\}|[0-9A-Za-z])")
# A numeral after what it would be multiplied by: "x 2", "(a+b) 2".
_NUMERAL_BEHIND = re.compile(r"(?:(?<![\\A-Za-z])[A-Za-z]|\\pi|[)}]) ?[0-9]")
_WARM_UP = (r"\frac{\sqrt{2}}{2}", r"(x+1)^2", r"\ln x", r"2^{-3}", "3+2i", r"\sin^2 x")

_OPERATORS = (sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit, sympy.Derivative)

Expression = Any  # sympy.Basic, sympy.MatrixBase: sympy ships no types

_CANNOT = (ArithmeticError, AttributeError, NotImplementedError, RecursionError, TypeError, ValueError)
"""What sympy raises where it cannot evaluate an expression."""


class _Reader(_Latex2Sympy):  # type: ignore[misc]
    """math-verify's parser, with numerals read as fractions; it runs them through `sympify`, which evaluates."""

    def parse_number(self, text: str) -> Expression:
        """Return the exact value of a numeral; raises `ValueError` for one in scientific notation."""
        if not _NUMERAL.fullmatch(text):
            raise ValueError(text)  # 1e999999999
        value = Fraction(text)
        return sympy.Rational(value.numerator, value.denominator)


def work(payload: Any) -> Outcome:
    """Compare `[[gold, ...], answer, asked]`: correct when the answer equals any of them.

    The outcome depends on the payload alone: sympy's caches are emptied and its random numbers seeded first.
    """
    golds, answer, asked = payload
    clear_cache()
    seed(0)
    how = Comparison(Asked(*asked), equal)
    found = any(same(read(gold), read(answer), how) for gold in golds)
    return Outcome(Status.correct if found else Status.incorrect, None, "math-verify")


def warm_up() -> None:
    """Parse a few expressions, so that the parser's tables are built before the first budget starts."""
    for text in _WARM_UP:
        equal(text, text + "+0")
    equal(r"\sin^2 x", r"1 - \cos^2 x")  # loads what `simplify` loads at its first use


def equal(gold: str, answer: str) -> bool:
    """Whether two texts are the same single value.

    Two constants are compared exactly or at high precision, two formulas first at a few points and then by
    math-verify; decimals are fractions, so that nothing is rounded. All else is unequal.
    """
    real = not (should_treat_as_complex(gold) or should_treat_as_complex(answer))  # for both: symbols must be the same
    left, right = _parse(gold, real=real), _parse(answer, real=real)
    if left is None or right is None:
        return False
    if not left.free_symbols and not right.free_symbols:
        return _equal_constants(left, right, parse_number(gold), parse_number(answer))
    if left.has(*_OPERATORS) or right.has(*_OPERATORS):
        left, right = left.doit(), right.doit()
    if _differ_somewhere(left, right):
        return False
    return bool(sympy_symbolic_eq(left, right))  # not `verify`, which first rounds to 15 digits


@lru_cache(maxsize=512)
def _parse(text: str, *, real: bool) -> Expression | None:
    # Kept because parsing is most of the work and the samples of one prompt share its gold.
    latex = text.translate(UNICODE)
    if _MISREAD.search(latex) or _NUMERAL_BEHIND.search(_SUBSCRIPT.sub("", latex)):
        return None
    if "°" in latex:
        if not _TRIGONOMETRIC.search(latex):
            return None
        latex = latex.replace("°", r" \cdot \frac{\pi}{180}")
    latex = _THOUSANDS.sub("", latex)
    latex = _DIGIT_ARGUMENT.sub(r"\1{\2}", _FRAC_OF_DIGITS.sub(r"\\frac{\1}{\2}", latex))
    latex = _FACTOR.sub(r"\\cdot \1", latex)  # 2(3) would be read as the mixed number 2 + 3
    try:
        latex = normalize_latex(latex, _NORMAL)
        found = _Reader(None, real, False, _CONVERSION).parse(latex)
    except Exception:  # the parser raises bare `Exception` for what it cannot read
        return None
    if not isinstance(found, sympy.Expr):
        return None
    return _usual_constants(found)


def _usual_constants(value: Expression) -> Expression:
    """Let `i` and `e` be what they usually are."""
    meant = {"i": sympy.I, "e": sympy.E}
    symbols = {symbol: meant[symbol.name] for symbol in value.free_symbols if symbol.name in meant}
    if any(symbol.name in ("j", "k") for symbol in value.free_symbols):
        symbols = {symbol: constant for symbol, constant in symbols.items() if symbol.name != "i"}
    return value.xreplace(symbols)


def _equal_constants(left: Expression, right: Expression, gold_read: Number | None, read: Number | None) -> bool:
    """Compare two constants at `_DIGITS` digits; False where one of them has no finite value."""
    try:
        return _constants_agree(_evaluated(left), _evaluated(right), gold_read, read)
    except _CANNOT:
        return False


def _evaluated(value: Expression) -> Expression:
    return value if value.has(sympy.Sum, sympy.Product, sympy.Integral) else value.doit()


def _constants_agree(left: Expression, right: Expression, gold_read: Number | None, read: Number | None) -> bool:
    if left.has(sympy.oo, sympy.zoo, sympy.nan) or right.has(sympy.oo, sympy.zoo, sympy.nan):
        return False
    if left.is_Rational and right.is_Rational:
        exact = bool(left == right)
    else:
        digits = _DIGITS + _magnitude(left) + _magnitude(right)
        if digits > MAX_PRECISION:
            return False
        difference = abs(sympy.N(left - right, 20, maxn=digits))
        if not difference.is_number or difference.has(sympy.nan, sympy.zoo, sympy.oo):
            return False
        exact = bool(difference <= sympy.Float(10, 20) ** (_MARGIN - digits))
    return exact or any(
        decimal is not None and bool(sympy.im(other) == 0) and _rounds(other, decimal)
        for other, decimal in ((left, read), (right, gold_read))
    )


def _magnitude(value: Expression) -> int:
    """Return a bound of the digits before and after the point that the numbers and powers in a constant need."""
    digits = 0.0
    for node in sympy.preorder_traversal(value):
        if node.is_Rational:
            digits += (node.p.bit_length() + node.q.bit_length()) * 0.31
        elif node.is_Pow or isinstance(node, sympy.exp):
            base, exponent = node.as_base_exp()
            size = abs(sympy.N(exponent * sympy.log(abs(base), 10), 10))
            digits += float(size) if size.is_Float and size < MAX_PRECISION else MAX_PRECISION
    return int(digits) + 1


def _differ_somewhere(gold: Expression, answer: Expression) -> bool:
    """Whether two formulas differ at one of a few points: then no simplification, which can take for ever, helps.

    The points follow from the two formulas, so that an answer cannot be made to agree at them.
    """
    try:
        symbols = sorted({symbol.name for symbol in gold.free_symbols | answer.free_symbols})
        digest = hashlib.sha256(f"{gold}\n{answer}".encode()).digest()
        return any(_differ_at(gold, answer, symbols, digest[at : at + 8]) for at in range(0, 4 * _POINTS, 4))
    except _CANNOT:
        return False  # no value there: left to math-verify


def _differ_at(gold: Expression, answer: Expression, symbols: list[str], digest: bytes) -> bool:
    # By name: the parser makes symbols real or complex by what else is in the text.
    # Between 1/2 and 3/2, so that powers of powers stay small.
    start = int.from_bytes(digest[:4], "big")
    point = {name: sympy.Rational(500 + (start + 331 * index) % 997, 997) for index, name in enumerate(symbols)}
    left, right = (
        sympy.N(side.xreplace({symbol: point[symbol.name] for symbol in side.free_symbols}), _POINT_DIGITS)
        for side in (gold, answer)
    )
    difference, scale = sympy.N(abs(left - right)), sympy.N(abs(left) + abs(right))
    if not (difference.is_Float and scale.is_Float):
        return False
    return bool(difference > scale * sympy.Float(10) ** -_EQUAL_AT_POINT)


def _rounds(value: Expression, decimal: Number) -> bool:
    """Whether a constant which is no fraction rounds to a decimal at the digits that one was written with."""
    if value.is_Rational:
        return rounds_to(Fraction(int(value.p), int(value.q)), decimal)
    places = len(decimal.plain.partition(".")[2])
    if decimal.decimals < 6 or places == 0:
        return False
    target = sympy.Rational(decimal.value.numerator, decimal.value.denominator)
    distance = abs(sympy.N(value - target, 20, maxn=_DIGITS))
    noise = sympy.Rational(DOUBLE_NOISE.numerator, DOUBLE_NOISE.denominator) * abs(target)
    return bool(distance * 2 <= sympy.Rational(1, 10**places)) or (
        is_printed_double(decimal) and bool(distance <= noise)
    )
