r"""Finding `\boxed{...}` and `\fbox{...}` in a text, in linear time."""

import re
from collections import deque

from verifiers.numerals import tidy

MAX_BOXES = 32
"""Boxes that are looked at, from the last."""

MAX_BOX = 20_000
"""Characters after which a box counts as closed; it is over every limit by then."""

MAX_APART, MAX_SHOWN = 150, 32
"""Characters, and those that show, between two boxes that can be one offer."""

CORRECTION = re.compile(
    r"\b(?:wait|no|actually|correct\w*|mistake\w*|sorry|instead|rather|oops|hmm|re-?check\w*|revis\w*|error"
    r"|(?<!if )wrong|so|thus|therefore|hence|finally|final|step|next)\b",
    re.IGNORECASE,
)
"""Words by which a second answer corrects the first, or follows from it."""

# TeX needs no braces around one digit or letter.
_BOX = re.compile(r"\\f?boxed\s*\{|\\fbox\s*\{|\\boxed(?:\s*(?=-?[0-9]+(?![0-9.,/]))|\s+(?=[A-H]\b))")
_BARE = re.compile(r"-?[0-9]+|[A-H]")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_EMPTY_BETWEEN = re.compile(r"[\s$*]|\\[()\[\],; ]|\\(?:text|q?quad|hspace|mathrm)(?![a-z])|[{}]")
_OR = re.compile(
    r"\b(?:or|oder|ou|vs|versus|alternative\w*|maybe|perhaps|possibly)\b|[/|]|\\(?:lor|vee)(?![a-z])|或|или|または",
    re.IGNORECASE,
)


def boxes(text: str) -> list[tuple[int, int, str]]:
    """Return (start, end, content) of each balanced box; neighbours offered together are joined into one."""
    if "box" not in text:
        return []
    found: list[tuple[int, int, str]] = []
    for match in deque(_BOX.finditer(text), maxlen=MAX_BOXES):
        if found and match.start() < found[-1][1]:
            continue  # inside the previous box
        if not match[0].endswith("{"):
            end = _BARE.match(text, match.end()).end() - 1  # type: ignore[union-attr]  # as the pattern says
            content = text[match.end() : end + 1]
        else:
            closing = _closing_brace(text, match.end())
            if closing is None:
                continue
            end, content = closing, _unbox(text[match.end() : closing])
        start = match.start()
        between = text[found[-1][1] : start][:MAX_APART] if found else ""
        if found and start - found[-1][1] < MAX_APART and (joint := _joint(between)) is not None:
            start, _, previous = found.pop()
            content = previous if tidy(previous) == tidy(content) else previous + joint + content
        found.append((start, end + 1, content))
    return found


def _joint(between: str) -> str | None:
    """Return how two boxes are joined that are offered together, or None where the second one follows from the first.

    Boxes close together are one offer, whatever stands between them, unless a word there says that the second one
    corrects or concludes.
    """
    shown = _EMPTY_BETWEEN.sub("", between)
    if len(shown) > MAX_SHOWN or CORRECTION.search(between):
        return None
    return " = " if shown == "=" else " or " if _OR.search(between) else ", "


def _unbox(content: str) -> str:
    """Remove boxes inside a box; what they hold stays."""
    for _ in range(3):
        inner = _BOX.search(content)
        if inner is None or not inner[0].endswith("{"):
            break
        end = _closing_brace(content, inner.end())
        if end is None or end >= len(content):
            break
        content = content[: inner.start()] + content[inner.end() : end] + content[end + 1 :]
    return content


def _closing_brace(text: str, start: int) -> int | None:
    level = 1
    for match in _BRACE.finditer(text, start, start + MAX_BOX):
        if match[0] == "{":
            level += 1
        elif match[0] == "}":
            level -= 1
            if level == 0:
                return match.start()
    return start + MAX_BOX if start + MAX_BOX < len(text) else None
