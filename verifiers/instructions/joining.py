"""Deciding the constraints of one response, and joining them."""

import json
from functools import lru_cache
from typing import Any

from verifiers.contract import Deferred, Outcome, Part, Status
from verifiers.extract import strip_reasoning
from verifiers.instructions.finding import Finding, Question
from verifiers.instructions.gold import Gold, Instruction, parse_gold
from verifiers.instructions.language import answer
from verifiers.instructions.text import Reading, says, variants
from verifiers.visible import is_visible, shown

MAX_HERE = 1_000_000
"""Characters to read (length, times constraints, times readings) up to which the calling process decides."""


def check(response: str, gold: Gold, _prompt: str) -> Outcome | Deferred:
    """Decide all constraints; languages that letters do not tell are left to a worker."""
    text = strip_reasoning(response)
    if not (says(text) and is_visible(text)):  # dashes keep to many a limit
        detail = "no letter or digit outside reasoning blocks" if says(response) else "no letter or digit"
        failed = tuple(Part(item.id, Status.incorrect, 0.0, "an empty response") for item in gold.instructions)
        return Outcome(Status.unparsed, None, detail, parts=failed)
    if len(text) * len(gold.instructions) * (8 if gold.loose else 1) > MAX_HERE:
        return Deferred(json.dumps({"text": text, "gold": gold.source}), None, "")
    findings = _all_findings(text, gold)
    if any(finding.question for found in findings for finding in found):
        named = [[item.id, found] for item, found in zip(gold.instructions, findings, strict=True)]
        return Deferred(json.dumps([gold.fraction, named]), None, "")
    parts = [_part(item.id, found) for item, found in zip(gold.instructions, findings, strict=True)]
    return join(parts, fraction=gold.fraction)


def _all_findings(text: str, gold: Gold) -> list[list[Finding]]:
    findings = _of_readings(text, gold)
    seen = shown(text)
    if seen == text or "<!--" in json.dumps(gold.source):
        return findings
    # What is in an HTML comment counts against a response, and never for it.
    both = zip(findings, _of_readings(seen if is_visible(seen) else "", gold), strict=True)
    return [without if _weaker(without, written) else written for written, without in both]


def _of_readings(text: str, gold: Gold) -> list[list[Finding]]:
    readings = [Reading(form) for form in (variants(text) if gold.loose else [text])]
    if not readings or not says(text):
        return [[Finding(False, "nothing but hidden text")] for _ in gold.instructions]
    return [_findings(instruction, readings) for instruction in gold.instructions]


def _weaker(one: list[Finding], other: list[Finding]) -> bool:
    """Whether a constraint is further from being met by the first findings than by the second."""

    def rank(findings: list[Finding]) -> int:
        if any(finding.holds for finding in findings):
            return 2
        return int(any(finding.holds is None for finding in findings))

    return rank(one) <= rank(other)


def _findings(instruction: Instruction, readings: list[Reading]) -> list[Finding]:
    """Return what the readings say, up to the first in which the constraint holds."""
    found = []
    for reading in readings:
        finding = instruction.kind.holds(reading, instruction.arguments)
        if finding.holds:
            return [finding]
        found.append(finding)
    return found


def _part(name: str, findings: list[Finding]) -> Part:
    """Join the findings of several readings: it holds if it does in one, and fails if it does in all."""
    for finding in findings:
        if finding.holds:
            return Part(name, Status.correct, 1.0, finding.detail)
    for finding in findings:
        if finding.holds is None:
            return Part(name, Status.error, None, f"cannot be decided: {finding.detail}")
    return Part(name, Status.incorrect, 0.0, findings[0].detail)


def join(parts: list[Part], *, fraction: bool) -> Outcome:
    """Join the constraints of a response.

    One that fails makes the response incorrect, whatever is undecided; otherwise one that is undecided makes it so.
    With `fraction` the score is the share that holds, and needs all of them decided.
    """
    failed = [part for part in parts if part.score == 0]
    undecided = [part for part in parts if part.score is None]
    held = len(parts) - len(failed) - len(undecided)
    detail = f"{held} of {len(parts)} hold"
    if undecided and (fraction or not failed):
        detail = f"{detail}; {undecided[0].name} {undecided[0].detail}"
        return Outcome(undecided[0].status, None, detail, parts=tuple(parts))
    if failed:
        detail = f"{detail}; {failed[0].name}: {failed[0].detail}"
    if fraction and failed and held:
        return Outcome(Status.partial, None, detail, held / len(parts), tuple(parts))
    return Outcome(Status.incorrect if failed else Status.correct, None, detail, parts=tuple(parts))


def work(payload: Any) -> Outcome:
    """Answer the open questions of a response, or decide a long response from the start, and join its constraints."""
    if isinstance(payload, dict):
        gold = parse_gold(payload["gold"])
        names = [instruction.id for instruction in gold.instructions]
        fraction, named = gold.fraction, zip(names, _all_findings(payload["text"], gold), strict=True)
    else:
        fraction, named = payload
    parts = [_part(name, [_answered(Finding(*item)) for item in found]) for name, found in named]
    return join(parts, fraction=fraction)


def _answered(finding: Finding) -> Finding:
    if finding.question is None:
        return finding
    language, text, paragraphs = finding.question  # a list, after JSON
    return _answer(Question(language, text, tuple(paragraphs)))


@lru_cache(maxsize=256)
def _answer(question: Question) -> Finding:
    return answer(question)


def warm_up() -> None:
    """Load the detector, so that no budget pays for it."""
    answer(Question("en", "a sentence in english to warm up with", ()))
