"""The symbolic comparison of the maths verifier. Imported only in worker processes.

math-verify's own timeouts rest on signals and are switched off: the pool kills the process instead. Only its
LaTeX parser reads an answer; nothing here calls `sympify` or `parse_expr` on a response.
"""

import logging
import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy
from math_verify import LatexExtractionConfig, parse, verify
from sympy.core.cache import clear_cache
from sympy.core.random import seed

from verifiers.contract import Outcome, Status
from verifiers.extract import alternatives
from verifiers.numerals import DOUBLE_NOISE, Number, is_printed_double, parse_number, rounds_to

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it announces on every import that its timeouts are off

_LATEX = [LatexExtractionConfig(boxed_match_priority=-1)]
_DIGITS = 400
MAX_PRECISION = 20_000
_EQUAL_DIGITS = 250  # two constants that agree to so many digits are equal
_ORDERED = re.compile(r"[(\[](?P<inner>.*)[)\]]", re.DOTALL)
_MEMBER = re.compile(r"^[A-Za-z] ?\\in(?![A-Za-z]) ?")
_RELATION = re.compile(r"[<>≤≥]|\\(?:le|ge|leq|geq|lt|gt)(?![a-z])")
_UNICODE = str.maketrans(
    {"²": "^2", "³": "^3", "π": "\\pi ", "∞": "\\infty ", "×": "\\times ", "·": "\\cdot ", "÷": "/"}
    | {"≤": "\\le ", "≥": "\\ge ", "∪": "\\cup ", "∈": "\\in ", "±": "\\pm ", "√": "\\sqrt"}
)
_FACTOR = re.compile(r"(?<=[0-9)]) ?(\(-?[0-9.]+\))")
_WARM_UP = (r"\frac{\sqrt{2}}{2}", r"(x+1)^2", r"\left(3,\pi\right]", r"\{1, 2\}", r"x \le 5", r"2^{-3}", "3+2i")

Expression = Any  # sympy.Basic, sympy.MatrixBase or str: sympy ships no types


def work(payload: Any) -> Outcome:
    """Compare `[[gold, ...], answer]`: correct when the answer equals any of them.

    The outcome depends on the payload alone: sympy's caches are emptied and its random numbers seeded first.
    """
    golds, answer = payload
    clear_cache()
    seed(0)
    for gold in golds:
        if equal(gold, answer):
            return Outcome(Status.correct, None, "math-verify")
    return Outcome(Status.incorrect, None, "math-verify")


def warm_up() -> None:
    """Parse a few expressions, so that the parser's tables are built before the first budget starts."""
    for text in _WARM_UP:
        equal(text, text + "+0")


def equal(gold: str, answer: str) -> bool:
    """Whether two tidy texts are the same answer.

    Round and square brackets are ordered: the answer must keep order, length and, where it has brackets,
    their kind. Two constants are compared exactly or at high precision and not by math-verify, which accepts
    2^-99 for 2^-98. All else is math-verify's.
    """
    gold, answer = _MEMBER.sub("", gold), _MEMBER.sub("", answer)
    ordered = _elements(gold)
    if ordered is not None:
        return _equal_ordered(gold, ordered, answer)
    if gold.startswith("\\{") and _elements(answer) is not None:
        return False
    parsed_gold, parsed_answer = _parse(gold), _parse(answer)
    if not parsed_gold or not parsed_answer:
        return False
    numeric = _equal_numeric(parsed_gold[0], parsed_answer[0], parse_number(gold), parse_number(answer))
    if numeric is not None:
        return numeric
    if _differ_somewhere(parsed_gold[0], parsed_answer[0]):
        return False
    return bool(verify(parsed_gold, parsed_answer, timeout_seconds=None)) and _confirmed(
        parsed_gold[0], parsed_answer[0]
    )


@lru_cache(maxsize=512)
def _parse(text: str) -> list[Expression]:
    # Kept because parsing is most of the work and the samples of one prompt share its gold. The caller must not
    # change the list.
    latex = text.replace("$", "").replace("%", "\\%").translate(_UNICODE)
    latex = _FACTOR.sub(r"\\cdot \1", latex)  # 2(3) would be read as the mixed number 2 + 3
    parsed: list[Expression] = parse(f"${latex}$", extraction_config=_LATEX, parsing_timeout=None)
    return [_imaginary(value) for value in parsed]


def _imaginary(value: Expression) -> Expression:
    """Let `i` be the imaginary unit, which the parser leaves a symbol."""
    if not isinstance(value, sympy.Basic):
        return value
    return value.xreplace({symbol: sympy.I for symbol in value.free_symbols if symbol.name == "i"})


def _elements(text: str) -> list[str] | None:
    """Return the elements of one outermost pair of round or square brackets, or None."""
    match = _ORDERED.fullmatch(text.strip())
    if match is None:
        return None
    level = 0
    for position, character in enumerate(text.strip()):
        level += (character in "([") - (character in ")]")
        if level == 0 and position < len(text.strip()) - 1:
            return None
    parts = alternatives(match["inner"])
    return parts if len(parts) > 1 else None


def _equal_ordered(gold: str, elements: list[str], answer: str) -> bool:
    others = _elements(answer)
    if others is None:
        if _RELATION.search(answer):  # 1 < x < 2 for the interval (1, 2)
            return bool(verify(_parse(gold), _parse(answer), allow_set_relation_comp=True, timeout_seconds=None))
        others = alternatives(answer)
        if answer.startswith("\\{"):
            return False
    elif (gold.strip()[0], gold.strip()[-1]) != (answer.strip()[0], answer.strip()[-1]):
        return False
    return len(elements) == len(others) and all(map(_equal_element, elements, others))


def _equal_element(gold: str, answer: str) -> bool:
    return gold == answer or equal(gold, answer)


def _is_constant(value: Expression) -> bool:
    return isinstance(value, sympy.Expr) and bool(value.is_number) and not value.has(sympy.oo, sympy.nan, sympy.zoo)


def _exact(value: Expression) -> Expression:
    """Evaluate a constant with each decimal read as the fraction it was written as."""
    floats = {number: sympy.Rational(str(number)) for number in value.atoms(sympy.Float)}
    value = value.xreplace(floats)
    return value if value.has(sympy.Sum, sympy.Product, sympy.Integral) else value.doit()


def _equal_numeric(gold: Expression, answer: Expression, gold_read: Number | None, read: Number | None) -> bool | None:
    """Compare two constants at `_DIGITS` digits; None when they are not both constants that can be evaluated."""
    try:
        return _constants_agree(gold, answer, gold_read, read)
    except (ArithmeticError, AttributeError, NotImplementedError, RecursionError, TypeError, ValueError):
        return None  # sympy cannot evaluate one of them: left to math-verify


def _constants_agree(
    gold: Expression, answer: Expression, gold_read: Number | None, read: Number | None
) -> bool | None:
    if not (_is_constant(gold) and _is_constant(answer)):
        return None
    if _percent(gold) != _percent(answer):
        return None  # 50% may be 50 or 0.5: math-verify tries both
    left, right = _exact(gold), _exact(answer)
    if left.is_Rational and right.is_Rational:
        exact = bool(left == right)
    else:
        scale = abs(sympy.N(left, 20))
        if not scale.is_Float or scale == 0:
            return None
        digits = min(MAX_PRECISION, _DIGITS + max(0, int(sympy.log(scale, 10))))
        difference = abs(sympy.N(left - right, 20, maxn=digits))
        if not difference.is_number or difference.has(sympy.nan, sympy.zoo, sympy.oo):
            return None
        exact = bool(difference <= min(scale, 1) * sympy.Float(10, 20) ** -_EQUAL_DIGITS)
    return exact or any(
        decimal is not None and bool(sympy.im(other) == 0) and _rounds(other, decimal)
        for other, decimal in ((left, read), (right, gold_read))
    )


def _differ_somewhere(gold: Expression, answer: Expression) -> bool:
    """Whether two formulas differ at two points: then no simplification, which can take for ever, makes them equal.

    Bare symbols are left to math-verify, which reads them as words.
    """
    if not (isinstance(gold, sympy.Expr) and isinstance(answer, sympy.Expr)):
        return False
    symbols = gold.free_symbols | answer.free_symbols
    if not symbols or gold.is_Symbol or answer.is_Symbol or _percent(gold) != _percent(answer):
        return False
    try:
        return all(_differ_at(gold, answer, symbols, start) for start in (7, 11))
    except (ArithmeticError, AttributeError, NotImplementedError, RecursionError, TypeError, ValueError):
        return False  # no value there: left to math-verify


def _differ_at(gold: Expression, answer: Expression, symbols: set[Expression], start: int) -> bool:
    # By name: the parser makes symbols real or complex by what else is in the text.
    names = sorted({symbol.name for symbol in symbols})
    point = {name: sympy.Rational(start + 3 * index, 6 + index) for index, name in enumerate(names)}
    left, right = (
        sympy.N(side.xreplace({symbol: point[symbol.name] for symbol in side.free_symbols}), 20)
        for side in (gold, answer)
    )
    difference, scale = sympy.N(abs(left - right)), sympy.N(abs(left) + abs(right))
    return bool(difference.is_Float and scale.is_Float and difference > scale * 1e-9)


def _percent(value: Expression) -> bool:
    return bool(value.has(sympy.UnevaluatedExpr))


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


def _confirmed(gold: Expression, answer: Expression) -> bool:
    """Confirm a match of two finite sets of constants element by element; other matches stand."""
    if not (isinstance(gold, sympy.FiniteSet) and isinstance(answer, sympy.FiniteSet)):
        return True
    if len(gold) != len(answer) or not all(_is_constant(item) for item in (*gold.args, *answer.args)):
        return True
    left, right = (sorted(found.args, key=lambda item: sympy.N(sympy.re(item), 30)) for found in (gold, answer))
    return all(_equal_numeric(a, b, None, None) is not False for a, b in zip(left, right, strict=True))
