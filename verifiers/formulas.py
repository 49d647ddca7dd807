r"""Reading a short LaTeX formula into its exact normal form, where that is possible beyond doubt.

Arithmetic, powers, roots, fractions, π, i and variables are read. Whatever can be meant in two ways (`1/2x`, `f(x)`
next to `x(x+1)`, `2 3`, `x^{y}`, words) is not: the reader returns None, and the symbolic comparison decides.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import NoReturn

from verifiers import algebra
from verifiers.algebra import Form, TooLarge

MAX_TEXT = 300
MAX_DEPTH = 20

UNICODE = str.maketrans(
    {"²": "^{2}", "³": "^{3}", "π": "\\pi ", "∞": "\\infty ", "×": "\\times ", "·": "\\cdot ", "÷": "/", "⋅": "\\cdot "}
    | {"≤": "\\le ", "≥": "\\ge ", "∪": "\\cup ", "∈": "\\in ", "±": "\\pm ", "√": "\\sqrt ", "−": "-", "≠": "\\ne "}
    | {"∅": "\\emptyset ", "⟨": "\\langle ", "⟩": "\\rangle ", "½": "\\frac{1}{2}"}
)
"""Characters that stand for a LaTeX command."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
    r"|(?P<command>\\[A-Za-z]+)|(?P<letter>[A-Za-z])|(?P<sign>\*\*|[-+*/^_(){}\[\]]))"
)
_GREEK = frozenset(
    {"\\alpha", "\\beta", "\\gamma", "\\delta", "\\epsilon", "\\varepsilon", "\\zeta", "\\eta", "\\theta", "\\vartheta"}
    | {
        "\\kappa",
        "\\lambda",
        "\\mu",
        "\\nu",
        "\\xi",
        "\\rho",
        "\\sigma",
        "\\tau",
        "\\phi",
        "\\varphi",
        "\\chi",
        "\\psi",
    }
    | {"\\omega", "\\Delta", "\\Theta", "\\Lambda", "\\Sigma", "\\Phi", "\\Psi", "\\Omega", "\\ell"}
)
_TIMES = frozenset({"*", "\\times", "\\cdot"})
_FUNCTION_LETTERS = frozenset("fghFGHPQTSC")
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_NAMES = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{3,}")


@lru_cache(maxsize=1 << 14)
def read_form(text: str) -> Form | None:
    """Return the normal form of a tidy formula, or None where it is not one, is ambiguous, or grows too large."""
    if len(text) > MAX_TEXT:
        return None
    text = text.translate(UNICODE)
    if _NAMES.search(text):
        return None  # a word, or a product of letters
    try:
        tokens = _tokens(text)
        return _Reader(tokens).read() if tokens else None
    except TooLarge:
        return None


def _tokens(text: str) -> list[str]:
    tokens, position = [], 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise TooLarge
        tokens.append(match[match.lastgroup or 0])
        position = match.end()
    return tokens


class _Reader:
    """A recursive-descent reader over tokens. It raises `TooLarge` for anything it does not cover."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        letters = {token for token in tokens if len(token) == 1 and token.isalpha()}
        self.i_is_imaginary = not letters & {"j", "k"}  # unit vectors, or indices

    def read(self) -> Form:
        form = self.sum()
        if self.at != len(self.tokens):
            self.refuse()
        return form

    def refuse(self) -> NoReturn:
        raise TooLarge

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def expect(self, token: str) -> None:
        if self.take() != token:
            self.refuse()

    def sum(self) -> Form:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.refuse()
        sign = -1 if self.peek() == "-" else 1
        if self.peek() in ("-", "+"):
            self.take()
        result = self.product()
        if sign < 0:
            result = algebra.multiply(algebra.constant(-1), result)
        while self.peek() in ("+", "-"):
            sign = 1 if self.take() == "+" else -1
            result = algebra.add(result, self.product(), sign)
        self.depth -= 1
        return result

    def product(self) -> Form:
        result, _ = self.juxtaposed()
        divided = False
        while (token := self.peek()) in _TIMES or token == "/":
            self.take()
            sign = 1
            if self.peek() == "-":  # 2 * -3
                self.take()
                sign = -1
            factor, several = self.juxtaposed()
            if token == "/":
                if several:
                    self.refuse()  # 1/2x
                result, divided = algebra.divide(result, factor), True
            else:
                if divided and several:
                    self.refuse()
                result = algebra.multiply(result, factor)
            if sign < 0:
                result = algebra.multiply(algebra.constant(-1), result)
        return result

    def juxtaposed(self) -> tuple[Form, bool]:
        """Read factors that stand side by side, and say whether there was more than one."""
        start = self.at
        result = self.power()
        count = 1
        while (token := self.peek()) and token not in ("+", "-", "/", "^", "_") and token not in _TIMES:
            if token in (")", "]", "}"):
                break
            if _is_number(token):
                self.refuse()  # "2 3", "x 2"
            if count == 1 and token == "\\frac" and self.at == start + 1 and _is_number(self.tokens[start]):
                result = algebra.add(result, self.mixed(self.tokens[start]))
            else:
                result = algebra.multiply(result, self.power())
            count += 1
        return result, count > 1

    def mixed(self, whole: str) -> Form:
        """Read the fraction of a mixed number; refuse where it might be a product."""
        start = self.at
        part = self.power()
        parts = self.tokens[start : self.at]
        numerals = [token for token in parts if _is_number(token)]
        value = algebra.rational(part)
        proper = value is not None and 0 < value < 1 and len(parts) == 7 and all(n.isdigit() for n in numerals)
        if len(numerals) + 5 == len(parts) and proper and whole.isdigit():
            return part
        if value is not None and not proper:
            self.refuse()  # 3\frac{5}{2}
        # A fraction with a variable or a root: an ordinary product. a b = a + (a b - a), so that the caller adds.
        left = algebra.constant(_value(whole))
        return algebra.add(algebra.multiply(left, part), left, -1)

    def power(self) -> Form:
        base = self.atom()
        while self.peek() in ("^", "**"):
            self.take()
            exponent = algebra.rational(self.exponent())
            if exponent is None:
                self.refuse()
            base = algebra.power(base, exponent)
            if self.peek() in ("^", "**"):
                self.refuse()
        return base

    def exponent(self) -> Form:
        if self.peek() == "{":
            return self.group()
        if self.peek() in ("-", "+"):
            sign = self.take()
            value = self.atom()
            return algebra.multiply(algebra.constant(-1 if sign == "-" else 1), value)
        return self.atom()

    def group(self) -> Form:
        closing = _BRACKETS.get(self.take())
        if closing is None:
            self.refuse()
        form = self.sum()
        self.expect(closing)
        return form

    def atom(self) -> Form:
        token = self.take()
        if _is_number(token):
            if self.peek() == "_":
                self.refuse()  # a numeral in another base
            return algebra.constant(_value(token))
        if token in _BRACKETS:
            self.at -= 1
            form = self.group()
            if self.peek() == "_":
                self.refuse()
            return form
        if token == "\\frac":
            above = self.argument()
            return algebra.divide(above, self.argument())
        if token == "\\sqrt":
            return self.root()
        if token == "\\pi" and self.peek() != "_":
            return algebra.atom("#pi")
        if len(token) == 1 and token.isalpha():
            return self.letter(token)
        if token in _GREEK:
            return algebra.atom(token + self.subscript())
        self.refuse()

    def argument(self) -> Form:
        """Read what a command applies to: a group, or one digit, letter or command."""
        token = self.peek()
        if token in _BRACKETS:
            return self.group()
        if len(token) == 1 and token.isalnum():
            self.take()
            return algebra.constant(int(token)) if token.isdigit() else algebra.atom("#i" if token == "i" else token)
        if token == "\\pi":
            self.take()
            return algebra.atom("#pi")
        self.refuse()

    def letter(self, token: str) -> Form:
        name = token + self.subscript()
        if name == "i" and self.i_is_imaginary:
            return algebra.atom("#i")
        if token in _FUNCTION_LETTERS and self.peek() == "(":
            self.refuse()
        return algebra.atom(name)

    def subscript(self) -> str:
        if self.peek() != "_":
            return ""
        self.take()
        if self.peek() != "{":
            return "_" + self.take()
        end = self.tokens.index("}", self.at) if "}" in self.tokens[self.at :] else self.refuse()
        inside = self.tokens[self.at + 1 : end]
        self.at = end + 1
        if not inside or not all(_is_number(token) or token.isalpha() for token in inside):
            self.refuse()
        return "_" + "".join(inside)

    def root(self) -> Form:
        degree = Fraction(2)
        if self.peek() == "[":
            found = algebra.rational(self.group())
            if found is None or found.denominator != 1 or not 2 <= found <= 1000:
                self.refuse()
            degree = found
        inside = self.argument()
        value = algebra.rational(inside)
        if value is not None and value < 0:
            # The root of a negative number: i times the real one for a square root, else a matter of convention.
            if degree != 2:
                self.refuse()
            real = algebra.power(algebra.constant(-value), 1 / degree)
            return algebra.multiply(algebra.atom("#i"), real)
        if value == 0:
            return inside
        return algebra.power(inside, 1 / degree)


def _is_number(token: str) -> bool:
    return token[:1].isdigit() or (token[:1] == "." and len(token) > 1)


def _value(token: str) -> Fraction:
    text = token.replace(",", "")
    if len(text) > 250:
        raise TooLarge
    whole, _, part = text.partition(".")
    return Fraction(int((whole + part) or "0"), 10 ** len(part))
