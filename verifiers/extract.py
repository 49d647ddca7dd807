r"""Where the final answer of a response is: the same rule for every verifier of answers.

1. Reasoning blocks (`<think>...</think>` and the like, also unclosed or without their opening) are removed.
2. Explicit answers are collected: each balanced `\boxed{...}`, `<answer>...</answer>`, `#### X`, a line
   `A: X` or `Answer: X`, and phrases such as "the answer is X". The last one in the text that the verifier
   can use wins, so a correction replaces what it corrects. Boxes close together, with no word of correction or
   conclusion between them, are one offer, and so are two labels on one line. A phrase which leads up to a box is
   that box.
3. Without one, the verifier may look at the tail: the last `TAIL` characters.

What is usable inside a phrase, and what to do with the tail, is each verifier's own: see prose.py for the
mathematical ones, and choice.py and exact.py.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from verifiers.boxes import CORRECTION, boxes
from verifiers.reasoning import strip_reasoning as strip_reasoning  # part of the one rule

TAIL = 200
"""Characters at the end of a response in which an unannounced answer is looked for."""

MAX_PHRASE = 300
"""Characters after an announcement that are read as the answer."""

MAX_BETWEEN = 150
"""Characters between two announcements that can offer alternatives."""

MAX_AFTER = 60
"""Characters after a box on its line that can take it back."""

MAX_CANDIDATES = 32
"""Announcements of each kind that are looked at, from the last; bounds the work on a degenerate response."""


# What makes of two announcements one offer of two answers, and what makes the second a correction of the first.
ALTERNATIVE = re.compile(
    r"\balternatively\b|\bor,? (?:else|maybe|perhaps|possibly|it (?:could|might|may)|the answer|\$?\\?f?boxed|\$)"
    r"|\b(?:could|might|may) also be\b|\bif not\b|\belse\b"
    r"|\b(?:another|alternative) (?:possib|answer|solution|reading|interpretation|value)",
    re.IGNORECASE,
)
# "or 6" behind a box that holds 5.
OFFERED_AFTER = re.compile(
    r"[\s$*)\]\\.,;]*(?:\(\s*)?(?:or|alternatively|and/or)\b[^.\n0-9\\]{0,30}"
    r"(?P<other>[$€£¥₹]?[-+]?[0-9][0-9,.]*(?:/[0-9]+)?(?: ?\\?%)?)",
    re.IGNORECASE,
)
_BOX_DENIED_BEFORE = re.compile(r"(?:\bnot|n['’]t)\s+(?:equal(?: to)?\s+|be\s+)?[\s$*(\\\[]*\Z", re.IGNORECASE)
_BOX_DENIED_AFTER = re.compile(
    r"[\s$*)\\\]]*(?:is|was|would be)(?:\s+(?:wrong|incorrect|false|not\b)|n['’]t\b)", re.IGNORECASE
)
_LABELS_ONLY = re.compile(
    r"(?:[\s,;.*_#:>$=|}&-]|\\[()\[\]]|</?answer>|\b(?:the|first|second|third|another|alternative|possible|other|and|or"
    r"|answers?|ans|is|are|[0-9]|[a-d])\b)*",
    re.IGNORECASE,
)
_MARK = r"[ \t]{0,4}[*_]{0,2}[ \t]{0,4}"
_BLANKS = re.compile(r"[ \t]*")
LINE_LABEL = re.compile(
    rf"[ \t>#*_]*(?:(?:the )?(?:final |correct |short )?answer|ans|a){_MARK}[:=]{_MARK}\s*", re.IGNORECASE
)
_SHORT_LABEL_BEGINS = frozenset(" \t>#*_aA")
_LABEL_BEGINS = _SHORT_LABEL_BEGINS | frozenset("tTfFcCsS")
_PHRASE = re.compile(
    r"\banswer(?:s)?(?:[ \t]{1,4}(?:to|for|of)\b[^.\n:=]{0,80}?)?"
    rf"{_MARK}(?::|=|\b(?:is|are|was|must be|should be|would be|will be)\b(?:[ \t]{{0,4}}:)?"
    rf"(?:[ \t]{{1,4}}(?:therefore|thus|then))?){_MARK}\s*",
    re.IGNORECASE,
)
_ANSWER_TAG = re.compile(r"<answer>([^<]{0,2000})</answer>", re.IGNORECASE)
# "!" ends a sentence after a word, before a new one, or at the end; elsewhere it is a factorial.
_SENTENCE_END = re.compile(r"[.?](?=[\s*_\"')\]]|$)|(?<=[a-z]{2})!|!(?=[*_]*\s*(?:$|\n)|[*_]*\s+[A-Z])|\n")

SPAN = re.compile(
    r"\$\$(?P<display>.+?)\$\$|\\\[(?P<bracket>.+?)\\\]|\\\((?P<paren>.+?)\\\)"
    r"|(?<![\\$])\$(?!\s)(?P<dollar>[^$\n]+?)(?<![\s\\])\$(?![0-9])",
    re.DOTALL,
)


class Candidate(NamedTuple):
    """A place where a response gives an answer.

    Attributes:
        text: the answer as written.
        source: the rule that found it, for the verdict's detail.
        announced: False for "the answer is X" in running text, where X may turn out to be a comment.
        line: the rest of the line, where `text` is its first sentence; else empty.
        after: what follows a box on its line.
    """

    text: str
    source: str
    announced: bool = True
    line: str = ""
    after: str = ""


def candidates(text: str) -> Iterator[Candidate]:
    """Yield the explicit answers of a text without reasoning blocks, the last first.

    A box inside an announced phrase comes out once, as the box; so does an announcement inside a box or a tag.
    """
    found: list[tuple[int, int, Candidate]] = []
    found_boxes = boxes(text)
    ends: dict[int, int] = {start: end for start, end, _ in found_boxes}
    for start, end, content in found_boxes:
        other = OFFERED_AFTER.match(text, end)
        offered = f"{content} or {other['other']}" if other else content
        if _BOX_DENIED_BEFORE.search(text, max(0, start - 40), start) or _BOX_DENIED_AFTER.match(text, end):
            offered = f"not {offered}"  # "the answer is not 7" says what it is not
        after = "" if other else _line(text, end)[:MAX_AFTER]
        found.append((start, 0, Candidate(offered, "boxed", after=after)))
    if "####" in text:
        found.extend(
            (start, 1, Candidate(_offered(text, start, _until_line_end(text, start).partition("####")[0]), "####"))
            for start in _after_hashes(text)
        )
    if ":" in text or "=" in text:
        for start in _after_labels(text):
            line = _line(text, start)
            sentence = line if line.isdecimal() else _sentence(text, start)
            found.append((start, 1, Candidate(_offered(text, start, sentence), "labelled line", line=line)))
    if "nswer" in text or "NSWER" in text:
        for start in _after_phrases(text):
            sentence = _sentence(text, start)
            if text[start + len(sentence) : start + len(sentence) + 1] != "?":  # "Is the answer 5?" claims nothing
                candidate = Candidate(_offered(text, start, sentence), "answer phrase", False, _line(text, start))
                found.append((start, 2, candidate))
        if "</" in text:
            for match in last_matches(_ANSWER_TAG, text):
                ends[match.start(1)] = match.end()
                found.append((match.start(1), 1, Candidate(match[1], "answer tag")))
    if len(found) > 1:
        if ends:
            found = _outside(found, ends)
        # The later position first; at one position a label beats the looser phrase.
        found.sort(key=lambda item: (-item[0], item[1]))
        _join_alternatives(found, text, ends)
    for position, _, candidate in found:
        if not found_boxes:
            yield candidate
            continue
        leads_to_box = candidate.source != "boxed" and any(
            position <= start <= position + len(candidate.text) for start, _, _ in found_boxes
        )
        if not leads_to_box:
            yield candidate


def _offered(text: str, start: int, answer: str) -> str:
    """Return an announced answer with the other one that is offered right after it, on the next line perhaps."""
    other = OFFERED_AFTER.match(text, start + len(answer))
    return f"{answer} or {_line(text, other.start('other'))}" if other else answer


# The last `MAX_CANDIDATES` of each kind, searched from literals: scanning all of a response with a regular expression
# for each kind would be most of the time that a verdict takes.


def _after_hashes(text: str) -> Iterator[int]:
    at = text.rfind("####")
    for _ in range(MAX_CANDIDATES):
        if at < 0:
            return
        yield _matched_end(_BLANKS, text, at + 4)
        at = text.rfind("####", 0, at)


def _after_labels(text: str) -> Iterable[int]:
    begins = _LABEL_BEGINS if "nswer" in text or "NSWER" in text else _SHORT_LABEL_BEGINS
    found: list[int] = []
    end = len(text)
    while end >= 0 and len(found) < MAX_CANDIDATES:
        start = text.rfind("\n", 0, end) + 1
        if start < end and text[start] in begins and (match := LINE_LABEL.match(text, start)):
            found.append(match.end())
        end = start - 1
    return found


def _after_phrases(text: str) -> Iterator[int]:
    # Each literal is searched on from its own last place, so that a text is gone through once for each.
    lower, upper, found = text.rfind("nswer"), text.rfind("NSWER"), 0
    while found < MAX_CANDIDATES and (end := max(lower, upper)) >= 0:
        if end > 0 and (match := _PHRASE.match(text, end - 1)):
            found += 1
            yield match.end()
        if end == lower:
            lower = text.rfind("nswer", 0, end)
        else:
            upper = text.rfind("NSWER", 0, end)


def _matched_end(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return start if match is None else match.end()


def _outside(found: list[tuple[int, int, Candidate]], ends: dict[int, int]) -> list[tuple[int, int, Candidate]]:
    r"""Leave out announcements within a box or a tag: `\boxed{\text{The answer is 5}}` is one answer."""
    inside = [range(start + 1, end) for start, end in ends.items()]
    return [
        item
        for item in found
        if item[2].source in ("boxed", "answer tag") or not any(item[0] in positions for positions in inside)
    ]


def _join_alternatives(found: list[tuple[int, int, Candidate]], text: str, ends: dict[int, int]) -> None:
    """Make one candidate of the last two where the response offers them together: as alternatives, or side by side."""
    last = found[0]
    before = next((item for item in found if item[0] < last[0] and item[2].text.strip() != last[2].text.strip()), None)
    if before is None or last[0] - before[0] > MAX_BETWEEN:
        return
    between = text[before[0] : last[0]]
    if CORRECTION.search(between):
        return
    marker = ALTERNATIVE.search(between)
    if marker is None:
        end = ends.get(before[0], before[0] + len(before[2].text))
        gap = text[end : last[0]]
        side_by_side = before[2].source == last[2].source != "answer phrase" and end <= last[0] and "\n" not in gap
        if not side_by_side or not _LABELS_ONLY.fullmatch(gap):
            return
    plain = before[2].source in ("boxed", "answer tag") or marker is None
    first = before[2].text if plain else between[: marker.start() if marker else None].strip(" \t\r\n.,;(")
    if first:
        joined = f"{first} or {last[2].text}"
        found[0] = (last[0], last[1], last[2]._replace(text=joined, line=joined if last[2].line else ""))


def last_matches(pattern: re.Pattern[str], text: str) -> deque[re.Match[str]]:
    return deque(pattern.finditer(text), maxlen=MAX_CANDIDATES)


def _line(text: str, start: int) -> str:
    return _until_line_end(text, start).rpartition("####")[2]


def _until_line_end(text: str, start: int) -> str:
    end = text.find("\n", start, start + MAX_PHRASE)
    return text[start : start + MAX_PHRASE if end < 0 else end]


def _sentence(text: str, start: int) -> str:
    """Return the text from `start` to the end of its sentence or line; ends inside mathematics do not count."""
    piece = text[start : start + MAX_PHRASE]
    spans = [match.span() for match in SPAN.finditer(piece)] if "$" in piece or "\\" in piece else []
    for end in _SENTENCE_END.finditer(piece):
        if not any(first <= end.start() < last for first, last in spans):
            return piece[: end.start()]
    return piece
