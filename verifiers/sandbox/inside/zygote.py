"""The first process in a sandbox: it imports what solutions or tests import, and forks a child for each.

`main` takes the control descriptor, the user to become, `isolated` or `unsafe`, and the role, `solution` or `tester`.
Each role has a sandbox of its own: the one that runs solutions never reads a test.
"""

import gc
import importlib
import json
import os
import random
import socket
from typing import Any

from verifiers import forkserver
from verifiers.sandbox.inside import namespaces, solution

MODULES = (  # noqa: SIM905 - as a list it takes fifty lines
    "abc array ast base64 bisect calendar cmath collections collections.abc contextlib copy csv dataclasses datetime "
    "decimal difflib enum fractions functools hashlib heapq inspect io itertools json math numbers operator pprint "
    "queue random re statistics string struct textwrap threading time traceback types typing unicodedata uuid zlib"
).split()
MAX_PROGRAMS = 64
DEVICES = ("null", "zero", "full", "random", "urandom")

Message = dict[str, Any]


class Zygote:
    """What the fork server of a sandbox does with its messages."""

    def __init__(self, isolated: bool) -> None:  # noqa: FBT001
        self.isolated = isolated
        self.programs: dict[str, Any] = {}

    def prepare(self, message: Message, fds: list[int]) -> Message:
        """Compile a test program, sent in a descriptor, under its key."""
        from verifiers.sandbox.inside import tester

        key = message["program"]
        try:
            text = read_all(fds[0])
            if "numpy" in text:
                importlib.import_module("numpy")
            self.programs.pop(key, None)
            self.programs[key] = tester.Program(json.loads(text))
        except Exception as error:
            return {"failed": f"{type(error).__name__}: {error}"[:300]}
        for old in list(self.programs)[:-MAX_PROGRAMS]:
            del self.programs[old]
        return {"prepared": key}

    def run(self, message: Message, fds: list[int]) -> None:
        """Be the child: shut in, limited, and then whatever its role says."""
        fds = keep_only(fds)
        if self.isolated:
            namespaces.enter()
        namespaces.limit(message["limits"])
        role = message["role"]
        if role == "server":
            quiet = os.open("/dev/null", os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(quiet, stream)
            solution.Server(read_all(fds[0]), fds[1], fds[2]).serve()
        elif role == "tester":
            from verifiers.sandbox.inside import tester

            link = tester.Link(fds[0], fds[1], fds[2], message["wall_s"])
            tester.run(self.programs[message["program"]], link)
        else:
            source = read_all(fds[0])
            os.dup2(fds[1], 0)
            os.dup2(fds[2], 1)
            keep_only([])
            if role == "python":
                solution.run_program(source)
            with open(message["file"], "w", encoding="utf-8") as file:  # noqa: PTH123
                file.write(source)
            os.execv(message["command"][0], message["command"])


def keep_only(fds: list[int]) -> list[int]:
    """Close every descriptor above 2 that is not in `fds`, and return them as 3, 4, ..."""
    high = [os.dup2(fd, 200 + place) for place, fd in enumerate(fds)]
    os.closerange(3, 200)
    kept = [os.dup2(fd, 3 + place) for place, fd in enumerate(high)]
    os.closerange(3 + len(kept), 65_536)
    return kept


def read_all(descriptor: int) -> str:
    """Return the whole text of a file."""
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0).decode("utf-8", "replace")


def main(control: int, user: int, mode: str, role: str) -> None:
    """Import, then serve until the host closes the control socket."""
    quiet = os.open("/dev/null", os.O_WRONLY)
    os.dup2(quiet, 2)
    os.dup2(quiet, 1)
    isolated = mode == "isolated"
    namespaces.become(user) if isolated else None
    for name in MODULES:
        importlib.import_module(name)
    if role == "tester":
        importlib.import_module("verifiers.sandbox.inside.tester")
    random.seed(0)  # every child starts from here, so that a verdict repeats
    gc.collect()
    gc.freeze()
    zygote = Zygote(isolated and role == "solution")
    # Test programs are the user's own: their sandbox is enough for all of them.
    fork = namespaces.fork_isolated if zygote.isolated else namespaces.fork_lightly if isolated else fork_unsafe
    forkserver.serve(socket.socket(fileno=control), zygote.run, zygote.prepare, fork)


def fork_unsafe() -> int:
    """Fork without any isolation."""
    child = os.fork()
    if child == 0:
        random.seed(0)
    return child
