r"""Code: the tests of the gold decide, run against the solution in a sandbox (see verifiers/sandbox).

The gold is one of
    {"kind": "asserts", "tests": ["assert f(3) == 9"], "setup": ""}
    {"kind": "check", "entry_point": "f", "test": "def check(candidate): ..."}
    {"kind": "calls", "entry_point": "f", "cases": [{"args": [3], "expected": 9}], "compare": {...}}
    {"kind": "stdio", "cases": [{"stdin": "5\n", "stdout": "25\n"}], "compare": {...}}
and may carry `language`, `prefix` (code that the completion continues), `time_s` and `memory_mb`. `asserts` and `check`
may carry `in_place`: their tests want both the result of a call and the change that it makes to an argument.

Where the code of a response is: without a fence, all of it, or all between its last answer tags. Else the last fenced
block that is marked as the language, or not marked, and defines what the tests call; else the last that is marked, else
the last that is not. With a prefix, code that does not define that itself continues it.
"""

import ast
import hashlib
import json
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from verifiers.contract import BadGold, Deferred, Outcome, Status, Verifier
from verifiers.extract import strip_reasoning
from verifiers.languages import LANGUAGES
from verifiers.sandbox.inside.program import Program

MAX_CODE = 200_000
"""Characters of a solution."""

MAX_GOLD = 8_000_000
TIME_S, MEMORY_MB = 4.0, 1024
BUDGET_S = 20.0

_KINDS = ("asserts", "check", "calls", "stdio")
_COMMON = {"kind", "language", "prefix", "setup", "time_s", "memory_mb"}
_KEYS = {
    "asserts": _COMMON | {"tests", "entry_point", "in_place"},
    "check": _COMMON | {"entry_point", "test", "in_place"},
    "calls": _COMMON | {"entry_point", "cases", "compare"},
    "stdio": (_COMMON | {"cases", "compare"}) - {"setup"},
}
_FORM = (
    'a code ground_truth is JSON such as {"kind": "asserts", "tests": ["assert f(3) == 9"]}; see verifiers/README.md'
)
# Possessive, so that no run of blanks is gone through twice.
_FENCE = re.compile(r"^([ \t]*+)(`{3,}+|~{3,}+)[ \t]*+([A-Za-z0-9+#_-]*+)[^\n`]*+$", re.MULTILINE)
_EVALUATORS = {
    "": ("eval", "exec", "__import__"),
    "builtins": ("eval", "exec", "__import__"),
    "dill": ("load", "loads"),
    "importlib": ("import_module",),
    "marshal": ("load", "loads"),
    "os": ("popen", "system"),
    "pickle": ("Unpickler", "load", "loads"),
    "subprocess": ("Popen", "call", "check_call", "check_output", "getoutput", "run"),
}
"""What runs what it is given, by module: the verdict would be that of the solution."""

_CATCH_ALL = ("AssertionError", "BaseException", "Exception")


class Gold(NamedTuple):
    """A checked gold.

    Attributes:
        payload: what a worker needs of it, as members of a JSON object: its text, and a hash of that.
        language: a name of `LANGUAGES`.
        names: what the tests take from the solution; `entry_point` alone where the gold names one.
        prefix: code that the response continues; empty for none.
    """

    payload: str
    language: str
    names: tuple[str, ...]
    prefix: str


def parse_gold(value: Any) -> Gold:
    """Check a gold without running any of it.

    Raises:
        BadGold: not one of the four kinds, without a test, tests that are no Python or hold whatever the solution does,
            or tests that leave the verdict to the solution.
    """
    if not isinstance(value, dict) or value.get("kind") not in _KINDS:
        raise BadGold(_FORM)
    kind = value["kind"]
    unknown = sorted(set(value) - _KEYS[kind])
    _demand(not unknown, f"{', '.join(unknown)[:60]}: not part of a code gold of kind {kind}")
    for name in ("prefix", "setup", "entry_point"):
        given = value.get(name)
        _demand(given is None or isinstance(given, str), f"{name} must be text, not {str(given)[:40]!r}")
    language = value.get("language", "python")
    _demand(language in LANGUAGES, f"language {str(language)[:40]!r} is not one of {', '.join(LANGUAGES)}")
    _demand(language == "python" or kind == "stdio", f"{language} programs are checked by stdio cases only")
    _demand(isinstance(value.get("in_place", False), bool), "in_place must be true or false")
    _number(value, "time_s", 0.1, 60)
    _number(value, "memory_mb", 64, 8192)
    _compare(value.get("compare"), kind)
    entry_point = value.get("entry_point")
    if kind in ("check", "calls"):
        _demand(entry_point is not None and entry_point.isidentifier(), "entry_point must name a function")
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an invalid escape in a test is worth a warning nowhere
        {"asserts": _asserts, "check": _check, "calls": _calls, "stdio": _stdio}[kind](value)
        names = () if kind == "stdio" else _names(value)
    text = json.dumps(value, sort_keys=True)
    _demand(len(text) <= MAX_GOLD, f"the gold has {len(text)} characters, at most {MAX_GOLD}")
    key = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    payload = f'"gold": {json.dumps(text)}, "key": "{key}"'
    return Gold(payload, language, names, value.get("prefix") or "")


_quiet = threading.Lock()


def _names(value: dict[str, Any]) -> tuple[str, ...]:
    _python(value.get("setup") or "", "setup")
    try:
        program = Program(value)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadGold(f"the tests are no Python ({type(error).__name__}: {str(error)[:80]}); {_FORM}") from None
    _demand(
        bool(program.names),
        "the tests use nothing that they do not define (a solution named like a builtin needs an entry_point)",
    )
    _demand(
        program.judge is None,
        f"the tests compare by {program.judge}, which they do not define, so that the solution would",
    )
    return (value["entry_point"],) if value.get("entry_point") else tuple(program.names)


def _demand(holds: bool, problem: str) -> None:  # noqa: FBT001
    if not holds:
        raise BadGold(f"{problem}; {_FORM}")


def _number(value: dict[str, Any], name: str, least: float, most: float) -> None:
    given = value.get(name)
    usable = given is None or (
        isinstance(given, int | float) and not isinstance(given, bool) and least <= given <= most
    )
    _demand(usable, f"{name} must be a number from {least:g} to {most:g}, not {str(given)[:40]!r}")
    if given is None:
        value.pop(name, None)


def _compare(options: Any, kind: str) -> None:
    _demand(options is None or isinstance(options, dict), "compare must be an object")
    for name, given in (options or {}).items():
        if name == "unordered" and kind == "calls":
            _demand(given in (True, False, "deep"), 'compare.unordered must be true, false or "deep"')
        else:
            known = "rel_tol, abs_tol or unordered" if kind == "calls" else "rel_tol or abs_tol"
            _demand(name in ("rel_tol", "abs_tol"), f"compare.{name[:40]} is unknown: {known}")
            usable = isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given < 1
            _demand(usable, f"compare.{name} must be a number from 0 to 1, not {str(given)[:40]!r}")


def _asserts(value: dict[str, Any]) -> None:
    tests = value.get("tests")
    _demand(isinstance(tests, list) and len(tests) > 0, "tests must be a list with at least one text")
    assert isinstance(tests, list)
    can_fail = _can_fail(_python(value.get("setup") or "", "setup"))
    for number, test in enumerate(tests, 1):
        _demand(isinstance(test, str), f"test {number} must be text, not {type(test).__name__}")
        tree = _python(test, f"test {number}")
        can_fail = can_fail or _can_fail(tree)
    _demand(can_fail, "no test asserts anything that can fail")


def _check(value: dict[str, Any]) -> None:
    test = value.get("test")
    _demand(isinstance(test, str), "test must be text that defines check(candidate)")
    tree = _python(str(test), "test")
    checks = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "check"]
    _demand(bool(checks), "test defines no check(candidate)")
    _demand(len(checks[-1].args.args) == 1, "check must take one argument, the solution")
    _demand(_can_fail(tree), "check asserts nothing that can fail")


def _can_fail(node: ast.AST) -> bool:
    """Whether code can end a test: `assert` of what may be false, `raise`, or a call of `assert_close`.

    What stands in a `try` that swallows failed assertions cannot.
    """
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Try) and any(map(_swallows, node.handlers)):
            waiting += (*node.handlers, *node.orelse, *node.finalbody)
        elif _fails(node):
            return True
        else:
            waiting += ast.iter_child_nodes(node)
    return False


def _swallows(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in _CATCH_ALL) for kind in kinds)


def _fails(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert):
        return not _always_true(node.test)
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        return str(name).lower().startswith(("assert", "fail", "main"))
    return isinstance(node, ast.Raise)


def _always_true(test: ast.expr) -> bool:
    if isinstance(test, ast.Constant):
        return bool(test.value)
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        return any(map(_always_true, test.values))
    return (isinstance(test, ast.Tuple | ast.List | ast.Set) and bool(test.elts)) or (
        isinstance(test, ast.Dict) and bool(test.keys)
    )


def _calls(value: dict[str, Any]) -> None:
    cases = _cases(value)
    for number, case in enumerate(cases, 1):
        _demand(set(case) <= {"args", "kwargs", "expected"}, f"case {number} has keys besides args, kwargs, expected")
        _demand("expected" in case, f"case {number} says nothing of the result expected")
        _demand(isinstance(case.get("args", []), list), f"the args of case {number} must be a list")
        _demand(isinstance(case.get("kwargs", {}), dict), f"the kwargs of case {number} must be an object")
    _demand(
        any(case["expected"] is not None for case in cases), "every case expects null, which an empty function gives"
    )


def _stdio(value: dict[str, Any]) -> None:
    cases = _cases(value)
    for number, case in enumerate(cases, 1):
        usable = set(case) == {"stdin", "stdout"} and all(isinstance(text, str) for text in case.values())
        _demand(usable, f"case {number} must have the texts stdin and stdout, and nothing else")
    _demand(any(case["stdout"].strip() for case in cases), "every case expects no output, so an empty program passes")


def _cases(value: dict[str, Any]) -> list[dict[str, Any]]:
    cases = value.get("cases")
    _demand(isinstance(cases, list) and len(cases) > 0, "cases must be a list with at least one object")
    assert isinstance(cases, list)
    _demand(all(isinstance(case, dict) for case in cases), "each case must be an object")
    return cases


def _python(text: str, name: str) -> ast.Module:
    """Parse a part of the tests; refuse what holds whatever the solution does, and what would run its results."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadGold(f"{name} is no Python ({type(error).__name__}: {str(error)[:80]}); {_FORM}") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Tuple) and node.test.elts:
            raise BadGold(f"{name} asserts a tuple, which always holds; {_FORM}")
        if isinstance(node, ast.Call) and (runs := _runs(node.func)):
            text_alone = all(isinstance(argument, ast.Constant) for argument in node.args[:1])
            _demand(text_alone, f"{name} may {runs} what the solution returns")
    return tree


def _runs(function: ast.expr) -> str:
    """Return the name of a function that runs what it is given; empty for another."""
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return function.attr if function.attr in _EVALUATORS.get(function.value.id, ()) else ""
    return function.id if isinstance(function, ast.Name) and function.id in _EVALUATORS[""] else ""


def check(response: str, gold: Gold, _prompt: str) -> Outcome | Deferred:
    """Find the code of a response and leave it to the sandbox."""
    source = code_of(strip_reasoning(response), gold).removeprefix("\ufeff")
    if not source.strip():
        return Outcome(Status.unparsed, None, "no code found")
    if len(source) > MAX_CODE:
        detail = f"limit: {len(source)} characters of code, at most {MAX_CODE}"
        return Outcome(Status.incorrect, None, detail)
    return Deferred(f'{{"source": {json.dumps(source)}, {gold.payload}}}', source.strip(), "")


def code_of(text: str, gold: Gold) -> str:
    """Return the program of a response without reasoning blocks; empty when there is none."""
    blocks = fenced(text, LANGUAGES[gold.language].fences)
    if blocks is None:
        code = _answer(text)
    else:
        defines = _definition(gold.names)
        defining = [block for _, block in blocks if defines is not None and defines.search(block)]
        marked = [block for tag, block in blocks if tag]
        code = (defining or marked or [block for _, block in blocks] or [""])[-1]
        if defining:
            return code if not gold.prefix else f"{_imports(gold.prefix)}{code}"
    if gold.prefix and code.strip():
        return gold.prefix + code
    return code


def fenced(text: str, languages: tuple[str, ...]) -> list[tuple[str, str]] | None:
    """Return the fenced blocks of a language or of none, with what they are marked as; None where there is no fence."""
    found = list(_blocks(text))
    return [(tag, block) for tag, block in found if tag in languages or not tag] if found else None


class _Fence(NamedTuple):
    """A line that may open or close a block: its indent and length in characters, its mark, what it says, its place."""

    indent: int
    length: int
    mark: str
    tag: str
    start: int
    end: int

    def closes(self, opening: "_Fence") -> bool:
        """Whether it closes another. One that stands four columns further in is part of a docstring."""
        same = self.mark == opening.mark and self.length >= opening.length
        return same and not self.tag and self.indent < opening.indent + 4


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield the language and the text of each fenced block; the last may be open."""
    opening: _Fence | None = None
    for match in _FENCE.finditer(text):
        indent, length = match.end(1) - match.start(1), match.end(2) - match.start(2)
        fence = _Fence(indent, length, text[match.start(2)], match[3].lower(), match.start(), match.end() + 1)
        if opening is None:
            opening = fence
        elif fence.closes(opening):
            yield opening.tag, _dedented(text[opening.end : fence.start], opening.indent)
            opening = None
    if opening is not None:
        yield opening.tag, _dedented(text[opening.end :], opening.indent)


def _dedented(block: str, indent: int) -> str:
    """Return a block without the blanks that its fence has before it, as in a list."""
    return re.sub(rf"^[ \t]{{1,{indent}}}+", "", block, flags=re.MULTILINE) if indent else block


def _answer(text: str) -> str:
    """Return what the last closed answer tag holds, else all of a text without fences."""
    end = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, max(0, end))
    return text if start < 0 else text[start + len("<answer>") : end]


def _definition(names: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return what finds a definition of one of the names at the top level of code; None for no names."""
    if not names:
        return None
    either = "|".join(map(re.escape, names))
    assigned = rf"(?:{either})[ \t]*+(?::[^=\n]*+)?=(?!=)"
    return re.compile(rf"^(?:async[ \t]++)?(?:def|class)[ \t]++(?:{either})\b|^{assigned}", re.MULTILINE)


def _imports(prefix: str) -> str:
    """Return the import lines of a prefix, which code that stands for itself may rely on."""
    lines = [line for line in prefix.splitlines() if re.match(r"(?:import|from)\s", line)]
    return "".join(f"{line}\n" for line in lines)


VERIFIER = Verifier(
    name="code",
    version=f"3+python-{sys.version_info[0]}.{sys.version_info[1]}",
    parse_gold=parse_gold,
    check=check,
    work="verifiers.code_worker:work",
    budget_s=BUDGET_S,
    sandboxed=True,
    memory_mb=None,  # the worker only waits; solutions and tests have their own limits
)
