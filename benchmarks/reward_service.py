"""What HTTP costs: tasks a second and latency through `preppo reward serve`, against this process's own pool.

    .venv/bin/python -m benchmarks.reward_service [--tasks 50000] [--programs 400]

The server is a process of its own on the loopback address of the same machine, with two workers, like the pool here.
Responses are generated. Writes benchmarks/results/reward_service.{json,md}; fails when a verdict differs.
"""

import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from verifiers import Task, Verdict, VerifierPool
from verifiers.remote import RemoteVerifier

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
WORKERS = 2
WORDS = ["each", "of", "them", "has", "so", "many", "apples", "that", "we", "add", "then", "half", "gives", "dollars"]
TEST = json.dumps({"kind": "asserts", "tests": ["assert f(3) == 9", "assert f(-2) == 4"]})


def sums(total: int) -> list[Task]:
    """Return responses of about 700 characters whose last number decides."""
    random = Random(0)
    found = []
    for number in range(total):
        text = " ".join(random.choices(WORDS, k=140))
        found.append(Task("math", f"{text}\n#### {number % 7}", json.dumps(str(number % 5))))
    return found


def programs(total: int) -> list[Task]:
    return [Task("code", f"def f(x):\n    y = {number}\n    return x * x + y % 2", TEST) for number in range(total)]


def timed(verify: Callable[[list[Task]], list[Verdict]], tasks: list[Task]) -> tuple[float, list[Verdict]]:
    """Return the best of three times, and the verdicts."""
    best, verdicts = float("inf"), []
    for _ in range(3):
        started = time.perf_counter()
        verdicts = verify(tasks)
        best = min(best, time.perf_counter() - started)
    return best, [replace(verdict, elapsed_ms=0.0) for verdict in verdicts]


def latencies(client: RemoteVerifier, task: Task, requests: int = 1000) -> list[float]:
    """Return the sorted milliseconds of requests with one task each, one after the other."""
    found = []
    for _ in range(requests):
        started = time.perf_counter()
        client.verify([task])
        found.append((time.perf_counter() - started) * 1000)
    return sorted(found)


def measure(url: str, tasks: list[Task], code: list[Task]) -> dict[str, Any]:
    with VerifierPool(WORKERS) as pool, RemoteVerifier(url) as client:
        figures: dict[str, Any] = {}
        differ = 0
        for name, batch in (("maths", tasks), ("code", code)):
            pool.verify(batch[:50])
            client.verify(batch[:50])
            here_s, here = timed(pool.verify, batch)
            there_s, there = timed(client.verify, batch)
            differ += sum(one != other for one, other in zip(here, there, strict=True))
            figures[f"{name}_tasks"] = len(batch)
            figures[f"{name}_per_second_here"] = len(batch) / here_s
            figures[f"{name}_per_second_over_http"] = len(batch) / there_s
            figures[f"{name}_http_microseconds_a_task"] = (there_s - here_s) / len(batch) * 1e6
        single = latencies(client, tasks[0])
        figures["one_task_median_ms"] = statistics.median(single)
        figures["one_task_p99_ms"] = single[int(len(single) * 0.99)]
        with ThreadPoolExecutor(8) as threads:
            clients = [RemoteVerifier(url, concurrency=1) for _ in range(8)]
            share = len(tasks) // 8
            started = time.perf_counter()
            for done in [threads.submit(c.verify, tasks[:share]) for c in clients]:
                done.result()
            figures["maths_per_second_of_eight_clients"] = 8 * share / (time.perf_counter() - started)
            for other in clients:
                other.close()
        figures["verdicts_that_differ"] = differ
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=50_000)
    parser.add_argument("--programs", type=int, default=400)
    options = parser.parse_args()
    command = [sys.executable, "-c", "from pipeline.cli import main; main()"]
    server = subprocess.Popen(
        [*command, "reward", "serve", "--port", "0", "--workers", str(WORKERS)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PREPPO")},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        found = re.search(r"http://\S+", server.stderr.readline())
        assert found is not None, "the server did not start"
        figures = measure(found[0], sums(options.tasks), programs(options.programs))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    figures["server_exit_code"] = server.returncode
    machine = f"{len(os.sched_getaffinity(0))} CPUs, {platform.machine()}, Python {platform.python_version()}"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "reward_service.json").write_text(json.dumps({"machine": machine, **figures}, indent=2) + "\n")
    lines = ["# The verifiers over HTTP", "", f"Written by `python -m benchmarks.reward_service`; {machine}.", ""]
    lines += ["| what | measured |", "|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {value:.6g} |" for name, value in figures.items()]
    (RESULTS / "reward_service.md").write_text("\n".join(lines) + "\n")
    print(json.dumps(figures, indent=2))
    return int(figures["verdicts_that_differ"] > 0 or server.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
