"""Constraints on what a text contains: keywords, letters, counts of words and sentences, case, marks of punctuation."""

import html
import re
import unicodedata
from functools import cache
from typing import Any

from verifiers.instructions import sentences
from verifiers.instructions.finding import Finding, at_least, related
from verifiers.instructions.text import Reading, any_occurrence, folded, inflected_occurrences, loosened

_BRACKETED = re.compile(r"\[([^\[\]\n]+)\](?!\()")


@cache
def commas() -> re.Pattern[str]:
    """Return the pattern of the commas of all scripts, and of the low quotation mark that looks like one."""
    found = [chr(point) for point in range(0x10000) if unicodedata.name(chr(point), "").endswith("COMMA")]
    marks = [character for character in found if unicodedata.category(character) == "Po"]
    return re.compile(f"[{''.join(marks)}\u201a]")


def keywords_exist(reading: Reading, arguments: dict[str, Any]) -> Finding:
    """Each keyword stands somewhere as words of its own or in an inflected form, whatever its case."""
    missing = [
        word
        for word in arguments["keywords"]
        if next(inflected_occurrences(folded(word), reading.folded), None) is None
    ]
    return Finding(not missing, f"missing: {', '.join(missing)}" if missing else "all keywords found")


def keyword_frequency(reading: Reading, arguments: dict[str, Any]) -> Finding:
    """A keyword stands at least, or less than, so many times; inflected forms of it count."""
    keyword, relation = arguments["keyword"], arguments["relation"]
    if relation == "at least":
        found = sum(1 for _ in inflected_occurrences(folded(keyword), reading.folded))
    else:
        found = max(sum(1 for _ in inflected_occurrences(loosened(keyword), form)) for form in reading.disguises)
    return related((found, found), relation, arguments["frequency"], f"times {keyword!r}")


def no_forbidden_words(reading: Reading, arguments: dict[str, Any]) -> Finding:
    """None of the words stands anywhere as words of its own, nor in a disguise that `loosened` sees through."""
    found = [
        word
        for word in arguments["forbidden_words"]
        if any(any_occurrence(loosened(word), form) for form in reading.disguises)
    ]
    return Finding(not found, f"forbidden, but found: {', '.join(found)}" if found else "no forbidden word found")


def letter_frequency(reading: Reading, arguments: dict[str, Any]) -> Finding:
    """A character, of either case, is there at least, or less than, so many times."""
    letter, relation = arguments["letter"], arguments["let_relation"]
    form, text = (folded, reading.folded) if relation == "at least" else (loosened, reading.loosened)
    found = text.count(form(letter))
    return related((found, found), relation, arguments["let_frequency"], f"times {letter!r}")


def number_of_words(reading: Reading, arguments: dict[str, Any]) -> Finding:
    """There are at least, or less than, so many words."""
    relation = arguments["relation"]
    counted = reading if relation == "at least" else reading.separated
    return related(counted.word_count, relation, arguments["num_words"], "words")


def number_of_sentences(reading: Reading, arguments: dict[str, Any]) -> Finding:
    """There are at least, or less than, so many sentences; from above, long lines without a full stop count."""
    relation = arguments["relation"]
    counted = sentences.ended(reading.text) if relation == "at least" else sentences.at_most(reading.text)
    return related((counted, counted), relation, arguments["num_sentences"], "sentences")


def capital_words(reading: Reading, arguments: dict[str, Any]) -> Finding:
    """There are at least, or less than, so many words in capitals; one capital letter alone is such a word."""
    relation, required = arguments["capital_relation"], arguments["capital_frequency"]
    found = sum(map(str.isupper, (reading if relation == "at least" else reading.separated).words))
    return related((found, found), relation, required, "words in capitals")


def no_comma(reading: Reading, _arguments: dict[str, Any]) -> Finding:
    """No comma of any script is there."""
    found = sum(1 for _ in commas().finditer(html.unescape(reading.text)))
    return Finding(not found, f"{found} commas, required: none")


def placeholders(reading: Reading, arguments: dict[str, Any]) -> Finding:
    """There are at least so many `[placeholders]` on one line, each with a letter; links are none."""
    found = sum(any(map(str.isalpha, inside)) for inside in _BRACKETED.findall(reading.text))
    return at_least(found, arguments["num_placeholders"], "placeholders")
