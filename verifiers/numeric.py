"""Numbers within a tolerance, in exact arithmetic.

An answer a matches a gold g when |a - g| <= max(rel_tol * |g|, abs_tol). The answer is found and read as by the
maths verifier, but must be one number: expressions are not evaluated.
"""

import re
from fractions import Fraction
from typing import Any, NamedTuple

from verifiers.contract import BadGold, Outcome, Status, Verifier
from verifiers.extract import MAX_PHRASE, TAIL, candidates, strip_reasoning
from verifiers.hedges import cut_off, taken_back
from verifiers.math import read_side
from verifiers.numerals import Number, canonical, parse_number, tidy
from verifiers.prose import alternatives, maths_answer, tail_answer

REL_TOL = "1e-6"
"""Relative tolerance where the gold states none."""

_FORM = (
    'a numeric ground_truth is JSON text such as "3.2", 3.2, ["1/3", 0.333] '
    'or {"answer": 3.2, "rel_tol": 1e-6, "abs_tol": 0}'
)


_NOT_THE_VALUE = (
    r"(?:not|n['’]t|never|(?:at )?least|(?:at )?most|(?:less|more|greater|fewer|larger|smaller|higher|lower) than"
    r"|above|below|under|over|up to|between)\b[^0-9]*"
)
_BOUND = re.compile(rf"[^0-9]*?(?:\b|(?=n['’]))(?:{_NOT_THE_VALUE})", re.IGNORECASE)
_DENIED_BEFORE = re.compile(rf"(?:\b(?:{_NOT_THE_VALUE})|[<>≤≥≠±])\s*$", re.IGNORECASE)
_LATER = re.compile(r"[0-9].*\b(?:maybe|perhaps|possibly|alternatively)\b.*[0-9]", re.IGNORECASE | re.DOTALL)
_GLUED = re.compile(r"\.*[0-9_²³^!·\u0660-\u0669\uff10-\uff19]|[A-Za-z](?![A-Za-z])|[eE][-+]?[0-9]")


class Gold(NamedTuple):
    """The accepted numbers, and the two tolerances."""

    accepted: tuple[Number, ...]
    rel_tol: Fraction
    abs_tol: Fraction


def parse_gold(value: Any) -> Gold:
    """Read a gold; raises `BadGold` for what is no number, and for a tolerance that is no number of at least 0."""
    rel_tol, abs_tol = Fraction(REL_TOL), Fraction(0)
    if isinstance(value, dict):
        if "answer" not in value or set(value) - {"answer", "rel_tol", "abs_tol"}:
            raise BadGold(_FORM)
        rel_tol = _tolerance(value, "rel_tol", rel_tol)
        abs_tol = _tolerance(value, "abs_tol", abs_tol)
        value = value["answer"]
    accepted = value if isinstance(value, list) else [value]
    if not accepted:
        raise BadGold(_FORM)
    return Gold(tuple(_number(answer) for answer in accepted), rel_tol, abs_tol)


def _number(answer: Any) -> Number:
    usable = isinstance(answer, str | int | float) and not isinstance(answer, bool)
    number = parse_number(tidy(str(answer))) if usable else None
    if number is None:
        message = f"{str(answer)[:60]!r} is not a number that can be used; {_FORM}"
        raise BadGold(message)
    return number


def _tolerance(value: dict[str, Any], key: str, default: Fraction) -> Fraction:
    given = value.get(key, default)
    if isinstance(given, Fraction):
        return given
    number = None if isinstance(given, bool) or not isinstance(given, int | float) else parse_number(str(given))
    if number is None or number.value < 0 or (key == "rel_tol" and number.value >= 1):
        bound = (
            "of at least 0 and below 1 (at 1, 0 would be right for every gold)" if key == "rel_tol" else "of at least 0"
        )
        message = f"{key} must be a number {bound}, not {str(given)[:40]!r}"
        raise BadGold(message)
    return number.value


def check(response: str, gold: Gold, _prompt: str) -> Outcome:
    """Find the one number a response ends on and compare it."""
    text = strip_reasoning(response)
    source, answer = "last number", None
    for candidate in candidates(text):
        answer = maths_answer(candidate)
        if answer is not None:
            source = candidate.source
            if taken_back(candidate) or cut_off(candidate) or _doubtful(candidate.text[:MAX_PHRASE]):
                return Outcome(Status.unparsed, answer, f"{source}: questioned, denied, a bound, or one of several")
            break
    else:
        alone = tidy(text)
        answer = alone if parse_number(alone) is not None else tail_answer(text)
        if answer and _unsure(text.rstrip()[-TAIL:], answer):
            return Outcome(Status.unparsed, answer, f"{source}: part of something else, denied, or a bound")
    if not answer:
        return Outcome(Status.unparsed, None, "no answer found")
    number = read_side(answer).number
    if number is None:
        several = len(alternatives(answer)) > 1
        problem = "several answers offered at once" if several else "not a number"
        return Outcome(Status.unparsed, answer, f"{source}: {problem}")
    status = Status.correct if any(_close(accepted, number, gold) for accepted in gold.accepted) else Status.incorrect
    return Outcome(status, canonical(number), source)


def _doubtful(text: str) -> bool:
    return _BOUND.match(text) is not None or _LATER.search(text) is not None


def _unsure(tail: str, answer: str) -> bool:
    """Whether the last number is only a part of something (3i, 3_000, 3e9), denied, or a bound."""
    before, found, after = tail.rpartition(answer)
    return bool(found) and (_GLUED.match(after) is not None or _DENIED_BEFORE.search(before) is not None)


def _close(accepted: Number, answer: Number, gold: Gold) -> bool:
    readings = [(accepted.value, answer.value)]
    if accepted.percent != answer.percent:  # 50% is 50, or 0.5
        left = accepted.value / 100 if accepted.percent else accepted.value
        readings.append((left, answer.value / 100 if answer.percent else answer.value))
    return any(abs(right - left) <= max(gold.rel_tol * abs(left), gold.abs_tol) for left, right in readings)


VERIFIER = Verifier(name="numeric", version="3", parse_gold=parse_gold, check=check)
