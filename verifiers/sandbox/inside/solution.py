"""The untrusted side: it loads a solution and answers calls, or runs it as a program.

Nothing here is trusted by anybody: the solution shares the process and may replace all of it. What it can gain by that
is to answer the calls that it is asked, which is its task.
"""

import atexit
import io
import os
import sys
import threading
import types
from typing import Any, NoReturn

from verifiers.sandbox.inside import wire

MAX_MESSAGE = 300


class Server:
    """Answers one request at a time from `requests` on `answers`.

    Requests are `{"id", "op": "load", "names"}`, `{"id", "op": "call", "of": name or ref, "args", "kwargs"}` and
    `{"id", "op": "get", "of": ref, "name"}`; answers `{"id", "ok"}` or `{"id", "raise": [type, message]}`.
    """

    def __init__(self, source: str, requests: int, answers: int) -> None:
        self.source = source
        self.requests = os.fdopen(requests, "rb")
        self.answers = os.fdopen(answers, "wb")
        self.module = types.ModuleType("solution")
        self.kept: list[Any] = []
        self.numbers: dict[int, int] = {}

    def serve(self) -> None:
        """Answer until the requests end."""
        for line in self.requests:
            request = wire.load(line)
            try:
                answer = getattr(self, f"do_{request['op']}")(request)
            except wire.NotPlain as error:
                answer = {"raise": ["NotPlain", str(error)]}
            except BaseException as error:  # SystemExit too: it is an answer like another
                answer = {"raise": [_name(error), _text(error)]}
            self.answers.write(wire.dump({"id": request["id"], **answer}))
            self.answers.flush()

    def do_load(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run the module's code and say what each name is."""
        sys.modules["solution"] = self.module
        exec(compile(self.source, "solution.py", "exec"), self.module.__dict__)
        space = self.module.__dict__
        return {"ok": {name: self._describe(space[name]) for name in request["names"] if name in space}}

    def do_call(self, request: dict[str, Any]) -> dict[str, Any]:
        """Call a function; arguments that it changed in place travel back."""
        target = self._target(request["of"])
        args = [wire.decode(arg, self._look_up) for arg in request["args"]]
        kwargs = {name: wire.decode(arg, self._look_up) for name, arg in request["kwargs"].items()}
        result = self._encode(target(*args, **kwargs))
        changed = {}
        for index, (before, arg) in enumerate(zip(request["args"], args, strict=True)):
            if isinstance(arg, list | dict | set) and (after := self._encode(arg)) != before:
                changed[str(index)] = after
        return {"ok": result, "changed": changed} if changed else {"ok": result}

    def do_get(self, request: dict[str, Any]) -> dict[str, Any]:
        """Read an attribute."""
        return {"ok": self._encode(getattr(self._target(request["of"]), request["name"]))}

    def _target(self, of: Any) -> Any:
        return self.kept[of] if isinstance(of, int) else self.module.__dict__[of]

    def _describe(self, value: Any) -> Any:
        if callable(value):
            return {"t": "ref", "v": self._number(value), "k": type(value).__name__}
        return self._encode(value)

    def _encode(self, value: Any) -> Any:
        return wire.encode(value, self._number)

    def _number(self, value: Any) -> int:
        if id(value) not in self.numbers:
            self.numbers[id(value)] = len(self.kept)
            self.kept.append(value)
        return self.numbers[id(value)]

    def _look_up(self, number: int, _kind: str) -> Any:
        return self.kept[number]


def _name(error: BaseException) -> str:
    return type(error).__name__[:80]


def _text(error: BaseException) -> str:
    try:
        return str(error)[:MAX_MESSAGE]
    except BaseException:
        return ""


def run_program(source: str) -> NoReturn:
    """Run a solution as a program on the descriptors 0, 1 and 2, and end the process as Python would."""
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8", errors="replace")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8")
    sys.argv = ["solution.py"]
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    status = 0
    try:
        exec(compile(source, "solution.py", "exec"), module.__dict__)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        status = 1
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BaseException:
        status = status or 1
    os._exit(status & 255)
