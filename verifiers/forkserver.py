"""A process that has loaded what its children need, and forks one when asked: a start costs no import.

The client half is `ForkServer`; `serve` is the loop of the server half. They talk over one `SOCK_SEQPACKET` pair, a
JSON object a message, with file descriptors beside it. This module also runs inside the sandbox, so it imports the
standard library alone.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MAX_MESSAGE = 60_000
MAX_FDS = 8

Message = dict[str, Any]


class ServerGone(Exception):
    """The server ended, or gave no answer in time; the message says which."""


class ForkServer:
    """The client of a fork server.

    Args:
        process: the server, started with the other end of `control`.
        control: this end of the pair.
    """

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self.process = process
        self.control = control
        self._next = 0

    @classmethod
    def start(cls, command: Sequence[str], fds: Sequence[int] = (), **options: Any) -> "ForkServer":
        """Start a server. The number of its control descriptor replaces `{control}` in the command."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as failed:
            failed.callback(ours.close)
            with theirs:
                process = subprocess.Popen(
                    [part.replace("{control}", str(theirs.fileno())) for part in command],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), *fds),
                    **options,
                )
            failed.pop_all()
        return cls(process, ours)

    def ask(self, message: Message, fds: Sequence[int] = (), timeout_s: float = 30.0) -> Message:
        """Send a message and return the answer.

        Raises:
            ServerGone: no answer within `timeout_s`, or the server has ended.
        """
        try:
            self.control.settimeout(timeout_s)
            socket.send_fds(self.control, [json.dumps(message).encode()], fds)
            data = self.control.recv(MAX_MESSAGE)
        except TimeoutError:
            raise ServerGone(f"no answer within {timeout_s:g} s") from None
        except OSError as error:
            raise ServerGone(str(error)) from None
        if not data:
            raise ServerGone("it has ended")
        answer: Message = json.loads(data)
        return answer

    def fork(self, message: Message, fds: Sequence[int]) -> int:
        """Fork a child that runs `message` with `fds`, and return its key."""
        self._next += 1
        answer = self.ask({**message, "fork": self._next}, fds)
        if "failed" in answer:
            raise ServerGone(str(answer["failed"]))
        return self._next

    def end(self, key: int, grace_s: float = 0.0) -> Message:
        """Wait up to `grace_s` for a child to end, kill it if it does not, and return how it ended.

        The answer holds `status` (as `subprocess` has it: the exit status, or minus the signal), `cpu_s`, and `delay_s`
        (seconds it waited for a processor). When it comes, the child and all it started are gone.
        """
        return self.ask({"end": key, "grace_s": grace_s}, timeout_s=30.0 + grace_s)

    def forget(self) -> None:
        """In a forked process, whose child the server is not: close this end, so that it does not keep the server."""
        self.control.close()
        self.process.returncode = 0  # it is the parent's to wait for

    def close(self, timeout_s: float = 5.0) -> int:
        """End the server with all its children, wait for it, and return its exit status."""
        self.control.close()
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def serve(
    control: socket.socket,
    run: Callable[[Message, list[int]], None],
    prepare: Callable[[Message, list[int]], Message],
    fork: Callable[[], int] = os.fork,
) -> None:
    """Answer messages until the other end closes; then kill all children.

    Args:
        control: the socket, a message a packet.
        run: what a child does with the message that asked for it and its descriptors; it has no other open ones.
        prepare: answers every message that is neither `fork` nor `end`.
        fork: makes the child: 0 there, its process id here.
    """
    children: dict[int, int] = {}
    while True:
        data, fds, _, _ = socket.recv_fds(control, MAX_MESSAGE, MAX_FDS)
        if not data:
            break
        message = json.loads(data)
        if "fork" in message:
            answer = _fork(control, message, fds, run, fork, children)
        elif "end" in message:
            answer = _end(children.pop(message["end"]), message["grace_s"])
            _end_orphans(set(children.values()))
        else:
            answer = prepare(message, fds)
        for fd in fds:
            os.close(fd)
        control.send(json.dumps(answer).encode())
    for pid in children.values():
        _end(pid, 0.0)
    _end_orphans(set())


def _fork(
    control: socket.socket,
    message: Message,
    fds: list[int],
    run: Callable[[Message, list[int]], None],
    fork: Callable[[], int],
    children: dict[int, int],
) -> Message:
    try:
        pid = fork()
    except OSError as error:
        return {"failed": f"no child: {error}"}
    if pid == 0:
        status = 70  # whatever leaves `run` as an exception is a defect of ours
        try:
            control.close()
            run(message, fds)
            status = 0
        finally:
            os._exit(status)
    children[message["fork"]] = pid
    return {"forked": pid}


def _end(pid: int, grace_s: float) -> Message:
    ended = _ends_within(pid, grace_s)
    delay_s = 0.0 if ended else _waited_for_processor(pid)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    cpu_s = usage.ru_utime + usage.ru_stime
    return {"status": os.waitstatus_to_exitcode(status), "cpu_s": cpu_s, "delay_s": delay_s}


def _ends_within(pid: int, grace_s: float) -> bool:
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    if os.waitid(os.P_PID, pid, options) is not None:
        return True
    if grace_s <= 0:
        return False
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], grace_s)[0])
    finally:
        os.close(descriptor)


def _waited_for_processor(pid: int) -> float:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return 0.0


def _end_orphans(known: set[int]) -> None:
    """Kill and wait for whatever ended children left behind: they become children of this process, a subreaper."""
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        try:
            listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        except OSError:
            return
        orphans = {int(pid) for pid in listed} - known
        if not orphans:
            return
        for pid in orphans:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.waitpid(pid, 0)
