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

from verifiers.sandbox.inside.judges import judge
from verifiers.sandbox.inside.purity import pure

CHECKED = "__checked__"
"""What `check` calls first."""

CHANGING = "__changing__"
"""What calls a function where the tests want no result of it: as a statement of its own, or compared with None.

There a change of an argument is what they ask for. Anywhere else they may compute what they expect from an argument
that the solution has changed: `assert f(x) == sorted(x)` holds for all who clear `x` and return `[]`.
"""

_EMPTY = ("Counter", "OrderedDict", "bytes", "deque", "dict", "frozenset", "list", "set", "str", "tuple")
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
        in_place: whether the gold says that its tests want both a result and a change of an argument.
        steps: the name of each part, its code, and whether anything of the solution can have a part in it.
        pure: whether it leaves nothing behind in its process.
        only_called: whether the tests do nothing with those names but call them.
        errors: those that stand for exceptions: the tests catch them, and never call them.
        names_nothing: whether the tests name something empty, 0 or no number as what they expect.
    """

    def __init__(self, tests: dict[str, Any]) -> None:
        self.kind = tests["kind"]
        self.entry_point: str = tests.get("entry_point") or ""
        self.cases: list[dict[str, Any]] = tests.get("cases", [])
        self.compare: dict[str, Any] = tests.get("compare") or {}
        self.in_place: bool = tests.get("in_place") or False
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
        self.pure = pure([*trees, ast.parse(prefix)], [module for module, _ in self.lent.values()])
        self.judge = judge(trees, set(self.names) | _parameters(trees))
        self.errors = set().union(*map(_caught, trees)) & set(self.names) - set().union(*map(_called, trees))
        self.names_nothing = any(_nothing(node) for tree in trees for node in ast.walk(tree))
        self.only_called = all(_only_called(tree, set(self.names)) for tree in trees)
        marked = map(_let_change, map(_mark_check, trees) if self.kind == "check" else trees)
        involved = _involved(trees, set(self.names))
        self.steps: list[tuple[str, CodeType, bool]] = [
            (name, compile(tree, name, "exec"), of_solution)
            for (name, _), tree, of_solution in zip(sources, marked, involved, strict=True)
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


def _involved(trees: list[ast.Module], names: set[str]) -> list[bool]:
    """Return for each part whether it uses one of the names, or any name that a part before it uses beside them."""
    reached, involved = set(names), []
    for tree in trees:
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - _BUILTINS
        involved.append(not used.isdisjoint(reached))
        if involved[-1]:
            reached |= used
    return involved


def _let_change(tree: ast.Module) -> ast.Module:
    """Have the calls that `CHANGING` is for made by it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            node.value = _changing(node.value)
        elif isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Is | ast.Eq):
            none = node.comparators[0]
            if isinstance(none, ast.Constant) and none.value is None:
                node.left = _changing(node.left)
    return tree


def _changing(value: ast.expr) -> ast.expr:
    if not isinstance(value, ast.Call) or (isinstance(value.func, ast.Name) and value.func.id in {*_BUILTINS, CHECKED}):
        return value
    function = ast.copy_location(ast.Name(CHANGING, ast.Load()), value)
    return ast.copy_location(ast.Call(function, [value.func, *value.args], value.keywords), value)


def _only_called(tree: ast.Module, names: set[str]) -> bool:
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return all(id(n) in called for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id in names)


def _caught(tree: ast.Module) -> Iterator[str]:
    """Yield the names that `except` or `assertRaises` has."""
    for node in ast.walk(tree):
        kinds = [node.type] if isinstance(node, ast.ExceptHandler) and node.type else []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and "raises" in node.func.attr.lower():
            kinds = node.args[:1]
        for kind in kinds:
            parts = kind.elts if isinstance(kind, ast.Tuple) else [kind]
            yield from (part.id for part in parts if isinstance(part, ast.Name))


def _called(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id


def _nothing(node: ast.AST) -> bool:
    """Whether this may be how the tests say that they expect something empty, 0 or no number."""
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return not node.elts and isinstance(getattr(node, "ctx", None) or ast.Load(), ast.Load)
    if isinstance(node, ast.Dict):
        return not node.keys
    if isinstance(node, ast.Call):
        return not (node.args or node.keywords) and isinstance(node.func, ast.Name) and node.func.id in _EMPTY
    if isinstance(node, ast.Compare):
        return any(isinstance(side, ast.Constant) and side.value == 0 for side in (node.left, *node.comparators))
    if isinstance(node, ast.Attribute):
        return node.attr in ("nan", "isnan")
    if isinstance(node, ast.Constant):
        return node.value in ("", b"") or (isinstance(node.value, str) and node.value.lower() == "nan")
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) and not isinstance(node.operand, ast.Compare)


def _parameters(trees: list[ast.Module]) -> set[str]:
    """Return the names that `check` has for the solution."""
    found = (node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "check")
    return {argument.arg for node in found for argument in node.args.args}
