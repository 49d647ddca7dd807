"""Several requirements on one response: every one must hold.

The gold is a list of `{"verifier": name, "ground_truth": gold}`. Each part is verified as a task of its own, and the
parts are kept in the verdict. One part that does not hold decides, whatever the others say; else one that could not be
decided leaves the whole undecided.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from verifiers.contract import FIXED_SCORES, BadGold, Outcome, Part, Status, Task, Verdict, Verifier

NAME = "all"
MAX_PARTS = 32
_FORM = 'an all ground_truth is JSON such as [{"verifier": "math", "ground_truth": "7"}, ...]'

Requirement = tuple[str, str]


def verifier(others: Mapping[str, Verifier]) -> Verifier:
    """Return the entry of `all`, which joins the given verifiers. Its version changes with each of theirs."""

    def parse_gold(value: Any) -> tuple[Requirement, ...]:
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_PARTS:
            raise BadGold(f"{str(value)[:60]!r} is no list of 1 to {MAX_PARTS} parts; {_FORM}")
        return tuple(_requirement(number, part, others) for number, part in enumerate(value, 1))

    def check(_response: str, _gold: Any, _prompt: str) -> Outcome:
        raise NotImplementedError("the pool verifies each part instead")

    return Verifier(NAME, f"1({versions(others)})", parse_gold, check)


def versions(others: Mapping[str, Verifier]) -> str:
    """Return the versions of verifiers as one text."""
    return ",".join(f"{name}:{others[name].version}" for name in sorted(others))


def _requirement(number: int, part: Any, others: Mapping[str, Verifier]) -> Requirement:
    if not isinstance(part, dict) or set(part) != {"verifier", "ground_truth"}:
        raise BadGold(f"part {number} is not an object of verifier and ground_truth; {_FORM}")
    name = part["verifier"]
    if not isinstance(name, str) or name not in others:
        raise BadGold(f"part {number}: there is no verifier {str(name)[:60]!r} to join; {', '.join(sorted(others))}")
    try:
        others[name].parse_gold(part["ground_truth"])
    except BadGold as error:
        raise BadGold(f"part {number} ({name}): {error}") from None
    return name, json.dumps(part["ground_truth"], sort_keys=True)


def expand(task: Task, gold: Sequence[Requirement]) -> list[Task]:
    """Return one task a part."""
    return [Task(name, task.response, text, task.prompt, task.budget_s, task.finish_reason) for name, text in gold]


def join(found: Sequence[Verdict]) -> Outcome:
    """Return the outcome of all parts together."""
    parts = tuple(Part(v.verifier, v.status, v.score, v.detail) for v in found)
    extracted = json.dumps([v.extracted for v in found])
    held = sum(v.status is Status.correct for v in found)
    failed = next((v for v in found if v.score is not None and v.score < 1), None)
    open_part = next((v for v in found if v.status not in FIXED_SCORES and v.score is None), None)
    if failed is not None:
        detail = f"{held} of {len(found)} parts hold; {failed.verifier}: {failed.detail}"
        return Outcome(Status.incorrect, extracted, detail, parts=parts)
    if open_part is not None:
        return Outcome(open_part.status, extracted, f"{open_part.verifier}: {open_part.detail}", parts=parts)
    return Outcome(Status.correct, extracted, f"all {len(found)} parts hold", parts=parts)
