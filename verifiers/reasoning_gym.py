r"""The datasets of the package reasoning_gym, by their own scorers and by what those forget to ask.

The gold is `{"dataset": "countdown", "entry": {...}}`, where the entry is what `reasoning_gym.create_dataset(...)[i]`
returned, as JSON. With `"partial": true` the scorer's part of the credit is given, else only full marks count.

The package is optional and never imported here: several of its scorers evaluate the answer, so they run inside the
sandbox, after the answer was read by the rules of `reasoning_gym_answers`.

Where the answer is: the last `<answer>...</answer>`, else the last explicit answer by the rules of `extract`, else the
whole response. One code fence around it does not count.
"""

import importlib.metadata
import json
import re
from typing import Any, NamedTuple

from verifiers.contract import BadGold, Deferred, Outcome, Status, Verifier
from verifiers.extract import candidates, strip_reasoning
from verifiers.hedges import cut_off, taken_back
from verifiers.reasoning_gym_answers import (
    EXACT,
    PACKAGE_VERSION,
    RULES,
    SCORED,
    UNSUPPORTED,
    Rule,
    own_answer,
)
from verifiers.visible import shown

MAX_ANSWER = 100_000
MAX_ENTRY = 2_000_000
"""Characters."""

_FORM = 'a reasoning_gym ground_truth is JSON such as {"dataset": "gcd", "entry": {"question", "answer", "metadata"}}'
_FENCE = re.compile(r"```[A-Za-z]*\n(.*?)\n?```", re.DOTALL)
_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_ODD_NUMBER = re.compile(r"(?![0-9])\d|[0-9]_[0-9]")
_MARKS = " \t*_`"
_AS_IT_IS = Rule(lambda answer: answer)


class Gold(NamedTuple):
    """A checked gold.

    Attributes:
        dataset: a name of `EXACT` or `SCORED`.
        entry: what the dataset gave.
        own: the answer that it brings, as the scorer is given it.
        partial: whether part of the credit may be given.
    """

    dataset: str
    entry: dict[str, Any]
    own: str
    partial: bool


def usable() -> bool:
    """Whether the package is installed, at the version whose scorers the rules know. Nothing of it is imported."""
    try:
        return importlib.metadata.version("reasoning_gym") == PACKAGE_VERSION
    except importlib.metadata.PackageNotFoundError:
        return False


def parse_gold(value: Any) -> Gold:
    """Check a gold. That its own answer gets full marks is found where it is scored.

    Raises:
        BadGold: not this form, a dataset that is unknown or cannot be verified, or an entry without an answer that
            an answer of its form could equal.
    """
    if not isinstance(value, dict) or not {"dataset", "entry"} <= set(value) <= {"dataset", "entry", "partial"}:
        raise BadGold(_FORM)
    dataset, entry, partial = value["dataset"], value["entry"], value.get("partial", False)
    _demand(isinstance(dataset, str), "dataset must be a name")
    if dataset in UNSUPPORTED:
        message = f"the dataset {dataset} cannot be verified: {UNSUPPORTED[dataset]}"
        raise BadGold(message)
    known = dataset in EXACT or dataset in SCORED
    _demand(known, f"reasoning_gym {PACKAGE_VERSION} has no dataset {dataset[:40]!r}")
    _demand(isinstance(partial, bool), "partial must be true or false")
    _demand(isinstance(entry, dict) and isinstance(entry.get("question"), str), "entry.question must be text")
    _demand(isinstance(entry.get("metadata"), dict), "entry.metadata must be an object")
    length = len(json.dumps(entry))
    _demand(length <= MAX_ENTRY, f"the entry has {length} characters, at most {MAX_ENTRY}")
    own = own_answer(dataset, entry)
    _demand(isinstance(own, str), f"entry.answer must be text, not {type(own).__name__}")
    _demand(bool(own.strip()), "entry.answer is empty: an answer of nothing would be right")
    try:
        read = _read(own.strip(), dataset, entry)
    except (KeyError, TypeError, ValueError) as error:
        message = f"the entry is none of {dataset}: {type(error).__name__}: {error}; {_FORM}"
        raise BadGold(message) from None
    if read is None or not read[1]:
        message = f"entry.answer {own[:60]!r} is not right by the rules of this verifier for {dataset}; {_FORM}"
        raise BadGold(message)
    return Gold(dataset, entry, read[0], partial)


def _demand(holds: bool, problem: str) -> None:  # noqa: FBT001
    if not holds:
        message = f"{problem}; {_FORM}"
        raise BadGold(message)


def check(response: str, gold: Gold, _prompt: str) -> Outcome | Deferred:
    """Find the answer, read it, and leave what remains to be decided to the scorer."""
    answer, source, problem = answer_of(shown(strip_reasoning(response)))
    if problem:
        return Outcome(Status.unparsed, answer or None, f"{source}: {problem}")
    if not answer:
        return Outcome(Status.unparsed, None, "no answer found")
    if len(answer) > MAX_ANSWER:
        return Outcome(Status.incorrect, answer, f"{source}: limit: {len(answer)} characters, at most {MAX_ANSWER}")
    if gold.dataset in EXACT and not gold.partial:
        return Outcome(Status.correct if answer == gold.own else Status.incorrect, answer, source)
    read = _read(answer, gold.dataset, gold.entry)
    if read is None:
        return Outcome(Status.incorrect, answer, f"{source}: not of the form that {gold.dataset} asks for")
    text, right = read
    if not right and not gold.partial:
        return Outcome(Status.incorrect, answer, f"{source}: not right, whatever the scorer says")
    asked = {"dataset": gold.dataset, "answer": text, "entry": gold.entry, "own": gold.own, "partial": gold.partial}
    return Deferred(json.dumps({**asked, "right": right}, sort_keys=True), answer, source)


def _read(answer: str, dataset: str, entry: dict[str, Any]) -> tuple[str, bool] | None:
    """Return what the scorer is given and whether it may be right; None when the answer has not the right form."""
    rule = RULES.get(dataset, _AS_IT_IS)
    # Python reads numbers in other digits and with underscores, and so do many scorers.
    text = None if dataset in SCORED and _ODD_NUMBER.search(answer) else rule.form(answer)
    return None if text is None else (text, rule.right is None or rule.right(text, entry))


def answer_of(text: str) -> tuple[str, str, str]:
    """Return the answer of a text without reasoning blocks, the rule that found it, and what takes it back."""
    if (tagged := _tagged(text)) is not None:
        return _bare(tagged), "answer tag", ""
    for candidate in candidates(text):
        line, sentence = (_bare(part.strip(_MARKS)) for part in (candidate.line, candidate.text))
        answer = sentence if line.rstrip(".") == sentence.rstrip(".") else line or sentence
        if answer and cut_off(candidate):
            return answer, candidate.source, "the answer is too long to be read"
        if answer and taken_back(candidate):
            return answer, candidate.source, "questioned, or one of several"
        if answer:
            return answer, candidate.source, ""
    return _bare(text), "whole response", ""


def _tagged(text: str) -> str | None:
    """Return what the last closed `<answer>` holds."""
    found, opened = None, -1
    for tag in _TAG.finditer(text):
        if not tag[1]:
            opened = tag.end()
        elif opened >= 0:
            found, opened = (opened, tag.start()), -1
    return None if found is None else text[slice(*found)]


def _bare(answer: str) -> str:
    answer = answer.strip()
    fenced = _FENCE.fullmatch(answer)
    return fenced[1].strip() if fenced else answer


VERIFIER = Verifier(
    name="reasoning_gym",
    version=f"2+reasoning-gym-{PACKAGE_VERSION}",
    parse_gold=parse_gold,
    check=check,
    work="verifiers.reasoning_gym_worker:work",
    budget_s=20.0,
    memory_mb=None,  # the worker only waits; the scorer has its own limits
    sandboxed=True,
)
