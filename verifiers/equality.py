r"""Whether an answer equals a gold: by shape first, then leaf by leaf, exactly.

`same` gives True or False where that is certain, and None where a leaf needs the symbolic comparison; with one
(in a worker) it always decides. Order, brackets and names count; how is stated in README, "Expressions".
"""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from verifiers import algebra, units
from verifiers.answers import INFINITY, MINUS_INFINITY, Chain, Group, Leaf, Refused, Value, read, squeezed
from verifiers.formulas import read_form
from verifiers.intervals import FLIPPED, as_set, merged, variables
from verifiers.numerals import Number, same_number

Symbolic = Callable[[str, str], bool]

_WORD = re.compile(r"[^\W\d_]{3,}(?:[ '’-][^\W\d_]+)*|[Nn]o(?: [^\W\d_]{2,})*")
_BASED = re.compile(r"\(?(?P<digits>[0-9][0-9A-Za-z]*)\)?_\{?\(?(?P<base>[0-9]{1,2}|two|three|eight|ten)\)?\}?")


class Asked(NamedTuple):
    """What the prompt says about the type of the answer; None where there is no prompt.

    Attributes:
        percent: a percentage is spoken of, so that `0.5%` may answer a bare 0.5.
        base: a base of numerals is spoken of, so that `101_2` may answer a bare 101.
        interval: an interval or inequality is spoken of, so that `(1, 2)` may be one.
    """

    percent: bool | None = None
    base: bool | None = None
    interval: bool | None = None


class Comparison(NamedTuple):
    """How to compare: what was asked for, and the symbolic comparison of two texts where there is one."""

    asked: Asked = Asked()
    symbolic: Symbolic | None = None


def is_word(text: str) -> bool:
    """Whether a text is a word: it equals itself and nothing else, and is no product of letters."""
    return _WORD.fullmatch(text) is not None


def same(gold: Value, answer: Value, how: Comparison) -> bool | None:
    """Whether an answer equals a gold; None where that is not certain."""
    if isinstance(gold, Refused) or isinstance(answer, Refused):
        return False
    if isinstance(gold, Leaf) and isinstance(answer, Leaf):
        return _same_leaf(gold, answer, how)
    if _names_differ(gold, answer):
        return False
    if _relates(gold) or _relates(answer):
        return _same_relation(gold, answer, how)
    if isinstance(gold, Group) and isinstance(answer, Group):
        return _same_group(gold, answer, how)
    group, leaf = (gold, answer) if isinstance(gold, Group) else (answer, gold)
    assert isinstance(group, Group) and isinstance(leaf, Leaf)
    if group.kind == "set" and len(group.items) == 1:
        return same(group.items[0], answer, how) if group is gold else same(gold, group.items[0], how)
    return group.kind == "ratio" and _same_ratio(group, leaf)


def _relates(value: Value) -> bool:
    """Whether a value is a relation, or a list of them such as x < 1 or x > 2."""
    if isinstance(value, Group):
        return value.kind == "list" and all(isinstance(item, Chain) for item in value.items)
    return isinstance(value, Chain)


def _same_ratio(ratio: Group, value: Leaf) -> bool:
    """Whether 1 : 5 is a number that is written as a fraction."""
    parts = [item.number for item in ratio.items if isinstance(item, Leaf) and item.number is not None]
    if len(ratio.items) != 2 or len(parts) != 2 or value.number is None or parts[1].value == 0:
        return False
    written = "/" in value.text or "\\frac" in value.text
    return written and parts[0].value / parts[1].value == value.number.value


def _names_differ(gold: Value, answer: Value) -> bool:
    names = [value.name for value in (gold, answer) if isinstance(value, Leaf | Group) and value.name]
    return len(names) == 2 and names[0] != names[1]


def _same_leaf(gold: Leaf, answer: Leaf, how: Comparison) -> bool | None:
    if _names_differ(gold, answer):
        return False
    factors = units.factors(gold.unit, answer.unit)
    if gold.number is not None and answer.number is not None:
        if factors and any(same_quantity(gold.number, answer.number, factor, how.asked) for factor in factors):
            return True
        return _same_angle(gold, answer)
    if factors is None:
        return _same_angle(gold, answer)
    if squeezed(gold.text) == squeezed(answer.text):
        return 1 in factors
    if is_word(gold.text) or is_word(answer.text):
        return gold.text.casefold() == answer.text.casefold()
    if {gold.text, answer.text} & {INFINITY.text, MINUS_INFINITY.text}:
        return False
    based = _BASED.fullmatch(gold.text), _BASED.fullmatch(answer.text)
    if based[0] or based[1]:
        return _same_based(*based, gold.text, answer.text, how.asked)
    found = _same_form(gold, answer, factors)
    if found is False and _same_angle(gold, answer):
        return True
    if found is not None or how.symbolic is None:
        return found
    return 1 in factors and how.symbolic(gold.text, answer.text)


def same_quantity(gold: Number, answer: Number, factor: Fraction, asked: Asked) -> bool:
    """Whether two numbers are equal once the answer is in the gold's unit, under the policy for percentages.

    50% is 0.5 on either side. A gold of 50% may be answered with a bare 50, and a bare gold of 50 with 50% where the
    prompt speaks of a percentage, or says nothing and the gold is at least 1.
    """
    if gold.percent != answer.percent and units.readings((answer if gold.percent else gold).unit):
        return False  # 5% and $5
    scaled = answer if factor == 1 else answer._replace(value=answer.value * factor, decimals=0, plain="")
    if gold.percent == answer.percent:
        return same_number(gold, scaled)
    if gold.percent:
        return gold.value / 100 == scaled.value or same_number(gold._replace(percent=False), scaled)
    if gold.value == scaled.value / 100:
        return True
    allowed = abs(gold.value) >= 1 if asked.percent is None else asked.percent
    return allowed and same_number(gold, scaled._replace(percent=False))


def _same_angle(gold: Leaf, answer: Leaf) -> bool:
    """Whether an angle in degrees is one in radians, or one that is written with π."""
    for degrees, other in ((gold, answer), (answer, gold)):
        if units.has_degrees(degrees.unit) and (not other.unit or units.is_radians(other.unit)):
            forms = read_form(_plain(degrees)), read_form(_plain(other))
            if forms[0] is None or forms[1] is None or ("#pi" not in algebra.atoms(forms[1]) and not other.unit):
                continue
            turned = algebra.multiply(
                forms[0], algebra.multiply(algebra.atom("#pi"), algebra.constant(Fraction(1, 180)))
            )
            if algebra.equal(turned, forms[1]):
                return True
    return False


def _plain(leaf: Leaf) -> str:
    return leaf.number.plain or leaf.text if leaf.number is not None else leaf.text


def _same_based(
    gold: re.Match[str] | None, answer: re.Match[str] | None, gold_text: str, answer_text: str, asked: Asked
) -> bool:
    """Compare numerals with the base written below them; where one has none, the digits must be the same."""
    digits = [match["digits"] if match else text for match, text in ((gold, gold_text), (answer, answer_text))]
    if digits[0].upper() != digits[1].upper():
        return False
    if gold and answer:
        return gold["base"] == answer["base"]
    return gold is not None or asked.base is True


def _same_form(gold: Leaf, answer: Leaf, factors: tuple[Fraction, ...]) -> bool | None:
    left, right = read_form(gold.text), read_form(answer.text)
    if left is None or right is None:
        return None
    if any(algebra.equal(left, algebra.multiply(right, algebra.constant(factor))) for factor in factors):
        return True
    numbers = _number(gold, left), _number(answer, right)
    if numbers[0] and numbers[1]:
        return any(same_number(numbers[0], numbers[1]._replace(value=numbers[1].value * factor)) for factor in factors)
    names = algebra.atoms(left) | algebra.atoms(right)
    rounded = any(number is not None and number.decimals >= 6 for number in (gold.number, answer.number))
    # Left open: a rounded value of an irrational constant; e, which is a free variable here and a number elsewhere.
    return None if (rounded and not names - {"e"} - _constants(names)) or {"e", "#pi"} <= names else False


def _constants(names: set[str]) -> set[str]:
    return {name for name in names if name.startswith("#")}


def _number(leaf: Leaf, form: algebra.Form) -> Number | None:
    if leaf.number is not None:
        return leaf.number
    value = algebra.rational(form)
    return None if value is None else Number(value, percent=False, decimals=0, plain="")


def _same_group(gold: Group, answer: Group, how: Comparison) -> bool | None:
    if "union" in (gold.kind, answer.kind):
        return _same_union(gold, answer, how)
    if gold.ordered and answer.ordered:
        # Of more than two values, (1, 2, 3) and [1, 2, 3] are the same tuple.
        alike = gold.kind == answer.kind or (len(gold.items) > 2 and {gold.kind, answer.kind} == {"()", "[]"})
        return alike and _in_order(gold.items, answer.items, how)
    if gold.ordered and answer.kind == "list":
        return not is_interval(gold, how.asked) and _in_order(gold.items, _by_name(answer) or answer.items, how)
    if gold.kind == "list" and answer.ordered:
        named = _by_name(gold)
        return named is not None and _in_order(named, answer.items, how)
    if gold.kind in ("list", "set") and answer.kind in ("list", "set"):
        named, others = _by_name(gold), _by_name(answer)
        if (named and _nameless(answer)) or (others and _nameless(gold)):
            return _in_order(named or gold.items, others or answer.items, how)
        return _in_any_order(gold.items, answer.items, how)
    if gold.kind == answer.kind:  # matrices and their rows
        return _in_order(gold.items, answer.items, how)
    return False


def _by_name(group: Group) -> tuple[Value, ...] | None:
    """Return the values of x = 1, y = 2 in the order of their names and without them; None where it is no such list."""
    leaves = [item for item in group.items if isinstance(item, Leaf) and item.name]
    if len(leaves) != len(group.items) or len({leaf.name for leaf in leaves}) != len(leaves) or len(leaves) < 2:
        return None
    return tuple(leaf._replace(name="") for leaf in sorted(leaves, key=lambda leaf: leaf.name))


def _nameless(group: Group) -> bool:
    return not any(isinstance(item, Leaf | Group) and item.name for item in group.items)


def is_interval(group: Group, asked: Asked) -> bool:
    """Whether two values in brackets are an interval, and not a pair, as far as brackets, ∞ and the prompt tell."""
    if not group.ordered or len(group.items) != 2:
        return False
    if group.kind in ("[)", "(]") or group.items[0] == MINUS_INFINITY or group.items[1] == INFINITY:
        return True
    return asked.interval is not False if group.kind == "[]" else asked.interval is True


def _in_order(gold: tuple[Value, ...], answer: tuple[Value, ...], how: Comparison) -> bool | None:
    if len(gold) != len(answer):
        return False
    found = [same(left, right, how) for left, right in zip(gold, answer, strict=True)]
    return False if False in found else None if None in found else True


def _in_any_order(gold: tuple[Value, ...], answer: tuple[Value, ...], how: Comparison) -> bool | None:
    if len(gold) != len(answer):
        return False
    left, uncertain = list(answer), False
    for item in gold:
        found = [same(item, other, how) for other in left]
        if True in found:
            del left[found.index(True)]
        elif None in found:
            uncertain = True
        else:
            return False
    return None if uncertain else True


def _same_union(gold: Group, answer: Group, how: Comparison) -> bool | None:
    if gold.ordered and not is_interval(gold, how.asked):
        return False
    parts = [group.items if group.kind == "union" else (group,) for group in (gold, answer)]
    found = _in_any_order(parts[0], parts[1], how)
    if found is not False:
        return found
    pieces = merged(parts[0]), merged(parts[1])
    return pieces[0] is not None and pieces[0] == pieces[1]


def _same_relation(gold: Value, answer: Value, how: Comparison) -> bool | None:
    gold, answer = _as_chain(gold, answer), _as_chain(answer, gold)
    if isinstance(gold, Chain) and isinstance(answer, Chain):
        return _same_chain(gold, answer, how)
    if isinstance(gold, Group) and isinstance(answer, Group) and gold.kind == answer.kind == "list":
        found = _in_any_order(gold.items, answer.items, how)
        if found is not False:
            return found
    sets = as_set(gold), as_set(answer)
    names = variables(gold), variables(answer)
    if sets[0] is None or sets[1] is None or (names[0] and names[1] and names[0] != names[1]):
        return False
    if isinstance(gold, Group) and gold.ordered and not is_interval(gold, how.asked):
        return False
    return _same_group(sets[0], sets[1], how)


def _as_chain(value: Value, other: Value) -> Value:
    """Read `y = 2x + 1`, otherwise a value with a name, as an equation next to another equation."""
    if isinstance(value, Leaf) and value.name and isinstance(other, Chain) and set(other.signs) == {"="}:
        form = read_form(value.text)
        if form is not None and algebra.variables(form):
            return Chain((value.name, value.text), ("=",))
    return value


def _same_chain(gold: Chain, answer: Chain, how: Comparison) -> bool | None:
    turned = Chain(answer.values[::-1], tuple(FLIPPED[sign] for sign in answer.signs[::-1]))
    uncertain = False
    for chain in (answer, turned):
        if gold.signs == chain.signs:
            found = _in_order(_sides(gold), _sides(chain), how)
            if found:
                return True
            uncertain = uncertain or found is None
    if len(gold.signs) == len(answer.signs) == 1 and _same_difference(gold, answer):
        return True
    sets = as_set(gold), as_set(answer)
    if sets[0] and sets[1] and variables(gold) == variables(answer) and _same_group(sets[0], sets[1], how):
        return True
    return None if uncertain and how.symbolic is None else False


def _sides(chain: Chain) -> tuple[Value, ...]:
    return tuple(read(value) for value in chain.values)


def _same_difference(gold: Chain, answer: Chain) -> bool:
    """Whether left - right of both is the same up to a constant: any for `=`, a positive rational for an inequality."""
    forms = [read_form(value) for value in gold.values + answer.values]
    known = [form for form in forms if form is not None]
    if len(known) != 4:
        return False
    try:
        left, right = algebra.add(known[0], known[1], -1), algebra.add(known[2], known[3], -1)
        factor = algebra.proportional(left, right)
    except algebra.TooLarge:
        return False
    sign = gold.signs[0]
    if factor is None:
        return False
    if sign in ("=", "!="):
        return answer.signs[0] == sign
    if left.below != algebra.ONE or right.below != algebra.ONE:
        return False
    return (factor > 0 and answer.signs[0] == sign) or (factor < 0 and answer.signs[0] == FLIPPED[sign])
