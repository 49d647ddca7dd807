"""Mathematical answers: an exact fast path in the calling process, math-verify in workers for the rest.

A pair (gold, answer) is decided here when both read as numbers, when they are the same text, or when one of
them is a word. Everything else is deferred to `verifiers.math_worker`, after the limits of `verifiers.limits`.
"""

import json
import re
from importlib.metadata import version
from math import isfinite
from typing import Any, NamedTuple

from verifiers import limits
from verifiers.contract import BadGold, Deferred, Outcome, Status, Verifier
from verifiers.extract import alternatives, candidates, maths_answer, strip_reasoning, tail_answer
from verifiers.numerals import Number, canonical, parse_number, same_number, tidy

_FORM = 'a maths ground_truth is JSON text such as "7" (with the quotes) or ["1/2", "0.5"]'

# `x =`, `f(2) =`, `\\angle ABC =`, `3 + 4 =`, `Total cost =` name a value; `2x =` and `x^2 =` do not give one.
_NAME = re.compile(r"\\?[A-Za-z][A-Za-z0-9_'{}\\ ]*(?:\([^()=]*\))?")
_ARITHMETIC = re.compile(r"[-+*/0-9.,()^{} ]|\\(?:times|cdot|div|frac|pi)")
_NOT_A_VALUE = re.compile(r"[-+]?(?:[0-9]+[ ]?[A-Za-z](?:\^.*)?|[A-Za-z]\^.*)|-[A-Za-z]")
_EQUALS = re.compile(r"(?<![<>!\\:])=(?!=)")
_WORD = re.compile(r"[^\W\d_]{4,}(?:[ '’-][^\W\d_]+)*")
_SEPARATED = re.compile(r"\\pm|\\mp|±|\\\{|\\cup|∪|;|,(?![0-9]{3}(?![0-9]))")
_SIDE_BY_SIDE = re.compile(r"(?<![_^0-9])[0-9]+ +[0-9]")
_FOREIGN_DIGIT = re.compile(r"(?![0-9])\d")


class Side(NamedTuple):
    """One side of a comparison.

    Attributes:
        text: the tidy answer without a leading `name =`.
        name: that name, or empty.
        number: the value when the text is one number.
    """

    text: str
    name: str
    number: Number | None


_NO_GOLD = ("nan", "n/a", "null", "inf", "-inf")  # what exports write where there is no answer


def parse_gold(value: Any) -> tuple[Side, ...]:
    """Read a gold: one accepted answer or a list of them, as text or as JSON numbers.

    Raises:
        BadGold: not such a form, empty, unbalanced, without a letter or digit, or over a limit.
    """
    accepted = value if isinstance(value, list) else [value]
    if not accepted:
        message = f"the list of accepted answers is empty; {_FORM}"
        raise BadGold(message)
    return tuple(_gold_side(answer) for answer in accepted)


def _gold_side(answer: Any) -> Side:
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        message = f"{json.dumps(answer)[:60]} is not an answer; {_FORM}"
        raise BadGold(message)
    if isinstance(answer, float) and not isfinite(answer):
        message = f"a number beyond the range of a double is not usable; {_FORM}"
        raise BadGold(message)
    text = str(answer)
    boxed = next((c.text for c in candidates(text) if c.source == "boxed"), None)
    text = text if boxed is None else boxed
    if text.strip().lower() in _NO_GOLD:
        message = f"{text[:60]!r} stands for a missing value; {_FORM}"
        raise BadGold(message)
    if not re.search(r"[^\W_]|\\infty|\\emptyset|\\varnothing", text):
        message = f"{text[:60]!r} holds neither a digit nor a letter; {_FORM}"
        raise BadGold(message)
    if not limits.balanced(text):
        message = f"the braces of {text[:60]!r} do not balance"
        raise BadGold(message)
    if limit := limits.exceeded(text):
        message = f"the gold {text[:60]!r} is over a limit of the verifier: {limit.removeprefix('limit: ')}"
        raise BadGold(message)
    return read_side(tidy(text))


def read_side(text: str) -> Side:
    """Split a tidy answer into name and value, and read the value as a number if it is one."""
    number = parse_number(text)
    if number is not None or "=" not in text:
        return Side(text, "", number)
    parts = [part.strip() for part in _EQUALS.split(text)]
    if len(parts) < 2 or not all(parts) or len(alternatives(text)) > 1:
        return Side(text, "", None)
    left, right = parts[0], tidy(parts[-1])
    if not _ARITHMETIC.sub("", left):
        return Side(right, "", parse_number(right))
    if _NAME.fullmatch(left):
        return Side(right, left, parse_number(right))
    return Side(text, "", None)


def check(response: str, gold: tuple[Side, ...], _prompt: str) -> Outcome | Deferred:
    """Find the answer of a response and compare it with each accepted one."""
    text = strip_reasoning(response)
    for candidate in candidates(text):
        answer = maths_answer(candidate)
        if answer is not None:
            return compare(gold, answer, candidate.source)
    tail = tail_answer(text)
    if tail is None:
        return Outcome(Status.unparsed, None, "no answer found")
    return compare(gold, tail, "last number")


def compare(gold: tuple[Side, ...], text: str, source: str) -> Outcome | Deferred:
    """Compare a tidy answer with the accepted ones, here if possible; `source` goes into the detail."""
    if not text:
        return Outcome(Status.unparsed, None, f"{source}: empty")
    number = parse_number(text)
    if number is not None:
        side = Side(text, "", number)
        shown = canonical(number)
    else:
        side = read_side(text)
        shown = text if side.number is None else canonical(side.number)
    if any(_same_here(accepted, side) for accepted in gold):
        return Outcome(Status.correct, shown, source)
    if side.number is None:
        if _FOREIGN_DIGIT.search(text):
            return Outcome(Status.incorrect, shown, f"{source}: digits that are not 0 to 9")
        if limit := limits.exceeded(text):
            return Outcome(Status.incorrect, shown[: limits.MAX_LENGTH], f"{source}: {limit}")
        parts = alternatives(text)
        if len(parts) > 1:
            merged = _offered_once(parts)
            if merged is not None:
                return compare(gold, merged, source)
            if not any(_offers_several(accepted.text) for accepted in gold):
                return Outcome(Status.unparsed, shown, f"{source}: several answers offered at once")
    open_pairs = [accepted for accepted in gold if _needs_worker(accepted, side)]
    if not open_pairs:
        return Outcome(Status.incorrect, shown, source)
    payload = json.dumps([[_whole(accepted) for accepted in open_pairs], _whole(side)])
    return Deferred(payload, shown, source)


def _whole(side: Side) -> str:
    return f"{side.name} = {side.text}" if side.name else side.text


def _same_here(gold: Side, answer: Side) -> bool:
    if gold.name and answer.name and gold.name != answer.name:
        return False
    if gold.number is not None and answer.number is not None:
        return same_number(gold.number, answer.number)
    if gold.text == answer.text or _squeezed(gold.text) == _squeezed(answer.text):
        return True
    return _is_word(gold.text) and gold.text.casefold() == answer.text.casefold()


def _needs_worker(gold: Side, answer: Side) -> bool:
    """Whether a pair that does not agree as text or number might still be equal."""
    if gold.number is not None and answer.number is not None:
        return False
    if gold.name and answer.name and gold.name != answer.name:
        return False
    left, sign, _ = answer.text.partition("=")
    if sign and "=" not in gold.text and _NOT_A_VALUE.fullmatch(left.strip()):
        return False  # 2x = 10 does not say what x is, whatever the gold
    if _SIDE_BY_SIDE.search(answer.text) or _SIDE_BY_SIDE.search(gold.text):
        return False  # the LaTeX parser reads "2 3" as the mixed number 2 + 3
    # A word is itself and nothing else: read as mathematics it would be a product of letters.
    return not (_is_word(gold.text) or _is_word(answer.text))


def _squeezed(text: str) -> str:
    # Spaces carry no meaning in LaTeX mathematics, except after a command and between two words.
    return re.sub(r"(?<![A-Za-z0-9]) | (?![A-Za-z0-9])", "", text)


def _is_word(text: str) -> bool:
    return _WORD.fullmatch(text) is not None


def _offers_several(text: str) -> bool:
    return len(alternatives(text)) > 1 or _SEPARATED.search(text) is not None


def _offered_once(parts: list[str]) -> str | None:
    """Return the one answer that all parts are, as text or as number, or None when they differ."""
    first, *others = parts
    if all(part == first for part in others):
        return first
    numbers = [read_side(part).number for part in parts]
    head = numbers[0]
    if head is not None and all(number is not None and same_number(head, number) for number in numbers):
        return first
    return None


VERIFIER = Verifier(
    name="math",
    version=f"1+math-verify-{version('math-verify')}+sympy-{version('sympy')}",
    parse_gold=parse_gold,
    check=check,
    work="verifiers.math_worker:work",
    budget_s=5.0,
)
