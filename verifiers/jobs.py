"""Jobs, the calls that they belong to, and the worker processes that run them: what the scheduler puts together."""

import contextlib
import json
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from verifiers.contract import Outcome, Part, Status, Verifier
from verifiers.forkserver import ForkServer, ServerGone


class Job(NamedTuple):
    """One payload for the work function of one verifier."""

    verifier: Verifier
    payload: str
    budget_s: float

    @property
    def path(self) -> str:
        """The work function."""
        return str(self.verifier.work)


class Result(NamedTuple):
    """The outcome of a job and the seconds it took."""

    outcome: Outcome
    seconds: float


class Abandoned(Exception):
    """Nobody wants the results of a call any more."""


class Cancel:
    """Gives up, from any thread, what one caller waits for."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._hooks: list[Callable[[], object]] = []
        self._called = False

    def add(self, hook: Callable[[], object]) -> None:
        """Call a hook when all is given up; at once if it is already."""
        with self._guard:
            called = self._called
            self._hooks.append(hook)
        if called:
            hook()

    def __call__(self) -> None:
        """Give up."""
        with self._guard:
            self._called, hooks = True, list(self._hooks)
        for hook in hooks:
            hook()


class Call:
    """The jobs of one `run`, and what has come of them. One that is `abandoned` is done, whatever it has."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.results: list[Result | None] = [None] * len(jobs)
        self.waiting = deque(range(len(jobs)))
        self.left = len(jobs)
        self.done = threading.Event()
        self.abandoned = False

    def settle(self, index: int, result: Result) -> None:
        """Note the result of a job; the last one ends the call."""
        self.results[index] = result
        self.left -= 1
        if self.left == 0:
            self.done.set()


class Assignment(NamedTuple):
    """A job that a worker runs. `again` when it has failed once, and runs alone."""

    call: Call
    at: int
    again: bool
    started: float

    @property
    def job(self) -> Job:
        """The job."""
        return self.call.jobs[self.at]

    @property
    def deadline(self) -> float:
        """When its budget is spent."""
        return self.started + self.job.budget_s


class Worker:
    """One worker process and the pipes to it."""

    def __init__(self, server: ForkServer) -> None:
        their_jobs, self._jobs = os.pipe()
        os.set_blocking(self._jobs, False)
        self.results, their_results = os.pipe()
        try:
            self.key = server.fork({}, [their_jobs, their_results])
        except ServerGone:
            self.close_pipes()
            raise
        finally:
            os.close(their_jobs)
            os.close(their_results)
        self._server = server
        self.runs: Assignment | None = None
        self._buffer = b""

    def give(self, call: Call, index: int, *, again: bool) -> None:
        """Give an idle worker a job; its clock starts now."""
        job = call.jobs[index]
        message = (
            f'{{"work": {json.dumps(job.path)}, "payload": {job.payload}, '
            f'"budget_s": {job.budget_s!r}, "memory_mb": {json.dumps(job.verifier.memory_mb)}}}\n'
        ).encode()
        self.runs = Assignment(call, index, again, time.monotonic())
        with contextlib.suppress(BrokenPipeError):  # died while idle: the end of its output says so, the job runs again
            while message and self._takes_more():
                message = message[os.write(self._jobs, message) :]

    def _takes_more(self) -> bool:
        """Wait until the pipe has room, no longer than the job's budget: a worker that reads nothing must not stop all.

        The clock of a job that was not given whole ends it like any other.
        """
        assert self.runs is not None
        poll = select.poll()  # `select` knows no descriptors above 1023
        poll.register(self._jobs, select.POLLOUT)
        return bool(poll.poll(max(0.0, 1000 * (self.runs.deadline - time.monotonic()))))

    def read(self) -> tuple[list[Any], bool]:
        """Return the messages that have arrived, and whether the process has closed its output or wrote nonsense."""
        data = os.read(self.results, 1 << 16)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        try:
            return [json.loads(line) for line in lines], not data
        except ValueError:  # what it writes can be trusted no more
            return [], True

    def end(self, grace_s: float = 0.0) -> int:
        """End the process, at once or by closing its input first, and return its exit status once it is gone."""
        if grace_s > 0:
            os.close(self._jobs)
            self._jobs = -1
        try:
            return int(self._server.end(self.key, grace_s)["status"])
        finally:
            self.close_pipes()

    def close_pipes(self) -> None:
        """Close this side of both pipes."""
        for descriptor in (self._jobs, self.results):
            if descriptor >= 0:
                os.close(descriptor)
        self._jobs = self.results = -1


def result_of(message: Any, seconds: float) -> Result:
    """Read what a worker said of a job."""
    status, extracted, detail, score, parts = message
    found = tuple(Part(name, Status(of), points, why) for name, of, points, why in parts)
    return Result(Outcome(Status(status), extracted, detail, score, found), seconds)
