"""The trusted side: it runs a test program whose calls of the solution go over a pipe.

The test program sees proxies and plain data. What ends the verdict early (a limit, a broken protocol) is reported at
once and ends the process, so that no `except` of the test program swallows it.
"""

import os
import select
import socket
import struct
from typing import Any

from verifiers.sandbox.inside.compare import same
from verifiers.sandbox.inside.link import HEAVY, Link
from verifiers.sandbox.inside.program import CHANGING, CHECKED, Program
from verifiers.sandbox.inside.remote import Function, NotSendable, Space, change

RUNS = 1_000
"""Solutions after which a process is replaced, whatever it holds by then."""

START = struct.Struct("=d?")
"""What a run begins with: see `verifiers.sandbox.boxes.Tests.start`."""

NEVER = "the tests never call the solution"


def serve(program: Program, control: socket.socket) -> None:
    """Test the solutions that the host sends, each as the two ends of its pipes, and report a verdict for each.

    Returns after the first, unless the program can leave nothing behind in this process.
    """
    for left in reversed(range(RUNS if program.pure else 1)):
        data, fds, _, _ = socket.recv_fds(control, 64, 2)
        if not data:
            return
        requests, answers = fds
        wall_s, keeps = START.unpack(data)
        link = Link(requests, answers, control.fileno(), wall_s)
        space = Space(link, keeps=keeps or program.kind == "calls")
        outcome, detail = run(program, space)
        if outcome == "passed" and space.changed and not space.keeps and not program.in_place:
            outcome = "changed"
        stays = left > 0 and link.heard <= HEAVY
        link.tell(outcome, detail, stays=stays)
        if not stays:
            return
        for descriptor in fds:
            os.close(descriptor)


def run(program: Program, space: Space) -> tuple[str, str]:
    """Run a test program against the solution at the other end of the space, and return outcome and detail."""
    link = space.link
    checks: list[None] = []
    names: dict[str, Any] = {"__name__": "tests", CHECKED: lambda: checks.append(None), CHANGING: change}
    step = "prefix"
    callable_all = False
    try:
        exec(program.prefix, names)
        names.update(program.lend())
        step = "load"
        loaded = space.load(program.names, program.errors)
        if program.entry_point and program.entry_point not in loaded:
            return "failed", f"it defines no {program.entry_point}"
        callable_all = all(isinstance(loaded.get(name), Function) for name in set(program.names) - program.errors)
        names.update(loaded)
        link.asked = 0
        for name, code, involved in program.steps:
            step = name
            link.begin(involved=involved)
            exec(code, names)
        link.begin(involved=True)
        if program.kind == "check" and not checks:
            names["check"](names[program.entry_point])
        if program.kind == "calls":
            step = "cases"
            differing = run_cases(program, names[program.entry_point])
            if differing is not None:
                return "failed", f"case {differing}: another result than expected"
    except BaseException as error:
        asked = link.asked > 0 or step == "load" or not callable_all
        asked = asked or (isinstance(error, NameError) and error.name in program.names)
        # A function where they want something else: `len(CASES)`.
        asked = asked or (isinstance(error, TypeError | AttributeError) and not program.only_called)
        return explain(error, step, asked=asked)
    if select.select([link.answers], [], [], 0)[0]:
        return "failed", "protocol: output after the last call"
    if link.calls == 0:
        return (
            ("bad test", "the tests never call the solution") if callable_all else ("failed", "it defines no function")
        )
    if not (space.said or program.kind == "calls" or program.names_nothing):
        return "failed", "every result was empty or no number, of which the tests say nothing"
    return "passed", f"{link.calls} calls"


def explain(error: BaseException, step: str, *, asked: bool) -> tuple[str, str]:
    """Return the outcome and detail of an exception that left the test program.

    Args:
        error: the exception.
        step: the part of the test program that it left.
        asked: whether anything of the solution has had a part in it.
    """
    text = f"{type(error).__name__}: {error}"[:200] if str(error) else type(error).__name__
    if getattr(error, "of_solution", False):
        return "failed", f"{step}: the solution raised {text}"
    if isinstance(error, NotSendable):
        return "bad test", f"{step} passes the solution {error}, which is no plain data"
    if isinstance(error, AssertionError):
        message = f" ({error})"[:120] if str(error) else ""
        return "failed" if asked else "bad test", f"{step}: an assertion does not hold{message}"
    if isinstance(error, ImportError) or not asked:
        return "bad test", f"{step} raised {text}"
    return "failed", f"{step} raised {text}"


def run_cases(program: Program, function: Any) -> int | None:
    """Call the entry point for each case and compare; return the number of the first that differs, or None."""
    for number, case in enumerate(program.cases, 1):
        got = function(*case.get("args", []), **case.get("kwargs", {}))
        if not same(got, case["expected"], program.compare):
            return number
    return None
