r"""Countdown and the Game of 24: an expression over the given numbers that makes the target.

The gold is `{"numbers": [4, 4, 6, 8], "target": 24}`, with `"use": "subset"` where numbers may be left over.
What counts is the expression: its value is computed exactly, each number may be used once, and numbers are not
joined. "expression = 24" is read as its first side that is more than one number; what the response claims of
the value never decides, a false claim is only noted. Several different expressions at once are no answer.
"""

import re
from collections import Counter
from fractions import Fraction
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

from verifiers import arithmetic
from verifiers.arithmetic import Node, NotArithmetic, OverLimit
from verifiers.contract import BadGold, Outcome, Status, Verifier
from verifiers.extract import MAX_PHRASE, Candidate, candidates, strip_reasoning
from verifiers.hedges import cut_off, taken_back
from verifiers.visible import shown

MAX_NUMBERS = 12
MAX_NUMBER = 10**6
MAX_SEARCHED = 6
"""Numbers up to which a gold without any solution is found; searching more takes too long."""

_FORM = 'a countdown ground_truth is JSON text such as {"numbers": [4, 4, 6, 8], "target": 24, "use": "all"}'

_WRAPPING = re.compile(r"\\[()\[\]]|[$`\"“”]|^\s*(?:[-•]\s|\*\s|\*\*)|\*\*\s*$")
_BOXED = re.compile(r"\\f?boxed\s*\{([^{}]*)\}")
_TEXT_COMMAND = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}")
_LEAD = re.compile(
    r"^\s*(?:so|thus|therefore|hence)?,?\s*(?:(?:the|one|a|an|possible|valid|correct|final)\s+)*"
    r"(?:solution|expression|equation|answer)(?:\s+is)?\s*(?::|\bis\b)\s*",
    re.IGNORECASE,
)
_TAIL = re.compile(r",?\s*\b(?:which|because|since|using|as required)\b.*$", re.IGNORECASE | re.DOTALL)
_EQUALS = re.compile(r"\bequals\b|=", re.IGNORECASE)
_OFFERS = re.compile(r"\b(?:or|and)\b|[;,\n]", re.IGNORECASE)


class Gold(NamedTuple):
    """The given numbers, what they must make, and whether all of them must be used."""

    numbers: tuple[int, ...]
    target: int
    use_all: bool


class Offer(NamedTuple):
    """An expression that a response offers, and whether what it says of its value is true."""

    node: Node
    claim_holds: bool


def parse_gold(value: Any) -> Gold:
    """Read a gold.

    Raises:
        BadGold: not such a form, over a limit, or (for up to `MAX_SEARCHED` numbers) without any solution.
    """
    if not isinstance(value, dict) or not {"numbers", "target"} <= set(value) <= {"numbers", "target", "use"}:
        raise BadGold(_FORM)
    given, target, use = value["numbers"], value["target"], value.get("use", "all")
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_NUMBERS:
        message = f"numbers must be a list of 1 to {MAX_NUMBERS} integers; {_FORM}"
        raise BadGold(message)
    for number in given:
        if not _is_integer(number) or not 0 <= number <= MAX_NUMBER:
            message = f"{str(number)[:40]!r} in numbers is not an integer from 0 to {MAX_NUMBER}"
            raise BadGold(message)
    if not _is_integer(target) or abs(target) > MAX_NUMBER:
        message = f"the target {str(target)[:40]!r} is not an integer of at most {MAX_NUMBER} in size"
        raise BadGold(message)
    if use not in ("all", "subset"):
        message = f'use must be "all" or "subset", not {str(use)[:40]!r}'
        raise BadGold(message)
    gold = Gold(tuple(sorted(given)), target, use == "all")
    if len(given) <= MAX_SEARCHED and not solvable(gold):
        amount = "all" if gold.use_all else "some"
        message = f"no expression over {amount} of the numbers {given} makes {target}"
        raise BadGold(message)
    return gold


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def check(response: str, gold: Gold, _prompt: str) -> Outcome:
    """Find the one expression that a response offers and evaluate it."""
    text = shown(strip_reasoning(response))
    for candidate in candidates(text):
        try:
            offers = _offers_of(candidate)
        except OverLimit as error:
            return Outcome(Status.incorrect, None, f"{candidate.source}: {error}")
        except NotArithmetic as error:
            if candidate.announced and candidate.text.strip(" *_"):
                return Outcome(Status.unparsed, None, f"{candidate.source}: no expression: {error}")
            continue
        if offers := [offer for offer in offers if _may_answer(offer.node, gold)]:
            return _decide(offers, gold, candidate.source)
    last_line = text.rstrip().rpartition("\n")[2]
    try:
        offers = read(last_line)
    except OverLimit as error:
        return Outcome(Status.incorrect, None, f"last line: {error}")
    except NotArithmetic:
        return Outcome(Status.unparsed, None, "no expression found")
    offers = [offer for offer in offers if _may_answer(offer.node, gold)]
    return _decide(offers, gold, "last line") if offers else Outcome(Status.unparsed, None, "no expression found")


def _offers_of(candidate: Candidate) -> list[Offer]:
    if cut_off(candidate):
        message = f"limit: an answer of {MAX_PHRASE} characters or more"
        raise OverLimit(message)
    if taken_back(candidate):
        message = "it is questioned, or one of several"
        raise NotArithmetic(message)
    return read(candidate.text)


def read(text: str) -> list[Offer]:
    """Return the expressions that a short text offers side by side; raises `NotArithmetic` if it says anything else."""
    if len(text) > 2 * arithmetic.MAX_LENGTH:
        message = f"limit: an answer of more than {2 * arithmetic.MAX_LENGTH} characters"
        raise OverLimit(message)
    text = _TEXT_COMMAND.sub(r" \1 ", _BOXED.sub(r" \1 ", text))
    text = _TAIL.sub("", _LEAD.sub("", _WRAPPING.sub(" ", text))).strip(" \t\r\n.")
    return [_offer(piece) for piece in _OFFERS.split(text) if piece.strip()]


def _offer(text: str) -> Offer:
    sides = [arithmetic.parse(side) for side in _EQUALS.split(text)]
    node = next((side for side in sides if side.operator), sides[0])
    try:
        values = {arithmetic.evaluate(side) for side in sides}
    except ZeroDivisionError:
        return Offer(node, claim_holds=False)
    return Offer(node, claim_holds=len(values) == 1)


def _may_answer(node: Node, gold: Gold) -> bool:
    """Whether this is more than a value: "24" alone says what was reached, unless it is one of the numbers."""
    return bool(node.operator) or (node.number in gold.numbers and (not gold.use_all or len(gold.numbers) == 1))


def _decide(offers: list[Offer], gold: Gold, source: str) -> Outcome:
    texts = list(dict.fromkeys(arithmetic.render(offer.node) for offer in offers))
    if len(texts) > 1:
        return Outcome(Status.unparsed, " or ".join(texts), f"{source}: several expressions offered at once")
    node, claim_holds = offers[0]
    detail = source if claim_holds else f"{source}: what it says of the value is false"
    used, given = Counter(arithmetic.numbers(node)), Counter(gold.numbers)
    if used - given:
        extra = sorted((used - given).elements())
        return Outcome(Status.incorrect, texts[0], f"{detail}: not given, or used too often: {extra}")
    if gold.use_all and given - used:
        return Outcome(Status.incorrect, texts[0], f"{detail}: not used: {sorted((given - used).elements())}")
    try:
        value = arithmetic.evaluate(node)
    except ZeroDivisionError:
        return Outcome(Status.incorrect, texts[0], f"{detail}: it divides by zero")
    if value != gold.target:
        return Outcome(Status.incorrect, texts[0], f"{detail}: it makes {value}")
    return Outcome(Status.correct, texts[0], detail)


@lru_cache(maxsize=100_000)
def solvable(gold: Gold) -> bool:
    """Whether an expression over the numbers makes the target, by exact search."""
    size = len(gold.numbers)
    sizes = [size] if gold.use_all else range(1, size + 1)
    target = Fraction(abs(gold.target))
    return any(_makes(numbers, target) for count in sizes for numbers in set(combinations(gold.numbers, count)))


def _makes(numbers: tuple[int, ...], target: Fraction) -> bool:
    """Whether all numbers together make the target or its negative.

    Signs are left out: with the minus sign as an operator of its own, a value is reached when its negative is.
    """
    if len(numbers) <= 3:
        return target in _values(numbers)
    for some, others in _splits(numbers):
        for value in _values(others):
            if any(_makes(some, goal) for goal in _partners(target, value)):
                return True
    return False


def _partners(target: Fraction, value: Fraction) -> set[Fraction]:
    """Return the sizes that, joined with `value` by some operator, give the target."""
    partners = {target + value, abs(target - value)}
    if value:  # nothing times 0 is a new value, and nothing is divided by it
        partners.update((target * value, target / value))
        if target:
            partners.add(value / target)
    return partners


@lru_cache(maxsize=20_000)
def _values(numbers: tuple[int, ...]) -> frozenset[Fraction]:
    """Return the sizes of all values that an expression over exactly these numbers can have."""
    if len(numbers) == 1:
        return frozenset((Fraction(numbers[0]),))
    values: set[Fraction] = set()
    for some, others in _splits(numbers):
        for left in _values(some):
            for right in _values(others):
                values.update((left + right, abs(left - right), left * right))
                if right:
                    values.add(left / right)
                if left:
                    values.add(right / left)
    return frozenset(values)


@lru_cache(maxsize=20_000)
def _splits(numbers: tuple[int, ...]) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Return each way to part sorted numbers in two, the larger part first."""
    found: dict[tuple[tuple[int, ...], tuple[int, ...]], None] = {}
    for size in range(1, len(numbers) // 2 + 1):
        for chosen in combinations(range(len(numbers)), size):
            others = tuple(numbers[index] for index in chosen)
            some = tuple(number for index, number in enumerate(numbers) if index not in chosen)
            found[some, others] = None
    return tuple(found)


VERIFIER = Verifier(name="countdown", version="2", parse_gold=parse_gold, check=check)
