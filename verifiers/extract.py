r"""Where the final answer of a response is: the same rule for every verifier of answers.

1. Reasoning blocks (`<think>...</think>` and the like, also unclosed or without their opening) are removed.
2. Explicit answers are collected: each balanced `\boxed{...}`, `<answer>...</answer>`, `#### X`, a line
   `A: X` or `Answer: X`, and phrases such as "the answer is X". The last one in the text that the verifier
   can use wins, so a correction replaces what it corrects. Boxes with nothing but commas, "or" and "and"
   between them are one offer. A phrase which leads up to a box is that box.
3. Without one, the verifier may look at the tail: the last `TAIL` characters.

What is usable inside a phrase, and what to do with the tail, is each verifier's own: see `maths_answer` here
for the mathematical ones, and choice.py and exact.py.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from verifiers.boxes import boxes
from verifiers.numerals import MAX_DIGITS, leading_number, parse_number, tidy
from verifiers.reasoning import strip_reasoning as strip_reasoning  # part of the one rule

TAIL = 200
"""Characters at the end of a response in which an unannounced answer is looked for."""

MAX_PHRASE = 300
"""Characters after an announcement that are read as the answer."""

MAX_BETWEEN = 150
"""Characters between two announcements that can offer alternatives."""

MAX_CANDIDATES = 32
"""Announcements of each kind that are looked at, from the last; bounds the work on a degenerate response."""


# What makes of two announcements one offer of two answers, and what makes the second a correction of the first.
_ALTERNATIVE = re.compile(
    r"\balternatively\b|\bor,? (?:else|maybe|perhaps|possibly|it (?:could|might|may)|the answer|\$?\\?f?boxed|\$)"
    r"|\b(?:could|might|may) also be\b|\banother possib|\bif not\b|\belse\b",
    re.IGNORECASE,
)
# "or 6" behind a box that holds 5.
OFFERED_AFTER = re.compile(
    r"[\s$*)\]\\.,;]*(?:\(\s*)?(?:or|alternatively|and/or)\b[^.\n0-9\\]{0,30}(?P<other>[$€£¥₹]?[-+]?[0-9][0-9,.]*(?:/[0-9]+)?)",
    re.IGNORECASE,
)
_BOX_DENIED_BEFORE = re.compile(r"(?:\bnot|n['’]t)\s+(?:equal(?: to)?\s+|be\s+)?[\s$*(\\\[]*\Z", re.IGNORECASE)
_BOX_DENIED_AFTER = re.compile(r"[\s$*)\\\]]*(?:is|was|would be)\s+(?:wrong|incorrect|false|not\b)", re.IGNORECASE)
_CORRECTION = re.compile(
    r"\b(?:wait|no|actually|correct\w*|mistake\w*|sorry|instead|rather|oops|hmm|re-?check\w*|revis\w*|error|wrong"
    r"|so|thus|therefore|hence|finally|final)\b",
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
    rf"{_MARK}(?::|=|\b(?:is|are|was|must be|should be|would be|will be)\b(?:[ \t]{0, 4}:)?"
    rf"(?:[ \t]{1, 4}(?:therefore|thus|then))?){_MARK}\s*",
    re.IGNORECASE,
)
_ANSWER_TAG = re.compile(r"<answer>([^<]{0,2000})</answer>", re.IGNORECASE)
# "!" ends a sentence after a word, before a new one, or at the end; elsewhere it is a factorial.
_SENTENCE_END = re.compile(r"[.?](?=[\s*_\"')\]]|$)|(?<=[a-z]{2})!|!(?=[*_]*\s*(?:$|\n)|[*_]*\s+[A-Z])|\n")
_CLAUSE_END = re.compile(r",?\s(?:because|since|so that|given that|which (?:is|means|gives)|where)\b", re.IGNORECASE)

_SPAN = re.compile(
    r"\$\$(?P<display>.+?)\$\$|\\\[(?P<bracket>.+?)\\\]|\\\((?P<paren>.+?)\\\)"
    r"|(?<![\\$])\$(?!\s)(?P<dollar>[^$\n]+?)(?<![\s\\])\$(?![0-9])",
    re.DOTALL,
)
_BETWEEN_SPANS = re.compile(r"[\s,;]*(?:or|and)?[\s,;]*", re.IGNORECASE)
_TAIL_NUMBER = re.compile(
    r"(?<![0-9A-Za-z_.\\^{])(?<![0-9],)"
    r"(?:(?<![0-9A-Za-z)\]][-+])(?:[-+][ ]?(?=[$€£¥₹]?[0-9.]))?|(?=[0-9]))"
    r"[$€£¥₹]?[-+]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+|(?=\.[0-9]))(?:\.[0-9]+)?"
    r"(?:[ ]?/[ ]?[0-9]+(?![0-9]))?"
    r"(?:[ ]?\\?%|[ ](?:percent|hundred|thousand|million|billion|trillion)\b)?"
)
# "5, 6 or " before the last number of a tail.
_LISTED_BEFORE = re.compile(
    r"(?<![0-9A-Za-z.,/])(?:[$€£¥₹]?[-+]?[0-9]++(?:\.[0-9]++)?(?:/[0-9]++)?\s*+(?:,|;|/|(?:or|and)\b)\s*+"
    r"(?:(?:or|and|maybe|perhaps|possibly|even)\b\s*+)*+)++$",
    re.IGNORECASE,
)
_OPEN_BOX = re.compile(r"\\f?boxed\s*\{[^{}]*$")
# A number after these is not said to be the answer; a phrase with these denies what it holds.
_DENIED_BEFORE = re.compile(
    r"(?:\bnot|n['’]t|\bnever|\b(?:more|less|fewer|greater|other|rather) than|\bat (?:least|most)|\bexcept|\bunlike)\s+"
    r"(?:be\s+|equal(?:\s+to)?\s+|exactly\s+|simply\s+|just\s+|necessarily\s+)*[$€£]?$",
    re.IGNORECASE,
)
# A number between these is part of an expression.
_OPERATOR_BEFORE = re.compile(
    r"(?:\\[A-Za-z]+\s*|[\^_√|!]\s*|(?:[0-9)\]}]|(?<![A-Za-z])[A-Za-z])\s*(?:[-+*/×·÷^]|\\(?:cdot|times))\s*)$"
)
_OPERATOR_AFTER = re.compile(r"\s*(?:\\[A-Za-z]|[\^_*×·÷√]|[-+/]\s*[0-9A-Za-z\\(])|[({]|[xyzn](?![A-Za-z])|[!|](?=\S)")
_ASKED_AFTER = re.compile(r"[^.!?\n0-9]{0,40}\?")
_DENIAL = re.compile(
    r"\bnot\b|n['’]t\b|\b(?:never|neither|nor|wrong|incorrect|false|impossible|unknown)\b", re.IGNORECASE
)
# A comma between digits of one numeral does not separate answers.
_SPLITS = re.compile(r"\b(?:or|and|and/or)\b|;|,(?![0-9]{3}(?![0-9]))", re.IGNORECASE)
_NOT_SINGLE = re.compile(r"^\s*(?:or\b|and\b|to\b|and/or\b|[,:])\s*[$€£¥₹]?[-+]?\s*(?:\.?[0-9]|\\[a-z])", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z]+")
# After "the answer is" these words say something about an answer instead of giving it.
_COMMENT = re.compile(
    r"(?:correct|right|wrong|incorrect|not|the|an?(?= [a-z]{2})|this|that|as|in|given|found|obtained|simply|clear"
    r"|unclear|therefore|thus|then|also|still|based|calculated|asked|shown|below|above|what|how|when|because|if)\b",
    re.IGNORECASE,
)
_IN_VARIABLES = re.compile(r"\^|[0-9][A-Za-z]\b|\\[a-z]|\b[a-z]\b[ ]?[-+*/]|[-+*/][ ]?[a-z]\b")


class Candidate(NamedTuple):
    """A place where a response gives an answer.

    Attributes:
        text: the answer as written.
        source: the rule that found it, for the verdict's detail.
        announced: False for "the answer is X" in running text, where X may turn out to be a comment.
        line: the rest of the line, where `text` is its first sentence; else empty.
    """

    text: str
    source: str
    announced: bool = True
    line: str = ""


def candidates(text: str) -> Iterator[Candidate]:
    """Yield the explicit answers of a text without reasoning blocks, the last first.

    A box inside an announced phrase comes out once, as the box.
    """
    found: list[tuple[int, int, Candidate]] = []
    found_boxes = boxes(text)
    for start, end, content in found_boxes:
        other = OFFERED_AFTER.match(text, end)
        offered = f"{content} or {other['other']}" if other else content
        if _BOX_DENIED_BEFORE.search(text, max(0, start - 40), start) or _BOX_DENIED_AFTER.match(text, end):
            offered = f"not {offered}"  # "the answer is not 7" says what it is not
        found.append((start, 0, Candidate(offered, "boxed")))
    if "####" in text:
        found.extend((start, 1, Candidate(_line(text, start), "####")) for start in _after_hashes(text))
    if ":" in text or "=" in text:
        for start in _after_labels(text):
            line = _line(text, start)
            sentence = line if line.isdecimal() else _sentence(text, start)
            found.append((start, 1, Candidate(sentence, "labelled line", line=line)))
    if "nswer" in text or "NSWER" in text:
        for start in _after_phrases(text):
            sentence = _sentence(text, start)
            if text[start + len(sentence) : start + len(sentence) + 1] != "?":  # "Is the answer 5?" claims nothing
                candidate = Candidate(sentence, "answer phrase", False, _line(text, start))
                found.append((start, 2, candidate))
        if "</" in text:
            found.extend((m.start(1), 1, Candidate(m[1], "answer tag")) for m in _last_matches(_ANSWER_TAG, text))
    if len(found) > 1:
        # The later position first; at one position a label beats the looser phrase.
        found.sort(key=lambda item: (-item[0], item[1]))
        _join_alternatives(found, text)
    for position, _, candidate in found:
        if not found_boxes:
            yield candidate
            continue
        leads_to_box = candidate.source != "boxed" and any(
            position <= start <= position + len(candidate.text) for start, _, _ in found_boxes
        )
        if not leads_to_box:
            yield candidate


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
    found: deque[int] = deque(maxlen=MAX_CANDIDATES)
    start = 0
    for line in text.split("\n"):
        if line[:1] in begins and line and (match := LINE_LABEL.match(text, start)):
            found.append(match.end())
        start += len(line) + 1
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


def _join_alternatives(found: list[tuple[int, int, Candidate]], text: str) -> None:
    """Make one candidate of the last two where the response offers them as alternatives."""
    last = found[0]
    before = next((item for item in found if item[0] < last[0] and item[2].text.strip() != last[2].text.strip()), None)
    if before is None or last[0] - before[0] > MAX_BETWEEN:
        return
    between = text[before[0] : last[0]]
    marker = _ALTERNATIVE.search(between)
    if marker is None or _CORRECTION.search(between):
        return
    first = before[2].text if before[2].source == "boxed" else between[: marker.start()].strip(" \t\r\n.,;(")
    if first:
        joined = f"{first} or {last[2].text}"
        found[0] = (last[0], last[1], last[2]._replace(text=joined, line=joined if last[2].line else ""))


def maths_answer(candidate: Candidate) -> str | None:
    """Return the mathematical answer in a candidate, tidied, or None when it holds none.

    A box, a tag and a whole label that read as one number are taken as they are. In running text: the inline
    mathematics if there is any, else what follows the last `=`, else a number the text begins with, else the
    only number in it; several different numbers are kept together, as written, for the caller to refuse.
    """
    if candidate.source == "boxed":
        return tidy(candidate.text)
    prose = candidate.text.strip(" \t\r\n*_")
    if prose.isdecimal() and prose.isascii() and len(prose) < MAX_DIGITS:
        return prose
    text = tidy(prose)
    if not text:
        return None
    if parse_number(text) is not None:
        return text
    cut = _CLAUSE_END.search(text)
    if cut is not None and cut.start() > 0:
        text = tidy(text[: cut.start()])
        prose = prose[: prose.find(cut[0])] if cut[0] in prose else text
    if (spans := _inline_maths(prose)) is not None:
        return spans
    if not re.search(r"[0-9\\]", text):
        return _bare_word(text, candidate)
    return _number_in_prose(text)


def tail_answer(text: str) -> str | None:
    """Return the last number or inline mathematics within the last `TAIL` characters, or None."""
    tail = text.rstrip()[-TAIL:]
    if len(text.rstrip()) > TAIL:
        # The cut may have split a number: start at the next blank.
        blank = re.search(r"\s", tail)
        tail = tail[blank.end() :] if blank else tail
    if _OPEN_BOX.search(tail):
        return None
    last, span = _last_match(_TAIL_NUMBER, tail), _last_match(_SPAN, tail)
    found = span if span is not None and (last is None or span.end() > last.start()) else last
    if found is None or _DENIED_BEFORE.search(tail[: found.start()]) or _ASKED_AFTER.match(tail, found.end()):
        return None
    if found is span and (inner := _last_side(_content(found))):
        return inner if re.search(r"[^\W_]", inner) else None
    if last is None:
        return None
    before, sign = tail[: last.start()], last[0][: -len(last[0].lstrip("+- "))]
    if _OPERATOR_BEFORE.search(before + sign) or _OPERATOR_AFTER.match(tail, last.end()):
        return None
    listed = _LISTED_BEFORE.search(before)
    return tidy((listed[0] if listed else "") + last[0])


def _last_matches(pattern: re.Pattern[str], text: str) -> deque[re.Match[str]]:
    return deque(pattern.finditer(text), maxlen=MAX_CANDIDATES)


def _last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    matches = _last_matches(pattern, text)
    return matches[-1] if matches else None


def alternatives(answer: str) -> list[str]:
    """Split an answer into those it offers at once: at "or", "and", and commas outside brackets."""
    if not _SPLITS.search(answer):
        return [answer]
    parts, level, start = [], 0, 0
    for match in re.compile(r"[(\[{]|[)\]}]|" + _SPLITS.pattern, re.IGNORECASE).finditer(answer):
        if match[0] in "([{":
            level += 1
        elif match[0] in ")]}":
            level -= 1
        elif level == 0:
            parts.append(answer[start : match.start()])
            start = match.end()
    parts.append(answer[start:])
    return [tidied for part in parts if (tidied := tidy(part.strip().removeprefix("either ")))]


def _line(text: str, start: int) -> str:
    end = text.find("\n", start, start + MAX_PHRASE)
    line = text[start : start + MAX_PHRASE if end < 0 else end]
    return line.rpartition("####")[2]


def _sentence(text: str, start: int) -> str:
    """Return the text from `start` to the end of its sentence or line; ends inside mathematics do not count."""
    piece = text[start : start + MAX_PHRASE]
    spans = [match.span() for match in _SPAN.finditer(piece)] if "$" in piece or "\\" in piece else []
    for end in _SENTENCE_END.finditer(piece):
        if not any(first <= end.start() < last for first, last in spans):
            return piece[: end.start()]
    return piece


def _content(span: re.Match[str]) -> str:
    return next(group for group in span.groups() if group is not None)


def _last_side(text: str) -> str:
    """Return what follows the last `=` of a tidy equation that ends in a value; else the whole."""
    text = tidy(text)
    _, sign, right = text.rpartition("=")
    return tidy(right) if sign and parse_number(tidy(right)) is not None else text


def _inline_maths(prose: str) -> str | None:
    """Return the inline mathematics of a phrase: one span, or several that are offered together."""
    spans = list(_SPAN.finditer(prose))
    if not spans:
        return None
    offered = _content(spans[0])
    for left, right in pairwise(spans):
        between = prose[left.end() : right.start()]
        if not _BETWEEN_SPANS.fullmatch(between):
            break
        offered += (" or " if re.search(r"\bor\b", between) else ", ") + _content(right)
    return tidy(offered)


def _bare_word(text: str, candidate: Candidate) -> str | None:
    """Return a text without digits if it can be an answer: short mathematics, or a word that is no comment."""
    words = _WORD.findall(text)
    if candidate.announced:
        return text
    if not words or _COMMENT.match(text):
        return None
    symbols = all(len(word) < 3 or word in ("and", "or") for word in words)
    return text if symbols or len(words) <= 2 else None


def _number_in_prose(text: str) -> str | None:
    if _DENIAL.search(text) or _DENIED_BEFORE.search(text):
        return text
    left, sign, right = text.rpartition("=")
    if sign:
        if len(alternatives(text)) > 1 or _IN_VARIABLES.search(left):
            return text  # x = 2 or x = 3; an equation of a curve
        right = tidy(right)
        leading = leading_number(right)
        if parse_number(right) is not None or leading is None:
            return text if leading is None else right
        text = right
    text = re.sub(r"^(?:about|approximately|around|roughly|exactly|only|just|either|equal to|≈|\\approx)\s+", "", text)
    leading = leading_number(text)
    if leading is not None:
        numeral, end = leading
        rest = text[end:]
        if _NOT_SINGLE.match(rest):
            return text
        if not rest or re.match(r"\s+[A-Za-z]{2}|\s+\(|[,;:]\s", rest):
            return text if re.search(r"\b(?:or|and)\b.*[0-9]", rest, re.IGNORECASE) else tidy(numeral)
        return text
    numbers = {match[0]: parse_number(tidy(match[0])) for match in _TAIL_NUMBER.finditer(text)}
    values = {number.value for number in numbers.values() if number is not None}
    if len(values) == 1 and "\\" not in text and re.search(r"[A-Za-z]{3}", text):
        return tidy(next(iter(numbers)))
    return text
