"""The program behind the worker processes: it loads work functions once, and forks workers that have them.

A worker reads one job a line, `{"work": "module:function", "payload": ..., "budget_s": s, "memory_mb": m}`, and writes
one result a line: `[status, extracted, detail, score, parts]`, or `{"error": "..."}` when the function raised. The
parent has a worker killed when a budget is spent. Should the parent be gone, this
program ends with all its workers.
"""

import ctypes
import gc
import importlib
import inspect
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

from verifiers.forkserver import Message, serve

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

_functions: dict[str, Callable[..., Any]] = {}


def load(path: str) -> Callable[..., Any]:
    """Import `module:function`, and run the module's `warm_up` if it has one."""
    module_name, _, function_name = path.partition(":")
    module = importlib.import_module(module_name)
    if hasattr(module, "warm_up"):
        module.warm_up()
    function: Callable[..., Any] = getattr(module, function_name)
    return function


def prepare(message: Message, _fds: list[int]) -> Message:
    """Load the work function that a message names; those loaded already are kept."""
    path = message["load"]
    try:
        if path not in _functions:
            _functions[path] = load(path)
            gc.collect()
            gc.freeze()  # so that a collection in a worker does not copy the pages that it shares
    except Exception as error:  # reported by the parent as the reason why no worker starts
        return {"failed": f"{type(error).__name__}: {error}"[:300]}
    return {"loaded": path}


def run_job(job: dict[str, Any]) -> Any:
    """Run one job under its memory limit; exceptions become an error result."""
    memory_mb = job["memory_mb"]
    limit = resource.RLIM_INFINITY if memory_mb is None else memory_mb << 20
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY:
        limit = hard if limit == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    function = _functions[job["work"]]
    # A work function that divides its time itself asks for the budget.
    extra = {"budget_s": job["budget_s"]} if "budget_s" in inspect.signature(function).parameters else {}
    try:
        return list(function(job["payload"], **extra))
    except Exception as error:  # the parent turns it into the status `error`, never into a score
        return {"error": f"{type(error).__name__}: {error}"[:300]}


def serve_jobs(_message: Message, fds: list[int]) -> None:
    """Serve jobs until the first descriptor ends; results go to the second."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    with os.fdopen(fds[0], "rb") as jobs, os.fdopen(fds[1], "wb") as out:
        for line in jobs:
            send(out, run_job(json.loads(line)))


def send(out: BinaryIO, message: Any) -> None:
    """Write one message as one line."""
    out.write(json.dumps(message).encode() + b"\n")
    out.flush()


def main(control: int) -> None:
    """Fork workers on request until the other end of the control socket closes."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)  # whatever a library prints is nobody's result
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes its workers
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    serve(socket.socket(fileno=control), serve_jobs, prepare)


if __name__ == "__main__":
    main(int(sys.argv[1]))
