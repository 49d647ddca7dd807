"""What one constraint says of one reading of a response."""

from typing import NamedTuple


class Question(NamedTuple):
    """A language to be detected in a worker process.

    Attributes:
        language: the code that is asked for.
        text: lower-case sample of the whole text.
        paragraphs: lower-case samples of the paragraphs that are long enough to be judged alone.
    """

    language: str
    text: str
    paragraphs: tuple[str, ...]


class Finding(NamedTuple):
    """Whether a constraint holds.

    Attributes:
        holds: None when it cannot be decided, or not without the answer to `question`.
        detail: what was observed against what is required.
        question: what a worker must answer first.
    """

    holds: bool | None
    detail: str
    question: Question | None = None


def related(observed: tuple[int, int], relation: str, required: int, what: str) -> Finding:
    """Compare the bounds of a number with `at least` or `less than` a required one; undecided between the bounds."""
    least, most = observed
    shown = f"{least}" if least == most else f"{least} to {most}"
    detail = f"{shown} {what}, required: {relation} {required}"
    sides = {count >= required if relation == "at least" else count < required for count in (least, most)}
    return Finding(sides.pop() if len(sides) == 1 else None, detail)


def exactly(observed: int, required: int, what: str) -> Finding:
    """Compare a number with the one required."""
    return Finding(observed == required, f"{observed} {what}, required: exactly {required}")


def at_least(observed: int, required: int, what: str) -> Finding:
    """Compare a number with the least one required."""
    return Finding(observed >= required, f"{observed} {what}, required: at least {required}")
