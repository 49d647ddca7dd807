"""Programs that read and print: one child a case, and what it printed is compared."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from typing import Any

from verifiers.code_limits import BOXES, Limits, Watch, cause, ended, out_of_memory, out_of_time, resources
from verifiers.contract import Outcome, Status
from verifiers.languages import LANGUAGES, Language
from verifiers.sandbox.boxes import Pipe
from verifiers.sandbox.host import memory_file, seal
from verifiers.sandbox.isolation import USER
from verifiers.stdio import same_output

MAX_OUTPUT = 16 << 20
BUILD_MB = 2048


def run_programs(source: str, gold: dict[str, Any], limits: Limits, deadline: float) -> Outcome:
    """Run a program once a case, each in a child of its own, and compare what it prints."""
    language = LANGUAGES[gold.get("language", "python")]
    missing = [program for program in language.needs if not (shutil.which(program) or "").startswith("/usr/")]
    if missing:
        return Outcome(Status.error, None, f"{', '.join(missing)} is not installed below /usr on this machine")
    role = "program" if language.command else "python"
    limited = resources(limits, language.processes, address_space=role == "python")
    message: dict[str, Any] = {"role": role, "limits": limited, "file": language.file, "command": language.command}
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
    message["limits"] = resources(allowed, language.processes, address_space=False)
    solutions = BOXES.get("solution")
    made = os.memfd_create("preppo", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(os.devnull, "rb") as nothing, Pipe() as alive:  # noqa: PTH123
            solutions.fork(message, [text, nothing.fileno(), made, alive.write])
            alive.close_write()
            _, why = _read(alive.read, time.monotonic() + wall_s, allowed)
            end = solutions.end(late=why == "time")
        seal(made)
        if why == "time":
            starved = end.cpu_s < 0.5 * wall_s
            detail = f"it does not compile within {wall_s:.0f} s"
            yield Outcome(
                Status.timeout if starved else Status.incorrect,
                None,
                f"{'undecided' if starved else 'limit'}: {detail}",
            )
        elif why == "memory":
            yield out_of_memory(allowed)
        elif end.status != 0:
            yield Outcome(Status.incorrect, None, f"it does not compile ({cause(end.status)})")
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
    solutions = BOXES.get("solution")
    with memory_file(case["stdin"].encode("utf-8", "replace")) as stdin, Pipe() as output:
        if os.getuid() == 0:
            os.fchown(output.write, USER, USER)  # so that the program may open it again, as /dev/stdout
        solutions.fork(message, [code, stdin, output.write])
        output.close_write()
        printed, why = _read(output.read, until, limits)
        end = solutions.end(0.5 if why is None else 0.0, delay=True, late=why == "time")
    if why == "time":
        return out_of_time(end._replace(delay_s=delayed + end.delay_s), limits), end.delay_s
    if why == "memory":
        return out_of_memory(limits), end.delay_s
    if why is not None:
        return Outcome(Status.incorrect, None, f"limit: more than {MAX_OUTPUT >> 20} MiB of output"), end.delay_s
    if end.status != 0:
        return ended(end, limits), end.delay_s
    if not same_output(printed.decode("utf-8", "replace"), case["stdout"], compare):
        return Outcome(Status.incorrect, None, "other output than expected"), end.delay_s
    return None, end.delay_s


def _read(descriptor: int, deadline: float, limits: Limits) -> tuple[bytes, str | None]:
    """Return what comes until the end, and what cut it short: `time`, `memory` or `output`."""
    data = bytearray()
    watch = Watch(limits)
    while True:
        why = watch.ready(descriptor, deadline)
        more = b"" if why else os.read(descriptor, 1 << 18)
        if not more:
            return bytes(data), why
        data += more
        if len(data) > MAX_OUTPUT:
            return bytes(data), "output"
        if time.monotonic() >= deadline:
            return bytes(data), "time"
