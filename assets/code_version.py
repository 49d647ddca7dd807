"""Code versions by rule: the hash of the syntax trees of everything in the project that a stage is made of.

A stage is made of its own module and of what that imports, transitively. Comments, docstrings and layout do not
count, so tidying a file makes nothing stale; any other change does. How rows are stored, scheduled and shown decides
no outcome and is left out.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

from warehouse.hashing import text_hash

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("assets", "trainer", "verifiers", "warehouse")
_DECIDES_NOTHING = (
    "assets.code_version",
    "assets.progress",
    "assets.project",
    "assets.stages",
    "verifiers.admission",
    "verifiers.dispatch",
    "verifiers.endpoints",
    "verifiers.fair_queue",
    "verifiers.remote",
    "verifiers.reward_endpoint",
    "verifiers.reward_wire",
    "verifiers.scoring",
    "verifiers.service",
    "verifiers.wire",
    "warehouse.batches",
    "warehouse.home",
    "warehouse.ledger",
    "warehouse.settings",
    "warehouse.snapshot",
    "warehouse.store",
)
# Takes part only where the settings ask for it, and brings all verifiers: builds that use it name its version.
_NAMED_BY_BUILDS = ("assets.adaptive",)
_WHOLE = ("verifiers",)


@functools.cache
def code_version(root: str) -> str:
    """Return 12 hex characters for a module and what it imports of the project, by dotted name."""
    modules = sorted(_closure(root))
    return text_hash(*(x for m in modules for x in (m, _read(m)[1])))[:12]


def _closure(root: str) -> set[str]:
    found: set[str] = set()
    todo = [root]
    while todo:
        module = todo.pop()
        if module in found or module.startswith(_DECIDES_NOTHING) or (module in _NAMED_BY_BUILDS and module != root):
            continue
        found.add(module)
        todo += _read(module)[0]
        if module in _WHOLE:  # its worker processes import their modules by name
            folder = _path(module).parent
            todo += [
                _dotted(p.relative_to(folder.parent))
                for p in folder.rglob("*.py")
                if p.parent != folder or p.stem != "__init__"
            ]
    return found


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _file(module: str) -> Path | None:
    """Return the file of a module of the project. Nothing is imported: some modules take seconds."""
    base = ROOT.joinpath(*module.split("."))
    return next((p for p in (base / "__init__.py", base.with_suffix(".py")) if p.is_file()), None)


def _path(module: str) -> Path:
    path = _file(module)
    if path is None:
        msg = f"no module {module!r} under {ROOT}: the code version of a stage cannot be told"
        raise ModuleNotFoundError(msg)
    return path


@functools.cache
def _read(module: str) -> tuple[tuple[str, ...], str]:
    """Return what a module imports of the project, and the hash of its syntax tree without docstrings.

    The tree itself is let go: those of all modules are some hundred thousand objects.
    """
    tree = ast.parse(_path(module).read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                node.body = body[1:]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
        elif isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
    imports = sorted(n for n in names if n.split(".")[0] in PACKAGES and _file(n))
    return tuple(imports), text_hash(ast.dump(tree))
