"""Units of measurement after a number: which they are, and how one converts into another, exactly.

A word may have several readings (a pound is a mass or an amount of money, a degree an angle or a temperature).
Words that measure nothing here ("apples", "points") are unknown and never compared.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

Dimension = tuple[tuple[str, int], ...]
_Part = tuple[Dimension, Fraction]


class Reading(NamedTuple):
    """One reading of a unit: what it counts and per what, and the size of both in base units.

    Attributes:
        above: sorted (base, exponent) pairs of what is measured; "dollars per hour" measures dollars.
        size: one of these units in base units.
        below: the same for what it is measured by; empty when it is no rate.
        below_size: one of those units in base units.
    """

    above: Dimension
    size: Fraction
    below: Dimension
    below_size: Fraction


def _table() -> dict[str, list[tuple[str, int, Fraction]]]:
    lines = (
        # base, exponent, then words with their size in base units
        ("length", 1, "mm millimeter millimetre=1/1000 cm centimeter centimetre=1/100 m meter metre=1 km kilometer"
         " kilometre=1000 in inch inches=0.0254 ft foot feet=0.3048 yd yard=0.9144 mi mile=1609.344"),
        ("length", 2, "acre=4046.8564224 hectare ha=10000"),
        ("length", 3, "ml milliliter millilitre cc=1/1000000 l liter litre=1/1000 gal gallon=0.003785411784"
         " quart=0.000946352946 pint=0.000473176473 floz=0.0000295735295625 oz ounce=0.0000295735295625"),
        ("mass", 1, "mg milligram=1/1000 g gram=1 kg kilogram kilo=1000 lb pound=453.59237 oz ounce=28.349523125"
         " ton=907184.74 ton tonne=1000000"),
        ("time", 1, "ms millisecond=1/1000 s sec second=1 min minute=60 h hr hour=3600 day=86400 wk week=604800"),
        ("month", 1, "month=1 yr year=12 decade=120 century centuries=1200"),
        ("degree", 1, "degree deg °=1"),
        ("radian", 1, "radian rad=1"),
        ("celsius", 1, "degree ° °c celsius=1"),
        ("fahrenheit", 1, "degree ° °f fahrenheit=1"),
        ("dollar", 1, "dollar buck usd=1 $=1 cent ¢ penny pennies=1/100 nickel=5/100 dime=10/100"),
        ("euro", 1, "euro €=1"),
        ("sterling", 1, "£ pound=1 pence=1/100"),
        ("yen", 1, "yen ¥=1"),
        ("rupee", 1, "rupee ₹=1"),
    )  # fmt: skip
    table: dict[str, list[tuple[str, int, Fraction]]] = {}
    for base, exponent, words in lines:
        pending: list[str] = []
        for word in words.split():
            name, _, size = word.partition("=")
            pending.append(name)
            if size:
                for known in pending:
                    table.setdefault(known, []).append((base, exponent, Fraction(size)))
                pending = []
    return table


_UNITS = _table()
_SPEEDS = {"mph": "mi/h", "kph": "km/h", "kmph": "km/h", "kmh": "km/h", "fps": "ft/s"}
_TOKEN = re.compile(r"°[CFcf]?|[$€£¥₹¢]|/|\^\{?-?[0-9]\}?|[²³]|[A-Za-z]+|\S")
_FILLERS = frozenset({"of", "us", "total", "the", ".", ","})


def readings(words: str) -> tuple[Reading, ...]:
    """Return what the words after a number may measure; none where they are not known.

    What follows a known unit ("cm of ribbon") does not count; "per" and "/" make a rate.
    """
    return _readings(words) if words and len(words) <= 60 else ()


@lru_cache(maxsize=4096)
def _readings(words: str) -> tuple[Reading, ...]:
    for name, spelled in _SPEEDS.items():
        words = re.sub(rf"\b{name}\b", spelled, words, flags=re.IGNORECASE)
    tokens = _TOKEN.findall(words)
    above: list[_Part] = []
    below: list[_Part] = []
    power, in_rate, position = 1, False, 0
    while position < len(tokens):
        token = tokens[position]
        word = token.lower()
        position += 1
        if word in ("/", "per", "a", "an") and above and not in_rate:
            in_rate = True
        elif word in ("square", "sq", "cubic", "cu"):
            power = 2 if word.startswith("sq") else 3
        elif (entries := _entries(token)) and not (below if in_rate else above):
            following = tokens[position] if position < len(tokens) else ""
            if exponent := _exponent(following):
                power, position = exponent, position + 1
            found: list[_Part] = [(((base, own * power),), size**power) for base, own, size in entries]
            above, below = (above, found) if in_rate else (found, below)
            power = 1
        elif word not in _FILLERS:
            break
    return tuple(Reading(bases, size, *per) for bases, size in above for per in (below or [((), Fraction(1))]))


def _entries(token: str) -> list[tuple[str, int, Fraction]]:
    word = token if token in _UNITS else token.lower()
    for form in (word, word.removesuffix("es"), word.removesuffix("s")):
        if form in _UNITS:
            return _UNITS[form]
    return []


def _exponent(token: str) -> int:
    if token in ("²", "³"):
        return 2 if token == "²" else 3
    match = re.fullmatch(r"\^\{?(-?[0-9])\}?", token)
    return int(match[1]) if match else 0


def factors(gold: str, answer: str) -> tuple[Fraction, ...] | None:
    """Return by what an answer must be multiplied to be in the gold's unit, one factor for each reading.

    `(1,)` where one of them has no unit, or no known one. None where the two measure different things. A rate next
    to what is no rate compares as if it were none: "$5 per day" next to "$5".
    """
    left, right = readings(gold), readings(answer)
    if not left or not right:
        return (Fraction(1),)
    found = {factor for a in left for b in right if (factor := _factor(a, b)) is not None}
    return tuple(sorted(found)) or None


def _factor(gold: Reading, answer: Reading) -> Fraction | None:
    if gold.above != answer.above or (gold.below and answer.below and gold.below != answer.below):
        return None
    factor = answer.size / gold.size
    return factor * gold.below_size / answer.below_size if gold.below and answer.below else factor


def has_degrees(unit: str) -> bool:
    """Whether a unit can be degrees of an angle."""
    return any(reading.above == (("degree", 1),) for reading in readings(unit))


def is_radians(unit: str) -> bool:
    """Whether a unit is radians."""
    return any(reading.above == (("radian", 1),) for reading in readings(unit))
