"""What is no answer, whatever a judge would say: found before any call.

A response of nothing but blanks, punctuation, hidden reasoning or an announcement scores 0: it is the response's fault,
not the judge's, and a policy that is paid for it learns nothing else (arXiv 2507.08794). arXiv 2503.22230 reports that
high scores of its judge were often hacked, and names no gates: these are ours. So is the rule that a response to a task
with a ground truth must hold an answer that a verifier of that kind of ground truth could find.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from verifiers import choice, math
from verifiers.contract import BadGold, Outcome, Status
from verifiers.genrm.openers import MAX_LINE, announces, words
from verifiers.reasoning import strip_reasoning
from verifiers.visible import is_visible, shown

VERSION = "1"  # changes whenever the same response may be gated otherwise
_LETTER = re.compile(r"\(?[A-J]\)?")
_NUMERIC = re.compile(r"[-+]?[$€£]?[0-9][0-9,. ]*(?:/[0-9]+|%)?")
_FORMULA = re.compile(
    r"\\(?:d?frac|sqrt|pi|infty|boxed|text|left|cdot)\b|[0-9A-Za-z)}]\^|[0-9]\s*[-+*/=]\s*[0-9A-Za-z(]"
)
_NUMBER = re.compile(
    r"\b(?:zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen"
    r"|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|dozen|half|third|quarter)\b",
    re.IGNORECASE,
)
# Questions that may well be answered in another script than they and a romanised reference are in.
_OF_LANGUAGES = re.compile(
    r"translat|language|alphabet|letter|charact|script|symbol|word for|say in|spell|romani[sz]|chinese|mandarin"
    r"|japanese|korean|russian|ukrainian|bulgarian|serbian|arabic|persian|urdu|hebrew|greek|hindi|bengali|tamil|thai"
    r"|georgian|armenian",
    re.IGNORECASE,
)
_LETTERS = 3
_SAME_SCRIPT = {
    **dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "BOPOMOFO"), "EAST ASIAN"),
    **dict.fromkeys(("FULLWIDTH", "MATHEMATICAL", "DOUBLE-STRUCK", "SCRIPT", "BLACK-LETTER", "MODIFIER"), "LATIN"),
}
# Arrows and what frames are drawn with: decoration, though Unicode classes them as symbols.
_DRAWN = (range(0x2190, 0x2200), range(0x2500, 0x2600))


class Gate(NamedTuple):
    """Why a response is no answer: a code, and words for people."""

    code: str
    detail: str


def visible_answer(response: str) -> str:
    """Return what a reader sees of a response: no reasoning blocks, nothing that Markdown hides."""
    return shown(strip_reasoning(response)).strip()


def gate(response: str, *, gold: str | None = None, question: str = "", reference: str = "") -> Gate | None:
    """Return why a response is no answer, or None where it may be one.

    Args:
        response: the whole text.
        gold: the verified answer as text, where the task has one.
        question: the prompt, which some verifiers read.
        reference: what the response is compared with, where there is something.
    """
    if not is_visible(response):
        return Gate("empty", "the response shows nothing")
    answer = visible_answer(response)
    if not is_visible(answer):
        return Gate("hidden", "the response is nothing but reasoning, or text that Markdown hides")
    if gold is not None and answer == gold.strip():
        return None  # whatever it looks like: "x :" may be what is asked for
    if not any(map(_says, answer)):
        return Gate("punctuation", "the response is nothing but punctuation")
    if (gold is None or words(answer) != words(gold)) and announces(answer):
        return Gate("announcement", f"the response only announces an answer: {' '.join(answer.split())[:80]!r}")
    if not _OF_LANGUAGES.search(question) and _in_another_script(answer, f"{question} {reference} {gold or ''}"):
        return Gate("other_script", f"a few words in a script that neither question nor reference has: {answer!r}")
    if gold is not None and not _extractable(answer, gold, question):
        return Gate("no_answer", "no answer of the ground truth's kind can be found in the response")
    return None


def _says(character: str) -> bool:
    """Tell whether a character says something: a letter, a digit, or a symbol beyond those of the keyboard."""
    kind = unicodedata.category(character)
    if kind[0] in "LN":
        return True
    return kind[0] == "S" and ord(character) > 0xFF and not any(ord(character) in drawn for drawn in _DRAWN)


def _in_another_script(answer: str, known: str) -> bool:
    """Tell whether a line without a number is in scripts that the task does not have; Latin letters are everywhere.

    Openers in any language are caught so, where the task is in another script. Of a long response in another language,
    or one with a number, the judge decides.
    """
    if len(answer) > MAX_LINE or "\n" in answer or _numeric(answer):
        return False
    used, there = _scripts(answer), _scripts(known)
    # π and א are answers; a word of them is a word of a language.
    worded = "EAST ASIAN" in used or sum(map(str.isalpha, answer)) >= _LETTERS
    return bool(used) and bool(there) and worded and "LATIN" not in used and used.isdisjoint(there)


def _scripts(text: str) -> set[str]:
    """Return the scripts of the letters of a text, by the first word of their Unicode names."""
    letters = {character for character in text if character.isalpha()}
    first = (unicodedata.name(letter, "LATIN").split()[0] for letter in letters)
    return {_SAME_SCRIPT.get(word, word) for word in first}


def family(gold: str) -> str | None:
    """Return the verifier that finds answers of a gold's kind; None where any text may be an answer."""
    text = gold.strip()
    if _LETTER.fullmatch(text):
        return choice.VERIFIER.name
    if _NUMERIC.fullmatch(text) or (len(text) <= 200 and _FORMULA.search(text)):
        return math.VERIFIER.name
    return None


def may_be_right(answer: str, gold: str, question: str = "") -> bool:
    """Tell whether a text may give the gold's answer, as far as the verifier of the gold's kind can tell at once."""
    outcome = _checked(answer, gold, question)
    return (
        words(answer) == words(gold) if outcome is None else outcome.status not in (Status.incorrect, Status.unparsed)
    )


def _extractable(answer: str, gold: str, question: str) -> bool:
    """Tell whether a verifier of the gold's kind finds an answer; where it cannot be asked, the judge decides.

    "There are seven apples" is an answer to be judged, though the verifier of mathematics wants it more plainly; "the
    answer is explained below" is none where the gold is a number.
    """
    if _NUMERIC.fullmatch(gold.strip()) and not _holds_number(answer):
        return False
    outcome = _checked(answer, gold, question)
    if outcome is None or outcome.status is not Status.unparsed or outcome.extracted is not None:
        return True
    return family(gold) == math.VERIFIER.name and _holds_number(answer)


def _holds_number(answer: str) -> bool:
    """Tell whether a text holds a number, in digits or English; "one" and 一 are words of many announcements."""
    return _numeric(answer) or _NUMBER.search(answer) is not None


def _numeric(answer: str) -> bool:
    return any(character.isnumeric() and character != "一" for character in answer)


def _checked(answer: str, gold: str, question: str) -> Outcome | None:
    """Return what the verifier of a gold's kind says; None where there is none, or it needs a worker to decide."""
    name = family(gold)
    if name is None:
        return None
    verifier = choice.VERIFIER if name == choice.VERIFIER.name else math.VERIFIER
    try:
        outcome = verifier.check(answer, verifier.parse_gold(gold.strip()), question)
    except (BadGold, ValueError, ArithmeticError, RecursionError):
        return None
    return outcome if isinstance(outcome, Outcome) else None
