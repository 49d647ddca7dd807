"""The untrusted side: it loads a solution and answers calls, or runs it as a program.

Nothing here is trusted by anybody: the solution shares the process and may replace all of it. What it can gain by that
is to answer the calls that it is asked, which is its task.
"""

import atexit
import builtins
import io
import os
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any, NoReturn

from verifiers.sandbox.inside import wire

MAX_MESSAGE = 300


class Server:
    """Answers one request at a time from `requests` on `answers`.

    Requests carry an `id`, which the answer repeats, and an `op`: `load` with `names`; `call` with `of` (a reference),
    `args` and `kwargs`; `get` and `set` with `of` and the `name` of an attribute; `more` with `of`, an iterator; `is`
    with `of`, a class, and `what`. An answer has `ok` or `raise: [type, message, references of its classes]`, and
    `changed` where a call has changed an argument in place.
    """

    def __init__(self, source: str, requests: int, answers: int) -> None:
        self.source = source
        self.requests = os.fdopen(requests, "rb")
        self.answers = answers
        self.module = types.ModuleType("solution")
        self.kept: list[Any] = []
        self.numbers: dict[int, int] = {}

    def serve(self) -> None:
        """Answer until the requests end."""
        for line in self.requests:
            request = wire.load(line)
            try:
                answer = getattr(self, f"do_{request['op']}")(request)
            except BaseException as error:  # SystemExit too: it is an answer like another
                answer = self.raised(error)
            data = wire.dump({"id": request["id"], **answer})
            while data:
                data = data[os.write(self.answers, data) :]

    def do_load(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run the module's code and say what each name is."""
        sys.modules["solution"] = self.module
        exec(compile(self.source, "solution.py", "exec"), self.module.__dict__)
        space = self.module.__dict__
        return {"ok": {name: self._described(space[name]) for name in request["names"] if name in space}}

    def do_call(self, request: dict[str, Any]) -> dict[str, Any]:
        """Call a function; arguments that it changed in place travel back."""
        decoder = _Decoder(self.kept)
        args = [decoder.decode(arg) for arg in request["args"]]
        kwargs = {name: decoder.decode(arg) for name, arg in request["kwargs"].items()}
        sent = len(decoder.made)
        encoder = _Encoder(self, decoder.made)
        try:
            answer: dict[str, Any] = {"ok": encoder.encode(self.kept[request["of"]](*args, **kwargs))}
        except BaseException as error:  # what it changed before it raised has changed all the same
            answer = self.raised(error)
        if sent and self._changed(args, kwargs, request):
            answer["changed"] = [encoder.content(container) for container in encoder.made[:sent]]
        return answer

    def _changed(self, args: list[Any], kwargs: dict[str, Any], request: dict[str, Any]) -> bool:
        """Whether an argument is another now. An iterator is used up by the call, and what is left of it is no sign."""
        pairs = [*zip(args, request["args"], strict=True), *((kwargs[k], v) for k, v in request["kwargs"].items())]
        encoder = _Encoder(self)
        return any(
            encoder.encode(value) != data
            for value, data in pairs
            if isinstance(data, list | dict) and not (isinstance(data, dict) and data["t"] in ("iterator", "ref"))
        )

    def do_get(self, request: dict[str, Any]) -> dict[str, Any]:
        """Read an attribute."""
        return {"ok": self.encode(getattr(self.kept[request["of"]], request["name"]))}

    def do_set(self, request: dict[str, Any]) -> dict[str, Any]:
        """Set an attribute."""
        setattr(self.kept[request["of"]], request["name"], _Decoder(self.kept).decode(request["value"]))
        return {"ok": None}

    def do_more(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send more of an iterator."""
        return {"ok": _Encoder(self).stream(self.kept[request["of"]], 0)}

    def do_is(self, request: dict[str, Any]) -> dict[str, Any]:
        """Say whether an object is of a class."""
        return {"ok": bool(isinstance(self.kept[request["what"]], self.kept[request["of"]]))}

    def raised(self, error: BaseException) -> dict[str, Any]:
        """Return the answer for an exception: the builtin one that it is or comes from, and its classes known here."""
        name, known = type(error).__name__[:80], []
        try:
            for kind in type(error).__mro__:
                known += [self.numbers[id(kind)]] if id(kind) in self.numbers else []
            builtin = next(kind for kind in type(error).__mro__ if vars(builtins).get(kind.__name__) is kind)
            name = name if builtin in (Exception, BaseException) else builtin.__name__
            return {"raise": [name, str(error)[:MAX_MESSAGE], known]}
        except BaseException:
            return {"raise": [name, "", known]}

    def encode(self, value: Any) -> Any:
        """Return a value as JSON data."""
        return _Encoder(self).encode(value)

    def _described(self, value: Any) -> Any:
        """Return a name's value: what can be called is called here, even where it is a builtin type."""
        return _Encoder(self).refer(value) if callable(value) else self.encode(value)

    def number(self, value: Any) -> int:
        """Return the number by which the other side knows an object."""
        if id(value) not in self.numbers:
            self.numbers[id(value)] = len(self.kept)
            self.kept.append(value)
        return self.numbers[id(value)]


class _Encoder(wire.Encoder):
    def __init__(self, server: Server, made: list[Any] | None = None) -> None:
        super().__init__(made)
        self.server = server

    def refer(self, value: Any) -> dict[str, Any]:
        sort = "class" if isinstance(value, type) else "function" if callable(value) else "object"
        if sort == "class" and issubclass(value, BaseException):
            sort = "error"
        return {"t": "ref", "v": self.server.number(value), "k": type(value).__name__[:80], "c": sort}

    def stream(self, iterator: Iterator[Any], depth: int) -> dict[str, Any]:
        items, more = wire.first(iterator)
        data: dict[str, Any] = {"t": "iterator", "v": [self.encode(item, depth) for item in items]}
        if more:
            data["more"] = self.server.number(iterator)
        return data


class _Decoder(wire.Decoder):
    def __init__(self, kept: list[Any]) -> None:
        super().__init__()
        self.kept = kept

    def refer(self, data: dict[str, Any]) -> Any:
        return self.kept[data["v"]]


def run_program(source: str) -> NoReturn:
    """Run a solution as a program on the descriptors 0, 1 and 2, and end the process as Python would."""
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8", errors="replace")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8")
    sys.argv = ["solution.py"]
    module = types.ModuleType("__main__")
    module.__file__ = "solution.py"
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
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
    except BaseException:
        status = status or 1
    os._exit(status & 255)
