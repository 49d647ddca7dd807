"""The program of a worker process: one job a line on standard input, one result a line on standard output.

A job is `{"work": "module:function", "payload": ..., "budget_s": s, "memory_mb": m}`; a result is `[status,
extracted, detail, score, parts]`, or `{"error": "..."}` when the function raised. The first line out is
`{"ready": true}`. The parent kills the process when a budget is spent; should the parent be gone, the
kernel's alarm ends a job that still runs, and the end of standard input ends an idle worker.
"""

import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

ORPHAN_GRACE_S = 10.0


def load(path: str) -> Callable[[Any], Any]:
    """Import `module:function`, and run the module's `warm_up` if it has one."""
    module_name, _, function_name = path.partition(":")
    module = importlib.import_module(module_name)
    if hasattr(module, "warm_up"):
        module.warm_up()
    function: Callable[[Any], Any] = getattr(module, function_name)
    return function


def run_job(functions: dict[str, Callable[[Any], Any]], job: dict[str, Any]) -> Any:
    """Run one job under its memory limit and the orphan alarm; exceptions become an error result."""
    memory_mb = job["memory_mb"]
    limit = resource.RLIM_INFINITY if memory_mb is None else memory_mb << 20
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY:
        limit = hard if limit == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    signal.setitimer(signal.ITIMER_REAL, job["budget_s"] + ORPHAN_GRACE_S)
    try:
        return list(functions[job["work"]](job["payload"]))
    except Exception as error:  # the parent turns it into the status `error`, never into a score
        return {"error": f"{type(error).__name__}: {error}"[:300]}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main(paths: list[str]) -> None:
    """Serve jobs until standard input ends. `paths` are the work functions to load before the first job."""
    out: BinaryIO = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a library prints must not look like a result
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes its workers
    try:
        functions = {path: load(path) for path in paths}
    except Exception as error:  # reported by the parent as the reason why no worker starts
        send(out, {"failed": f"{type(error).__name__}: {error}"[:300]})
        return
    send(out, {"ready": True})
    for line in sys.stdin.buffer:
        job = json.loads(line)
        send(out, run_job(functions, job))


def send(out: BinaryIO, message: Any) -> None:
    """Write one message as one line."""
    out.write(json.dumps(message).encode() + b"\n")
    out.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
