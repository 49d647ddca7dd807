r"""Finding `\boxed{...}` and `\fbox{...}` in a text, in linear time."""

import re
from collections import deque

from verifiers.numerals import tidy

MAX_BOXES = 32
"""Boxes that are looked at, from the last."""

MAX_BOX = 20_000
"""Characters after which a box counts as closed; it is over every limit by then."""

_BOX = re.compile(r"\\f?boxed\s*\{|\\fbox\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BETWEEN_BOXES = re.compile(r"(?:[\s,;.$]|\\[()\[\],; ]|\\text|\\quad|[{}]|\b(?:or|and)\b)*", re.IGNORECASE)


def boxes(text: str) -> list[tuple[int, int, str]]:
    """Return (start, end, content) of each balanced box; neighbours offered together are joined into one."""
    if "box" not in text:
        return []
    found: list[tuple[int, int, str]] = []
    for match in deque(_BOX.finditer(text), maxlen=MAX_BOXES):
        if found and match.start() < found[-1][1]:
            continue  # inside the previous box
        end = _closing_brace(text, match.end())
        if end is None:
            continue
        content = _unbox(text[match.end() : end])
        if found:
            between = text[found[-1][1] : match.start()]
            if len(between) <= 40 and _BETWEEN_BOXES.fullmatch(between):
                start, _, previous = found.pop()
                joined = " or " if re.search(r"\bor\b", between) else ", "
                content = previous if tidy(previous) == tidy(content) else previous + joined + content
                found.append((start, end + 1, content))
                continue
        found.append((match.start(), end + 1, content))
    return found


def _unbox(content: str) -> str:
    """Remove boxes inside a box; what they hold stays."""
    for _ in range(3):
        inner = _BOX.search(content)
        end = _closing_brace(content, inner.end()) if inner else None
        if inner is None or end is None or end >= len(content):
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
