"""How good an answer to an open nursery question is: what judge and reward model are taught and measured by.

The world is small: every subject has four facts (`knowledge.ABOUT`), so a right answer can be told without a model.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from trainer.nursery.knowledge import ABOUT, COUNTS, capitalised

_NUMBERS = {words: number for number, words in COUNTS.items()}
_MANY = "|".join(COUNTS.values())
_ASKED = re.compile(
    rf"Tell me about (?P<subject>.+) in (?P<many>{_MANY})\.|Write (?P<many2>{_MANY}) about (?P<subject2>.+)\."
)
_END = re.compile(r"(?<=[.!?])\s+")
FULL = 2  # credit of a sentence with nothing wrong


class OpenQuestion(NamedTuple):
    """What an open question asks for."""

    subject: str
    wanted: int


def open_question(prompt: str) -> OpenQuestion | None:
    """Return what a prompt asks for, or None where it is no open nursery question."""
    found = _ASKED.fullmatch(prompt.strip())
    if found is None or (subject := found["subject"] or found["subject2"]) not in ABOUT:
        return None
    return OpenQuestion(subject, _NUMBERS[found["many"] or found["many2"]])


def sentences_of(response: str) -> list[str]:
    """Return the sentences of a response, each with the mark that ends it."""
    return _END.split(response.strip()) if response.strip() else []


def credits_of(question: OpenQuestion, response: str) -> list[int]:
    """Return the credit of each sentence: 2 right, 1 right but ill-formed, 0 a wrong or repeated fact, or none.

    Ill-formed is a sentence without its full stop, or one that does not begin with the subject or, from the second
    on, with "It".
    """
    given, told = [], set()
    for number, sentence in enumerate(sentences_of(response)):
        fact, well_formed = read_sentence(question.subject, sentence, first=number == 0)
        given.append(0 if fact is None or fact in told else FULL if well_formed else 1)
        told.add(fact)
    return given


def read_sentence(subject: str, sentence: str, *, first: bool) -> tuple[str | None, bool]:
    """Return which of the subject's facts a sentence tells, and whether it is well-formed."""
    start = capitalised(subject)
    for lead in (start, "It", subject, "it"):
        fact = sentence.removeprefix(f"{lead} ").removesuffix(".")
        if sentence.startswith(f"{lead} ") and fact in ABOUT[subject]:
            return fact, sentence.endswith(".") and (lead == start or (lead == "It" and not first))
    return None, False


def graded(question: OpenQuestion, given: list[int]) -> float:
    """Return the quality of an answer with these credits: those of as many sentences as were asked for.

    It is a share of the larger of two numbers, the sentences asked for and those given, so that one too many costs as
    much as one too few.
    """
    return sum(given[: question.wanted]) / (FULL * max(question.wanted, len(given)))


def quality(prompt: str, response: str) -> float:
    """Return how good an answer is, from 0 to 1.

    Raises:
        ValueError: the prompt is no open nursery question.
    """
    question = open_question(prompt)
    if question is None:
        msg = f"this is no open nursery question: {prompt[:80]!r}"
        raise ValueError(msg)
    return graded(question, credits_of(question, response))
