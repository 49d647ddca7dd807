"""Constraints on form: paragraphs, lists, emphasis, sections, titles, JSON, and how a text starts and ends."""

import re
from collections import deque
from itertools import zip_longest
from typing import Any

from verifiers import json_text
from verifiers.instructions.finding import Finding, at_least, exactly
from verifiers.instructions.text import Reading, any_occurrence, folded, loosened, says, words
from verifiers.visible import is_visible

MAX_POSTSCRIPTS = 100
"""Occurrences of a postscript's marker that are looked at, from the last."""

OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")

_BLANK_LINES = re.compile(r"\n\s*\n")
_STRONG_EMPHASIS = re.compile(r"(?<!\*)\*{3}(?=[^\s*])[^*\n]*(?<=\S)\*{3}(?!\*)")
_DIVIDER = re.compile(r"(?<!\*)\*{3}(?!\*)")
_SIX_ASTERISKS = re.compile(r"\*{6,}")
_ASTERISKS = re.compile(r"\*+")
_BULLET = re.compile(r"^[ \t]*+[*+-][ \t]++(\S.*)", re.MULTILINE)
_TYPOGRAPHY = re.compile(r"[\s.,;:!?…*_`#>\"'“”‘’-]+")
_WORD_END = re.compile(r"[.,?!'\"”»]")
_BEGINNING = 20_000 + 100  # characters of a paragraph that are read; a gold has at most 20,000
_QUOTES = (('"', '"'), ("“", "”"))
_BEFORE_POSTSCRIPT = re.compile(r"(?:\bpostscript\W*|(?P<start>\A|\n)?(?P<marks>[^\w\n]*))\Z")
_REACH = 60  # characters before a postscript in which its place is judged
_MAY_PRECEDE = frozenset(".!?…:;)]}\"'”’»*_|>#-–—")


def paragraphs(reading: Reading, arguments: dict[str, Any]) -> Finding:
    """There are exactly so many paragraphs, divided by `***`; none is empty. Emphasis in `***` divides nothing."""
    pieces = _without_outer_blanks(_DIVIDER.split(_STRONG_EMPHASIS.sub("x", reading.text)))
    if not all(map(says, pieces)):
        return Finding(False, "a paragraph without a letter or digit between two dividers")
    return exactly(len(pieces), arguments["num_paragraphs"], "paragraphs divided by ***")


def _without_outer_blanks(pieces: list[str]) -> list[str]:
    first = 1 if not is_visible(pieces[0]) else 0
    last = -1 if len(pieces) > 1 and not is_visible(pieces[-1]) else len(pieces)
    return pieces[first:last]


def nth_paragraph_first_word(reading: Reading, arguments: dict[str, Any]) -> Finding:
    """There are exactly so many paragraphs, divided by blank lines, and the n-th begins with the given word.

    As in IFEval, a word goes up to a blank or one of `.,?!` and quotation marks, and quotation marks may stand before
    it: a paragraph that begins with "Summary:" or "**Summary" does not begin with the word "summary". So a label or
    a heading is no way to put the word in front of a paragraph that begins with another one.
    """
    found = [paragraph for paragraph in _BLANK_LINES.split(reading.text) if is_visible(paragraph)]
    number, n = arguments["num_paragraphs"], arguments["nth_paragraph"]
    if len(found) != number:
        return exactly(len(found), number, "paragraphs divided by blank lines")
    required = _first_words(arguments["first_word"], len(arguments["first_word"].split()))
    begins = _first_words(found[n - 1], len(required))
    shown = " ".join(begins)[:40]
    return Finding(begins == required, f"paragraph {n} begins with {shown!r}, required: {' '.join(required)!r}")


def _first_words(text: str, count: int) -> list[str]:
    tokens = folded(text.lstrip()[:_BEGINNING]).split()[:count]
    return [_WORD_END.split(token.lstrip("'\"“”„«"), maxsplit=1)[0] or token for token in tokens]


def bullets(reading: Reading, arguments: dict[str, Any]) -> Finding:
    """There are exactly so many bullet points: lines that begin with `*`, `-` or `+`, a blank and text.

    Lines whose text shows nothing are none, and one without a letter, digit or emblem fails.
    """
    found = [text for text in _BULLET.findall(reading.text) if is_visible(text)]
    if empty := sum(not _TYPOGRAPHY.sub("", text) for text in found):
        return Finding(False, f"{empty} bullet points of marks alone")
    return exactly(len(found), arguments["num_bullets"], "bullet points")


def highlights(reading: Reading, arguments: dict[str, Any]) -> Finding:
    """There are at least so many spans of text `*emphasised*` on one line with one to three asterisks."""
    found = sum(map(_emphasised, reading.text.split("\n"))) if "*" in reading.text else 0
    return at_least(found, arguments["num_highlights"], "highlighted sections")


def _emphasised(line: str) -> int:
    """Return the spans between runs of equally many asterisks, text touching both."""
    found = 0
    opened: dict[int, int] = {}
    for run in _ASTERISKS.finditer(line):
        start, end = run.span()
        length = end - start
        before, after = line[start - 1 : start], line[end : end + 1]
        if (
            length in opened
            and not (before.isspace() or after.isdigit())
            and _says_between(line, opened[length], start)
        ):
            found += 1
            del opened[length]
        elif length <= 3 and after and not (after.isspace() or before.isdigit()):  # 2*3*4 emphasises nothing
            opened[length] = end
    return found


def _says_between(line: str, start: int, end: int) -> bool:
    return says(line[start : min(end, start + 200)])  # not all of it, again and again


def sections(reading: Reading, arguments: dict[str, Any]) -> Finding:
    """There are at least so many sections: lines that begin with the word and a number, no number twice, then text."""
    # Marks of headings and emphasis may stand before the word.
    pattern = re.compile(rf"^[^\w\n]*{re.escape(arguments['section_spliter'])}[ \t]*+([0-9]+)", re.MULTILINE)
    headings = list(pattern.finditer(reading.text))
    numbers = set()
    for heading, following in zip_longest(headings, headings[1:]):
        end = following.start() if following else len(reading.text)
        if says(reading.text[heading.end() : end]):
            numbers.add(heading[1].lstrip("0"))
    return at_least(len(numbers), arguments["num_sections"], f"sections {arguments['section_spliter']} X")


def title(reading: Reading, _arguments: dict[str, Any]) -> Finding:
    """A line has a title in double angular brackets, `<<title>>`, that says something."""
    for line in reading.text.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start < end and says(line[start + 2 : end]):
            return Finding(True, "a title in << >> found")
    return Finding(False, "no title in << >>")


def json_format(reading: Reading, _arguments: dict[str, Any]) -> Finding:
    """The whole text is one JSON object or array with something in it, as such or in one fenced block."""
    try:
        value = json_text.loads(_unfenced(reading.text.strip()))
    except json_text.NotJson as error:
        return Finding(False, f"not JSON: {str(error)[:80]}")
    if not isinstance(value, dict | list) or not value:
        return Finding(False, "JSON, but no object or array with something in it")
    return Finding(True, "JSON")


def _unfenced(text: str) -> str:
    if not (text.startswith("```") and text.endswith("```") and len(text) > 6):
        return text
    first, _, rest = text[3:-3].partition("\n")
    return rest if first.strip().casefold() in ("", "json") else text


def constrained_response(reading: Reading, _arguments: dict[str, Any]) -> Finding:
    """Exactly one of the three options is there, as written, and no other in any form."""
    found = [option for option in OPTIONS if option in reading.text]
    loosely = [option for option in OPTIONS if any_occurrence(_words_of(option), _words_of(*reading.disguises))]
    detail = f"options given: {', '.join(loosely) or 'none'}; required: exactly one, as written"
    return Finding(len(found) == 1 and loosely == found, detail)


def _words_of(*texts: str) -> str:
    return " / ".join(" ".join(words(text.lower())) for text in texts)


def postscript(reading: Reading, arguments: dict[str, Any]) -> Finding:
    """The marker begins a line or a sentence, and text follows it."""
    marker = arguments["postscript_marker"]
    text = reading.folded
    for found in reversed(deque(_marker(marker).finditer(text), MAX_POSTSCRIPTS)):
        if _may_stand(text, found.start()):
            follows = says(text[found.end() :])
            return Finding(follows, f"postscript {marker!r} found" if follows else f"nothing follows {marker!r}")
    return Finding(False, f"no postscript that begins with {marker!r}")


def _marker(marker: str) -> re.Pattern[str]:
    letters = [letter for letter in folded(marker) if letter not in ". "]
    if "." not in marker or not all(map(str.isalpha, letters)):
        return re.compile(rf"(?<![^\W_]){re.escape(folded(marker).strip())}(?![^\W_])")
    # The stop after the last letter may be missing; P.S. is not found in P.P.S.
    dotted = r"\.[ \t]?".join(map(re.escape, letters))
    return re.compile(rf"(?<![^\W_])(?<!{re.escape(letters[0])}\.)(?<!{re.escape(letters[0])}\. ){dotted}\.?(?![^\W_])")


def _may_stand(text: str, position: int) -> bool:
    before = text[max(0, position - _REACH) : position]
    place = _BEFORE_POSTSCRIPT.search(before)
    if place is None:
        return False
    if place["marks"] is None or place["start"] is not None:
        return True
    return not _MAY_PRECEDE.isdisjoint(place["marks"])


def two_responses(reading: Reading, _arguments: dict[str, Any]) -> Finding:
    """Exactly two different responses are divided by six asterisks; a divider may be longer, up to eleven."""
    if any(run.end() - run.start() >= 12 for run in _SIX_ASTERISKS.finditer(reading.text)):
        return Finding(False, "an empty response between two dividers")
    pieces = _without_outer_blanks(_SIX_ASTERISKS.split(reading.text))
    if len(pieces) != 2 or not all(map(says, pieces)):
        return Finding(False, f"{len(pieces)} responses divided by ******, required: exactly 2")
    first, second = (_TYPOGRAPHY.sub("", loosened(piece)) for piece in pieces)
    return Finding(first != second, "two different responses" if first != second else "twice the same response")


def repeat_prompt(reading: Reading, arguments: dict[str, Any]) -> Finding:
    """The text begins with the prompt, whatever its case and blanks, and goes on with more than that again."""
    prompt, text = (" ".join(side.split()) for side in (folded(arguments["prompt_to_repeat"]), reading.folded))
    rest = text[len(prompt) :]
    if not text.startswith(prompt) or (prompt[-1].isalnum() and rest[:1].isalnum()):
        return Finding(False, "does not begin with the prompt to repeat")
    answers = says(rest.replace(prompt, ""))
    return Finding(answers, "prompt repeated, then more" if answers else "only the repeated prompt")


def end_checker(reading: Reading, arguments: dict[str, Any]) -> Finding:
    """The text ends with the phrase, whatever its case; closing quotation marks may follow."""
    phrase = _ending(folded(arguments["end_phrase"]))
    text = reading.folded.rstrip(' \t\r\n"“”')[-4 * len(phrase) - 100 :]
    ending = _ending(text)
    before = ending[-len(phrase) - 1 : -len(phrase)]
    holds = ending.endswith(phrase) and not (before.isalnum() and phrase[0].isalnum())
    return Finding(holds, f"ends with {ending[-40:]!r}, required: {phrase[-80:]!r}")


def _ending(text: str) -> str:
    return " ".join(text.strip().strip('"“”').split())


def quotation(reading: Reading, _arguments: dict[str, Any]) -> Finding:
    """The whole text is in double quotation marks, straight or typographic, and something is between them."""
    text = reading.text.strip()
    wrapped = len(text) > 2 and (text[0], text[-1]) in _QUOTES
    return Finding(wrapped and is_visible(text[1:-1]), "wrapped in quotation marks" if wrapped else "not wrapped")
