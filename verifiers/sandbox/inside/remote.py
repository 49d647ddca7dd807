"""Objects of the solution, as the test program sees them: what is no plain data stays on the other side.

An object that a function returns has attributes, and can be called if the solution says so. Nothing else: its truth,
its hash, and whether it equals anything would be the solution's word for its own result, so a test that asks for one of
them ends with a failed verdict that no `except` catches. Objects which the tests build themselves, by calling a class
with a capitalised name, also have a length, truth, items, text and arithmetic: that is what tests of a class are about;
what their methods return and their attributes hold has not. No comparison is ever left to the solution.
"""

import builtins
import contextlib
import copy
from collections.abc import Iterator
from typing import Any, NoReturn

from verifiers.sandbox.inside import wire
from verifiers.sandbox.inside.link import Link

MAX_KINDS = 20
"""Classes of an exception that are looked at."""

_NOT_A_NUMBER = ("nan", "NaN", "sNaN")
_ENDS_A_LOOP = ("StopIteration", "StopAsyncIteration")  # `for x in map(candidate, ...)` would take it for the end
_FORWARDED = ("__name__", "__qualname__")


class SolutionError(Exception):
    """An exception of the solution that is no builtin one."""


class NotSendable(Exception):
    """The test program passes something that is no plain data."""


class Space:
    """What has come from the solution: one proxy for each object.

    Args:
        link: how to ask for more.
        keeps: whether arguments stay as they were where the tests take a result of the call.

    Attributes:
        changed: whether a call of which the tests take a result has changed an argument.
        said: whether any answer was more than something empty, or no number at all.
    """

    def __init__(self, link: Link, *, keeps: bool = False) -> None:
        self.link, self.keeps = link, keeps
        self.changed = self.said = False
        self.errors: dict[int, type[Exception]] = {}
        self.proxies: dict[tuple[int, bool], Opaque] = {}

    def ask(
        self, request: dict[str, Any], *, built: bool = False, sent: list[Any] | None = None, alone: bool = False
    ) -> Any:
        """Return the value of an answer, or raise what the solution raised.

        Args:
            request: without its id.
            built: whether an object in the answer is one that the tests build.
            sent: the containers among the arguments of the request, which the call may have changed.
            alone: whether the change is all that the tests want of the call.
        """
        answer = self.link.ask(request)
        sent = sent or []
        if request["op"] in ("call", "get", "more"):
            self.said = self.said or "raise" in answer or not _empty(answer.get("ok"))
        if "changed" in answer and not alone:
            self.changed = True
            if self.keeps:
                sent = [copy.copy(container) for container in sent]  # what the result is made of, if it is made of them
        decoder = _Decoder(self, built, sent)
        value = self._decoded(decoder, answer.get("ok"))
        if "changed" in answer:
            self._change(decoder, sent, answer["changed"])
        if "raise" in answer:
            self._raise(answer["raise"])
        return value

    def load(self, names: list[str], errors: set[str]) -> dict[str, Any]:
        """Return what the solution defines of the names; exception classes among `errors` become classes of ours."""
        answer = self.link.ask({"op": "load", "names": names})
        if "raise" in answer:
            self._raise(answer["raise"])
        found = answer.get("ok")
        if not isinstance(found, dict):
            self.link.refuse()
        loaded = {
            name: self._decoded(_Decoder(self, name[:1].isupper(), []), found[name]) for name in names if name in found
        }
        if not all(isinstance(value, Opaque) for value in loaded.values()):
            self.link.given()
        for name in errors & set(loaded):  # whatever it is, no class that catches what the tests raise
            known = found[name].get("c") == "error" if isinstance(loaded[name], Function) else False
            number = loaded[name]._remote_number if known else -1
            loaded[name] = self.errors.setdefault(number, type(name, (SolutionError,), {}))
        return loaded

    def proxy(self, number: int, kind: str, sort: str, *, built: bool) -> "Opaque":
        """Return the one proxy of an object that stays on the other side."""
        # The same object may be known as one that the tests built and as what a method returned. `return self` must not
        # give a result the arithmetic of the former.
        if (number, built) not in self.proxies:
            made: type[Opaque] = Function if sort in ("class", "function", "error") else Instance if built else Opaque
            self.proxies[number, built] = made(self, number, kind, built)
        return self.proxies[number, built]

    def _decoded(self, decoder: "_Decoder", data: Any) -> Any:
        try:
            return decoder.decode(data)
        except Exception:
            self.link.refuse()

    def _change(self, decoder: "_Decoder", sent: list[Any], changed: Any) -> None:
        """Let the arguments of a call be what they became."""
        try:
            for before, after in zip(sent, [decoder.content(data) for data in changed], strict=True):
                _replace(before, after)
        except Exception:
            self.link.refuse()

    def _raise(self, told: Any) -> None:
        try:
            name, message, *rest = told
            name, message = str(name), str(message)
            numbers = rest[0][:MAX_KINDS] if rest else []
            known = [self.errors[number] for number in numbers if number in self.errors]
        except (TypeError, ValueError, LookupError):
            self.link.refuse()
        if name == "NotPlain":
            self.link.finish("failed", f"limit: a result that cannot be sent: {message}")
        raise exception(name, message, known)


def exception(name: str, message: str, known: list[type[Exception]]) -> BaseException:
    """Return the builtin exception of a name, else a `SolutionError`; it is one of the known classes, too."""
    kind = getattr(builtins, name, None)
    error: BaseException = SolutionError(f"{name}: {message}")
    if isinstance(kind, type) and issubclass(kind, Exception) and name not in _ENDS_A_LOOP:
        with contextlib.suppress(Exception):  # some take more than a message
            error = kind.__new__(kind)
            error = kind(message)
    if known:
        with contextlib.suppress(TypeError, ValueError):
            error = type(name, (*dict.fromkeys(known), type(error)), {})(message)
    error.of_solution = True  # type: ignore[attr-defined]
    return error


def _empty(data: Any) -> bool:
    """Whether a value says nothing that a test is sure to look at: it is empty, all that it holds is, or no number."""
    if not isinstance(data, dict):
        return data == "" or (isinstance(data, list) and all(map(_empty, data)))
    tag, value = data.get("t"), data.get("v")
    if tag in ("float", "decimal"):
        return value in _NOT_A_NUMBER
    if tag == "complex" and isinstance(value, list):
        return any(map(_empty, value))
    if tag == "range" and isinstance(value, list):
        return len(value) == 3 and value[0] == value[1]
    return tag not in ("ref", "same", "type") and "more" not in data and _empty(value)


def _replace(before: Any, after: Any) -> None:
    if type(before) is not type(after) and not (isinstance(before, dict) and isinstance(after, dict)):
        raise wire.NotPlain("an argument of another type")
    if isinstance(before, list | bytearray):
        before[:] = after
    elif hasattr(before, "dtype"):
        before[...] = after
    else:
        before.clear()
        before.extend(after) if hasattr(before, "extend") else before.update(after)


class _Decoder(wire.Decoder):
    def __init__(self, space: Space, built: bool, sent: list[Any]) -> None:  # noqa: FBT001
        super().__init__(sent.copy())
        self.space, self.built = space, built

    def refer(self, data: dict[str, Any]) -> Any:
        number = data["v"]
        if type(number) is not int or not 0 <= number < 1 << 31:
            raise wire.NotPlain("a number that is none")
        return self.space.proxy(number, str(data["k"])[:80], data["c"], built=self.built)

    def stream(self, items: list[Any], data: dict[str, Any]) -> Iterator[Any]:
        return self._all(items, data.get("more"))

    def _all(self, items: list[Any], more: Any) -> Iterator[Any]:
        yield from items
        if more is not None:
            rest = self.space.ask({"op": "more", "of": int(more)}, built=self.built)
            if not hasattr(rest, "__next__"):
                self.space.link.refuse()
            yield from rest


class _Encoder(wire.Encoder):
    def refer(self, value: Any) -> dict[str, Any]:
        if isinstance(value, Opaque):
            return {"t": "ref", "v": value._remote_number}
        return super().refer(value)


def _sent(values: Any, made: list[Any], link: Link) -> Any:
    encoder = _Encoder(made=made)
    try:
        if isinstance(values, dict):
            return {name: encoder.encode(value) for name, value in values.items()}
        return [encoder.encode(value) for value in values]
    except wire.NotPlain as error:
        own = any(kind in str(error) for kind in ("type function", "type method", "type module", "type type"))
        if link.heard > 1 << 16 or (link.calls > 1 and not own):  # it may be made of what the solution returned
            link.finish("failed", f"limit: its results cannot be passed on: {error}")
        raise NotSendable(str(error)) from None


# No docstrings from here on: a test that reads the `__doc__` of a function must not find ours.


class Opaque:
    # An object that a function of the solution returned.
    __slots__ = ("_remote_built", "_remote_kind", "_remote_number", "_remote_space")
    _remote_space: Space
    _remote_number: int
    _remote_kind: str
    _remote_built: bool

    def __init__(self, space: Space, number: int, kind: str, built: bool) -> None:  # noqa: FBT001
        for name, value in (
            ("_remote_space", space),
            ("_remote_number", number),
            ("_remote_kind", kind),
            ("_remote_built", built),
        ):
            object.__setattr__(self, name, value)

    def _remote_refuse(self, what: str) -> NoReturn:
        # The test program cannot catch this: `except Exception: ...` around a comparison would hide it.
        self._remote_space.link.finish("failed", f"{what} {self._remote_kind}, which is no plain data")

    def _remote_ask(self, *, built: bool = False, **request: Any) -> Any:
        return self._remote_space.ask({**request, "of": self._remote_number}, built=built)

    def _remote_call(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, alone: bool = False) -> Any:
        space, made = self._remote_space, []  # type: ignore[var-annotated]
        space.link.calls += 1
        request = {"op": "call", "of": self._remote_number, "args": _sent(args, made, space.link)}
        request["kwargs"] = _sent(kwargs, made, space.link)
        return space.ask(request, built=self._remote_built, sent=made, alone=alone)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in _FORWARDED:
            raise AttributeError(name)
        return self._remote_ask(op="get", name=name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._remote_ask(op="set", name=name, value=_sent([value], [], self._remote_space.link)[0])

    def __bool__(self) -> bool:
        self._remote_refuse("the tests ask for the truth of a")

    def __eq__(self, other: object) -> bool:
        self._remote_refuse("the tests compare a")

    __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__

    def __hash__(self) -> int:
        self._remote_refuse("the tests ask for the hash of a")

    def __contains__(self, item: object) -> bool:
        self._remote_refuse("the tests look for an item in a")

    def __reduce_ex__(self, protocol: Any) -> Any:
        self._remote_refuse("the tests copy a")

    def __repr__(self) -> str:
        self._remote_refuse("the tests take the text of a")

    def __format__(self, form: str) -> str:
        self._remote_refuse("the tests take the text of a")


class Function(Opaque):
    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._remote_call(args, kwargs)

    def __instancecheck__(self, other: object) -> bool:
        return isinstance(other, Opaque) and self._remote_ask(op="is", what=other._remote_number) is True


class Instance(Opaque):
    # An object that the tests built, of a class with a capitalised name.
    __slots__ = ()

    def _remote_method(self, name: str, *args: Any) -> Any:
        return self._remote_ask(op="get", name=name)(*args)

    def _remote_text(self, name: str, *args: Any) -> str:
        text = self._remote_method(name, *args)
        return text if isinstance(text, str) else self._remote_refuse("there is no text of a")

    def _remote_answer(self, name: str, *args: Any) -> bool:
        answer = self._remote_method(name, *args)
        return answer if isinstance(answer, bool) else self._remote_refuse("there is no truth of a")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._remote_call(args, kwargs)

    def __len__(self) -> int:
        length = self._remote_method("__len__")
        return length if type(length) is int and length >= 0 else self._remote_refuse("there is no length of a")

    def __iter__(self) -> Any:
        found = self._remote_method("__iter__")
        return found if hasattr(found, "__next__") else self._remote_refuse("there is no way through a")

    def __contains__(self, item: object) -> bool:
        return self._remote_answer("__contains__", item)

    def __bool__(self) -> bool:
        for name in ("__bool__", "__len__"):
            try:
                self._remote_ask(op="get", name=name)
            except AttributeError:
                continue
            return self._remote_answer(name) if name == "__bool__" else len(self) > 0
        return True

    def __str__(self) -> str:
        return self._remote_text("__str__")

    def __repr__(self) -> str:
        return self._remote_text("__repr__")

    def __format__(self, form: str) -> str:
        return self._remote_text("__format__", form)

    def __enter__(self) -> Any:
        return self._remote_method("__enter__")

    def __exit__(self, *_: object) -> None:
        self._remote_method("__exit__", None, None, None)


def _forwarded(name: str) -> Any:
    def method(self: Instance, *args: Any) -> Any:
        # What two objects of the tests make together is one, too; what a number takes part in is not.
        built = bool(args) and all(isinstance(arg, Instance) for arg in args)
        return self._remote_ask(op="get", name=name, built=built)(*args)

    return method


def change(function: Any, /, *args: Any, **kwargs: Any) -> Any:
    # A call of which the tests want no result: see `CHANGING` in program.py.
    if isinstance(function, Function | Instance):
        return function._remote_call(args, kwargs, alone=True)
    return function(*args, **kwargs)


for _name in ("getitem", "setitem", "delitem", "int", "float", "index", "abs", "neg", "pos", "invert", "round"):
    setattr(Instance, f"__{_name}__", _forwarded(f"__{_name}__"))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
    setattr(Instance, f"__{_name}__", _forwarded(f"__{_name}__"))
    setattr(Instance, f"__r{_name}__", _forwarded(f"__r{_name}__"))
