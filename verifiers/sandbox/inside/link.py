"""The pipe to the solution, from the side of the test program: one request, one answer, nothing else."""

import contextlib
import os
import select
import time
from typing import Any, NoReturn

from verifiers.sandbox.inside import wire

HEAVY = 1 << 18
"""Bytes of all answers above which tests that do not end are blamed on the answers."""

WEIGHED = b"heavy\n"
"""What is reported when the answers are that heavy; the verdict follows."""

GIVEN, OWN = b"given\n", b"own\n"
"""What is reported when the tests go on with something that the solution gave them, and with nothing of the kind."""


class Link:
    """Asks the solution, and ends this process with a verdict when it breaks the protocol or its limits.

    Args:
        requests: where requests are written.
        answers: where answers are read.
        report: where the verdict is written, as one packet.
        wall_s: seconds that all answers together may take.
    """

    def __init__(self, requests: int, answers: int, report: int, wall_s: float) -> None:
        self.requests, self.answers, self.report = requests, answers, report
        os.set_blocking(requests, False)
        self.left_s = wall_s
        self.calls = 0
        self.asked = 0
        self.heard = 0
        self.involved = True
        self._given = self._told = False

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return the answer to it."""
        request["id"] = os.urandom(8).hex()
        self.asked += 1
        line = wire.dump(request)
        started = time.monotonic()
        self._write(line, started + self.left_s)
        answer = self._answer(started + self.left_s)
        self.left_s -= time.monotonic() - started
        if request["op"] != "load":
            self.given()
        if not isinstance(answer, dict) or answer.get("id") != request["id"]:
            self.finish("failed", "protocol: an answer to another question")
        return answer

    def given(self) -> None:
        """Note that the tests have had something from the solution, so that it may be what keeps them busy."""
        self._given = True
        self._blame()

    def begin(self, *, involved: bool) -> None:
        """Note that a part of the tests begins, and whether anything of the solution can have a part in it."""
        self.involved = involved
        self._blame()

    def _blame(self) -> None:
        if self._told != (self._given and self.involved):
            self._told = not self._told
            os.write(self.report, GIVEN if self._told else OWN)

    def _write(self, line: bytes, deadline: float) -> None:
        try:
            while line:
                with contextlib.suppress(BlockingIOError):
                    line = line[os.write(self.requests, line) :]
                    continue
                if not select.select([], [self.requests], [], max(0.0, deadline - time.monotonic()))[1]:
                    self.finish("waited", "")
        except BrokenPipeError:
            self.finish("ended", "")

    def _answer(self, deadline: float) -> Any:
        buffer = bytearray()
        while not buffer.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.answers], [], [], left)[0]:
                self.finish("waited", "")
            data = os.read(self.answers, 1 << 20)
            if not data:
                self.finish("ended", "")
            buffer += data
            if len(buffer) > wire.MAX_LINE:
                self.finish("failed", f"limit: an answer of more than {wire.MAX_LINE >> 20} MiB")
        if buffer.count(b"\n") != 1:
            self.finish("failed", "protocol: more than one line in answer to one call")
        before, self.heard = self.heard, self.heard + len(buffer)
        if before <= HEAVY < self.heard:
            os.write(self.report, WEIGHED)
        try:
            return wire.load(bytes(buffer))
        except (ValueError, RecursionError):
            self.finish("failed", "protocol: an answer that is no message")

    def refuse(self) -> NoReturn:
        """End with the verdict for an answer that holds no plain data."""
        self.finish("failed", "protocol: an answer that is no plain data")

    def finish(self, outcome: str, detail: str) -> NoReturn:
        """Report and end this process, whatever the test program is doing."""
        self.tell(outcome, detail, stays=False)
        os._exit(0)

    def tell(self, outcome: str, detail: str, *, stays: bool) -> None:
        """Report a verdict, and whether this process can test another solution."""
        os.write(self.report, wire.dump([outcome, detail[:300], stays]))
