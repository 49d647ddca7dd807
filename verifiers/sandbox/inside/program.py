"""A test program, compiled: what runs, and which names it takes from the solution."""

import ast
import builtins
import importlib
import symtable
import sys
from collections import Counter
from collections.abc import Iterator
from types import CodeType  # noqa: TC003 - needed where the sandbox has no type checker
from typing import Any

from verifiers.sandbox.inside.purity import pure

CHECKED = "__checked__"
"""What `check` calls first."""

_BUILTINS = frozenset(vars(builtins))
_PACKAGES = {"numpy": "numpy", "np": "numpy"}
_COMMON = {
    "math": ("isclose", "sqrt", "inf", "nan", "pi"),
    "copy": ("deepcopy",),
    "collections": ("Counter", "OrderedDict", "defaultdict", "deque"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "typing": ("Any", "Dict", "List", "Optional", "Set", "Tuple", "Union"),
}
_HELPERS = {name: (module, name) for module, names in _COMMON.items() for name in names}


class Program:
    """A test program, compiled once for all solutions.

    Args:
        tests: the gold: `kind`, and what that kind has (see verifiers/code.py), with `prefix` and `setup`.

    Attributes:
        names: what the solution must define. A name that the tests do not define and that is a module of the standard
            library (used as one), or a common helper such as `isclose`, is not taken from the solution: a solution
            that brought its own `math.isclose` would be told the answers and judge itself.
        lent: the modules and helpers that it gets instead.
        steps: code with the name of each part.
        pure: whether it leaves nothing behind in its process.
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
        trees = [ast.parse(text) for _, text in sources]
        prefix = _prefix(tests.get("prefix") or "")
        self.prefix = compile(prefix, "prefix", "exec")
        tables = [symtable.symtable(text, name, "exec") for name, text in sources]
        helpers = _bound(symtable.symtable(prefix, "prefix", "exec")) - _last(prefix)
        bound = _BUILTINS.union(helpers, *map(_bound, tables))
        wanted = {name for table in tables for name in _globals(table)} - bound
        called, looked_into = _uses(trees)
        self.lent: dict[str, tuple[str, str | None]] = {
            name: (_PACKAGES.get(name, name), None)
            for name in wanted & (looked_into - called)
            if name in sys.stdlib_module_names or name in _PACKAGES
        }
        others = wanted - set(self.lent) - set(_HELPERS) | ({self.entry_point} if self.entry_point else set())
        if others:
            self.lent |= {name: _HELPERS[name] for name in wanted & set(_HELPERS) - {self.entry_point}}
        self.names = sorted((wanted - set(self.lent)) | ({self.entry_point} if self.entry_point else set()))
        self.lent.pop(self.entry_point, None)
        self.pure = pure([*trees, ast.parse(prefix)])
        self.judge = _judge(trees, set(self.names) | _parameters(trees))
        marked = map(_mark_check, trees) if self.kind == "check" else trees
        self.steps: list[tuple[str, CodeType]] = [
            (name, compile(tree, name, "exec")) for (name, _), tree in zip(sources, marked, strict=True)
        ]

    def lend(self) -> Iterator[tuple[str, Any]]:
        """Yield names with the modules and helpers of `lent`."""
        for name, (module, attribute) in self.lent.items():
            found = importlib.import_module(module)
            yield name, found if attribute is None else getattr(found, attribute)


def _prefix(text: str) -> str:
    """Return the prefix made whole: its helpers are those of the tests, not the solution's. Empty when it cannot be."""
    for ending in ("", "\n    pass\n", "\n        pass\n"):
        try:
            compile(text + ending, "prefix", "exec")
        except SyntaxError:
            continue
        return text + ending
    return ""


def _last(prefix: str) -> set[str]:
    """Return the name of the function or class at the end of a prefix: what a response continues is the solution's."""
    statements = ast.parse(prefix).body
    last = statements[-1] if statements else None
    return {last.name} if isinstance(last, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else set()


def _bound(table: symtable.SymbolTable) -> set[str]:
    """Return the names that a module assigns, imports or defines, wherever `global` lets it."""
    bound = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    for child in _tables(table):
        bound |= {s.get_name() for s in child.get_symbols() if s.is_declared_global() and s.is_assigned()}
    return bound


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    """Yield the names that code looks up in its module."""
    yield from (symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced())
    for child in _tables(table):
        yield from (symbol.get_name() for symbol in child.get_symbols() if symbol.is_global())


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _tables(child)


def _uses(trees: list[ast.Module]) -> tuple[set[str], set[str]]:
    """Return the names that are called or passed on, and those of which an attribute is taken."""
    looked_into, all_uses = Counter[str](), Counter[str]()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                looked_into[node.value.id] += 1
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                all_uses[node.id] += 1
    return set(all_uses - looked_into), set(looked_into)


def _mark_check(tree: ast.Module) -> ast.Module:
    """Let `check` say that it runs, so that it runs once whether or not the tests call it themselves."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "check":
            node.body.insert(0, ast.parse(f"{CHECKED}()").body[0])
    return ast.fix_missing_locations(tree)


def _judge(trees: list[ast.Module], names: set[str]) -> str | None:
    """Return the name of a function of the solution by which the tests compare its results, if there is one.

    That is `assert same(f(3), 9)`, where neither `same` nor `f` is the tests' own.
    """
    for tree in trees:
        for node in ast.walk(tree):
            test = node.test if isinstance(node, ast.Assert) else None
            if not (isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id in names):
                continue
            inner = (part for argument in test.args for part in ast.walk(argument))
            if len(test.args) > 1 and any(isinstance(part, ast.Call) and _of(part.func, names) for part in inner):
                return test.func.id
    return None


def _of(function: ast.expr, names: set[str]) -> bool:
    """Whether a function is one of the names, or an attribute of one."""
    return any(isinstance(node, ast.Name) and node.id in names for node in ast.walk(function))


def _parameters(trees: list[ast.Module]) -> set[str]:
    """Return the names that `check` has for the solution."""
    found = (node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "check")
    return {argument.arg for node in found for argument in node.args.args}
