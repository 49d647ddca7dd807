"""Code versions by rule: the hash of the syntax trees of the modules that a stage is made of.

Comments, docstrings and layout do not count, so tidying a file makes nothing stale; any other change does.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path

from warehouse.hashing import text_hash


def code_version(*modules: str) -> str:
    """Return 12 hex characters over some modules or packages, by dotted name."""
    return text_hash(*(x for m in sorted(modules) for x in (m, _module_hash(m))))[:12]


@functools.cache
def _module_hash(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        msg = f"no module {module!r}: the code version of a stage cannot be told"
        raise ModuleNotFoundError(msg)
    origin = Path(spec.origin)
    files = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
    return text_hash(*(_tree(f) for f in files))


def _tree(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                node.body = body[1:]
    return ast.dump(tree)
