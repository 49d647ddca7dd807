"""Whether a test program can leave anything behind in its process, so that the next solution needs a fresh one.

What is listed here is harmless wherever it stands; a program with anything else is not called pure. It may be all the
same: the price of a doubt is a fork.
"""

import ast
import builtins
from collections.abc import Iterable

_NODES = (
    *(ast.Module, ast.Expr, ast.Assert, ast.Assign, ast.AugAssign, ast.For, ast.If, ast.Pass, ast.Return, ast.Raise),
    *(ast.FunctionDef, ast.arguments, ast.arg, ast.Lambda, ast.Call, ast.keyword, ast.Starred, ast.Try),
    *(ast.ExceptHandler, ast.Import, ast.ImportFrom, ast.alias, ast.Name, ast.Attribute, ast.Subscript, ast.Slice),
    *(ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.JoinedStr, ast.FormattedValue, ast.IfExp),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.BinOp, ast.UnaryOp),
    *(ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context, ast.AnnAssign),
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MODULES = _words(
    "bisect cmath collections copy datetime fractions functools heapq itertools json math operator re statistics "
    "string typing"
)
_FUNCTIONS = _words(
    "abs all any ascii bin bool bytearray bytes callable chr complex dict divmod enumerate filter float format "
    "frozenset hash hex int isinstance issubclass iter len list map max min next object oct ord pow print range repr "
    "reversed round set slice sorted str sum tuple type zip"
)
_BUILTINS = frozenset(vars(builtins))


def pure(trees: list[ast.Module], lent: Iterable[str] = ()) -> bool:
    """Whether nothing in these modules reaches beyond their own names and the values behind them.

    Args:
        trees: the modules.
        lent: what they use without an import.
    """
    return _MODULES.issuperset(lent) and all(_harmless(node) for tree in trees for node in ast.walk(tree))


def _harmless(node: ast.AST) -> bool:
    if not isinstance(node, _NODES):
        return False
    if isinstance(node, ast.Import):
        return all(alias.name in _MODULES for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.level == 0 and node.module in _MODULES
    if isinstance(node, ast.Attribute):
        return isinstance(node.ctx, ast.Load) and not node.attr.startswith("_")
    if isinstance(node, ast.Name):
        if node.id.startswith("__"):
            return False
        return node.id not in _BUILTINS or node.id in _FUNCTIONS or _is_exception(node.id)
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return isinstance(node.value, ast.Name | ast.Subscript)
    return True


def _is_exception(name: str) -> bool:
    found = vars(builtins)[name]
    return isinstance(found, type) and issubclass(found, BaseException)
