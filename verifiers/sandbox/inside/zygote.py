"""The first process in a sandbox: it imports what solutions or tests import, and forks a child for each.

It is told by the host, over one socket: `F` and a message forks a child with the descriptors sent along, `E` ends it
and answers how it ended, `M` answers how much memory is in use, `P` and a key compiles a test program. There is one
child at a time. Every page that this process writes to is copied after each fork, so its loop does little.
"""

import _sitebuiltins
import array
import builtins
import contextlib
import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

from verifiers.sandbox.inside import namespaces, solution

# What most solutions import, and no more: every shared object makes a fork dearer.
MODULES = "bisect collections.abc copy functools heapq itertools json math operator random re string typing".split()  # noqa: SIM905
MAX_MESSAGE, MAX_FDS, MAX_PROGRAMS = 4096, 4, 64
DEVICES = ("null", "zero", "full", "random", "urandom")
ENDING = struct.Struct("=idd?")
"""What `E` answers: see `verifiers.sandbox.host.Ending`."""

ASKED = struct.Struct("=d??")
"""What `E` is asked: see `Zygote.end`."""

FAILED = b"!"


class Zygote:
    """One sandbox from inside.

    Args:
        control: the socket to the host.
        role: `solution`, `tester` or `scorer`.
        isolated: whether children get namespaces.
    """

    def __init__(self, control: socket.socket, role: str, *, isolated: bool) -> None:
        self.control, self.role, self.isolated = control, role, isolated
        self.namespaces = 0
        if isolated:
            # Test programs are the user's own: one sandbox is enough for all, but what they start ends with them.
            self.namespaces = namespaces.OWN_PROCESSES if role == "tester" else namespaces.OWN_NAMESPACES
        self.child = 0
        self.problem = ""
        self.crowd = False
        self.folder = ""
        self.programs: dict[str, Any] = {}

    def serve(self) -> None:
        """Answer until the host closes its end."""
        space = socket.CMSG_LEN(MAX_FDS * 4)
        while True:
            data, ancillary, _, _ = self.control.recvmsg(MAX_MESSAGE, space)
            fds = array.array("i", ancillary[0][2] if ancillary else b"")
            kind = data[:1]
            if kind == b"F":
                self.fork(data, fds)
            elif kind == b"E":
                self.control.send(self.end(*ASKED.unpack(data[1:])))
            elif kind == b"M":
                self.control.send(struct.pack("=d", self.memory_mb()))
            elif kind == b"P":
                self.control.send(self.prepare(data[1:].decode(), fds[0]))
            else:
                break
            for fd in fds:
                os.close(fd)
        if self.child:
            self.end(0.0, delay=False, late=False)

    def fork(self, data: bytes, fds: Any) -> None:
        """Fork the child. It fails silently here: `end` tells."""
        if self.child:
            self.end(0.0, delay=False, late=False)
        self.crowd = False
        if not self.isolated and self.role == "solution":
            self.folder = _tempfile().mkdtemp(prefix="preppo-")
        try:
            self.child = namespaces.fork_lightly(self.namespaces) if namespaces.SUPPORTED else os.fork()
        except OSError as error:
            self.problem = f"no child: {error}"
            return
        if self.child == 0:
            status = 70  # whatever leaves `run` as an exception is a defect of ours
            try:
                self.run(json.loads(data[1:]), list(fds))
                status = 0
            finally:
                os._exit(status)

    def run(self, message: dict[str, Any], fds: list[int]) -> None:
        """Be the child: shut in, limited, and then whatever its role says."""
        os.setsid()  # a signal to its process group reaches across process namespaces
        self.control.close()
        role = message["role"]
        if not self.isolated:
            os.chdir(self.folder or _tempfile().gettempdir())
        namespaces.limit(message["limits"])  # before the filter, which forbids to change one of them
        if self.isolated and self.role != "tester":
            namespaces.enter(streams=role in ("python", "program"))
        elif self.isolated:
            namespaces.drop_capabilities()
        if role == "server":
            source = read_all(fds[0])
            os.close(fds[0])
            solution.Server(source, fds[1], fds[2]).serve()
        elif role == "tester":
            from verifiers.sandbox.inside import tester

            tester.serve(self.programs[message["program"]], socket.socket(fileno=fds[0]))
        elif role == "scorer":
            from verifiers.sandbox.inside import scorer

            scorer.run(read_all(fds[0]), fds[1])
        elif role == "python":
            source = read_all(fds[0])
            streams(fds[1], fds[2])
            solution.run_program(source)
        elif role in ("program", "build"):
            save(fds[0], message["file"])
            streams(*fds[1:])
            os.execv(message["command"][0], message["command"])

    def end(self, grace_s: float, delay: bool, late: bool) -> bytes:  # noqa: FBT001
        """End the child with all that it started, once it had `grace_s` to end by itself.

        `delay` asks for how long it waited for a processor, which is nobody's fault but its own where it has started
        others; `late` asks for processor seconds of them all.
        """
        child, self.child = self.child, 0
        if child == 0:
            problem, self.problem = self.problem or "there is no child", ""
            return FAILED + problem.encode()
        if grace_s > 0:
            descriptor = os.pidfd_open(child)
            select.select([descriptor], [], [], grace_s)
            os.close(descriptor)
        delay_s = waited_for_processor(child) if delay else 0.0
        used_s = 0.0
        if late:  # a process that is killed takes the times of those it started with it, so they are read before
            times = [text.rpartition(")")[2].split()[11:15] for text in self.tell("stat")]
            used_s = sum(int(ticks) for four in times for ticks in four) / os.sysconf("SC_CLK_TCK")
            delay_s = delay_s if len(times) <= 1 and not self.crowd else 0.0
        itself = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        os.kill(child, signal.SIGKILL)  # one that has ended does not mind
        _, status, usage = os.wait4(child, 0)
        if not self.isolated:
            self.clear()
        cpu_s = max(usage.ru_utime + usage.ru_stime, used_s)
        return ENDING.pack(os.waitstatus_to_exitcode(status), cpu_s, delay_s, itself)

    def clear(self) -> None:
        """Without namespaces: end what the child left behind, and remove its folder."""
        with contextlib.suppress(OSError):
            with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123
                orphans = [int(pid) for pid in file.read().split()]
            for pid in orphans:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        if self.folder:
            importlib.import_module("shutil").rmtree(self.folder, ignore_errors=True)

    def memory_mb(self) -> float:
        """Return the MiB that the child and all that it started have in memory; 0 without namespaces.

        Also note whether it has started any: they may be gone, and their time with them, when it ends.
        """
        processes = list(self.tell("status"))
        self.crowd = self.crowd or len(processes) > 1 or any("\nThreads:\t1\n" not in text for text in processes)
        lines = (line for text in processes for line in text.splitlines())
        return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:"))) / 1024

    def tell(self, name: str) -> Iterator[str]:
        """Yield what /proc says of each process in this sandbox but its first two."""
        for pid in os.listdir("/proc") if self.isolated else ():  # noqa: PTH208
            if pid.isdigit() and pid != "1" and int(pid) != os.getpid():
                with contextlib.suppress(OSError), open(f"/proc/{pid}/{name}") as file:  # noqa: PTH123
                    yield file.read()

    def prepare(self, key: str, descriptor: int) -> bytes:
        """Compile a test program, sent in a descriptor, under its key; return what is wrong with it.

        In the sandbox of scorers, build the scorer of that name.
        """
        try:
            if self.role == "scorer":
                from verifiers.sandbox.inside import scorer

                scorer.prepare(key)
                return b"."
            from verifiers.sandbox.inside.program import Program

            text = read_all(descriptor)
            if "numpy" in text:
                importlib.import_module("verifiers.sandbox.inside.arrays").guard()
            self.programs.pop(key, None)
            self.programs[key] = Program(json.loads(text))
        except Exception as error:
            return FAILED + f"{type(error).__name__}: {error}"[:300].encode("utf-8", "replace")
        for old in list(self.programs)[:-MAX_PROGRAMS]:
            del self.programs[old]
        return b"."


def _tempfile() -> Any:
    """Return a module that takes half a dozen others along, which only a sandbox without isolation needs."""
    return importlib.import_module("tempfile")


def streams(stdin: int, stdout: int, *others: int) -> None:
    """Let a program read `stdin` and write `stdout`, with `others` from 3 on, and close all else."""
    os.dup2(stdin, 0)
    os.dup2(stdout, 1)
    for number, descriptor in enumerate(others, 3):
        os.dup2(descriptor, number)
    os.closerange(3 + len(others), 1 << 20)


def read_all(descriptor: int) -> str:
    """Return the whole text of a file."""
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0).decode("utf-8", "replace")


def save(descriptor: int, name: str) -> None:
    """Write a file of this content in the working directory; it can be run."""
    left = os.fstat(descriptor).st_size
    target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755)
    offset = 0
    while left > offset:
        offset += os.sendfile(target, descriptor, offset, left - offset)
    os.close(target)


def waited_for_processor(pid: int) -> float:
    """Return for how many seconds a process was ready to run and did not."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/schedstat") as file:  # noqa: PTH123
        return int(file.read().split()[1]) / 1e9
    return 0.0


def main(control: int, user: int, mode: str, role: str) -> None:
    """Import, then serve until the host closes the control socket."""
    quiet = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(quiet, stream)
    os.close(quiet)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("1000")  # should memory run out, this goes first
    isolated = mode == "isolated"
    namespaces.become(user) if isolated else namespaces.adopt()
    if namespaces.fix_addresses():
        os.execv(sys.executable, sys.orig_argv)
    if isolated:
        namespaces.found()
    for name in MODULES:
        importlib.import_module(name)
    for name in ("exit", "quit"):  # which `site` adds, and programs end with
        setattr(builtins, name, _sitebuiltins.Quitter(name, ""))
    if role != "solution":
        importlib.import_module(f"verifiers.sandbox.inside.{role}")
    random.seed(0)  # every child starts from here, so that a verdict repeats
    zygote = Zygote(socket.socket(fileno=control), role, isolated=isolated)
    sys.argv[:] = ["solution.py"]
    gc.collect()
    gc.freeze()
    zygote.serve()
