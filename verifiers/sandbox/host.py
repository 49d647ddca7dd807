"""A sandbox from outside: start it, fork children in it with descriptors, end them, end it."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from verifiers.forkserver import ForkServer, ServerGone
from verifiers.sandbox.isolation import NoIsolation, command, explain

START_S = 30.0
MODES = ("bubblewrap", "http", "unsafe")


class Sandbox:
    """One warm sandbox. Children run one solution each and share nothing that can be written.

    Args:
        role: `solution`, or `tester` for the trusted test programs.
        mode: `bubblewrap` or `unsafe`.

    Raises:
        NoIsolation: bubblewrap is missing or cannot start.
    """

    def __init__(self, role: str, mode: str) -> None:
        arguments, fds = command(role, mode)
        with tempfile.TemporaryFile() as errors:
            try:
                self._server = ForkServer.start(arguments, fds, stdout=subprocess.DEVNULL, stderr=errors)
            finally:
                for descriptor in fds:
                    os.close(descriptor)
            try:
                self._server.end(self._server.fork({"role": "nothing", "limits": {}}, []), grace_s=0.0)
            except ServerGone:
                self._server.close()
                errors.seek(0)
                raise NoIsolation(explain(errors.read().decode("utf-8", "replace"))) from None

    def prepare(self, key: str, program: str) -> str | None:
        """Compile a test program under a key; return why it cannot be, or None."""
        with memory_file(program.encode()) as descriptor:
            answer = self._server.ask({"program": key}, [descriptor])
        return str(answer["failed"]) if "failed" in answer else None

    def fork(self, message: dict[str, Any], fds: Sequence[int]) -> int:
        """Fork a child and return its key; see `inside/zygote.py` for the roles."""
        return self._server.fork(message, fds)

    def end(self, key: int, grace_s: float = 0.0) -> dict[str, Any]:
        """End a child with everything it started; see `ForkServer.end`."""
        return self._server.end(key, grace_s)

    def close(self) -> None:
        """End the sandbox and wait until nothing of it is left."""
        self._server.close()


@contextlib.contextmanager
def memory_file(content: bytes) -> Iterator[int]:
    """Give a descriptor of a file in memory that nobody can change any more."""
    import fcntl

    descriptor = os.memfd_create("preppo", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        seals = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        yield descriptor
    finally:
        os.close(descriptor)
