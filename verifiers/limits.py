"""Limits on an expression, checked as text before any parser sees it.

They bound what a symbolic parser may be asked to do. A response over a limit has failed (`incorrect`, with the
limit in the detail); a gold over a limit is `bad_gold`. What they let through is still bounded by the worker's
wall clock and memory.
"""

import re

MAX_LENGTH = 500
MAX_DEPTH = 24
MAX_DIGITS = 200
MAX_EXPONENT = 10_000
MAX_TOWER = 3
MAX_POWERS = 60
MAX_FACTORIAL = 5_000  # 16,000 digits: competition answers reach 2024!

_NUMERAL = re.compile(r"[0-9]+(?:,[0-9]{3})*(?:\.[0-9]*)?")
_DIGITS = re.compile("[0-9]+")
_LONG_NUMERAL = re.compile(rf"[0-9]{{{MAX_DIGITS + 1},}}")
_FACTORIAL = re.compile(r"([0-9,]+|[)}\]]|[A-Za-z])[ ]*(!+)(?!=)")
_OPENING, _CLOSING = "([{", ")]}"


def exceeded(text: str) -> str | None:
    """Return which limit a mathematical text exceeds, as a phrase for a verdict's detail, or None."""
    if len(text) > MAX_LENGTH:
        return f"limit: {len(text)} characters, at most {MAX_LENGTH}"
    if _LONG_NUMERAL.search(text.replace(",", "")):
        return f"limit: a numeral of more than {MAX_DIGITS} digits"
    if depth(text) > MAX_DEPTH:
        return f"limit: brackets nested more than {MAX_DEPTH} deep"
    powers = text.replace("**", "^")
    if powers.count("^") > MAX_POWERS:
        return f"limit: {powers.count('^')} powers, at most {MAX_POWERS}"
    if _tower_above(powers, MAX_TOWER):
        return f"limit: exponents of exponents more than {MAX_TOWER} high"
    if _largest_exponent(powers) > MAX_EXPONENT:
        return f"limit: an exponent above {MAX_EXPONENT}"
    if "!" in text and _factorial_too_large(text):
        return f"limit: a factorial above {MAX_FACTORIAL}, or of a product or power"
    return None


def depth(text: str) -> int:
    """Return how deep brackets nest, counting (, [ and { together."""
    level = deepest = 0
    for character in text:
        if character in _OPENING:
            level += 1
            deepest = max(deepest, level)
        elif character in _CLOSING:
            level -= 1
    return deepest


def balanced(text: str) -> bool:
    """Whether braces, escaped ones aside, open and close in order."""
    level = 0
    previous = ""
    for character in text:
        if previous != "\\":
            level += (character == "{") - (character == "}")
            if level < 0:
                return False
        previous = character
    return level == 0


def group_at(text: str, start: int) -> str:
    """Return what a `^` at `start - 1` applies to: a bracketed group, a signed numeral, or one character."""
    while start < len(text) and text[start] in " -+":
        start += 1
    if start >= len(text):
        return ""
    if text[start] in _OPENING:
        level = 0
        for end in range(start, len(text)):
            level += (text[end] in _OPENING) - (text[end] in _CLOSING)
            if level == 0:
                return text[start + 1 : end]
        return text[start + 1 :]
    numeral = _DIGITS.match(text, start)
    base = numeral[0] if numeral else text[start]
    rest = text[start + len(base) :].lstrip()
    # Written without braces, a tower leans on the parser: 9^9^9 is read as 9^(9^9).
    return base + rest if rest.startswith("^") else base


def _largest_exponent(text: str) -> int:
    """Return a bound of the largest exponent; that of a bracket that holds powers multiplies theirs."""
    stack, closed = [0], 0  # the largest exponent so far within each open bracket, and within the last closed one
    for position, character in enumerate(text):
        if character in _OPENING:
            stack.append(0)
        elif character in _CLOSING and len(stack) > 1:
            closed = stack.pop()
            stack[-1] = max(stack[-1], closed)
        elif character == "^":
            exponent = _bound(group_at(text, position + 1))
            if text[:position].rstrip().endswith((")", "]", "}")):
                exponent *= max(1, closed)  # (10^100)^100
            stack[-1] = max(stack[-1], exponent)
    return max(stack)


def _tower_above(text: str, height: int) -> bool:
    """Whether exponents of exponents stand more than `height` high."""
    powers = [at for at, character in enumerate(text) if character == "^"]
    return bool(powers) and (height == 0 or any(_tower_above(group_at(text, at + 1), height - 1) for at in powers))


def _bound(exponent: str) -> int:
    """Return an upper bound of an exponent, capped just above the limit."""
    over = MAX_EXPONENT + 1
    if "!" in exponent:
        return over
    if "^" not in exponent:
        values = _values(exponent)
        if len(values) <= 1:
            return min(over, *values) if values else 0
        # Sums and products of several numerals are bounded by the product of each, taken as at least 2.
        product = 1
        for value in values:
            product = min(over, product * max(2, value))
        return product
    base, _, _ = exponent.partition("^")
    inner = _bound(group_at(exponent, len(base) + 1))
    largest = max(_values(base), default=0)
    if largest <= 1:
        return inner
    return over if inner > 14 else min(over, largest**inner)


def _values(text: str) -> list[int]:
    """Return the integer part of each numeral, capped just above the limits."""
    return [
        int(whole) if len(whole := numeral.partition(".")[0].replace(",", "")) <= 6 else 10**6
        for numeral in _NUMERAL.findall(text)
    ]


def _factorial_too_large(text: str) -> bool:
    total = 0
    for match in _FACTORIAL.finditer(text):
        operand = match[1]
        total += 1
        if operand[0].isdigit():
            repeated = len(match[2]) > 1  # parsers differ on n!!: it may mean (n!)!
            if max(_values(operand)) > (6 if repeated else MAX_FACTORIAL):
                return True
        elif operand in _CLOSING:
            start = _opening_of(text, match.start(1))
            inside = text[start + 1 : match.start(1)]
            if "!" in inside or "^" in inside or "*" in inside or "times" in inside or "cdot" in inside:
                return True
            if max(_values(inside), default=0) > MAX_FACTORIAL:
                return True
    return total > 20


def _opening_of(text: str, closing: int) -> int:
    level = 0
    for position in range(closing, -1, -1):
        level += (text[position] in _CLOSING) - (text[position] in _OPENING)
        if level == 0:
            return position
    return 0
