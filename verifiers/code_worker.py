"""Running one solution against its tests: two sandboxes a worker, warm, one child in each for every solution.

The solution's child answers calls. The test program's child, in another sandbox, makes them. They share two pipes and
nothing else; the verdict comes on a third that the solution does not have.
"""

import hashlib
import json
import math
import os
import select
import shutil
import signal
import time
from typing import Any, NamedTuple, Self

from verifiers.code import MEMORY_MB, TIME_S
from verifiers.contract import Outcome, Status
from verifiers.forkserver import ServerGone
from verifiers.languages import LANGUAGES
from verifiers.sandbox.host import Sandbox, memory_file
from verifiers.sandbox.isolation import NoIsolation
from verifiers.stdio import same_output

MODE = "PREPPO_SANDBOX"
"""The environment variable that says how code is isolated; see `verifiers.sandbox.host.MODES`."""

MAX_OUTPUT = 16 << 20
KEPT_PROGRAMS = 64
FILES, FILE_MB, TESTER_MB = 64, 16, 4096
_BUSY = 0.25  # a share of its time that a solution waited for a processor, above which a time limit decides nothing


class Limits(NamedTuple):
    """What one solution may use.

    Attributes:
        time_s: processor seconds, for all calls together or for one stdio case.
        wall_s: seconds on the clock, for all of it.
        memory_mb: MiB of memory a process.
    """

    time_s: float
    wall_s: float
    memory_mb: int


class Pipe:
    """Both ends of a pipe, closed with the context where they are still open."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()

    def close_read(self) -> None:
        """Close the reading end."""
        self.read = self._close(self.read)

    def close_write(self) -> None:
        """Close the writing end."""
        self.write = self._close(self.write)

    @staticmethod
    def _close(descriptor: int) -> int:
        if descriptor >= 0:
            os.close(descriptor)
        return -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_read()
        self.close_write()


class Boxes:
    """The sandboxes of this worker, started when first needed."""

    def __init__(self) -> None:
        self._open: dict[str, Sandbox] = {}
        self._programs: dict[str, None] = {}

    def get(self, role: str) -> Sandbox:
        """Return the sandbox of a role; raises `NoIsolation`."""
        if role not in self._open:
            self._open[role] = Sandbox(role, os.environ.get(MODE, "bubblewrap"))
        return self._open[role]

    def prepare(self, gold: dict[str, Any]) -> tuple[str, str | None]:
        """Have the test program of a gold compiled; return its key, and why it cannot be if so."""
        text = json.dumps(gold, sort_keys=True)
        key = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
        if key in self._programs:
            return key, None
        problem = self.get("tester").prepare(key, text)
        if problem is None:
            self._programs[key] = None
            for old in list(self._programs)[:-KEPT_PROGRAMS]:
                del self._programs[old]
        return key, problem

    def close(self) -> None:
        """End them; the next use starts new ones."""
        for box in self._open.values():
            box.close()
        self._open, self._programs = {}, {}


_boxes = Boxes()


def work(payload: Any, budget_s: float) -> Outcome:
    """Verify `{"source", "gold"}`. The limits of the solution stay below `budget_s`, so that it ends by its own."""
    gold = payload["gold"]
    time_s = min(gold.get("time_s", TIME_S), budget_s / 4)
    limits = Limits(time_s, min(3 * time_s, 0.7 * budget_s), gold.get("memory_mb", MEMORY_MB))
    run = run_programs if gold["kind"] == "stdio" else run_tests
    try:
        try:
            return run(payload["source"], gold, limits, budget_s)
        except ServerGone:
            _boxes.close()  # a sandbox that ended, whoever ended it, is replaced once
            return run(payload["source"], gold, limits, budget_s)
    except NoIsolation as error:
        return Outcome(Status.error, None, str(error))
    except ServerGone as error:
        _boxes.close()
        return Outcome(Status.error, None, f"the sandbox ended twice: {error}")


def run_tests(source: str, gold: dict[str, Any], limits: Limits, budget_s: float) -> Outcome:
    """Let the test program call the solution, and read its report."""
    deadline = time.monotonic() + 0.9 * budget_s
    key, problem = _boxes.prepare(gold)
    if problem is not None:
        return Outcome(Status.bad_gold, None, f"the tests do not load: {problem}")
    solutions, testers = _boxes.get("solution"), _boxes.get("tester")
    with (
        memory_file(source.encode("utf-8", "replace")) as code,
        Pipe() as requests,
        Pipe() as answers,
        Pipe() as report,
    ):
        server = {"role": "server", "limits": _resources(limits, 16)}
        solution = solutions.fork(server, [code, requests.read, answers.write])
        asking = {"role": "tester", "program": key, "wall_s": limits.wall_s}
        asking["limits"] = _resources(Limits(budget_s, budget_s, TESTER_MB), 16)
        tester = testers.fork(asking, [requests.write, answers.read, report.write])
        for end in (requests.close_read, requests.close_write, answers.close_read, answers.close_write):
            end()
        report.close_write()
        told = _report(report.read, deadline)
        tested = testers.end(tester)
        # A solution that closed its pipe is about to end: how it does is the reason.
        solved = solutions.end(solution, grace_s=0.2 if told is not None and told[0] == "ended" else 0.0)
    return _judge(told, limits, solved, tested)


def _judge(told: list[Any] | None, limits: Limits, solved: dict[str, Any], tested: dict[str, Any]) -> Outcome:
    """Return the verdict of a report, and of how the two processes ended."""
    if told is None:
        if tested["status"] == -signal.SIGKILL:
            return Outcome(Status.timeout, None, "the tests themselves did not end in time")
        return Outcome(Status.error, None, f"the test program's process ended ({_cause(tested['status'])})")
    outcome, detail, _ = told
    if outcome == "passed":
        return Outcome(Status.correct, None, detail)
    if outcome == "bad test":
        return Outcome(Status.bad_gold, None, detail)
    if outcome == "ended":
        return Outcome(Status.incorrect, None, _ending(solved, limits))
    if outcome == "waited":
        return _out_of_time(solved["delay_s"], limits)
    return Outcome(Status.incorrect, None, detail)


def _ending(solved: dict[str, Any], limits: Limits) -> str:
    """Return why a solution's process ended before it answered."""
    if solved["cpu_s"] >= 0.9 * math.ceil(limits.time_s):
        return f"limit: more than {limits.time_s:g} s of processor time"
    return f"the solution ended its process ({_cause(solved['status'])})"


def _cause(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def _out_of_time(delay_s: float, limits: Limits) -> Outcome:
    """A solution that did not end in time has failed, unless the machine gave it no time."""
    if delay_s > _BUSY * limits.wall_s:
        detail = f"undecided: within {limits.wall_s:g} s the solution waited {delay_s:.1f} s for a processor"
        return Outcome(Status.timeout, None, detail)
    return Outcome(Status.incorrect, None, f"limit: more than {limits.wall_s:g} s")


def _resources(limits: Limits, processes: int, *, address_space: bool = True) -> dict[str, int]:
    memory = limits.memory_mb << 20
    return {
        "CPU": math.ceil(limits.time_s),
        "AS" if address_space else "DATA": memory,
        "NPROC": processes,
        "NOFILE": FILES,
        "FSIZE": FILE_MB << 20,
        "CORE": 0,
    }


def _report(descriptor: int, deadline: float) -> list[Any] | None:
    """Return the one line of a test program, or None when it does not come."""
    line = b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            return None
        data = os.read(descriptor, 1 << 16)
        if not data:
            return None
        line += data
    told: list[Any] = json.loads(line)
    return told


def run_programs(source: str, gold: dict[str, Any], limits: Limits, _budget_s: float) -> Outcome:
    """Run a program once a case, each in a child of its own, and compare what it prints."""
    language = LANGUAGES[gold.get("language", "python")]
    missing = [program for program in language.needs if not (shutil.which(program) or "").startswith("/usr/")]
    if missing:
        return Outcome(Status.error, None, f"{', '.join(missing)} is not installed below /usr on this machine")
    role = "program" if language.command else "python"
    resources = _resources(limits, language.processes, address_space=role == "python")
    message = {"role": role, "limits": resources, "file": language.file, "command": language.command}
    deadline = time.monotonic() + limits.wall_s
    with memory_file(source.encode("utf-8", "replace")) as code:
        for number, case in enumerate(gold["cases"], 1):
            problem = _run_case(message, code, case, gold.get("compare") or {}, limits, deadline)
            if problem is not None:
                return problem._replace(detail=f"case {number}: {problem.detail}")
    return Outcome(Status.correct, None, f"{len(gold['cases'])} cases")


def _run_case(
    message: dict[str, Any], code: int, case: dict[str, str], compare: dict[str, float], limits: Limits, deadline: float
) -> Outcome | None:
    """Run one case; None when the output is the expected one."""
    solutions = _boxes.get("solution")
    with memory_file(case["stdin"].encode("utf-8", "replace")) as stdin, Pipe() as output:
        child = solutions.fork(message, [code, stdin, output.write])
        output.close_write()
        printed, why = _read_output(output.read, deadline)
        ended = solutions.end(child, grace_s=0.5 if why is None else 0.0)
    if why == "time":
        return _out_of_time(ended["delay_s"], limits)
    if why is not None:
        return Outcome(Status.incorrect, None, why)
    if ended["status"] != 0:
        return Outcome(Status.incorrect, None, _ending(ended, limits))
    if not same_output(printed.decode("utf-8", "replace"), case["stdout"], compare):
        return Outcome(Status.incorrect, None, "other output than expected")
    return None


def _read_output(descriptor: int, deadline: float) -> tuple[bytes, str | None]:
    """Return what a program prints until it ends, and which limit cut it: `time`, or a detail."""
    printed = bytearray()
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            return bytes(printed), "time"
        data = os.read(descriptor, 1 << 18)
        if not data:
            return bytes(printed), None
        printed += data
        if len(printed) > MAX_OUTPUT:
            return bytes(printed), f"limit: more than {MAX_OUTPUT >> 20} MiB of output"
