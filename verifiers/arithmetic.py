r"""Arithmetic as people write it in puzzles, read into a small tree and evaluated exactly; nothing is ever executed.

    expression = term (("+" | "-") term)*
    term       = factor (("*" | "/") factor)*
    factor     = "-" factor | number | "(" expression ")" | \frac{expression}{expression}

Numbers are runs of the digits 0 to 9 without a leading zero. There are no powers, factorials, decimals,
variables, side-by-side products ("2(3)") or joined digits. Brackets are (), [] and {}, matched by kind.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

MAX_LENGTH = 500
"""Characters of an expression."""

MAX_DEPTH = 40
"""Brackets and signs that are open at once."""

MAX_DIGITS = 12
"""Digits of one number."""

_OPERATORS = {
    **dict.fromkeys(("+",), "+"),
    **dict.fromkeys(("-", "−", "–", "‒"), "-"),
    **dict.fromkeys(("*", "×", "·", "⋅", "∙", "∗", r"\times", r"\cdot", r"\ast", "x"), "*"),
    **dict.fromkeys(("/", "÷", "∕", "⁄", r"\div"), "/"),
}
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_SPACING = re.compile(
    r"\\(?:left|right|big|Big|bigg|Bigg|displaystyle)(?![A-Za-z])|\\[,;:! ]|\\q?quad\b|[\s\u00a0\u2009\u202f]+"
)
_TOKEN = re.compile(
    r"[0-9]+|\*\*|//|\\[dtc]?frac(?![A-Za-z])|\\(?:times|cdot|ast|div)(?![A-Za-z])|[-−–‒+*×·⋅∙∗/÷∕⁄x()\[\]{}]"
)
_LEVELS = (("+", "-"), ("*", "/"))


class NotArithmetic(ValueError):
    """The text is no expression of this grammar; the message says why."""


class OverLimit(NotArithmetic):
    """The text is longer, deeper or has longer numbers than is read."""


class Node(NamedTuple):
    """One node of an expression.

    Attributes:
        operator: `+`, `-`, `*` or `/` of two parts, `neg` of one, or empty for a number.
        parts: what the operator joins.
        number: the value of a number.
    """

    operator: str
    parts: tuple["Node", ...] = ()
    number: int = 0


def parse(text: str) -> Node:
    """Read one expression.

    Raises:
        OverLimit: over `MAX_LENGTH`, `MAX_DEPTH` or `MAX_DIGITS`.
        NotArithmetic: anything else that is not in the grammar.
    """
    if len(text) > MAX_LENGTH:
        message = f"limit: an expression of more than {MAX_LENGTH} characters"
        raise OverLimit(message)
    return _Parser(_tokens(text)).whole()


def evaluate(node: Node) -> Fraction:
    """Return the exact value; raises ZeroDivisionError where it divides by zero."""
    if not node.operator:
        return Fraction(node.number)
    values = [evaluate(part) for part in node.parts]
    if node.operator == "neg":
        return -values[0]
    left, right = values
    if node.operator == "+":
        return left + right
    if node.operator == "-":
        return left - right
    return left * right if node.operator == "*" else left / right


def numbers(node: Node) -> Iterator[int]:
    """Yield the numbers of an expression from left to right."""
    if not node.operator:
        yield node.number
    for part in node.parts:
        yield from numbers(part)


def render(node: Node) -> str:
    """Return the expression with one spacing and only the brackets it needs."""
    return _render(node, 0)


def _render(node: Node, level: int) -> str:
    if not node.operator:
        return str(node.number)
    if node.operator == "neg":
        text, own = f"-{_render(node.parts[0], 2)}", 2
        return f"({text})" if level else text
    own = 0 if node.operator in _LEVELS[0] else 1
    left, right = node.parts
    # The right side of - and / keeps its brackets, and so do + and *: the tree is kept as it was written.
    text = f"{_render(left, own)} {node.operator} {_render(right, own + 1)}"
    return f"({text})" if own < level else text


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    while position < len(text):
        if blank := _SPACING.match(text, position):
            position = blank.end()
            continue
        match = _TOKEN.match(text, position)
        if match is None or match[0] in ("**", "//"):
            message = f"{text[position : position + 12]!r} is no part of an expression"
            raise NotArithmetic(message)
        tokens.append(_OPERATORS.get(match[0], match[0]))
        position = match.end()
    return tokens


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0

    def whole(self) -> Node:
        node = self.chain(0)
        if self.position < len(self.tokens):
            raise self.unexpected()
        return node

    def chain(self, level: int) -> Node:
        """Read operands of one level of precedence, joined from the left."""
        if level == len(_LEVELS):
            return self.factor()
        node = self.chain(level + 1)
        while self.peek() in _LEVELS[level]:
            operator = self.take()
            node = Node(operator, (node, self.chain(level + 1)))
        return node

    def factor(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            message = f"limit: more than {MAX_DEPTH} brackets or signs open at once"
            raise OverLimit(message)
        token = self.peek()
        if token == "-":
            self.take()
            node = Node("neg", (self.factor(),))
        elif token in _CLOSING:
            node = self.bracketed()
        elif token.startswith("\\"):
            self.take()
            node = Node("/", (self.argument(), self.argument()))
        elif token.isdigit():
            node = self.number()
        else:
            raise self.unexpected()
        self.depth -= 1
        return node

    def argument(self) -> Node:
        if self.peek() != "{":
            raise self.unexpected()
        return self.bracketed()

    def bracketed(self) -> Node:
        closing = _CLOSING[self.take()]
        node = self.chain(0)
        if self.peek() != closing:
            raise self.unexpected()
        self.take()
        return node

    def number(self) -> Node:
        token = self.take()
        if len(token) > MAX_DIGITS:
            message = f"limit: a number of more than {MAX_DIGITS} digits"
            raise OverLimit(message)
        if token[0] == "0" and token != "0":
            message = f"{token!r} begins with a zero"
            raise NotArithmetic(message)
        return Node("", (), int(token))

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def unexpected(self) -> NotArithmetic:
        token = self.peek()
        return NotArithmetic(f"unexpected {token!r}" if token else "the expression ends too early")
