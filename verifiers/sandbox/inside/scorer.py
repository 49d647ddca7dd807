"""Scoring one answer with the scorer of a reasoning_gym dataset.

Several of those scorers evaluate what they are given. Whoever reads the report knows that an answer which took this
process over could have written it.
"""

import gc
import importlib
import json
import os
import sys
import types
from typing import Any


class Absent(types.ModuleType):
    """A package that is imported and never used here: cellpylib can draw. It would be half of the start."""

    __path__: list[str] = []  # noqa: RUF012 - what marks a package

    def __getattr__(self, name: str) -> "Absent":
        """Return a part of it, which is as absent."""
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent(name)


for _name in (
    "matplotlib",
    "matplotlib.animation",
    "matplotlib.collections",
    "matplotlib.pyplot",
    "mpl_toolkits",
    "mpl_toolkits.mplot3d",
):
    sys.modules[_name] = Absent(_name)
reasoning_gym = importlib.import_module("reasoning_gym")

# Boards are compared as tuples of tuples, which JSON has as lists.
_TUPLES = {"arc_agi": "output", "rearc": "output"}

_scorers: dict[str, Any] = {}


def prepare(name: str) -> None:
    """Build the scorer of a dataset, some of which read word lists; children inherit it."""
    _scorers[name] = reasoning_gym.get_score_answer_fn(name)
    gc.collect()
    gc.freeze()  # so that a collection in a child does not copy the pages that it shares


def run(request: str, report: int) -> None:
    """Score `{"id", "dataset", "answer", "entry"}` and report `{"id", "score"}` or `{"id", "raised"}` as one line."""
    task = json.loads(request)
    entry = task["entry"]
    board = _TUPLES.get(task["dataset"])
    if board is not None:
        entry["metadata"][board] = _frozen(entry["metadata"].get(board))
    try:
        told: dict[str, Any] = {"score": float(_scorers[task["dataset"]](task["answer"], entry))}
    except Exception as error:  # scorers raise on answers they did not expect; who is to blame is decided outside
        told = {"raised": f"{type(error).__name__}: {error}"[:200]}
    os.write(report, json.dumps({"id": task["id"], **told}).encode() + b"\n")


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
