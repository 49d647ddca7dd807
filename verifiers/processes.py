"""Killable worker processes, and running jobs on them under a wall clock that the parent holds.

One worker runs one job at a time, so a crash or an overrun has one culprit. An overrun is killed and its worker
replaced; a job whose worker died, or which raised, is run once more, alone, in a fresh worker.
"""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from verifiers.contract import Outcome, Part, Status, Verifier

START_LIMIT_S = 120.0
_ROOT = str(Path(__file__).resolve().parent.parent)


class Job(NamedTuple):
    """One payload for the work function of one verifier."""

    verifier: Verifier
    payload: str
    budget_s: float


class Result(NamedTuple):
    """The outcome of a job and the seconds it took."""

    outcome: Outcome
    seconds: float


class Worker:
    """One worker process and the pipe to it. `job` is the index of what it runs, or None."""

    def __init__(self, paths: Sequence[str]) -> None:
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))
        environment["PYTHONHASHSEED"] = "0"  # sympy's term order, and with it a verdict, may follow the hash seed
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[name] = "1"
        self.process = subprocess.Popen(  # the program and its arguments are this package's own
            [sys.executable, "-m", "verifiers.worker", *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=0,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.ready = False
        self.job: int | None = None
        self.started = time.monotonic()
        self.deadline = self.started + START_LIMIT_S
        self._buffer = b""

    def send(self, index: int, job: Job) -> None:
        """Give an idle worker a job; its clock starts now."""
        message = (
            f'{{"work": {json.dumps(job.verifier.work)}, "payload": {job.payload}, '
            f'"budget_s": {job.budget_s!r}, "memory_mb": {json.dumps(job.verifier.memory_mb)}}}\n'
        )
        self.job = index
        self.started = time.monotonic()
        self.deadline = self.started + job.budget_s
        with contextlib.suppress(BrokenPipeError):  # died while idle: the end of its output says so, the job runs again
            self.stdin.write(message.encode())

    def read(self) -> tuple[list[Any], bool]:
        """Return the messages that have arrived, and whether the process has closed its output."""
        data = os.read(self.stdout.fileno(), 1 << 16)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines], not data

    def kill(self) -> int:
        """End the process at once and return its exit status."""
        self.process.kill()
        return self.close()

    def close(self) -> int:
        """Let an idle process end by closing its input, and reap it."""
        self.stdin.close()
        try:
            status = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.stdout.close()
        return status


class Runner:
    """Runs jobs on up to `size` workers, which stay warm between calls until `close`."""

    def __init__(self, size: int, paths: Sequence[str]) -> None:
        self.size = size
        self.paths = tuple(paths)
        self.workers: list[Worker] = []
        self._owner = os.getpid()

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        """Run all jobs; results come in the order of the jobs and do not depend on the number of workers."""
        if self._owner != os.getpid():  # forked: the pipes belong to the parent process
            self.workers, self._owner = [], os.getpid()
        results: list[Result | None] = [None] * len(jobs)
        waiting = deque(range(len(jobs)))
        failed: list[int] = []
        try:
            self._drain(jobs, waiting, results, failed, self.size)
            for index in sorted(failed):
                self.close()  # a fresh worker, and nothing else running beside it
                again: list[int] = []
                self._drain(jobs, deque([index]), results, again, 1)
        except BaseException:
            self.close()  # interrupted: half-read answers must not meet the next call
            raise
        return [result for result in results if result is not None]

    def close(self) -> None:
        """End all workers; those which run a job are killed."""
        if self._owner == os.getpid():
            for worker in self.workers:
                if worker.job is None and worker.ready:
                    worker.close()
                else:
                    worker.kill()
        self.workers = []

    def _drain(
        self,
        jobs: Sequence[Job],
        waiting: deque[int],
        results: list[Result | None],
        failed: list[int],
        size: int,
    ) -> None:
        """Run the waiting jobs to the end. A failure is noted in `failed` and, provisionally, in `results`."""
        with selectors.DefaultSelector() as selector:
            for worker in self.workers:
                selector.register(worker.stdout, selectors.EVENT_READ, worker)
            running = 0
            while waiting or running:
                running += self._assign(jobs, waiting)
                while len(self.workers) < min(size, len(waiting) + running):
                    self.workers.append(Worker(self.paths))
                    selector.register(self.workers[-1].stdout, selectors.EVENT_READ, self.workers[-1])
                clocked = [worker.deadline for worker in self.workers if worker.job is not None or not worker.ready]
                pause = max(0.0, min(clocked) - time.monotonic())
                for key, _ in selector.select(pause):
                    worker = key.data
                    messages, ended = worker.read()
                    for message in messages:
                        if "ready" in message:
                            worker.ready = True
                        elif "failed" in message:
                            self._give_up(waiting, results, f"no worker starts: {message['failed']}")
                        elif (index := worker.job) is not None:
                            running -= 1
                            results[index] = _result(message, worker)
                            if isinstance(message, dict):
                                failed.append(index)
                            worker.job = None
                    if ended:
                        running -= self._bury(worker, selector, results, failed)
                        if not worker.ready:
                            self._give_up(waiting, results, "no worker starts")
                for worker in [w for w in self.workers if w.deadline < time.monotonic()]:
                    if worker.job is not None:
                        running -= 1
                        results[worker.job] = _timeout(jobs[worker.job], worker)
                    elif not worker.ready:
                        self._give_up(waiting, results, f"no worker started within {START_LIMIT_S:.0f} s")
                    else:
                        continue
                    worker.job = None
                    self._remove(worker, selector).kill()

    def _assign(self, jobs: Sequence[Job], waiting: deque[int]) -> int:
        given = 0
        for worker in self.workers:
            if waiting and worker.ready and worker.job is None:
                index = waiting.popleft()
                worker.send(index, jobs[index])
                given += 1
        return given

    def _remove(self, worker: Worker, selector: selectors.BaseSelector) -> Worker:
        selector.unregister(worker.stdout)
        self.workers.remove(worker)
        return worker

    def _bury(
        self, worker: Worker, selector: selectors.BaseSelector, results: list[Result | None], failed: list[int]
    ) -> int:
        """Remove a worker that ended by itself; note its job, if any, as failed and return how many that were."""
        status = self._remove(worker, selector).kill()
        if worker.job is None:
            return 0
        cause = f"signal {-status}" if status < 0 else f"exit status {status}"
        detail = f"the worker died twice on this task ({cause})"
        results[worker.job] = Result(Outcome(Status.error, None, detail), time.monotonic() - worker.started)
        failed.append(worker.job)
        return 1

    @staticmethod
    def _give_up(waiting: deque[int], results: list[Result | None], reason: str) -> None:
        """No worker can be had: all that still waits is an error, so that the caller gets what is decided."""
        while waiting:
            results[waiting.popleft()] = Result(Outcome(Status.error, None, reason), 0.0)


def _result(message: Any, worker: Worker) -> Result:
    seconds = time.monotonic() - worker.started
    if isinstance(message, dict):
        return Result(Outcome(Status.error, None, f"the verifier failed: {message['error']}"), seconds)
    status, extracted, detail, score, parts = message
    found = tuple(Part(name, Status(of), points, why) for name, of, points, why in parts)
    return Result(Outcome(Status(status), extracted, detail, score, found), seconds)


def _timeout(job: Job, worker: Worker) -> Result:
    detail = f"no decision within {job.budget_s:g} s"
    return Result(Outcome(Status.timeout, None, detail), time.monotonic() - worker.started)
