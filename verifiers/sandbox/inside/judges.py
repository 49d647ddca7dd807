"""Tests that leave the verdict to the solution: they compare its results by a function that it defines as well."""

import ast
from collections import defaultdict
from collections.abc import Iterator


def judge(trees: list[ast.Module], names: set[str]) -> str | None:
    """Return the name of a function of the solution by which the tests compare its results, if there is one.

    That is `assert same(f(3), 9)`, where neither `same` nor `f` is the tests' own. Where its truth is asserted in
    another way (`assert same(r, 9) is True`, `assert valid(f(3))`, `assert all(same(f(a), b) for a, b in CASES)`), it
    is a judge if all that it is ever called with comes from the solution, its answer is always to be the same, and
    nothing is asserted without one: what is called with the tests' own values, or must also say no, is tested itself.
    """
    results = {name for tree in trees for name in _results(tree, names)}
    uses: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    asserted = []
    for node in (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Assert)):
        direct = _direct(node.test, names)
        if direct is not None:
            return direct
        asserted.append(set[str]())
        for call, holds in _truths(node.test, holds=True):
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            asserted[-1].add(name)
            if name in names:
                uses[name].append((holds, _given(call, names, results)))
    counts = _calls(trees, names)
    judges = {
        name
        for name, found in uses.items()
        if len({holds for holds, _ in found}) == 1 and all(given for _, given in found) and len(found) == counts[name]
    }
    all_judged = all(found and found <= judges for found in asserted)
    return min(judges) if judges and all_judged else None


def _direct(test: ast.expr, names: set[str]) -> str | None:
    if not (isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id in names):
        return None
    inner = (part for argument in test.args for part in ast.walk(argument))
    judged = len(test.args) > 1 and any(isinstance(part, ast.Call) and _of(part.func, names) for part in inner)
    return test.func.id if judged else None


def _truths(test: ast.expr, *, holds: bool) -> Iterator[tuple[ast.Call, bool]]:
    """Yield the calls whose truth is asserted, and whether they must be true."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yield from _truths(test.operand, holds=not holds)
    elif isinstance(test, ast.BoolOp):
        for value in test.values:
            yield from _truths(value, holds=holds)
    elif isinstance(test, ast.Compare) and len(test.ops) == 1:
        constant = test.comparators[0]
        if isinstance(constant, ast.Constant) and isinstance(constant.value, bool):
            yield from _truths(test.left, holds=constant.value is holds)
    elif isinstance(test, ast.Call):
        inner = test.args[0] if len(test.args) == 1 else None
        if isinstance(test.func, ast.Name) and test.func.id in ("all", "any", "bool") and inner is not None:
            elements = inner.elt if isinstance(inner, ast.GeneratorExp | ast.ListComp) else inner
            yield from _truths(elements, holds=holds)
        else:
            yield test, holds


def _results(tree: ast.Module, names: set[str]) -> Iterator[str]:
    """Yield the variables that hold what a function of the solution returned, but for objects of its classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _has_result(node.value, names):
            yield from (part.id for target in node.targets for part in ast.walk(target) if isinstance(part, ast.Name))


def _given(call: ast.Call, names: set[str], results: set[str]) -> bool:
    """Whether an argument comes from the solution."""
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    used = {part.id for argument in arguments for part in ast.walk(argument) if isinstance(part, ast.Name)}
    return not used.isdisjoint(results) or any(_has_result(argument, names) for argument in arguments)


def _has_result(value: ast.expr, names: set[str]) -> bool:
    functions = {name for name in names if not name[:1].isupper()}
    return any(isinstance(part, ast.Call) and _of(part.func, functions) for part in ast.walk(value))


def _calls(trees: list[ast.Module], names: set[str]) -> dict[str, int]:
    counts = dict.fromkeys(names, 0)
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in counts:
                counts[node.func.id] += 1
    return counts


def _of(function: ast.expr, names: set[str]) -> bool:
    """Whether a function is one of the names, or an attribute of one."""
    return any(isinstance(node, ast.Name) and node.id in names for node in ast.walk(function))
