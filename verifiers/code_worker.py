"""Running one solution against its tests: two sandboxes a worker, warm.

The solution's child, new for each, answers calls. The process of the test program, in another sandbox, makes them. They
share two pipes and nothing else; the verdict comes on a socket that the solution does not have.
"""

import json
import os
import time
from typing import Any

from verifiers.code import MEMORY_MB, TIME_S
from verifiers.code_limits import (
    BOXES,
    FILE_MB,
    FILES,
    Limits,
    cause,
    ended,
    out_of_memory,
    out_of_time,
    ready,
    resources,
    starved,
)
from verifiers.code_programs import run_programs
from verifiers.contract import Outcome, Status
from verifiers.forkserver import ServerGone
from verifiers.sandbox.boxes import MODE, Boxes, Pipe, Tests
from verifiers.sandbox.host import Ending, memory_file
from verifiers.sandbox.inside.link import WEIGHED
from verifiers.sandbox.isolation import NoIsolation

__all__ = ["MODE", "Boxes", "Pipe", "work"]

TESTER_MB = 4096
_TESTER = {"AS": TESTER_MB << 20, "NPROC": 16, "NOFILE": FILES, "FSIZE": FILE_MB << 20, "MSGQUEUE": 0, "CORE": 0}


def work(payload: Any, budget_s: float) -> Outcome:
    """Verify `{"source", "gold", "key"}`, where `gold` is JSON text and `key` its hash.

    The limits of the solution stay below `budget_s`, so that it ends by its own.
    """
    gold = json.loads(payload["gold"])
    time_s = min(gold.get("time_s", TIME_S), budget_s / 4)
    limits = Limits(time_s, min(3 * time_s, 0.7 * budget_s), gold.get("memory_mb", MEMORY_MB))
    deadline = time.monotonic() + 0.9 * budget_s
    try:
        try:
            outcome = _run(payload, gold, limits, deadline)
        except ServerGone:
            BOXES.close()  # a sandbox that ended, whoever ended it, is replaced once
            outcome = _run(payload, gold, limits, deadline)
    except NoIsolation as error:
        return Outcome(Status.error, None, str(error))
    except ServerGone as error:
        BOXES.close()
        return Outcome(Status.error, None, f"the sandbox ended twice: {error}")
    if BOXES.mode == "unsafe":
        return outcome._replace(detail=f"not isolated: {outcome.detail}")
    return outcome


def _run(payload: Any, gold: dict[str, Any], limits: Limits, deadline: float) -> Outcome:
    if gold["kind"] == "stdio":
        return run_programs(payload["source"], gold, limits, deadline)
    return run_tests(payload["source"], payload["key"], payload["gold"], limits, deadline)


def run_tests(source: str, key: str, gold: str, limits: Limits, deadline: float) -> Outcome:
    """Let the test program call the solution, and read its report."""
    solutions = BOXES.get("solution")
    problem = BOXES.prepare(key, gold)
    if problem is not None:
        return Outcome(Status.bad_gold, None, f"the tests do not load: {problem}")
    with memory_file(source.encode("utf-8", "replace")) as code, Pipe() as requests, Pipe() as answers:
        server = {"role": "server", "limits": resources(limits, 16)}
        solutions.fork(server, [code, requests.read, answers.write])
        tests = _started(key, limits, [requests.write, answers.read])
        for end in (requests.close_read, requests.close_write, answers.close_read, answers.close_write):
            end()
        told, why, heavy = _report(tests, deadline, limits)
        outcome, detail, stays = told or ("", "", False)
        # A solution that closed its pipe is about to end: how it does is the reason.
        late = outcome == "waited"
        solved = solutions.end(0.2 if outcome == "ended" else 0.0, delay=late, late=late)
    tested = None if told else tests.end()
    if not stays:
        BOXES.retire()
    if why == "memory":
        return out_of_memory(limits)
    if tested is not None:
        return _without_report(tested, limits, late=why == "time", heavy=heavy)
    return _judge(outcome, detail, limits, solved)


def _started(key: str, limits: Limits, fds: list[int]) -> Tests:
    """Have a process test the solution at the other ends of `fds`, the one of the last if it is still there."""
    limited = _TESTER if BOXES.mode != "unsafe" else {name: most for name, most in _TESTER.items() if name != "NPROC"}
    try:
        tests = BOXES.tests(key, limited)
        tests.start(limits.wall_s, fds)
    except ServerGone:
        BOXES.retire()
        tests = BOXES.tests(key, limited)
        tests.start(limits.wall_s, fds)
    return tests


def _report(tests: Tests, deadline: float, limits: Limits) -> tuple[list[Any] | None, str | None, bool]:
    """Return what the tests report, what cut them short, and whether the solution's answers were heavy.

    From the moment that they are, the tests have the solution's time to end.
    """
    heavy = False
    while True:
        why = ready(tests.socket.fileno(), deadline, limits)
        packet = b"" if why else os.read(tests.socket.fileno(), 1 << 16)
        if not packet:
            return None, why, heavy
        if packet != WEIGHED:
            return json.loads(packet), None, heavy
        heavy = True
        deadline = min(deadline, time.monotonic() + limits.wall_s)


def _without_report(tested: Ending, limits: Limits, *, late: bool, heavy: bool) -> Outcome:
    """Return the verdict where the tests did not come to their end: whose fault was it?"""
    if not late:
        return Outcome(Status.error, None, f"the test program's process ended ({cause(tested.status)})")
    if heavy and not starved(tested, limits):
        return Outcome(Status.incorrect, None, "limit: the tests did not end on what the solution returned")
    return Outcome(Status.timeout, None, "the tests themselves did not end in time")


def _judge(outcome: str, detail: str, limits: Limits, solved: Ending) -> Outcome:
    """Return the verdict of a report, and of how the solution ended."""
    if outcome == "passed":
        return Outcome(Status.correct, None, detail)
    if outcome == "bad test":
        return Outcome(Status.bad_gold, None, detail)
    if outcome == "ended":
        return ended(solved, limits)
    if outcome == "waited":
        return out_of_time(solved, limits)
    return Outcome(Status.incorrect, None, detail)
