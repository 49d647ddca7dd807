"""Numbers as people and models write them, read exactly.

`tidy` removes the typography around a short piece of mathematics; `parse_number` reads it as one number
(integer, decimal, fraction, mixed number, scientific notation, percentage, with currency sign, thousands
separators and units) into a `Fraction`, or says that it is not one. Only ASCII digits count. No floating
point takes part, except to recognise the printout of a double in `same_number`.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from verifiers.wording import NO_UNIT, WRONG_UNIT

MAX_DIGITS = 200
"""Digits of one numeral, and the magnitude of a decimal exponent, above which a number is not read."""

MAX_TIDY = 1_000

DOUBLE_NOISE = Fraction(1, 10**12)
"""Relative distance within which the printout of a double stands for a number of few digits."""

SIGNIFICANT_FOR_ROUNDED = 6
"""Significant digits a decimal needs to stand for a value that has no finite decimal expansion."""

_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12} | {
    "lakh": 10**5, "crore": 10**7
}  # fmt: skip

_INTEGER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_DECIMAL = rf"(?:{_INTEGER}(?:\.[0-9]*)?|\.[0-9]+)"
_SIGN_AND_CURRENCY = r"(?P<sign>[-+]?)[ ]?(?:(?P<currency>[$€£¥₹])[ ]?(?P<inner_sign>[-+]?)[ ]?)?"
_MAGNITUDE = (
    rf"(?:(?P<whole>{_INTEGER})[ ]*(?:[ ](?P<mixed_top>[0-9]+)/(?P<mixed_bottom>[0-9]+)"
    r"|\\frac\{(?P<mixed_frac_top>[0-9]+)\}\{(?P<mixed_frac_bottom>[0-9]+)\})"
    rf"|\\frac\{{(?P<frac_top>[-+]?{_DECIMAL})\}}\{{(?P<frac_bottom>[-+]?{_DECIMAL})\}}"
    rf"|(?P<top>{_DECIMAL})(?:[ ]?/[ ]?(?P<bottom>{_DECIMAL})"
    r"|[eE](?P<exponent>[-+]?[0-9]+)"
    r"|[ ]?(?:\\times|\\cdot|×|x|\*)[ ]?10[ ]?(?:\^|\*\*)[ ]?(?P<brace>\{)?(?P<power>[-+]?[0-9]+)(?(brace)\})"
    r")?)"
)
_NUMBER = re.compile(_SIGN_AND_CURRENCY + _MAGNITUDE)
_PERCENT = re.compile(r"[ ]?(?:%|percent(?:age)?\b|pct\b)", re.IGNORECASE)
_SCALE = re.compile(r"[ ]?(" + "|".join(_SCALES) + r")s?\b", re.IGNORECASE)
# Chinese, Japanese and Korean characters, but for those of numerals and operations: 5万 is 50,000.
_EAST_ASIAN = (
    r"(?![万萬千百十億亿兆半倍分或和与及不非没零〇一二三四五六七八九两並并割折成負负])"
    r"[\u3041-\u30ff\u4e00-\u9fff\uac00-\ud7a3]"
)
# Words of two letters or more, set off by a space; or the usual abbreviations, attached. A single letter
# after a number is more often a variable.
_UNITS = re.compile(
    r"(?:(?:cm|mm|km|kg|mg|lbs?|oz|ml|mph|km/h|ft|hrs?|mins?|secs?|yrs?|sq|in)\b)?"
    r"(?P<words>(?:[ ,/(-]++[A-Za-z]{2,}+(?:/[A-Za-z]++)?[.)]?(?:['’]s)?(?:\^\{?[23]\}?|[²³])?)*+"
    rf"(?:[ ]?{_EAST_ASIAN}){{0,6}}+)"
)
# What `\text{...}` after a number may hold to be a unit: words, symbols of one letter, exponents.
_PLAUSIBLE = re.compile(
    rf"(?:°[CF]?|[A-Za-z\u00c0-\u024f\u0370-\u052f]{{2,}}|[A-Zmgslhdt]|{_EAST_ASIAN}|[ap]\.? ?m\b|[²³$€£¥₹¢]"
    r"|(?<=[A-Za-z)} ])\^\{?-?[0-9]\}?|\{-?[0-9]\}|[ .,/()'’&·-])*"
)
_RECURRING = re.compile(r"(?P<sign>-?)(?P<whole>[0-9]*)\.(?P<first>[0-9]*)\\(?:overline|bar) ?\{(?P<cycle>[0-9]+)\}")
_PLAIN = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")

_WRAPPERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`"), ('"', '"'))
# A backslash before these is the second of a row break in a matrix.
_SPACING = re.compile(r"(?<!\\)\\(?:(?:left|right|displaystyle|textstyle|limits|[bB]igg?[lrm]?)(?![A-Za-z])|!)")
_BLANK = re.compile(r"(?<!\\)\\(?:[,;: ]|quad\b|qquad\b)|~|[\s\u00a0\u2009\u202f]+")
_TEXT_COMMAND = r"\\(?:text|textrm|textnormal|mathrm|mbox|rm|operatorname)\s*"
_UNIT_TEXT = re.compile(
    rf"(?:(?<=[0-9}}%.)°])|(?<=\\pi))(?:(?:\s|\\[,;: ]|~)*/?\s*{_TEXT_COMMAND}\{{"
    r"(?![^{}]*\b(?:hundred|thousand|million|billion|trillion|lakh|crore|percent|or|and)\b)[^{}]*(?:\{-?[0-9]\}[^{}]*)?\}(?:\^\{?-?[123]\}?)?)+$"
)
_UNIT_WRAPPER = re.compile(rf"{_TEXT_COMMAND}\{{([^{{}}]*(?:\{{-?[0-9]\}}[^{{}}]*)?)\}}")
_UNIT = re.compile(r"\\unit\{(?P<words>[^{}]*(?:\{-?[0-9]\}[^{}]*)*)\}$")
_TRIGONOMETRIC = re.compile(r"\\?(?:sin|cos|tan|cot|sec|csc)")
_TEXT = re.compile(
    r"\\(?:text|textbf|textit|textrm|textnormal|mathrm|mathbf|mathit|mbox|operatorname|bm|boldsymbol|pmb"
    r"|textsf|texttt|emph|mathsf|mathtt)\s*\{([^{}]*)\}"
)
_DEGREES = re.compile(r"(?:\\[,;:! ]|[\s~])*(?:\^\s*\{?\s*\\circ\s*\}?|\\degree(?![a-z])|°)")
_ABOUT = re.compile(r"^(?:\\approx|\\sim(?:eq)?|≈|~)\s*")
_THOUSANDS_SPACE = re.compile(r"(?<![0-9.])([0-9]{1,3}(?:[ ][0-9]{3})+)(?![0-9])")
_OVER = re.compile(r"\{([^{}\\]{1,60})\\over(?![a-z])([^{}\\]{1,60})\}")
_SHORT_FRAC = re.compile(r"\\frac\s*([0-9])\s*([0-9])(?![0-9])")
_FRAC_SPACES = re.compile(r"\\frac\s*\{\s*([-+]?[0-9.,]+)\s*\}\s*\{\s*([-+]?[0-9.,]+)\s*\}")
_PUNCTUATION = " \t\r\n.,;:"  # no "!": it is a factorial; no "?": it takes the answer back


class Number(NamedTuple):
    """One number, exactly.

    Attributes:
        value: the value as written, with a percent sign read as a unit (50% is 50 here).
        percent: whether a percent sign or word was written.
        decimals: significant digits when written as a decimal with a fractional part, else 0.
        plain: the numeral itself when it is a bare decimal, to recognise printed doubles; else empty.
        unit: currency sign and words after the number, as written.
    """

    value: Fraction
    percent: bool
    decimals: int
    plain: str
    unit: str = ""


def tidy(text: str) -> str:
    r"""Remove the typography around a short mathematical text, leaving its meaning.

    Outer `$`, bold, quotes and final punctuation go; LaTeX spacing becomes spaces; `\dfrac` becomes
    `\frac`; `\text{...}` and a degree sign after a final number become `\unit{...}`; other `\text{...}` is unwrapped.
    A text of more than `MAX_TIDY` characters stays as it is: it is over the limits of any expression.
    """
    text = _trim(text)
    if len(text) > MAX_TIDY:
        return text
    if _PLAIN.fullmatch(text):
        return text
    text = text.replace("−", "-").replace("–", "-").replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    text = text.replace("\\cfrac", "\\frac").replace("\\%", "%").replace("{,}", ",")
    unwrapped = True
    while unwrapped:
        unwrapped = False
        for left, right in _WRAPPERS:
            if len(text) > len(left) + len(right) and text.startswith(left) and text.endswith(right):
                inner = text[len(left) : -len(right)]
                visible = inner.replace("\\$", "")
                if left not in visible and right not in visible:
                    text, unwrapped = _trim(inner), True
    text = text.replace("\\$", "$")
    if "\\" in text or "°" in text:
        text = _SPACING.sub("", text)
        text = _DEGREES.sub("°", text)
        text = _UNIT_TEXT.sub(_unit, _trim(text))
        if text.endswith("°") and not _TRIGONOMETRIC.search(text):
            text = _trim(text[:-1]) + r"\unit{°}"
        text = _TEXT.sub(r"\1", text)
        text = _OVER.sub(r"\\frac{\1}{\2}", text)
        text = _SHORT_FRAC.sub(r"\\frac{\1}{\2}", text)
        text = _FRAC_SPACES.sub(r"\\frac{\1}{\2}", text)
    text = _ABOUT.sub("", _trim(_BLANK.sub(" ", text)))
    if " " in text:
        text = _THOUSANDS_SPACE.sub(lambda match: match[1].replace(" ", ","), text)
    if text.startswith("(") and text.endswith(")") and _PLAIN.fullmatch(text[1:-1]):
        text = text[1:-1]
    return text


def _unit(match: re.Match[str]) -> str:
    words = " ".join(_BLANK.sub(" ", _UNIT_WRAPPER.sub(r" \1 ", match[0])).split())
    if not _PLAUSIBLE.fullmatch(words) or WRONG_UNIT.search(words):
        return match[0]  # 5\text{6} shows 56
    return rf"\unit{{{words}}}" if words else ""


def split_unit(text: str) -> tuple[str, str]:
    r"""Split a tidy text into itself and the words of a unit at its end, `\unit{...}`; empty where there is none."""
    match = _UNIT.search(text) if text.endswith("}") and r"\unit{" in text else None
    if match is None:
        return text, ""
    value = text[: match.start()].rstrip()
    # 30°C: the degree sign stands before the text.
    return (value[:-1].rstrip(), "°" + match["words"]) if value.endswith("°") else (value, match["words"])


def _trim(text: str) -> str:
    text = text.strip().lstrip(":").lstrip()
    # An ellipsis is part of the answer: 0.333... is not 0.333.
    return text if text.endswith("...") else text.rstrip(_PUNCTUATION)


def parse_number(text: str) -> Number | None:
    """Read a tidy text as exactly one number, or return None.

    A numeral longer than `MAX_DIGITS` is not read; `limits.exceeded` names that limit.
    """
    return _parse_number(text) if len(text) <= 2 * MAX_DIGITS else None


@lru_cache(maxsize=1 << 16)
def _parse_number(text: str) -> Number | None:
    if text.isdecimal() and text.isascii():
        return Number(Fraction(int(text)), False, 0, text) if len(text) <= MAX_DIGITS else None
    match = _NUMBER.match(text)
    if match is None:
        return _recurring(text)
    number = _read(match)
    if number is None:
        return None
    currency = match["currency"] or ""
    rest = text[match.end() :]
    if not rest:
        return number._replace(unit=currency) if currency else number
    value, percent = number.value, False
    rest, after = split_unit(rest)
    if scale := _SCALE.match(rest):
        value *= _SCALES[scale[1].lower()]
        rest = rest[scale.end() :]
        number = number._replace(value=value, plain="")
    if sign := _PERCENT.match(rest):
        percent = True
        rest = rest[sign.end() :]
    if rest.startswith(("\\overline", "\\bar")):
        return _recurring(text)
    units = _UNITS.fullmatch(rest)
    if units is None or NO_UNIT.search(units["words"]) or NO_UNIT.search(after):
        return None
    return number._replace(percent=percent, unit=" ".join(filter(None, (currency, rest.strip(), after))))


def _recurring(text: str) -> Number | None:
    """Read a decimal that repeats for ever, such as 0.1(6) with a bar over the 6."""
    match = _RECURRING.fullmatch(text)
    if match is None:
        return None
    first, cycle = match["first"], match["cycle"]
    value = Fraction(int(match["whole"] or "0")) + Fraction(int(first or "0"), 10 ** len(first))
    value += Fraction(int(cycle), (10 ** len(cycle) - 1) * 10 ** len(first))
    return Number(-value if match["sign"] else value, percent=False, decimals=0, plain="")


def leading_number(text: str) -> tuple[str, int] | None:
    """Return the numeral a tidy text begins with, percent sign and scale word included, and where it ends."""
    match = _NUMBER.match(text)
    if match is None:
        return None
    end = match.end()
    for suffix in (_SCALE, _PERCENT):
        if found := suffix.match(text, end):
            end = found.end()
    return text[:end], end


def _fraction(text: str) -> Fraction | None:
    text = text.replace(",", "")
    if len(text) > MAX_DIGITS:
        return None
    if "." not in text:
        return Fraction(int(text))
    sign = -1 if text.startswith("-") else 1
    whole, _, part = text.lstrip("+-").partition(".")
    return Fraction(sign * int((whole + part) or "0"), 10 ** len(part))


def _ratio(top: str, bottom: str) -> Fraction | None:
    numerator, denominator = _fraction(top), _fraction(bottom)
    if numerator is None or denominator is None or denominator == 0:
        return None
    return numerator / denominator


def _read(match: re.Match[str]) -> Number | None:
    group = match.group
    plain, decimals = "", 0
    value: Fraction | None
    if group("top") is not None:
        if group("bottom") is not None:
            value = _ratio(group("top"), group("bottom"))
        else:
            plain = group("top").replace(",", "")
            value = _fraction(plain)
            exponent = group("exponent") or group("power")
            if exponent is not None:
                plain = ""
                if len(exponent) > 5 or abs(int(exponent)) > MAX_DIGITS:
                    return None
                value = None if value is None else value * Fraction(10) ** int(exponent)
            elif "." in plain:
                decimals = len(plain.replace(".", "").lstrip("0"))
    elif group("frac_top") is not None:
        value = _ratio(group("frac_top"), group("frac_bottom"))
    else:
        top = group("mixed_top") or group("mixed_frac_top")
        bottom = group("mixed_bottom") or group("mixed_frac_bottom")
        whole, part = _fraction(group("whole")), _ratio(top, bottom)
        value = None if whole is None or part is None else whole + part
    if value is None:
        return None
    negative = (group("sign") == "-") != (group("inner_sign") == "-")
    return Number(-value if negative else value, percent=False, decimals=decimals, plain=plain)


def same_number(gold: Number, answer: Number) -> bool:
    """Whether two numbers are equal under the stated policy (README, "When two numbers are equal").

    Exactly equal; or equal when a percent sign on one side is read as 1/100; or one is a decimal of at least
    `SIGNIFICANT_FOR_ROUNDED` digits and the other, with no finite decimal expansion, rounds to it; or the answer
    is the printout of a double next to a short gold.
    """
    if gold.value == answer.value:
        return True
    if gold.percent != answer.percent:
        scaled = gold.value / 100 == answer.value if gold.percent else gold.value == answer.value / 100
        if scaled:
            return True
    return rounds_to(gold.value, answer) or rounds_to(answer.value, gold) or _printed_double(gold, answer)


def rounds_to(value: Fraction, decimal: Number) -> bool:
    """Whether `value` has no finite decimal expansion and rounds to `decimal` at the digits it was written with."""
    if decimal.decimals < SIGNIFICANT_FOR_ROUNDED or terminates(value):
        return False
    places = len(decimal.plain.partition(".")[2])
    return abs(value - decimal.value) * 2 <= Fraction(1, 10**places)


def terminates(value: Fraction) -> bool:
    """Whether a fraction has a finite decimal expansion."""
    return _decimal_places(value) is not None


def _decimal_places(value: Fraction) -> int | None:
    """Return how many decimal places a fraction needs, or None when no number of them is enough."""
    rest, powers = value.denominator, []
    for prime in (2, 5):
        power = 0
        while rest % prime == 0:
            rest //= prime
            power += 1
        powers.append(power)
    return max(powers) if rest == 1 else None


def _printed_double(gold: Number, answer: Number) -> bool:
    # 12.000000000000002 is how a program prints twelve. The gold must be short: next to a gold of as many digits,
    # digits mean what they say.
    if not is_printed_double(answer) or max(abs(gold.value.numerator), gold.value.denominator) > 10**12:
        return False
    return abs(gold.value - answer.value) <= abs(gold.value) * DOUBLE_NOISE


def is_printed_double(number: Number) -> bool:
    """Whether a decimal has 16 digits or more and is exactly what a program prints for a double."""
    return number.decimals >= 16 and repr(float(number.plain)) == number.plain


def canonical(number: Number) -> str:
    """One text for each value: an integer, else a decimal of up to 20 places, else `p/q`; `%` is kept."""
    value = number.value
    if value.denominator == 1:
        text = str(value.numerator)
    elif (places := _decimal_places(value)) is not None and places <= 20:
        digits = str(abs(value.numerator) * 10**places // value.denominator).zfill(places + 1)
        text = f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
    else:
        text = f"{value.numerator}/{value.denominator}"
    return text + "%" if number.percent else text
