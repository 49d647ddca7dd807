r"""Code: the tests of the gold decide, run against the solution in a sandbox (see verifiers/sandbox).

The gold is one of
    {"kind": "asserts", "tests": ["assert f(3) == 9"], "setup": ""}
    {"kind": "check", "entry_point": "f", "test": "def check(candidate): ..."}
    {"kind": "calls", "entry_point": "f", "cases": [{"args": [3], "expected": 9}], "compare": {...}}
    {"kind": "stdio", "cases": [{"stdin": "5\n", "stdout": "25\n"}], "compare": {...}}
and may carry `language`, `prefix` (code that the completion continues), `time_s` and `memory_mb`.

Where the code of a response is: without a fence, all of it. Else the last fenced block that is marked as the language,
or not marked, and defines what the tests call; else the last such block. With a prefix, code that does not define that
itself continues it.
"""

import ast
import json
import re
from typing import Any, NamedTuple

from verifiers.contract import BadGold, Deferred, Outcome, Status, Verifier
from verifiers.extract import strip_reasoning
from verifiers.languages import LANGUAGES
from verifiers.sandbox.inside.tester import Program

MAX_CODE = 200_000
"""Characters of a solution."""

MAX_GOLD = 8_000_000
TIME_S, MEMORY_MB = 4.0, 1024
BUDGET_S = 20.0

_KINDS = ("asserts", "check", "calls", "stdio")
_COMMON = {"kind", "language", "prefix", "setup", "time_s", "memory_mb"}
_KEYS = {
    "asserts": _COMMON | {"tests", "entry_point"},
    "check": _COMMON | {"entry_point", "test"},
    "calls": _COMMON | {"entry_point", "cases", "compare"},
    "stdio": (_COMMON | {"cases", "compare"}) - {"setup"},
}
_FORM = (
    'a code ground_truth is JSON such as {"kind": "asserts", "tests": ["assert f(3) == 9"]}; see verifiers/README.md'
)
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([A-Za-z0-9+#_-]*)[^\n`]*$", re.MULTILINE)


class Gold(NamedTuple):
    """A checked gold.

    Attributes:
        text: its JSON.
        language: a name of `LANGUAGES`.
        names: what the tests take from the solution; `entry_point` alone where the gold names one.
        prefix: code that the response continues; empty for none.
    """

    text: str
    language: str
    names: tuple[str, ...]
    prefix: str


def parse_gold(value: Any) -> Gold:
    """Check a gold without running any of it.

    Raises:
        BadGold: not one of the four kinds, without a test, tests that are no Python, or tests that an empty program
            passes.
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
    _number(value, "time_s", 0.1, 60)
    _number(value, "memory_mb", 64, 8192)
    _compare(value.get("compare"))
    entry_point = value.get("entry_point")
    if kind in ("check", "calls"):
        _demand(entry_point is not None and entry_point.isidentifier(), "entry_point must name a function")
    {"asserts": _asserts, "check": _check, "calls": _calls, "stdio": _stdio}[kind](value)
    if kind != "stdio":
        _python(value.get("setup") or "", "setup")
    text = json.dumps(value, sort_keys=True)
    _demand(len(text) <= MAX_GOLD, f"the gold has {len(text)} characters, at most {MAX_GOLD}")
    return Gold(text, language, _names(value), value.get("prefix") or "")


def _names(value: dict[str, Any]) -> tuple[str, ...]:
    if value.get("entry_point"):
        return (value["entry_point"],)
    return tuple(Program(value).names) if value["kind"] == "asserts" else ()


def _demand(holds: bool, problem: str) -> None:  # noqa: FBT001
    if not holds:
        raise BadGold(f"{problem}; {_FORM}")


def _number(value: dict[str, Any], name: str, least: float, most: float) -> None:
    given = value.get(name)
    usable = given is None or (
        isinstance(given, int | float) and not isinstance(given, bool) and least <= given <= most
    )
    _demand(usable, f"{name} must be a number from {least:g} to {most:g}, not {str(given)[:40]!r}")


def _compare(options: Any) -> None:
    _demand(options is None or isinstance(options, dict), "compare must be an object")
    for name, given in (options or {}).items():
        if name == "unordered":
            _demand(isinstance(given, bool), "compare.unordered must be true or false")
        else:
            _demand(name in ("rel_tol", "abs_tol"), f"compare.{name[:40]} is unknown: rel_tol, abs_tol or unordered")
            usable = isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given < 1
            _demand(usable, f"compare.{name} must be a number from 0 to 1, not {str(given)[:40]!r}")


def _asserts(value: dict[str, Any]) -> None:
    tests = value.get("tests")
    _demand(isinstance(tests, list) and len(tests) > 0, "tests must be a list with at least one text")
    assert isinstance(tests, list)
    can_fail = False
    for number, test in enumerate(tests, 1):
        _demand(isinstance(test, str), f"test {number} must be text, not {type(test).__name__}")
        tree = _python(test, f"test {number}")
        can_fail = can_fail or any(isinstance(node, ast.Assert | ast.Raise | ast.Call) for node in ast.walk(tree))
    _demand(can_fail, "no test asserts or calls anything")


def _check(value: dict[str, Any]) -> None:
    test = value.get("test")
    _demand(isinstance(test, str), "test must be text that defines check(candidate)")
    tree = _python(str(test), "test")
    defined = any(isinstance(node, ast.FunctionDef) and node.name == "check" for node in tree.body)
    _demand(defined, "test defines no check(candidate)")


def _calls(value: dict[str, Any]) -> None:
    for number, case in enumerate(_cases(value), 1):
        _demand(set(case) <= {"args", "kwargs", "expected"}, f"case {number} has keys besides args, kwargs, expected")
        _demand("expected" in case, f"case {number} says nothing of the result expected")
        _demand(isinstance(case.get("args", []), list), f"the args of case {number} must be a list")
        _demand(isinstance(case.get("kwargs", {}), dict), f"the kwargs of case {number} must be an object")


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
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadGold(f"{name} is no Python ({type(error).__name__}: {str(error)[:80]}); {_FORM}") from None


def check(response: str, gold: Gold, _prompt: str) -> Outcome | Deferred:
    """Find the code of a response and leave it to the sandbox."""
    source = code_of(strip_reasoning(response), gold)
    if not source.strip():
        return Outcome(Status.unparsed, None, "no code found")
    if len(source) > MAX_CODE:
        detail = f"limit: {len(source)} characters of code, at most {MAX_CODE}"
        return Outcome(Status.incorrect, None, detail)
    return Deferred(f'{{"source": {json.dumps(source)}, "gold": {gold.text}}}', source.strip(), "")


def code_of(text: str, gold: Gold) -> str:
    """Return the program of a response without reasoning blocks; empty when there is none."""
    blocks = fenced(text, LANGUAGES[gold.language].fences)
    if blocks is None:
        code = text
    else:
        defining = [block for block in blocks if _defines(block, gold.names)]
        code = (defining or blocks or [""])[-1]
        if defining:
            return code if not gold.prefix else f"{_imports(gold.prefix)}{code}"
    if gold.prefix and code.strip():
        return gold.prefix + code
    return code


def fenced(text: str, languages: tuple[str, ...]) -> list[str] | None:
    """Return the fenced blocks of a language or of none, or None where the text has no fence; the last may be open."""
    blocks, opening, start = [], None, 0
    marks = False
    for match in _FENCE.finditer(text):
        if opening is None:
            opening, start, marks = match, match.end() + 1, True
        elif match[1][0] == opening[1][0] and len(match[1]) >= len(opening[1]) and not match[2]:
            blocks.append((opening[2].lower(), text[start : match.start()]))
            opening = None
    if not marks:
        return None
    if opening is not None:
        blocks.append((opening[2].lower(), text[start:]))
    return [block for tag, block in blocks if tag in languages or not tag]


def _defines(code: str, names: tuple[str, ...]) -> bool:
    """Whether code defines one of the names at its top level."""
    for name in map(re.escape, names):
        if re.search(rf"^(?:async[ \t]+)?(?:def|class)[ \t]+{name}\b|^{name}[ \t]*=", code, re.MULTILINE):
            return True
    return False


def _imports(prefix: str) -> str:
    """Return the import lines of a prefix, which code that stands for itself may rely on."""
    lines = [line for line in prefix.splitlines() if re.match(r"(?:import|from)\s", line)]
    return "".join(f"{line}\n" for line in lines)


VERIFIER = Verifier(
    name="code",
    version="1",
    parse_gold=parse_gold,
    check=check,
    work="verifiers.code_worker:work",
    budget_s=BUDGET_S,
    memory_mb=None,  # the worker only waits; solutions and tests have their own limits
)
