"""Unicode normal forms in linear time.

Normalising sorts each run of combining marks, in a time that grows with the square of its length: a megabyte of
alternating accents takes minutes. Runs are cut to 30 marks first, as the Stream-Safe Text Format does (UAX #15,
section 13); no writing system needs more.
"""

import re
import unicodedata
from functools import cache
from typing import Literal

MAX_MARKS = 30
"""Combining marks on one character that are kept."""


@cache
def marks() -> str:
    """Return all combining marks as the inside of a character class."""
    ranges: list[list[int]] = []
    for point in (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0)):
        if unicodedata.category(chr(point))[0] == "M":
            if ranges and ranges[-1][1] == point - 1:
                ranges[-1][1] = point
            else:
                ranges.append([point, point])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


@cache
def _too_many() -> re.Pattern[str]:
    return re.compile(f"([{marks()}]{{{MAX_MARKS}}})[{marks()}]+")


def normal_form(form: Literal["NFC", "NFKC"], text: str) -> str:
    """Return a text in a Unicode normal form, no character of it with more than `MAX_MARKS` combining marks."""
    if text.isascii():
        return text
    return unicodedata.normalize(form, _too_many().sub(r"\1", text))
