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
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from verifiers.numerals import leading_number, parse_number, tidy

TAIL = 200
"""Characters at the end of a response in which an unannounced answer is looked for."""

MAX_PHRASE = 300
"""Characters after an announcement that are read as the answer."""

MAX_CANDIDATES = 32
"""Announcements of each kind that are looked at, from the last; bounds the work on a degenerate response."""

MAX_BOX = 20_000
"""Characters after which a box counts as closed; it is over every limit by then."""

_REASONING_TAG = re.compile(r"<(/?)(?:think|thinking|thought|reasoning|scratchpad)>", re.IGNORECASE)

_BOX = re.compile(r"\\f?boxed\s*\{|\\fbox\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BETWEEN_BOXES = re.compile(r"(?:[\s,;.$]|\\[()\[\],; ]|\\text|\\quad|[{}]|\b(?:or|and)\b)*", re.IGNORECASE)

_MARK = r"[ \t]{0,4}[*_]{0,2}[ \t]{0,4}"
_HASHES = re.compile(r"####[ \t]*")
_LINE_LABEL = re.compile(
    rf"(?:^|\n)[ \t>#*_]*(?:(?:the )?(?:final |correct |short )?answer|ans|a){_MARK}[:=]{_MARK}\s*", re.IGNORECASE
)
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


def strip_reasoning(response: str) -> str:
    """Remove reasoning blocks: closed ones, all before a lone closing tag, all after a lone opening tag."""
    if "<" not in response or _REASONING_TAG.search(response) is None:
        return response
    kept: list[str] = []
    inside, start = False, 0
    for tag in _REASONING_TAG.finditer(response):
        if tag[1]:  # a closing tag; without its opening, all before it was reasoning
            kept = kept if inside else []
            inside, start = False, tag.end()
        elif not inside:
            kept.append(response[start : tag.start()])
            inside = True
    if not inside:
        kept.append(response[start:])
    return "".join(kept)


def candidates(text: str) -> Iterator[Candidate]:
    """Yield the explicit answers of a text without reasoning blocks, the last first.

    A box inside an announced phrase comes out once, as the box.
    """
    found: list[tuple[int, int, Candidate]] = []
    boxes = _boxes(text)
    for start, _, content in boxes:
        found.append((start, 0, Candidate(content, "boxed")))
    if "####" in text:
        found.extend((m.end(), 1, Candidate(_line(text, m.end()), "####")) for m in _last_matches(_HASHES, text))
    if ":" in text or "=" in text:
        for match in _last_matches(_LINE_LABEL, text):
            start = match.end()
            candidate = Candidate(_sentence(text, start), "labelled line", line=_line(text, start))
            found.append((start, 1, candidate))
    if "nswer" in text or "NSWER" in text:
        for match in _last_matches(_PHRASE, text):
            start = match.end()
            candidate = Candidate(_sentence(text, start), "answer phrase", False, _line(text, start))
            found.append((start, 2, candidate))
        found.extend((m.start(1), 1, Candidate(m[1], "answer tag")) for m in _last_matches(_ANSWER_TAG, text))
    if len(found) > 1:
        # The later position first; at one position a label beats the looser phrase.
        found.sort(key=lambda item: (-item[0], item[1]))
    for position, _, candidate in found:
        leads_to_box = candidate.source != "boxed" and any(
            position <= start <= position + len(candidate.text) for start, _, _ in boxes
        )
        if not leads_to_box:
            yield candidate


def maths_answer(candidate: Candidate) -> str | None:
    """Return the mathematical answer in a candidate, tidied, or None when it holds none.

    A box, a tag and a whole label that read as one number are taken as they are. In running text: the inline
    mathematics if there is any, else what follows the last `=`, else a number the text begins with, else the
    only number in it; several different numbers are kept together, as written, for the caller to refuse.
    """
    if candidate.source == "boxed":
        return tidy(candidate.text)
    prose = candidate.text.strip(" \t\r\n*_")
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
    last = _last_match(_TAIL_NUMBER, tail)
    span = _last_match(_SPAN, tail)
    if span is not None and (last is None or span.end() > last.start()) and (inner := _last_side(_content(span))):
        return inner
    if last is None:
        return None
    before = re.search(r"([$€£¥₹]?[-+]?[0-9][0-9,.]*(?:/[0-9]+)?\s*\bor\s*)$", tail[: last.start()], re.IGNORECASE)
    return tidy((before[1] if before else "") + last[0])


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


def _boxes(text: str) -> list[tuple[int, int, str]]:
    """Return (start, end, content) of each balanced box; neighbours offered together are joined into one."""
    if "boxed" not in text and "\\fbox" not in text:
        return []
    boxes: list[tuple[int, int, str]] = []
    for match in _last_matches(_BOX, text):
        if boxes and match.start() < boxes[-1][1]:
            continue  # inside the previous box
        end = _closing_brace(text, match.end())
        if end is None:
            continue
        content = _unbox(text[match.end() : end])
        if boxes:
            between = text[boxes[-1][1] : match.start()]
            if len(between) <= 40 and _BETWEEN_BOXES.fullmatch(between):
                start, _, previous = boxes.pop()
                joined = " or " if re.search(r"\bor\b", between) else ", "
                content = previous if tidy(previous) == tidy(content) else previous + joined + content
                boxes.append((start, end + 1, content))
                continue
        boxes.append((match.start(), end + 1, content))
    return boxes


def _unbox(content: str) -> str:
    inner = _BOX.match(content.strip())
    return content.strip()[inner.end() : -1] if inner and content.strip().endswith("}") else content


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
