"""Running one solution against its tests: two sandboxes a worker, warm, one child in each for every solution.

The solution's child answers calls. The test program's child, in another sandbox, makes them. They share two pipes and
nothing else; the verdict comes on a third that the solution does not have.
"""

import contextlib
import json
import math
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

from verifiers.code import MEMORY_MB, TIME_S
from verifiers.contract import Outcome, Status
from verifiers.forkserver import ServerGone
from verifiers.languages import LANGUAGES, Language
from verifiers.sandbox.host import Ending, Sandbox, memory_file, seal
from verifiers.sandbox.inside.link import WEIGHED
from verifiers.sandbox.isolation import USER, NoIsolation
from verifiers.stdio import same_output

MODE = "PREPPO_SANDBOX"
"""The environment variable that says how code is isolated; see `VerifierPool`."""

MAX_OUTPUT = 16 << 20
KEPT_PROGRAMS = 64
FILES, FILE_MB, TESTER_MB, BUILD_MB = 64, 16, 4096, 2048
SHARED_MB = 256
"""MiB that all processes of a solution may have beyond the limit of one: pages that they share count twice."""

WATCH_S = 0.05
"""How often the memory of a solution is looked at, once it has run for as long."""

_BUSY = 0.25  # a share of its time that a solution waited for a processor, above which a time limit decides nothing


class Limits(NamedTuple):
    """What one solution may use.

    Attributes:
        time_s: processor seconds, for all calls together or for one stdio case.
        wall_s: seconds on the clock, for all of it.
        memory_mb: MiB of memory.
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
    """The sandboxes of this worker, started when first needed.

    Args:
        mode: `bubblewrap` or `unsafe`.
    """

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self._open: dict[str, Sandbox] = {}
        self._programs: dict[str, None] = {}
        self._refusal: NoIsolation | None = None

    def get(self, role: str) -> Sandbox:
        """Return the sandbox of a role; raises `NoIsolation`."""
        if self._refusal is not None:
            raise self._refusal
        if role not in self._open:
            try:
                self._open[role] = Sandbox(role, self.mode)
            except NoIsolation as error:
                self._refusal = error  # it will be missing the next time too
                raise
        return self._open[role]

    def prepare(self, key: str, gold: str) -> str | None:
        """Have the test program of a gold compiled; return why it cannot be, or None."""
        if key in self._programs:
            return None
        problem = self.get("tester").prepare(key, gold)
        if problem is None:
            self._programs[key] = None
            for old in list(self._programs)[:-KEPT_PROGRAMS]:
                del self._programs[old]
        return problem

    def close(self) -> None:
        """End them; the next use starts new ones."""
        for box in self._open.values():
            box.close()
        self._open, self._programs = {}, {}


_boxes = Boxes(os.environ.get(MODE, "bubblewrap"))


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
            _boxes.close()  # a sandbox that ended, whoever ended it, is replaced once
            outcome = _run(payload, gold, limits, deadline)
    except NoIsolation as error:
        return Outcome(Status.error, None, str(error))
    except ServerGone as error:
        _boxes.close()
        return Outcome(Status.error, None, f"the sandbox ended twice: {error}")
    if _boxes.mode == "unsafe":
        return outcome._replace(detail=f"not isolated: {outcome.detail}")
    return outcome


def _run(payload: Any, gold: dict[str, Any], limits: Limits, deadline: float) -> Outcome:
    if gold["kind"] == "stdio":
        return run_programs(payload["source"], gold, limits, deadline)
    return run_tests(payload["source"], payload["key"], payload["gold"], limits, deadline)


def run_tests(source: str, key: str, gold: str, limits: Limits, deadline: float) -> Outcome:
    """Let the test program call the solution, and read its report."""
    solutions, testers = _boxes.get("solution"), _boxes.get("tester")
    problem = _boxes.prepare(key, gold)
    if problem is not None:
        return Outcome(Status.bad_gold, None, f"the tests do not load: {problem}")
    with (
        memory_file(source.encode("utf-8", "replace")) as code,
        Pipe() as requests,
        Pipe() as answers,
        Pipe() as report,
    ):
        server = {"role": "server", "limits": _resources(limits, 16)}
        solutions.fork(server, [code, requests.read, answers.write])
        asking = {"role": "tester", "program": key, "wall_s": limits.wall_s}
        left_s = math.ceil(max(1.0, deadline - time.monotonic()))
        asking["limits"] = _resources(Limits(left_s, left_s, TESTER_MB), 16)
        testers.fork(asking, [requests.write, answers.read, report.write])
        for end in (requests.close_read, requests.close_write, answers.close_read, answers.close_write):
            end()
        report.close_write()
        told, why, heavy = _report(report.read, deadline, limits)
        outcome, detail = told or ("", "")
        # A solution that closed its pipe is about to end: how it does is the reason.
        solved = solutions.end(0.2 if outcome == "ended" else 0.0, delay=outcome == "waited", late=outcome == "waited")
        # Tests that have reported are at their end, and gone before the next ones start.
        tested = None if told else testers.end(delay=True, late=True)
    if why == "memory":
        return _out_of_memory(limits)
    if tested is not None:
        return _without_report(tested, limits, late=why == "time", heavy=heavy)
    return _judge(outcome, detail, limits, solved)


def _without_report(tested: Ending, limits: Limits, *, late: bool, heavy: bool) -> Outcome:
    """Return the verdict where the tests did not come to their end: whose fault was it?"""
    if not late:
        return Outcome(Status.error, None, f"the test program's process ended ({_cause(tested.status)})")
    if heavy and not _starved(tested, limits):
        return Outcome(Status.incorrect, None, "limit: the tests did not end on what the solution returned")
    return Outcome(Status.timeout, None, "the tests themselves did not end in time")


def _judge(outcome: str, detail: str, limits: Limits, solved: Ending) -> Outcome:
    """Return the verdict of a report, and of how the solution ended."""
    if outcome == "passed":
        return Outcome(Status.correct, None, detail)
    if outcome == "bad test":
        return Outcome(Status.bad_gold, None, detail)
    if outcome == "ended":
        return _ended(solved, limits)
    if outcome == "waited":
        return _out_of_time(solved, limits)
    return Outcome(Status.incorrect, None, detail)


def _ended(solved: Ending, limits: Limits) -> Outcome:
    """Return the verdict for a solution whose process ended before its time, or with a status other than 0."""
    if solved.cpu_s >= 0.9 * math.ceil(limits.time_s):
        return Outcome(Status.incorrect, None, f"limit: more than {limits.time_s:g} s of processor time")
    if solved.itself and solved.status == -signal.SIGKILL and _boxes.mode != "unsafe":
        # It is the first process of its namespace, which nothing in there can kill.
        return Outcome(Status.error, None, "the solution was killed from outside: is there enough memory?")
    return Outcome(Status.incorrect, None, f"the solution ended its process ({_cause(solved.status)})")


def _cause(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def _starved(ended: Ending, limits: Limits) -> bool:
    """Whether a process had little processor time because the machine gave it no more."""
    return ended.cpu_s < 0.9 * limits.time_s and ended.delay_s > _BUSY * limits.wall_s


def _out_of_time(solved: Ending, limits: Limits) -> Outcome:
    """A solution that did not end in time has failed, unless it was starved."""
    if _starved(solved, limits):
        detail = f"undecided: within {limits.wall_s:g} s the solution waited {solved.delay_s:.1f} s for a processor"
        return Outcome(Status.timeout, None, detail)
    return Outcome(Status.incorrect, None, f"limit: more than {limits.wall_s:g} s")


def _out_of_memory(limits: Limits) -> Outcome:
    return Outcome(Status.incorrect, None, f"limit: more than {limits.memory_mb} MiB of memory in all its processes")


def _resources(limits: Limits, processes: int, *, address_space: bool = True) -> dict[str, int]:
    memory = limits.memory_mb << 20
    resources = {
        "CPU": math.ceil(limits.time_s),
        "AS" if address_space else "DATA": memory,
        "NPROC": processes,
        "NOFILE": FILES,
        "FSIZE": FILE_MB << 20,
        "MSGQUEUE": 0,
        "CORE": 0,
    }
    if _boxes.mode == "unsafe":
        del resources["NPROC"]  # there it counts every process of the user
    return resources


def _ready(descriptor: int, deadline: float, limits: Limits) -> str | None:
    """Wait until there is something to read, or return what cut the solution short: `time` or `memory`.

    From `WATCH_S` on, the memory of the solution is watched: a process has a limit of its own, all together have this.
    """
    while not select.select([descriptor], [], [], max(0.0, min(WATCH_S, deadline - time.monotonic())))[0]:
        if time.monotonic() >= deadline:
            return "time"
        if _boxes.get("solution").memory_mb() > limits.memory_mb + SHARED_MB:
            return "memory"
    return None


def _report(descriptor: int, deadline: float, limits: Limits) -> tuple[list[str] | None, str | None, bool]:
    """Return what the tests report, what cut them short, and whether the solution's answers were heavy.

    From the moment that they are, the tests have the solution's time to end.
    """
    data, heavy = b"", False
    while not data.endswith(b"\n"):
        why = _ready(descriptor, deadline, limits)
        more = b"" if why else os.read(descriptor, 1 << 16)
        if not more:
            return None, why, heavy
        data += more
        if data.startswith(WEIGHED):
            data, heavy = data[len(WEIGHED) :], True
            deadline = min(deadline, time.monotonic() + limits.wall_s)
    return json.loads(data), None, heavy


def _read(descriptor: int, deadline: float, limits: Limits) -> tuple[bytes, str | None]:
    """Return what comes until the end, and what cut it short: `time`, `memory` or `output`."""
    data = bytearray()
    while True:
        why = _ready(descriptor, deadline, limits)
        more = b"" if why else os.read(descriptor, 1 << 18)
        if not more:
            return bytes(data), why
        data += more
        if len(data) > MAX_OUTPUT:
            return bytes(data), "output"
        if time.monotonic() >= deadline:
            return bytes(data), "time"


def run_programs(source: str, gold: dict[str, Any], limits: Limits, deadline: float) -> Outcome:
    """Run a program once a case, each in a child of its own, and compare what it prints."""
    language = LANGUAGES[gold.get("language", "python")]
    missing = [program for program in language.needs if not (shutil.which(program) or "").startswith("/usr/")]
    if missing:
        return Outcome(Status.error, None, f"{', '.join(missing)} is not installed below /usr on this machine")
    role = "program" if language.command else "python"
    resources = _resources(limits, language.processes, address_space=role == "python")
    message: dict[str, Any] = {"role": role, "limits": resources, "file": language.file, "command": language.command}
    with memory_file(source.encode("utf-8", "replace")) as text, contextlib.ExitStack() as stack:
        code = text
        if language.build:
            built = stack.enter_context(_built(text, language, limits, deadline))
            if isinstance(built, Outcome):
                return built
            code, message["file"] = built, language.command[0]
        delayed = 0.0
        until = min(deadline, time.monotonic() + limits.wall_s)
        for number, case in enumerate(gold["cases"], 1):
            problem, waited = _run_case(message, code, case, gold.get("compare") or {}, limits, until, delayed)
            delayed += waited
            if problem is not None:
                return problem._replace(detail=f"case {number}: {problem.detail}")
    return Outcome(Status.correct, None, f"{len(gold['cases'])} cases")


@contextlib.contextmanager
def _built(text: int, language: Language, limits: Limits, deadline: float) -> Iterator[int | Outcome]:
    """Build a program and give the file that runs, or the verdict if there is none."""
    wall_s = 0.4 * (deadline - time.monotonic())
    allowed = Limits(wall_s, wall_s, max(BUILD_MB, limits.memory_mb))
    message: dict[str, Any] = {"role": "build", "file": language.file, "command": language.build}
    message["limits"] = _resources(allowed, language.processes, address_space=False)
    solutions = _boxes.get("solution")
    made = os.memfd_create("preppo", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(os.devnull, "rb") as nothing, Pipe() as alive:  # noqa: PTH123
            solutions.fork(message, [text, nothing.fileno(), made, alive.write])
            alive.close_write()
            _, why = _read(alive.read, time.monotonic() + wall_s, allowed)
            ended = solutions.end(late=why == "time")
        seal(made)
        if why == "time":
            starved = ended.cpu_s < 0.5 * wall_s
            detail = f"it does not compile within {wall_s:.0f} s"
            yield Outcome(
                Status.timeout if starved else Status.incorrect,
                None,
                f"{'undecided' if starved else 'limit'}: {detail}",
            )
        elif why == "memory":
            yield _out_of_memory(allowed)
        elif ended.status != 0:
            yield Outcome(Status.incorrect, None, f"it does not compile ({_cause(ended.status)})")
        else:
            yield made
    finally:
        os.close(made)


def _run_case(
    message: dict[str, Any],
    code: int,
    case: dict[str, str],
    compare: dict[str, float],
    limits: Limits,
    until: float,
    delayed: float,
) -> tuple[Outcome | None, float]:
    """Run one case; None when the output is the expected one. Also return how long it waited for a processor."""
    solutions = _boxes.get("solution")
    with memory_file(case["stdin"].encode("utf-8", "replace")) as stdin, Pipe() as output:
        if os.getuid() == 0:
            os.fchown(output.write, USER, USER)  # so that the program may open it again, as /dev/stdout
        solutions.fork(message, [code, stdin, output.write])
        output.close_write()
        printed, why = _read(output.read, until, limits)
        ended = solutions.end(0.5 if why is None else 0.0, delay=True, late=why == "time")
    if why == "time":
        return _out_of_time(ended._replace(delay_s=delayed + ended.delay_s), limits), ended.delay_s
    if why == "memory":
        return _out_of_memory(limits), ended.delay_s
    if why is not None:
        return Outcome(Status.incorrect, None, f"limit: more than {MAX_OUTPUT >> 20} MiB of output"), ended.delay_s
    if ended.status != 0:
        return _ended(ended, limits), ended.delay_s
    if not same_output(printed.decode("utf-8", "replace"), case["stdout"], compare):
        return Outcome(Status.incorrect, None, "other output than expected"), ended.delay_s
    return None, ended.delay_s
