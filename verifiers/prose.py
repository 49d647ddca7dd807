"""The mathematical answer in a phrase that announces one, or at the end of a response that announces none."""

import re
from itertools import pairwise

from verifiers import wording
from verifiers.extract import SPAN, TAIL, Candidate, last_matches
from verifiers.numerals import MAX_DIGITS, leading_number, parse_number, tidy

_BETWEEN_SPANS = re.compile(
    r"(?:[\s,;/|&]|\b(?:or|and|but|oder|ou|maybe|perhaps|possibly|probably|even|alternatively|also|else)\b)*",
    re.IGNORECASE,
)
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
_ASIDE = re.compile(r"\b(?:or|alternatively)\s*[:,(\[]?\s*\$?\Z|[(\[]\s*maybe\s+\Z", re.IGNORECASE)
_LABEL = re.compile(r"(?:the )?(?:final |correct )?(?:answer|ans)\b(?: is| =)?[ :]*(?=.)", re.IGNORECASE)
_LONE_MARK = re.compile(r"(?<=[0-9A-Za-z%)$])\*\*(?=[\s.,;:]|$)")
_EMPHASIS = re.compile(r"(?<![\w*\\])(\*{1,3}|_{1,3})(?=[^\s*_])([^*_\n]{0,200}?)(?<=[^\s*_])\1(?![\w*])")
_OPEN_BOX = re.compile(r"\\f?boxed\s*\{[^{}]*$")
# A number between these is part of an expression.
_OPERATOR_BEFORE = re.compile(
    r"(?:\\[A-Za-z]+\s*|[\^_√|!]\s*|(?:[0-9)\]}]|(?<![A-Za-z])[A-Za-z])\s*(?:[-+*/×·÷^]|\\(?:cdot|times))\s*)$"
)
_OPERATOR_AFTER = re.compile(r"\s*(?:\\[A-Za-z]|[\^_*×·÷√]|[-+/]\s*[0-9A-Za-z\\(])|[({]|[xyzn](?![A-Za-z])|[!|](?=\S)")
_ASKED_AFTER = re.compile(r"[^.!?\n0-9]{0,40}\?")
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
_CLAUSE_END = re.compile(
    r",?\s(?:because|since|so that|given that|where"
    r"|which (?:is(?! (?:not|too|wrong|incorrect|false|impossible)\b)|means|gives))\b",
    re.IGNORECASE,
)


def maths_answer(candidate: Candidate) -> str | None:
    """Return the mathematical answer in a candidate, tidied, or None when it holds none.

    A box, a tag and a whole label that read as one number are taken as they are. In running text: the inline
    mathematics if there is any, else what follows the last `=`, else a number the text begins with, else the
    only number in it; several different numbers are kept together, as written, for the caller to refuse.
    """
    if candidate.source == "boxed":
        text = tidy(candidate.text)
        return tidy(_LABEL.sub("", text)) if text[:1] in "aAtTfF" else text
    prose = candidate.text.strip(" \t\r\n*_#")
    if prose.isdecimal() and prose.isascii() and len(prose) < MAX_DIGITS:
        return prose
    if "**" in prose:
        prose = _LONE_MARK.sub("", prose)  # its partner stood before the answer
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
    ending = text.rstrip()
    tail = ending[-TAIL:]
    if len(ending) > TAIL:
        # The cut may have split a number: start at the next blank.
        blank = re.search(r"\s", tail)
        tail = tail[blank.end() :] if blank else tail
    if _OPEN_BOX.search(tail):
        return None
    if "*" in tail or "_" in tail:
        tail = _EMPHASIS.sub(r"\2", tail)
    last, span = _last_match(_TAIL_NUMBER, tail), _last_match(SPAN, tail)
    found = span if span is not None and (last is None or span.end() > last.start()) else last
    if found is None or _ASKED_AFTER.match(tail, found.end()):
        return None
    if wording.changed(tail[: found.start()], tail[found.end() :]):
        return None
    if found is span and (inner := _last_side(_content(found))):
        offered = _with_those_before(tail, found, inner)
        aside = offered == inner and _ASIDE.search(tail[: found.start()])
        return offered if not aside and re.search(r"[^\W_]", inner) else None
    if last is None:
        return None
    before, sign = tail[: last.start()], last[0][: -len(last[0].lstrip("+- "))]
    if _OPERATOR_BEFORE.search(before + sign) or _OPERATOR_AFTER.match(tail, last.end()):
        return None
    listed = _LISTED_BEFORE.search(before)
    if not listed and _ASIDE.search(before):
        return None  # 4 (or 5)
    return tidy((listed[0] if listed else "") + last[0])


def _with_those_before(tail: str, span: re.Match[str], inner: str) -> str:
    """Return the last inline mathematics, and what is offered before it: `$4$ or $5$`."""
    previous = None
    for match in SPAN.finditer(tail, 0, span.start()):
        previous = match
    between = tail[previous.end() : span.start()] if previous else ""
    if previous is None or not between.strip() or not _BETWEEN_SPANS.fullmatch(between):
        return inner
    first = tidy(_content(previous))
    # "where $n = 3$, $x = 5$" offers nothing; "$3$, $5$" and "$x = 3$ or $x = 5$" do.
    return f"{first} or {inner}" if _joined_by(between) == " or " or parse_number(first) is not None else inner


def _last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    matches = last_matches(pattern, text)
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


def _content(span: re.Match[str]) -> str:
    return next(group for group in span.groups() if group is not None)


def _last_side(text: str) -> str:
    """Return what follows the last `=` of a tidy equation that ends in a value; else the whole."""
    text = tidy(text)
    _, sign, right = text.rpartition("=")
    return tidy(right) if sign and parse_number(tidy(right)) is not None else text


def _inline_maths(prose: str) -> str | None:
    """Return the inline mathematics of a phrase: one span, or several that are offered together."""
    spans = list(SPAN.finditer(prose))
    if not spans:
        return None
    offered, last = _content(spans[0]), spans[0]
    for left, right in pairwise(spans):
        between = prose[left.end() : right.start()]
        if not _BETWEEN_SPANS.fullmatch(between):
            break
        offered, last = offered + _joined_by(between) + _content(right), right
    before = prose[: spans[0].start()]
    if wording.denied(before) or wording.changed(before, prose[last.end() :]):
        return prose
    return tidy(offered)


def _joined_by(between: str) -> str:
    return " or " if re.search(r"[a-z/|]", between.replace("and", ""), re.IGNORECASE) else ", "


def _bare_word(text: str, candidate: Candidate) -> str | None:
    """Return a text without digits if it can be an answer: short mathematics, or a word that is no comment."""
    words = _WORD.findall(text)
    if candidate.announced:
        return text
    if not words or _COMMENT.match(text):
        return None
    symbols = all(len(word) < 3 or word in ("and", "or") for word in words)
    return text if symbols or len(words) <= 2 else None


def _number_in_prose(text: str) -> str:
    """Return the number that a phrase states, or the whole phrase where it states none, several, or denies one."""
    if wording.denied(text):
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
    text = re.sub(r"^(?:negative|minus)\s+(?=[$€£¥₹]?[0-9])", "-", text, flags=re.IGNORECASE)
    leading = leading_number(text)
    if leading is not None:
        numeral, end = leading
        rest = text[end:]
        if _NOT_SINGLE.match(rest) or wording.changed("", rest):
            return text
        if not rest or re.match(r"\s+[A-Za-z]{2}|\s+\(|[,;:]\s", rest):
            return text if re.search(r"\b(?:or|and)\b.*[0-9]", rest, re.IGNORECASE) else tidy(numeral)
        return text
    matches = list(_TAIL_NUMBER.finditer(text))
    numbers = {match[0]: parse_number(tidy(match[0])) for match in matches}
    values = {number.value for number in numbers.values() if number is not None}
    if len(values) == 1 and "\\" not in text and re.search(r"[A-Za-z]{3}", text):
        stated = not any(wording.changed(text[: match.start()], text[match.end() :]) for match in matches)
        return tidy(next(iter(numbers))) if stated else text
    return text
