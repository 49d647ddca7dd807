"""Mathematical answers: an exact path in the calling process, a symbolic comparison in workers for the rest.

An answer is found by extract.py and read into its shape by answers.py. Numbers, words, formulas that have an exact
normal form, and lists, tuples, intervals, matrices and relations of them are compared here (equality.py). What is
left goes to `verifiers.math_worker`, after the limits of limits.py. Operators that the gold does not have, and
expressions of the question, are no answers (operators.py).
"""

import json
import re
from functools import lru_cache
from importlib.metadata import version
from math import gcd, isfinite
from typing import Any, NamedTuple

from verifiers import limits, operators
from verifiers.answers import Chain, Group, Leaf, Refused, Value, condition, is_name, read, squeezed
from verifiers.contract import BadGold, Deferred, Outcome, Status, Verifier
from verifiers.endings import plain_ending
from verifiers.equality import Asked, Comparison, is_interval, is_word, same
from verifiers.extract import candidates, strip_reasoning
from verifiers.hedges import taken_back
from verifiers.numerals import Number, canonical, parse_number, same_number, split_unit, tidy
from verifiers.prose import alternatives, maths_answer, tail_answer

_FORM = 'a maths ground_truth is JSON text such as "7" (with the quotes) or ["1/2", "0.5"]'
_NO_GOLD = ("nan", "n/a", "null", "inf", "-inf")  # what exports write where there is no answer
_OF_SETS = frozenset({"negation", "set operation"})  # what may describe a set of numbers: x \\ne 1, all but 1
_FOREIGN_DIGIT = re.compile(r"(?![0-9])\d")
_SIDE_BY_SIDE = re.compile(r"(?<![_^0-9])[0-9]+ +[0-9]")
_SEPARATED = re.compile(r"\\pm|\\mp|±|\\\{|\\cup|∪|;|,(?![0-9]{3}(?![0-9]))")
_APPROXIMATELY = re.compile(r"\\approx(?![A-Za-z])|\\simeq|≈")
_OPERATION = re.compile(r"[-+*/^]|\\(?:frac|sqrt|cdot|times|div)|[0-9A-Za-z)}] ?[({]|[0-9] ?\\?[A-Za-z]")
# (B) 5, where the gold is an option's letter: one letter, and no second one behind it.
_LETTERED = re.compile(r"\(?([A-H])\)[.:]?(?: (?P<rest>.{1,80}))?")
_SECOND_LETTER = re.compile(r"\b[A-H]\b|\b(?:or|and)\b|[,;/]")
_FRACTION = re.compile(r"-?(?:([0-9]+) ?/ ?([0-9]+)|\\frac\{([0-9]+)\}\{([0-9]+)\})")
# Ways to write the same: an expression of the question stays one in another typography.
_UNREADABLE = re.compile(
    r"(?P<frac>\\[dtc]?frac(?![a-z]))|(?P<times>\\(?:times|cdot)(?![a-z])|[×·⋅]|\*(?!\*))|(?P<power>\*\*)"
    r"|(?P<root>\\sqrt(?![a-z])|√)|(?P<divided>\\div(?![a-z])|÷)|\\(?:left|right|displaystyle)(?![A-Za-z])"
    r"|\\[!,;: ]|[\s${}~]"
)
_FRACTION_OF_NUMERALS = re.compile(r"\\[dtc]?frac ?\{([0-9]+)\} ?\{([0-9]+)\}")
_TYPOGRAPHY = {"frac": "\\frac", "times": "*", "power": "^", "root": "√", "divided": "/"}

_PERCENT = re.compile(r"%|per ?cent|percentage|\bpct\b", re.IGNORECASE)
_BASE = re.compile(r"\bbase\b|binary|octal|hexadecimal|ternary|[0-9)]_\{?[0-9]{1,2}", re.IGNORECASE)
_INTERVAL = re.compile(
    r"interval|inequalit|domain|\brange\b|values of|all real|\bsolve\b|solution set|<|>|\\[lg]eq?\b", re.I
)

MAX_PROMPT = 20_000
"""Characters of a prompt in which a repeated expression is looked for."""


class Gold(NamedTuple):
    """One accepted answer.

    Attributes:
        text: the tidy answer.
        value: its shape.
        operators: the kinds of operators in it.
        plain: its value where it is one number without unit and percent.
        numeral: that number as text; else empty.
    """

    text: str
    value: Value
    operators: frozenset[str]
    plain: Number | None = None
    numeral: str = ""


class Prompt(NamedTuple):
    """What a prompt says about the type of the answer, and its text without spaces and typography."""

    asked: Asked
    text: str


def parse_gold(value: Any) -> tuple[Gold, ...]:
    """Read a gold: one accepted answer or a list of them, as text or as JSON numbers.

    Raises:
        BadGold: not such a form, empty, unbalanced, without a letter or digit, contradictory, or over a limit.
    """
    accepted = value if isinstance(value, list) else [value]
    if not accepted:
        message = f"the list of accepted answers is empty; {_FORM}"
        raise BadGold(message)
    return tuple(_gold(answer) for answer in accepted)


def _gold(answer: Any) -> Gold:
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        message = f"{json.dumps(answer)[:60]} is not an answer; {_FORM}"
        raise BadGold(message)
    if isinstance(answer, float) and not isfinite(answer):
        message = f"a number beyond the range of a double is not usable; {_FORM}"
        raise BadGold(message)
    text = str(answer)
    if text.isdecimal() and text.isascii() and (number := parse_number(text)) is not None:
        return Gold(text, Leaf(text, "", "", number), frozenset(), number, text)
    boxed = next((c.text for c in candidates(text) if c.source == "boxed"), None)
    text = text if boxed is None else boxed
    if text.strip().lower() in _NO_GOLD:
        message = f"{text[:60]!r} stands for a missing value; {_FORM}"
        raise BadGold(message)
    if not re.search(r"[^\W_]|\\infty|\\emptyset|\\varnothing", text):
        message = f"{text[:60]!r} holds neither a digit nor a letter; {_FORM}"
        raise BadGold(message)
    text = tidy(text)
    if not limits.balanced(text):
        message = f"the braces of {text[:60]!r} do not balance"
        raise BadGold(message)
    if parse_number(text) is None and (limit := limits.exceeded(text)):
        message = f"the gold {text[:60]!r} is over a limit of the verifier: {limit.removeprefix('limit: ')}"
        raise BadGold(message)
    text = condition(_exact_part(text))
    found = read(text)
    if isinstance(found, Refused):
        message = f"the gold {text[:60]!r} is no answer: {found.reason}"
        raise BadGold(message)
    kinds = operators.kinds(text)
    if isinstance(found, Group) and (found.kind == "union" or is_interval(found, Asked())):
        kinds |= _OF_SETS
    if not isinstance(found, Leaf) or found.number is None or found.number.unit or found.number.percent:
        return Gold(text, found, kinds)
    return Gold(text, found, kinds, found.number, found.text if parse_number(found.text) else "")


def read_side(text: str) -> Leaf:
    """Read a tidy answer as one value, with its number if it is one; several values come back as a text."""
    found = read(text)
    return found if isinstance(found, Leaf) else Leaf(text)


def check(response: str, gold: tuple[Gold, ...], prompt: str) -> Outcome | Deferred:
    """Find the answer of a response and compare it with each accepted one."""
    text = strip_reasoning(response)
    if len(prompt) >= 20 and prompt in text:
        text = text.replace(prompt, " ")  # an echo of the question offers nothing
    ending = plain_ending(text)
    if ending is not None:
        if len(gold) == 1 and gold[0].numeral and ending[0][-1] != "%":
            return _compare_numeral(gold[0].numeral, *ending)
        return compare(gold, *ending, prompt)
    for candidate in candidates(text):
        answer = maths_answer(candidate)
        if answer is not None:
            if taken_back(candidate):
                return Outcome(Status.unparsed, _shown(answer), f"{candidate.source}: questioned, or one of several")
            return compare(gold, answer, candidate.source, prompt)
    tail = tail_answer(text)
    if tail is None:
        return Outcome(Status.unparsed, None, "no answer found")
    return compare(gold, tail, "last number", prompt)


def compare(gold: tuple[Gold, ...], text: str, source: str, prompt: str = "") -> Outcome | Deferred:
    """Compare a tidy answer with the accepted ones, here if possible; `source` goes into the detail."""
    if not text:
        return Outcome(Status.unparsed, None, f"{source}: empty")
    number = parse_number(text)
    if number is None:
        return _compare_expression(gold, text, source, prompt)
    shown = canonical(number)
    found = _compare_plain(gold, number)
    if found is not None and (number.plain or not prompt):
        return Outcome(Status.correct if found else Status.incorrect, shown, source)
    asked = Asked() if not prompt else _prompt(prompt).asked
    answer = read(text)
    for accepted in gold:
        if same(accepted.value, answer, Comparison(asked)):
            if prompt and accepted.text != text and _unreduced(text) and _repeated(text, prompt):
                return Outcome(Status.incorrect, shown, f"{source}: repeats an expression of the question")
            return Outcome(Status.correct, shown, source)
    return _decide(gold, answer, text, shown, source, asked)


@lru_cache(maxsize=1 << 16)
def _compare_numeral(gold: str, numeral: str, source: str) -> Outcome:
    """Compare a plain numeral with a gold that is one number: the most frequent pairs."""
    whole, _, part = numeral.replace(",", "").partition(".")
    if not part.strip("0") and whole.isdecimal() and gold.isdecimal() and whole[0] != "0" and gold[0] != "0":
        return Outcome(Status.correct if whole == gold else Status.incorrect, whole, source)
    accepted, number = parse_number(gold), parse_number(numeral)
    assert accepted is not None and number is not None
    status = Status.correct if same_number(accepted, number) else Status.incorrect
    return Outcome(status, canonical(number), source)


def _compare_plain(gold: tuple[Gold, ...], answer: Number) -> bool | None:
    """Compare a number without unit and percent with such golds; None where one side is anything else."""
    if answer.unit or answer.percent:
        return None
    for accepted in gold:
        number = accepted.plain
        if number is None:
            return None
        if same_number(number, answer):
            return True
    return False


def _compare_expression(gold: tuple[Gold, ...], text: str, source: str, prompt: str) -> Outcome | Deferred:
    shown = _shown(text)
    if any(accepted.text == text or squeezed(accepted.text) == squeezed(text) for accepted in gold):
        return Outcome(Status.correct, shown, source)
    if problem := _no_answer(text):
        return Outcome(Status.incorrect, shown, f"{source}: {problem}")
    if (letter := _letter(text)) and any(accepted.text.strip("()") == letter for accepted in gold):
        return Outcome(Status.correct, letter, source)
    text = condition(_exact_part(text))
    answer = read(text)
    if isinstance(answer, Refused):
        return Outcome(Status.incorrect, shown, f"{source}: {answer.reason}")
    if isinstance(answer, Chain) and prompt:
        answer, text = _value_asked_for(answer, text, prompt)
    if isinstance(answer, Leaf) and answer.number is not None:
        shown = canonical(answer.number)
    if isinstance(answer, Group) and answer.kind == "list" and "\\pm" not in text and "±" not in text:
        merged = _offered_once(answer)
        if merged is not None:
            return compare(gold, merged, source, prompt)
        if not any(_offers_several(accepted) for accepted in gold):
            return Outcome(Status.unparsed, shown, f"{source}: several answers offered at once")
    kinds = operators.kinds_claimed(answer.name, text) if isinstance(answer, Leaf | Group) else operators.kinds(text)
    covered = tuple(accepted for accepted in gold if kinds <= accepted.operators)
    if not covered:
        extra = min(sorted(kinds - accepted.operators) for accepted in gold)[0]
        return Outcome(Status.incorrect, shown, f"{source}: {extra} where the gold has none")
    asked = Asked() if not prompt else _prompt(prompt).asked
    if prompt and _echoes(answer, text, prompt):
        return Outcome(Status.incorrect, shown, f"{source}: repeats an expression of the question")
    return _decide(covered, answer, text, shown, source, asked)


def _decide(
    accepted_ones: tuple[Gold, ...], answer: Value, text: str, shown: str, source: str, asked: Asked
) -> Outcome | Deferred:
    how = Comparison(asked)
    undecided: list[Gold] = []
    for accepted in accepted_ones:
        found = same(accepted.value, answer, how)
        if found:
            return Outcome(Status.correct, shown, source)
        # The LaTeX parser reads "2 3" as the mixed number 2 + 3.
        if found is None and not _SIDE_BY_SIDE.search(accepted.text) and not _SIDE_BY_SIDE.search(text):
            undecided.append(accepted)
    if not undecided:
        return Outcome(Status.incorrect, shown, source)
    payload = json.dumps([[accepted.text for accepted in undecided], text, asked])
    return Deferred(payload, shown, source)


def _shown(text: str) -> str:
    return split_unit(text)[0][: limits.MAX_LENGTH]


def _letter(text: str) -> str:
    """Return B of `(B)`, `B)` and `(B) 5`; empty where a second letter is offered, or the first one taken back."""
    match = _LETTERED.fullmatch(text)
    rest = match["rest"] or "" if match else ""
    if match is None or _SECOND_LETTER.search(rest) or operators.kinds(rest) & operators.TAKES_BACK:
        return ""
    return match[1]


def _no_answer(text: str) -> str | None:
    """Return why a text that is not the gold's own cannot be an answer, or None."""
    if _FOREIGN_DIGIT.search(text):
        return "digits that are not 0 to 9"
    if operators.hidden(text):
        return "characters that do not show"
    return limits.exceeded(text)


def _exact_part(text: str) -> str:
    r"""Return `10/3` of `10/3 \approx 3.33`, and `x = 3.33` of `x \approx 3.33`."""
    parts = [part.strip() for part in _APPROXIMATELY.split(text)]
    if len(parts) != 2 or not all(parts):
        return text
    if is_name(parts[0]):
        return f"{parts[0]} = {parts[1]}"
    left, right = (read_side(tidy(part)).number for part in parts)
    if right is None or (
        left is not None and abs(left.value - right.value) * 10 ** len(right.plain.partition(".")[2]) > 1
    ):
        return text
    return tidy(parts[0])


def _value_asked_for(answer: Chain, text: str, prompt: str) -> tuple[Value, str]:
    """Read `x + y = 5` as 5 where the prompt speaks of x + y."""
    if len(answer.values) == 2 and answer.signs == ("=",) and _repeated(answer.values[0], prompt):
        value = read(answer.values[1])
        if isinstance(value, Leaf) and value.number is not None:
            return value, answer.values[1]
    return answer, text


def _offers_several(gold: Gold) -> bool:
    return isinstance(gold.value, Group) or len(alternatives(gold.text)) > 1 or _SEPARATED.search(gold.text) is not None


def _offered_once(offered: Group) -> str | None:
    """Return the one answer that all items are, as text or as number, or None when they differ."""
    first, *others = offered.items
    if not isinstance(first, Leaf) or not all(same(first, other, Comparison()) for other in others):
        return None
    return f"{first.name} = {first.text}" if first.name else first.text


@lru_cache(maxsize=256)
def _prompt(prompt: str) -> Prompt:
    shown = prompt[:MAX_PROMPT]
    asked = Asked(*(pattern.search(shown) is not None for pattern in (_PERCENT, _BASE, _INTERVAL)))
    return Prompt(asked, _bare(shown))


def _bare(text: str) -> str:
    # Set braces stay, and so does the bar of a fraction of plain numerals.
    text = _FRACTION_OF_NUMERALS.sub(r"\1/\2", text.replace("\\{", "\x01").replace("\\}", "\x02"))
    return _UNREADABLE.sub(lambda match: _TYPOGRAPHY.get(match.lastgroup or "", ""), text)


def _repeated(text: str, prompt: str) -> bool:
    return _bare(text) in _prompt(prompt).text


def _unreduced(text: str) -> bool:
    """Whether a number is written as a fraction that can be reduced."""
    match = _FRACTION.fullmatch(text)
    if match is None:
        return False
    top, bottom = (int(part[:400]) for part in match.groups() if part is not None)
    return gcd(top, bottom) > 1


def _echoes(answer: Value, text: str, prompt: str) -> bool:
    """Whether an answer is an operation, or a relation, that the prompt has word for word: the question, unanswered."""
    if isinstance(answer, Group):
        return False
    part = answer.text if isinstance(answer, Leaf) else text
    if is_word(part) or len(part) < 3 or not (isinstance(answer, Chain) or _OPERATION.search(part)):
        return False
    return _repeated(part, prompt)


VERIFIER = Verifier(
    name="math",
    version="3+" + "+".join(f"{name}-{version(name)}" for name in ("math-verify", "latex2sympy2-extended", "sympy")),
    parse_gold=parse_gold,
    check=check,
    work="verifiers.math_worker:work",
    budget_s=5.0,
)
