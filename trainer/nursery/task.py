"""One generated task."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NurseryTask:
    """A prompt with its gold.

    Attributes:
        prompt: the user's message.
        ground_truth: JSON text in the form that `verifier` reads, or null for an open question.
        verifier: `math`, `exact`, `choice`, `code`, or null.
        domain: `math`, `code`, `instruction` or `general`; the demo has `free_form`, too.
        level: 1 (easy) to 5 (beyond the nursery model).
        answer: a right response, word for word as the model is taught to write it.
    """

    prompt: str
    ground_truth: str | None
    verifier: str | None
    domain: str
    level: int
    answer: str
