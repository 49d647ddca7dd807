"""Killable worker processes, and running jobs on them under a wall clock that the parent holds.

One worker runs one job at a time, so a crash or an overrun has one culprit. An overrun is killed and its worker
replaced; a job whose worker died, or which raised, is run once more, alone, in a fresh worker. Workers are forked from
a server that has loaded what they need, so that a replacement costs milliseconds and not an import of sympy.
"""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from verifiers.contract import Outcome, Part, Status, Verifier
from verifiers.forkserver import ForkServer, ServerGone

START_LIMIT_S = 120.0
MAX_RESTARTS = 3
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
    """One worker process and the pipes to it. `job` is the index of what it runs, or None."""

    def __init__(self, server: ForkServer) -> None:
        their_jobs, self._jobs = os.pipe()
        self.results, their_results = os.pipe()
        try:
            self.key = server.fork({}, [their_jobs, their_results])
        except ServerGone:
            self.close_pipes()
            raise
        finally:
            os.close(their_jobs)
            os.close(their_results)
        self._server = server
        self.job: int | None = None
        self.started = self.deadline = 0.0
        self._buffer = b""

    def send(self, index: int, job: Job) -> None:
        """Give an idle worker a job; its clock starts now."""
        message = (
            f'{{"work": {json.dumps(job.verifier.work)}, "payload": {job.payload}, '
            f'"budget_s": {job.budget_s!r}, "memory_mb": {json.dumps(job.verifier.memory_mb)}}}\n'
        ).encode()
        self.job = index
        self.started = time.monotonic()
        self.deadline = self.started + job.budget_s
        with contextlib.suppress(BrokenPipeError):  # died while idle: the end of its output says so, the job runs again
            while message:
                message = message[os.write(self._jobs, message) :]

    @property
    def at(self) -> int:
        """The index of the job that runs."""
        assert self.job is not None
        return self.job

    def late(self) -> bool:
        """Whether its job has used up its budget."""
        return self.job is not None and self.deadline < time.monotonic()

    def read(self) -> tuple[list[Any], bool]:
        """Return the messages that have arrived, and whether the process has closed its output."""
        data = os.read(self.results, 1 << 16)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines], not data

    def end(self, grace_s: float = 0.0) -> int:
        """End the process, at once or by closing its input first, and return its exit status once it is gone."""
        if grace_s > 0:
            os.close(self._jobs)
            self._jobs = -1
        try:
            return int(self._server.end(self.key, grace_s)["status"])
        finally:
            self.close_pipes()

    def close_pipes(self) -> None:
        """Close this side of both pipes."""
        for descriptor in (self._jobs, self.results):
            if descriptor >= 0:
                os.close(descriptor)
        self._jobs = self.results = -1


class Runner:
    """Runs jobs on up to `size` workers, which stay warm between calls until `close`.

    Args:
        size: how many jobs may run at a time.
        environment: variables that the workers get beside this process's own.
    """

    def __init__(self, size: int, environment: Mapping[str, str] | None = None) -> None:
        self.size = size
        self.workers: list[Worker] = []
        self._environment = dict(environment or {})
        self._server: ForkServer | None = None
        self._loaded: set[str] = set()
        self._owner = os.getpid()

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        """Run all jobs; results come in the order of the jobs and do not depend on the number of workers."""
        if self._owner != os.getpid():  # forked: server and pipes belong to the parent process
            self._owner = os.getpid()
            self._forget()
        results: list[Result | None] = [None] * len(jobs)
        failed: list[int] = []
        try:
            waiting = deque(self._load(jobs, results))
            self._drain(jobs, waiting, results, failed, self.size)
            for index in sorted(failed):
                self._end_workers()  # a fresh worker, and nothing else running beside it
                again: list[int] = []
                self._drain(jobs, deque([index]), results, again, 1)
        except BaseException:
            self.close()  # interrupted: half-read answers must not meet the next call
            raise
        return [result for result in results if result is not None]

    def close(self) -> None:
        """End all workers and their server; those which run a job are killed."""
        if self._owner == os.getpid():
            self._end_workers()
            if self._server is not None:
                self._server.close()
        self._forget()

    def _forget(self) -> None:
        for worker in self.workers:
            worker.close_pipes()
        if self._server is not None:
            self._server.control.close()
        self.workers, self._server, self._loaded = [], None, set()

    def _end_workers(self) -> None:
        try:
            for worker in self.workers:
                worker.end(grace_s=5.0 if worker.job is None else 0.0)
        except ServerGone:
            pass  # its workers end with it
        for worker in self.workers:
            worker.close_pipes()
        self.workers = []

    def _started(self) -> ForkServer:
        if self._server is None:
            environment = {**os.environ, **self._environment}
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))
            environment["PYTHONHASHSEED"] = "0"  # sympy's term order, and with it a verdict, may follow the hash seed
            for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
                environment[name] = "1"
            command = [sys.executable, "-m", "verifiers.worker", "{control}"]
            null = subprocess.DEVNULL
            self._server = ForkServer.start(command, env=environment, stdout=null, stderr=null)
        return self._server

    def _load(self, jobs: Sequence[Job], results: list[Result | None]) -> list[int]:
        """Load the work functions of the jobs; return the jobs that have theirs. The others become errors."""
        refused: dict[str, str] = {}
        for path in sorted({str(job.verifier.work) for job in jobs} - self._loaded):
            try:
                answer = self._started().ask({"load": path}, timeout_s=START_LIMIT_S)
            except ServerGone as error:
                self.close()
                answer = {"failed": str(error)}
            if "failed" in answer:
                refused[path] = f"no worker starts: {answer['failed']}"
            else:
                self._loaded.add(path)
                self._end_workers()  # those that run do not have it
        for index, job in enumerate(jobs):
            if job.verifier.work in refused:
                results[index] = Result(Outcome(Status.error, None, refused[job.verifier.work]), 0.0)
        return [index for index, result in enumerate(results) if result is None]

    def _drain(
        self,
        jobs: Sequence[Job],
        waiting: deque[int],
        results: list[Result | None],
        failed: list[int],
        size: int,
    ) -> None:
        """Run the waiting jobs to the end. A failure is noted in `failed` and, provisionally, in `results`."""
        for _ in range(MAX_RESTARTS):
            try:
                self._drain_with_server(jobs, waiting, results, failed, size)
                return
            except ServerGone as error:
                for worker in self.workers:
                    if worker.job is not None:
                        self._note_failure(worker, results, failed, f"the worker's server ended: {error}")
                paths, reason = sorted(self._loaded), f"no worker starts: {error}"
                self.close()
                with contextlib.suppress(ServerGone):
                    for path in paths:
                        self._started().ask({"load": path}, timeout_s=START_LIMIT_S)
                        self._loaded.add(path)
        while waiting:  # the caller gets what is decided
            results[waiting.popleft()] = Result(Outcome(Status.error, None, reason), 0.0)

    def _drain_with_server(
        self,
        jobs: Sequence[Job],
        waiting: deque[int],
        results: list[Result | None],
        failed: list[int],
        size: int,
    ) -> None:
        with selectors.DefaultSelector() as selector:
            for worker in self.workers:
                selector.register(worker.results, selectors.EVENT_READ, worker)
            running = 0
            while waiting or running:
                while len(self.workers) < min(size, len(waiting) + running):
                    self.workers.append(Worker(self._started()))
                    selector.register(self.workers[-1].results, selectors.EVENT_READ, self.workers[-1])
                running += _assign(self.workers, jobs, waiting)
                clocked = [worker.deadline for worker in self.workers if worker.job is not None]
                pause = max(0.0, min(clocked) - time.monotonic())
                for key, _ in selector.select(pause):
                    worker = key.data
                    messages, ended = worker.read()
                    for message in messages:
                        running -= 1
                        results[worker.at] = _result(message, worker)
                        if isinstance(message, dict):
                            failed.append(worker.at)
                        worker.job = None
                    if ended:
                        self._remove(worker, selector)
                        status = worker.end()
                        cause = f"signal {-status}" if status < 0 else f"exit status {status}"
                        running -= worker.job is not None
                        self._note_failure(worker, results, failed, f"the worker died twice on this task ({cause})")
                for worker in [worker for worker in self.workers if worker.late()]:
                    running -= 1
                    results[worker.at] = _timeout(jobs[worker.at], worker)
                    self._remove(worker, selector)
                    worker.end()

    def _remove(self, worker: Worker, selector: selectors.BaseSelector) -> None:
        selector.unregister(worker.results)
        self.workers.remove(worker)

    @staticmethod
    def _note_failure(worker: Worker, results: list[Result | None], failed: list[int], detail: str) -> None:
        if worker.job is not None:
            seconds = time.monotonic() - worker.started
            results[worker.job] = Result(Outcome(Status.error, None, detail), seconds)
            failed.append(worker.job)


def _assign(workers: Iterable[Worker], jobs: Sequence[Job], waiting: deque[int]) -> int:
    """Give each idle worker a waiting job, and return how many were given."""
    given = 0
    for worker in workers:
        if waiting and worker.job is None:
            index = waiting.popleft()
            worker.send(index, jobs[index])
            given += 1
    return given


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
