"""The trusted side: it runs a test program whose calls of the solution go over a pipe.

The test program sees proxies and plain data. What ends the verdict early (a limit, a broken protocol) is reported at
once and ends the process, so that no `except` of the test program swallows it.
"""

import ast
import builtins
import contextlib
import math
import os
import secrets
import select
import time
from types import CodeType  # noqa: TC003 - needed where the sandbox has no type checker
from typing import Any, NoReturn

from verifiers.sandbox.inside import wire

NAMES = frozenset(vars(builtins))


class Program:
    """A test program, compiled once for all solutions.

    Args:
        tests: the gold: `kind`, and what that kind has (see verifiers/code.py), with `prefix` and `setup`.
    """

    def __init__(self, tests: dict[str, Any]) -> None:
        self.kind = tests["kind"]
        self.entry_point: str = tests.get("entry_point") or ""
        self.cases: list[dict[str, Any]] = tests.get("cases", [])
        self.compare: dict[str, Any] = tests.get("compare") or {}
        sources = [("setup", tests.get("setup") or "")]
        if self.kind == "check":
            sources.append(("test", tests["test"]))
        if self.kind == "asserts":
            sources += [(f"test {number}", text) for number, text in enumerate(tests["tests"], 1)]
        trees = [(name, ast.parse(text)) for name, text in sources]
        prefix = _prefix(tests.get("prefix") or "")
        self.prefix = compile(prefix, "prefix", "exec") if prefix is not None else None
        self.steps: list[tuple[str, CodeType]] = [(name, compile(tree, name, "exec")) for name, tree in trees]
        helpers = [prefix] if prefix is not None else []
        bound = set().union(*(_bound(tree) for tree in (*helpers, *(tree for _, tree in trees)))) | NAMES
        used = set().union(*(_used(tree) for _, tree in trees))
        self.names = sorted((used - bound) | ({self.entry_point} if self.entry_point else set()))


def _prefix(text: str) -> ast.Module | None:
    """Return the prefix as a module of its own, so that its helpers are those of the tests and not the solution's."""
    if not text.strip():
        return None
    for ending in ("", "\n    pass\n", "\n        pass\n"):
        try:
            return ast.parse(text + ending)
        except SyntaxError:
            continue
    return None


def _bound(tree: ast.AST) -> set[str]:
    bound = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
    return bound


def _used(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


class Link:
    """The pipe to the solution: one request, one answer with the same random id, nothing else.

    Args:
        requests: where requests are written.
        answers: where answers are read.
        report: where the verdict is written.
        wall_s: seconds that all answers together may take.
    """

    def __init__(self, requests: int, answers: int, report: int, wall_s: float) -> None:
        self.requests, self.answers, self.report = requests, answers, report
        os.set_blocking(requests, False)
        self.left_s = wall_s
        self.calls = 0
        self.proxies: dict[int, Remote] = {}

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return the answer to it."""
        request["id"] = secrets.token_hex(8)
        line = wire.dump(request)
        started = time.monotonic()
        self._write(line)
        answer = self._answer(started + self.left_s)
        self.left_s -= time.monotonic() - started
        if not isinstance(answer, dict) or answer.get("id") != request["id"]:
            self.finish("failed", "protocol: an answer to another question")
        return answer

    def _write(self, line: bytes) -> None:
        deadline = time.monotonic() + self.left_s
        try:
            while line:
                if not select.select([], [self.requests], [], max(0.0, deadline - time.monotonic()))[1]:
                    self.finish("waited", "")
                with contextlib.suppress(BlockingIOError):
                    line = line[os.write(self.requests, line) :]
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
        try:
            return wire.load(bytes(buffer))
        except (ValueError, RecursionError):
            self.finish("failed", "protocol: an answer that is no message")

    def value(self, answer: dict[str, Any]) -> Any:
        """Return what an answer holds, or raise what the solution raised."""
        if "raise" in answer:
            try:
                name, message = answer["raise"]
                name, message = str(name), str(message)
            except (TypeError, ValueError):
                self.finish("failed", "protocol: an answer that is no message")
            if name == "NotPlain":
                self.finish("failed", f"limit: a result that cannot be sent: {message}")
            raise _exception(name, message)
        return self.decode(answer.get("ok"))

    def decode(self, data: Any) -> Any:
        """Return the value of JSON data from the solution."""
        try:
            return wire.decode(data, self.proxy)
        except Exception:
            self.finish("failed", "protocol: an answer that is no plain data")

    def proxy(self, number: int, kind: str) -> "Remote":
        """Return the one proxy of an object that stays on the other side."""
        if number not in self.proxies:
            self.proxies[number] = Remote(self, number, kind)
        return self.proxies[number]

    def finish(self, outcome: str, detail: str) -> NoReturn:
        """Report and end this process, whatever the test program is doing."""
        os.write(self.report, wire.dump([outcome, detail[:300], self.calls]))
        os._exit(0)


_ENDS_A_LOOP = ("StopIteration", "StopAsyncIteration")  # `for x in map(candidate, ...)` would take it for the end


class SolutionError(Exception):
    """An exception of the solution that is no builtin one."""


def _exception(name: str, message: str) -> BaseException:
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception) and name not in _ENDS_A_LOOP:
        try:
            error = kind(message)
        except Exception:
            error = SolutionError(f"{name}: {message}")
    else:
        error = SolutionError(f"{name}: {message}")
    error.of_solution = True  # type: ignore[attr-defined]
    return error


class Remote:
    """An object of the solution. Only the other side can look into it; two proxies are equal when they are one."""

    __slots__ = ("_kind", "_link", "_number")

    def __init__(self, link: Link, number: int, kind: str) -> None:
        self._link, self._number, self._kind = link, number, kind

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        link = self._link
        link.calls += 1
        request = {
            "op": "call",
            "of": self._number,
            "args": [_sent(arg) for arg in args],
            "kwargs": {name: _sent(arg) for name, arg in kwargs.items()},
        }
        answer = link.ask(request)
        changed = answer.get("changed")
        if isinstance(changed, dict):
            for index, data in changed.items():
                _change(args, index, link.decode(data))
        return link.value(answer)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._link.value(self._link.ask({"op": "get", "of": self._number, "name": name}))

    def __repr__(self) -> str:
        return f"<{self._kind} of the solution>"


def _sent(value: Any) -> Any:
    if isinstance(value, Remote):
        return {"t": "ref", "v": value._number, "k": ""}
    if isinstance(value, list | tuple) and any(isinstance(item, Remote) for item in value):
        items = [_sent(item) for item in value]
        return items if isinstance(value, list) else {"t": "tuple", "v": items}
    try:
        return wire.encode(list(value) if hasattr(value, "__next__") else value)
    except wire.NotPlain as error:
        raise NotSendable(str(error)) from None


class NotSendable(Exception):
    """The test program passes something that is no plain data."""


def _change(args: tuple[Any, ...], index: str, after: Any) -> None:
    """Let an argument that the solution changed in place be what it became."""
    if not index.isdigit() or int(index) >= len(args):
        return
    before = args[int(index)]
    if type(before) is not type(after):
        return
    if isinstance(before, list):
        before[:] = after
    elif isinstance(before, dict | set):
        before.clear()
        before.update(after)


def run(program: Program, link: Link) -> NoReturn:
    """Run a test program against the solution at the other end of the link, and report."""
    space: dict[str, Any] = {"__name__": "tests"}
    step = "prefix"
    try:
        if program.prefix is not None:
            exec(program.prefix, space)
        step = "load"
        described = link.ask({"op": "load", "names": program.names})
        if "raise" in described:
            link.value(described)
        loaded = described.get("ok")
        if not isinstance(loaded, dict):
            link.finish("failed", "protocol: an answer that is no message")
        if program.entry_point and program.entry_point not in loaded:
            link.finish("failed", f"it defines no {program.entry_point}")
        for name in program.names:
            if name in loaded:
                space[name] = link.decode(loaded[name])
        for name, code in program.steps:
            step = name
            exec(code, space)
        if program.kind == "check" and link.calls == 0:
            space["check"](space[program.entry_point])
        if program.kind == "calls":
            step = run_cases(program, link, space[program.entry_point])
    except BaseException as error:
        link.finish(*explain(error, step, link.calls))
    if select.select([link.answers], [], [], 0)[0]:
        link.finish("failed", "protocol: output after the last call")
    if link.calls == 0:
        link.finish("bad test", "the tests never call the solution")
    link.finish("passed", f"{link.calls} calls")


def explain(error: BaseException, step: str, calls: int) -> tuple[str, str]:
    """Return the outcome and detail of an exception that left the test program."""
    text = f"{type(error).__name__}: {error}"[:200] if str(error) else type(error).__name__
    if getattr(error, "of_solution", False):
        return "failed", f"{step}: the solution raised {text}"
    if isinstance(error, NotSendable):
        return "bad test", f"{step} passes the solution {error}, which is no plain data"
    if isinstance(error, AssertionError):
        return "failed", f"{step}: an assertion does not hold" + (f" ({error})"[:120] if str(error) else "")
    if isinstance(error, ImportError | SyntaxError) or (calls == 0 and not isinstance(error, NameError)):
        return "bad test", f"{step} raised {text}"
    return "failed", f"{step} raised {text}"


def run_cases(program: Program, link: Link, function: Any) -> str:
    """Call the entry point for each case and compare; the first that differs is reported."""
    for number, case in enumerate(program.cases, 1):
        got = function(*case.get("args", []), **case.get("kwargs", {}))
        if not same(got, case["expected"], program.compare):
            link.finish("failed", f"case {number}: another result than expected")
    return "cases"


def same(got: Any, expected: Any, options: dict[str, Any]) -> bool:
    """Whether a result is the expected one.

    The expected value is JSON: a tuple is a list there, and the keys of a dict are texts. Booleans are no numbers.
    Numbers of which one is a float agree within `rel_tol` (1e-6) of the expected or `abs_tol` (1e-9). `unordered`
    compares lists as multisets.
    """
    if isinstance(expected, bool) or isinstance(got, bool):
        return isinstance(expected, bool) and isinstance(got, bool) and bool(got == expected)
    if isinstance(expected, int | float) and isinstance(got, int | float):
        if isinstance(expected, int) and isinstance(got, int):
            return bool(got == expected)
        return _close(got, expected, options)
    if isinstance(expected, list):
        if options.get("unordered") and isinstance(got, list | tuple | set | frozenset):
            return _same_unordered(list(got), expected, options)
        return (
            isinstance(got, list | tuple)
            and len(got) == len(expected)
            and all(same(left, right, options) for left, right in zip(got, expected, strict=True))
        )
    if isinstance(expected, dict):
        if not isinstance(got, dict) or len(got) != len(expected):
            return False
        texts = {key if isinstance(key, str) else _key(key): item for key, item in got.items()}
        return texts.keys() == expected.keys() and all(same(texts[key], expected[key], options) for key in expected)
    return type(got) is type(expected) and bool(got == expected)


def _close(got: float, expected: float, options: dict[str, Any]) -> bool:
    try:
        difference, scale = abs(got - expected), abs(expected)
    except OverflowError:
        return False
    if not math.isfinite(difference):
        return False
    return bool(difference <= max(options.get("rel_tol", 1e-6) * scale, options.get("abs_tol", 1e-9)))


def _key(key: Any) -> str:
    return {True: "true", False: "false", None: "null"}[key] if isinstance(key, bool | None) else str(key)


def _same_unordered(got: list[Any], expected: list[Any], options: dict[str, Any]) -> bool:
    if len(got) != len(expected):
        return False
    left = list(expected)
    for item in got:
        index = next((i for i, other in enumerate(left) if same(item, other, options)), None)
        if index is None:
            return False
        del left[index]
    return True
