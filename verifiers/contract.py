"""What goes into a verifier and what comes out: the one contract of this package."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple


class Status(StrEnum):
    """How a verification ended.

    `correct`, `incorrect`, `partial` and `unparsed` are about the response and carry a score.
    `truncated`, `timeout`, `bad_gold` and `error` mean that nothing could be decided: the score is None.
    """

    correct = "correct"
    incorrect = "incorrect"
    partial = "partial"
    unparsed = "unparsed"
    truncated = "truncated"
    timeout = "timeout"
    bad_gold = "bad_gold"
    error = "error"


FIXED_SCORES: dict[Status, float] = {Status.correct: 1.0, Status.incorrect: 0.0, Status.unparsed: 0.0}
"""Scores that follow from the status alone; `partial` brings its own, and all others have none."""


@dataclass(frozen=True, slots=True)
class Task:
    """One response to verify.

    Attributes:
        verifier: a name from `available()`.
        response: the model's text, without the prompt.
        ground_truth: JSON text in the form of that verifier, or None when there is none.
        prompt: the prompt's text, for verifiers which need it.
        budget_s: wall-clock seconds for this task; None takes the verifier's default.
        finish_reason: how generation ended: `stop`, `length` (cut at the token limit) or `error`.
    """

    verifier: str
    response: str
    ground_truth: str | None
    prompt: str = ""
    budget_s: float | None = None
    finish_reason: str = "stop"


class Part(NamedTuple):
    """One of several requirements that a verdict joins: a verifier of `all`, or one constraint of `instructions`.

    Attributes:
        name: the verifier, or the constraint's id.
        status: see `Status`.
        score: in [0, 1], or None when this part could not be decided.
        detail: what went wrong, or which rule decided.
    """

    name: str
    status: Status
    score: float | None
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verifier says of one task.

    Attributes:
        status: see `Status`.
        score: in [0, 1], or None when nothing could be decided.
        extracted: the answer that was found, in a canonical form where one exists, so that equal answers
            of different samples compare equal as text; None when none was found.
        detail: which rule found the answer, or what went wrong.
        verifier: the name asked for.
        version: the version of that verifier; empty when the name is unknown.
        elapsed_ms: time spent on this task; the only field that differs between repetitions.
        parts: what was found for each requirement, in the gold's order; empty where there is only one.
    """

    status: Status
    score: float | None
    extracted: str | None
    detail: str
    verifier: str
    version: str
    elapsed_ms: float
    parts: tuple[Part, ...] = ()


class Outcome(NamedTuple):
    """What a verifier's own function returns; `score` is read for `Status.partial` only."""

    status: Status
    extracted: str | None
    detail: str
    score: float | None = None
    parts: tuple[Part, ...] = ()


class Deferred(NamedTuple):
    """A decision that a worker process must make.

    `payload` is JSON text: everything the work function needs and nothing else, so that equal payloads are
    computed once in a batch.
    """

    payload: str
    extracted: str | None
    detail: str


class BadGold(ValueError):
    """The ground truth cannot be used; the message says why and what form is expected."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """One entry of the registry.

    Attributes:
        name: what a task asks for.
        version: changes whenever a verdict might; names the libraries which decide.
        parse_gold: decoded JSON to whatever `check` takes; raises `BadGold`.
        check: (response, gold, prompt) to an `Outcome`, or a `Deferred` for the worker. Runs in the calling
            process, so it must be fast and bounded by the length of the response.
        work: `module:function`, taking the decoded payload and returning an `Outcome`. Runs in a worker
            process which is killed when the budget is spent. None when `check` always decides.
        budget_s: default wall-clock seconds for `work`.
        memory_mb: address space that `work` may use, in MiB; None for no limit.
        sandboxed: whether `work` runs code of the response, so that it needs isolation, or a host that has it.
    """

    name: str
    version: str
    parse_gold: Callable[[Any], Any]
    check: Callable[[str, Any, str], Outcome | Deferred]
    work: str | None = None
    budget_s: float = 5.0
    memory_mb: int | None = 2048
    sandboxed: bool = False

    @property
    def needs_worker(self) -> bool:
        """Whether some responses are decided in a worker process."""
        return self.work is not None
