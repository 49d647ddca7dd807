"""A sandbox from outside: start it, fork a child in it with descriptors, end that, end all."""

import contextlib
import fcntl
import functools
import json
import os
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from verifiers.forkserver import ForkServer, ServerGone
from verifiers.sandbox.inside.zygote import ASKED, ENDING, FAILED
from verifiers.sandbox.isolation import ENVIRONMENT, NoIsolation, command, explain

ANSWER_S = 30.0
_SEALS = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


class Ending(NamedTuple):
    """How a child ended.

    Attributes:
        status: its exit status, or minus the signal.
        cpu_s: processor seconds of it and of all that it started and outlived.
        delay_s: seconds it was ready to run and got no processor; 0 where that was not asked.
        itself: whether it had ended before it was to be.
    """

    status: int
    cpu_s: float
    delay_s: float
    itself: bool


class Sandbox:
    """One warm sandbox. Children run one solution each, one at a time, and share nothing that can be written.

    Args:
        role: `solution`, `tester` for the trusted test programs, or `scorer` for those of reasoning_gym.
        mode: `bubblewrap` or `unsafe`.

    Raises:
        NoIsolation: bubblewrap is missing or cannot start.
    """

    def __init__(self, role: str, mode: str) -> None:
        arguments, fds = command(role, mode)
        with tempfile.TemporaryFile() as errors:
            try:
                self._server = ForkServer.start(
                    arguments,
                    fds,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env=dict(ENVIRONMENT),
                )
            finally:
                for descriptor in fds:
                    os.close(descriptor)
            try:
                self.fork({"role": "nothing", "limits": {}}, [])
                ended = self.end(grace_s=5.0)
            except ServerGone:
                ended = None
            if ended is None or ended.status != 0:
                self._server.close()
                errors.seek(0)
                raise NoIsolation(explain(errors.read().decode("utf-8", "replace")))

    def prepare(self, key: str, program: str) -> str | None:
        """Compile a test program under a key, or build the scorer of that name; return why it cannot be, or None."""
        with memory_file(program.encode()) as descriptor:
            self._send(b"P" + key.encode(), [descriptor])
            answer = self._answer()
        return answer[1:].decode("utf-8", "replace") if answer.startswith(FAILED) else None

    def fork(self, message: dict[str, Any], fds: Sequence[int]) -> None:
        """Fork the child; see `inside/zygote.py` for the roles. Should it fail, `end` raises."""
        self._send(b"F" + json.dumps(message).encode(), fds)

    def end(self, grace_s: float = 0.0, *, delay: bool = False, late: bool = False) -> Ending:
        """End the child, once it had `grace_s` to do so itself. When this returns, it and all it started are gone.

        Args:
            grace_s: seconds.
            delay: measure `delay_s`.
            late: it is over its time: measure both for all its processes. One that has several has no `delay_s`.

        Raises:
            ServerGone: the sandbox has ended, or could not fork.
        """
        self._send(b"E" + ASKED.pack(grace_s, delay, late))
        answer = self._answer(ANSWER_S + grace_s)
        if answer.startswith(FAILED):
            raise ServerGone(answer[1:].decode("utf-8", "replace"))
        return Ending(*ENDING.unpack(answer))

    def memory_mb(self) -> float:
        """Return the MiB that the child and all it started have in memory; 0 without isolation."""
        self._send(b"M")
        return float(struct.unpack("=d", self._answer())[0])

    def close(self) -> None:
        """End the sandbox and wait until nothing of it is left."""
        self._server.close()

    def _send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        try:
            self._server.control.settimeout(ANSWER_S)
            socket.send_fds(self._server.control, [data], fds)
        except OSError as error:
            raise ServerGone(str(error)) from None

    def _answer(self, timeout_s: float = ANSWER_S) -> bytes:
        try:
            self._server.control.settimeout(timeout_s)
            data = self._server.control.recv(4096)
        except TimeoutError:
            raise ServerGone(f"no answer within {timeout_s:g} s") from None
        except OSError as error:
            raise ServerGone(str(error)) from None
        if not data:
            raise ServerGone("it has ended")
        return data


@functools.cache
def problem() -> str | None:
    """Return why no code can be run in isolation on this machine, or None. One sandbox is started to find out."""
    try:
        Sandbox("solution", "bubblewrap").close()
    except NoIsolation as error:
        return str(error)
    return None


@contextlib.contextmanager
def memory_file(content: bytes) -> Iterator[int]:
    """Give a descriptor of a file in memory that nobody can change any more."""
    descriptor = os.memfd_create("preppo", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        seal(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def seal(descriptor: int) -> None:
    """Let nobody change a file in memory any more; it is read from its beginning."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
