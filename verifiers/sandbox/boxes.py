"""The sandboxes of one worker, and the process of the tests that are being run."""

import os
import socket
from collections.abc import Sequence
from typing import Self

from verifiers.forkserver import ServerGone
from verifiers.sandbox.host import Ending, Sandbox
from verifiers.sandbox.inside.tester import START
from verifiers.sandbox.isolation import NoIsolation

MODE = "PREPPO_SANDBOX"
"""The environment variable that says how code is isolated; see `VerifierPool`."""

KEPT_PROGRAMS = 64


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


class Tests:
    """The process of one test program. One that leaves nothing behind in it serves several solutions, one by one.

    Args:
        box: the sandbox of the tests.
        key: of a program that was prepared there.
        resources: its limits.
    """

    def __init__(self, box: Sandbox, key: str, resources: dict[str, int]) -> None:
        self._box = box
        self.key = key
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            box.fork({"role": "tester", "program": key, "limits": resources}, [theirs.fileno()])

    def start(self, wall_s: float, fds: Sequence[int], *, keeps: bool) -> None:
        """Have a solution tested that is at the other ends of `fds`, requests and answers.

        Args:
            wall_s: seconds for all its answers.
            fds: the two ends.
            keeps: whether arguments stay as they were where the tests take a result of a call.

        Raises:
            ServerGone: the process has ended.
        """
        try:
            socket.send_fds(self.socket, [START.pack(wall_s, keeps)], fds)
        except OSError as error:
            raise ServerGone(f"the tests have ended: {error}") from None

    def end(self) -> Ending:
        """End the process, and return how it ended and how it was doing."""
        self.socket.close()
        return self._box.end(delay=True, late=True)


class Boxes:
    """The sandboxes of this worker, started when first needed.

    Args:
        mode: `bubblewrap` or `unsafe`.
    """

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self._open: dict[str, Sandbox] = {}
        self._programs: dict[str, None] = {}
        self._tests: Tests | None = None
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

    def tests(self, key: str, resources: dict[str, int]) -> Tests:
        """Return a process of a prepared test program: the one of the last solution, or a new one."""
        if self._tests is None or self._tests.key != key:
            self.retire()
            self._tests = Tests(self.get("tester"), key, resources)
        return self._tests

    def retire(self) -> None:
        """Have the next tests run in a process of their own. The last one is ended before that starts."""
        if self._tests is not None:
            self._tests.socket.close()
        self._tests = None

    def close(self) -> None:
        """End them; the next use starts new ones."""
        self.retire()
        for box in self._open.values():
            box.close()
        self._open, self._programs = {}, {}
