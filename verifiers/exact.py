r"""Exact text: the final answer, normalised, must be one of the accepted texts.

Both sides are put in Unicode NFC and case folded; blanks collapse to one space; `\text{...}`, Markdown marks,
and outer quotes, brackets in pairs and punctuation go. Nothing inside the text changes.
"""

import re
from typing import Any

from verifiers.contract import BadGold, Outcome, Status, Verifier
from verifiers.extract import candidates, strip_reasoning
from verifiers.hedges import cut_off, taken_back
from verifiers.normal_form import normal_form

MAX_LAST_LINES = 100_000
"""Characters at the end of a response in which its last line is looked for."""

_FORM = 'an exact ground_truth is JSON text such as "Paris" or ["Paris", "paris, France"]'
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_OUTER = " \t\r\n.,;:!?*_`$"
_PAIRS = (("(", ")"), ('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’"), ("«", "»"), ("[", "]"))


def parse_gold(value: Any) -> frozenset[str]:
    """Read a gold: a text or a list of texts, none of them empty once normalised."""
    accepted = value if isinstance(value, list) else [value]
    if not accepted or not all(isinstance(text, str) for text in accepted):
        message = f"{str(value)[:60]!r} is no text; {_FORM}"
        raise BadGold(message)
    normalised = frozenset(normalise(text) for text in accepted)
    if "" in normalised:
        message = f"an accepted text is empty; {_FORM}"
        raise BadGold(message)
    return normalised


def normalise(text: str) -> str:
    """Return the form in which texts are compared. A text of punctuation alone stays as it is."""
    folded = " ".join(normal_form("NFC", _TEXT_COMMAND.sub(r"\1", text)).casefold().split())
    folded = normal_form("NFC", folded)
    stripped = folded
    while True:
        before = stripped
        stripped = stripped.strip(_OUTER)
        for left, right in _PAIRS:
            inner = stripped[1:-1]
            paired = len(stripped) > 2 and stripped[0] == left and stripped[-1] == right
            if paired and left not in inner and right not in inner:
                stripped = inner
        if stripped == before:
            return stripped or folded


def check(response: str, gold: frozenset[str], _prompt: str) -> Outcome:
    """Compare the last explicit answer, or else the last line that is not empty."""
    text = strip_reasoning(response)
    for candidate in candidates(text):
        answer = normalise(candidate.text)
        if answer and cut_off(candidate):
            return Outcome(Status.unparsed, answer, f"{candidate.source}: the answer is too long to be read")
        if candidate.line and (whole := normalise(candidate.line)) in gold:
            answer = whole  # "Dr. Smith": the first sentence ended too early
        elif answer and taken_back(candidate):
            return Outcome(Status.unparsed, answer, f"{candidate.source}: questioned, or one of several")
        if answer:
            return _outcome(answer, gold, candidate.source)
    for line in reversed(text.rstrip()[-MAX_LAST_LINES:].splitlines()):
        if answer := normalise(line):
            return _outcome(answer, gold, "last line")
    return Outcome(Status.unparsed, None, "no answer found")


def _outcome(answer: str, gold: frozenset[str], source: str) -> Outcome:
    return Outcome(Status.correct if answer in gold else Status.incorrect, answer, source)


VERIFIER = Verifier(name="exact", version="3", parse_gold=parse_gold, check=check)
