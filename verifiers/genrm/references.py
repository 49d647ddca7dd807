"""What a response is compared with, and the question, as texts for people and judges."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def question_text(messages: Sequence[tuple[str, str]], raw_text: str | None = None) -> str:
    """Return a prompt as one text: the exact prefix, a single user turn as it is, several turns with their roles."""
    if raw_text is not None:
        return raw_text
    if len(messages) == 1 and messages[0][0] == "user":
        return messages[0][1]
    return "\n\n".join(f"{role}: {content}" for role, content in messages)


def reference_text(ground_truth: str) -> str:
    """Return the first accepted answer of a ground truth (JSON text in the form of any verifier of answers).

    A choice with options becomes its letter and the option's text; what is in no such form stays as it is.
    """
    try:
        value: Any = json.loads(ground_truth)
    except (ValueError, RecursionError):
        return ground_truth
    while isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict) and "answer" in value:
        answer, options = value["answer"], value.get("options")
        option = options.get(answer) if isinstance(options, dict) and isinstance(answer, str) else None
        value = f"{answer}. {option}" if isinstance(option, str) else answer
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return ground_truth
