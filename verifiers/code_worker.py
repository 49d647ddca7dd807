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
    Watch,
    cause,
    ended,
    out_of_memory,
    out_of_time,
    resources,
    starved,
)
from verifiers.code_programs import run_programs
from verifiers.contract import Outcome, Status
from verifiers.forkserver import ServerGone
from verifiers.sandbox.boxes import MODE, Boxes, Pipe, Tests
from verifiers.sandbox.host import Ending, memory_file
from verifiers.sandbox.inside.link import GIVEN, OWN, WEIGHED
from verifiers.sandbox.isolation import NoIsolation

__all__ = ["MODE", "Boxes", "Pipe", "work"]

TESTER_MB = 2048
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
    problem = BOXES.prepare(payload["key"], payload["gold"])
    if problem is not None:
        return Outcome(Status.bad_gold, None, f"the tests do not load: {problem}")
    outcome, changed = run_tests(payload["source"], payload["key"], limits, deadline)
    if not changed:
        return outcome
    # It passes, and has changed arguments where the tests take a result: what they expect may be computed from those.
    left_s = deadline - time.monotonic() - 1
    if left_s < 0.5 * limits.time_s:
        return Outcome(Status.timeout, None, "undecided: no time was left to run it with the arguments as they were")
    limits = limits._replace(wall_s=min(limits.wall_s, left_s))
    kept, _ = run_tests(payload["source"], payload["key"], limits, deadline, keeps=True)
    if kept.status is Status.incorrect:
        return kept._replace(detail=f"with the arguments as they were before the call: {kept.detail}")
    return kept


def run_tests(source: str, key: str, limits: Limits, deadline: float, *, keeps: bool = False) -> tuple[Outcome, bool]:
    """Let the test program call the solution, and read its report.

    Args:
        source: of the solution.
        key: of the test program.
        limits: of the solution.
        deadline: on the clock, for all of it.
        keeps: see `Tests.start`.

    Returns:
        The verdict, and whether it passes only with arguments that the solution may have changed.
    """
    solutions = BOXES.get("solution")
    with memory_file(source.encode("utf-8", "replace")) as code, Pipe() as requests, Pipe() as answers:
        server = {"role": "server", "limits": resources(limits, 16)}
        solutions.fork(server, [code, requests.read, answers.write])
        tests = _started(key, limits, [requests.write, answers.read], keeps=keeps)
        for end in (requests.close_read, requests.close_write, answers.close_read, answers.close_write):
            end()
        told, why, given = _report(tests, deadline, limits)
        outcome, detail, stays = told or ("", "", False)
        # A solution that closed its pipe is about to end: how it does is the reason.
        late = told is None or outcome == "waited"
        solved = solutions.end(0.2 if outcome == "ended" else 0.0, delay=late, late=late)
    tested = None if told else tests.end()
    if not stays:
        BOXES.retire()
    if why == "memory":
        return out_of_memory(limits), False
    if tested is not None:
        return _without_report(tested, solved, limits, late=why == "time", given=given), False
    return _judge(outcome, detail, limits, solved), outcome == "changed"


def _started(key: str, limits: Limits, fds: list[int], *, keeps: bool) -> Tests:
    """Have a process test the solution at the other ends of `fds`, the one of the last if it is still there."""
    limited = _TESTER if BOXES.mode != "unsafe" else {name: most for name, most in _TESTER.items() if name != "NPROC"}
    try:
        tests = BOXES.tests(key, limited)
        tests.start(limits.wall_s, fds, keeps=keeps)
    except ServerGone:
        BOXES.retire()
        tests = BOXES.tests(key, limited)
        tests.start(limits.wall_s, fds, keeps=keeps)
    return tests


def _report(tests: Tests, deadline: float, limits: Limits) -> tuple[list[Any] | None, str | None, bool]:
    """Return what the tests report, what cut them short, and whether they were busy with what the solution gave them.

    From the moment that its answers are heavy, the tests have the solution's time to end.
    """
    given, watch = False, Watch(limits)
    while True:
        why = watch.ready(tests.socket.fileno(), deadline)
        packet = b"" if why else os.read(tests.socket.fileno(), 1 << 16)
        if not packet:
            return None, why, given
        if packet == WEIGHED:
            deadline = min(deadline, time.monotonic() + limits.wall_s)
        elif packet in (GIVEN, OWN):
            given = packet == GIVEN
        else:
            return json.loads(packet), None, given


def _without_report(tested: Ending, solved: Ending, limits: Limits, *, late: bool, given: bool) -> Outcome:
    """Return the verdict where the tests did not come to their end: whose fault was it?

    Once they go on with something of the solution, it is the solution's: else whoever returns what keeps the tests busy
    (`for _ in range(f(3))`) would go without a score. Before that, and where the machine gave them no time, it is not.
    """
    if not late:
        return Outcome(Status.error, None, f"the test program's process ended ({cause(tested.status)})")
    waited = starved(tested, limits) or starved(solved, limits)
    if given and (solved.cpu_s > limits.time_s or not waited):
        return Outcome(Status.incorrect, None, "limit: the tests did not end on what the solution returned")
    return Outcome(Status.timeout, None, "the tests themselves did not end in time")


def _judge(outcome: str, detail: str, limits: Limits, solved: Ending) -> Outcome:
    """Return the verdict of a report, and of how the solution ended."""
    if outcome in ("passed", "changed"):
        return Outcome(Status.correct, None, detail)
    if outcome == "bad test":
        return Outcome(Status.bad_gold, None, detail)
    if outcome == "ended":
        return ended(solved, limits)
    if outcome == "waited":
        return out_of_time(solved, limits)
    return Outcome(Status.incorrect, None, detail)
