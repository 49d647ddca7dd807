"""What a solution may use, and the verdict for one that used more."""

import math
import os
import select
import signal
import time
from typing import NamedTuple

from verifiers.contract import Outcome, Status
from verifiers.sandbox.boxes import MODE, Boxes
from verifiers.sandbox.host import Ending

FILES, FILE_MB = 64, 16
SHARED_MB = 256
"""MiB that all processes of a solution may have beyond the limit of one: pages that they share count twice."""

WATCH_S = 0.05
"""How often the memory of a solution is looked at, once it has run for as long."""

_BUSY = 0.25  # a share of its time that a solution waited for a processor, above which a time limit decides nothing

BOXES = Boxes(os.environ.get(MODE, "bubblewrap"))
"""The sandboxes of this worker."""


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


def resources(limits: Limits, processes: int, *, address_space: bool = True) -> dict[str, int]:
    """Return the limits of a process, by the names of `resource`. A language with a large address space has DATA."""
    limited = {
        "CPU": math.ceil(limits.time_s),
        "AS" if address_space else "DATA": limits.memory_mb << 20,
        "NPROC": processes,
        "NOFILE": FILES,
        "FSIZE": FILE_MB << 20,
        "MSGQUEUE": 0,
        "CORE": 0,
    }
    if BOXES.mode == "unsafe":
        del limited["NPROC"]  # there it counts every process of the user
    return limited


class Watch:
    """Waits for what is read, and looks at the memory of the solution meanwhile.

    A process has a limit of its own, all together have this. A solution that always has something to say is looked at
    as often as one that says nothing.
    """

    def __init__(self, limits: Limits) -> None:
        self._most_mb = limits.memory_mb + SHARED_MB
        self._next = time.monotonic() + WATCH_S

    def ready(self, descriptor: int, deadline: float) -> str | None:
        """Wait until there is something to read, or return what cut the solution short: `time` or `memory`."""
        while True:
            now = time.monotonic()
            if now >= self._next:
                if BOXES.get("solution").memory_mb() > self._most_mb:
                    return "memory"
                self._next = time.monotonic() + WATCH_S
            if select.select([descriptor], [], [], max(0.0, min(self._next, deadline) - now))[0]:
                return None
            if time.monotonic() >= deadline:
                return "time"


def ended(solved: Ending, limits: Limits) -> Outcome:
    """Return the verdict for a solution whose process ended before its time, or with a status other than 0."""
    # The kernel's limit counts ticks, which on a busy machine run ahead of the time that is accounted for.
    if solved.cpu_s >= 0.5 * math.ceil(limits.time_s):
        return Outcome(Status.incorrect, None, f"limit: more than {limits.time_s:g} s of processor time")
    if solved.itself and solved.status == -signal.SIGKILL and BOXES.mode != "unsafe":
        # It is the first process of its namespace, which nothing in there can kill.
        return Outcome(Status.error, None, "the solution was killed from outside: is there enough memory?")
    return Outcome(Status.incorrect, None, f"the solution ended its process ({cause(solved.status)})")


def cause(status: int) -> str:
    """Return how a process ended, in words."""
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def starved(solved: Ending, limits: Limits) -> bool:
    """Whether a process had little processor time because the machine gave it no more."""
    return solved.cpu_s < 0.9 * limits.time_s and solved.delay_s > _BUSY * limits.wall_s


def out_of_time(solved: Ending, limits: Limits) -> Outcome:
    """Return the verdict for a solution that did not end in time: it has failed, unless it was starved."""
    if starved(solved, limits):
        detail = f"undecided: within {limits.wall_s:g} s the solution waited {solved.delay_s:.1f} s for a processor"
        return Outcome(Status.timeout, None, detail)
    return Outcome(Status.incorrect, None, f"limit: more than {limits.wall_s:g} s")


def out_of_memory(limits: Limits) -> Outcome:
    """Return the verdict for a solution of which all processes together had too much."""
    return Outcome(Status.incorrect, None, f"limit: more than {limits.memory_mb} MiB of memory in all its processes")
