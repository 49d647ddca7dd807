"""Giving jobs to killable worker processes under a wall clock that the parent holds: one thread does it.

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
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
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

    @property
    def path(self) -> str:
        """The work function."""
        return str(self.verifier.work)


class Result(NamedTuple):
    """The outcome of a job and the seconds it took."""

    outcome: Outcome
    seconds: float


class Call:
    """The jobs of one `run`, and what has come of them."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.results: list[Result | None] = [None] * len(jobs)
        self.waiting = deque(range(len(jobs)))
        self.left = len(jobs)
        self.done = threading.Event()

    def settle(self, index: int, result: Result) -> None:
        """Note the result of a job; the last one ends the call."""
        self.results[index] = result
        self.left -= 1
        if self.left == 0:
            self.done.set()


class Assignment(NamedTuple):
    """A job that a worker runs. `again` when it has failed once, and runs alone."""

    call: Call
    at: int
    again: bool
    started: float

    @property
    def job(self) -> Job:
        """The job."""
        return self.call.jobs[self.at]

    @property
    def deadline(self) -> float:
        """When its budget is spent."""
        return self.started + self.job.budget_s


class Worker:
    """One worker process and the pipes to it."""

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
        self.runs: Assignment | None = None
        self._buffer = b""

    def give(self, call: Call, index: int, *, again: bool) -> None:
        """Give an idle worker a job; its clock starts now."""
        job = call.jobs[index]
        message = (
            f'{{"work": {json.dumps(job.path)}, "payload": {job.payload}, '
            f'"budget_s": {job.budget_s!r}, "memory_mb": {json.dumps(job.verifier.memory_mb)}}}\n'
        ).encode()
        self.runs = Assignment(call, index, again, time.monotonic())
        with contextlib.suppress(BrokenPipeError):  # died while idle: the end of its output says so, the job runs again
            while message:
                message = message[os.write(self._jobs, message) :]

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


class Scheduler:
    """The one thread that has to do with workers. Others only add calls, drop them, and stop it."""

    def __init__(self, size: int, environment: Mapping[str, str]) -> None:
        self.size = size
        self.workers: list[Worker] = []
        self.server: ForkServer | None = None
        self._environment = environment
        self._loaded: set[str] = set()
        self._refused: dict[str, str] = {}
        self._guard = threading.Lock()
        self._calls: deque[Call] = deque()
        self._again: deque[tuple[Call, int]] = deque()
        self._stopping = False
        self._ended = ""  # why, once the thread takes up no more calls
        self._restarts = 0
        self._wake_read, self._wake_write = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="verifier-workers", daemon=True)
        self._thread.start()

    # From other threads.

    def add(self, call: Call) -> None:
        """Take up a call."""
        with self._guard:
            ended = self._ended
            if not ended:
                self._calls.append(call)
        if ended:
            self._give_up_on(call, ended)
        else:
            os.write(self._wake_write, b".")

    @property
    def failed(self) -> bool:
        """Whether the thread has ended though nobody stopped it."""
        return bool(self._ended) and not self._stopping

    def drop(self, call: Call) -> None:
        """Forget what of a call has not begun."""
        with self._guard:
            call.waiting.clear()

    def stop(self) -> None:
        """End everything, and wait until it is gone."""
        self._stopping = True
        os.write(self._wake_write, b".")
        self._thread.join()
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    # In the thread.

    def _serve(self) -> None:
        """Give out jobs and take results until stopped."""
        reason = "the pool was closed"
        try:
            while not self._stopping:
                try:
                    self._turn()
                except ServerGone as error:
                    self._restart(str(error))
        except Exception as error:  # a defect of ours must not leave callers waiting
            reason = f"the scheduler failed: {type(error).__name__}: {error}"[:300]
        finally:
            with self._guard:
                self._ended = reason
            self._end_all(reason)
            self._give_up(reason)

    def _turn(self) -> None:
        self._assign()
        deadlines = [worker.runs.deadline for worker in self.workers if worker.runs is not None]
        pause = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        for key, _ in self._selector.select(pause):
            if key.fd == self._wake_read:
                os.read(self._wake_read, 4096)
            else:
                self._read(key.data)
        now = time.monotonic()
        for worker in [w for w in self.workers if w.runs is not None and w.runs.deadline < now]:
            runs = worker.runs
            assert runs is not None
            worker.runs = None
            detail = f"no decision within {runs.job.budget_s:g} s"
            runs.call.settle(runs.at, Result(Outcome(Status.timeout, None, detail), now - runs.started))
            self._remove(worker)

    def _running(self) -> int:
        return sum(worker.runs is not None for worker in self.workers)

    def _assign(self) -> None:
        """Give jobs to idle workers. A second try, and a job that needs something loaded, wait until nothing runs."""
        while (running := self._running()) < self.size:
            if any(worker.runs is not None and worker.runs.again for worker in self.workers):
                return
            if self._again:
                if running:
                    return
                call, index = self._again[0]
                self._load({call.jobs[index].path})
                worker = self._idle_worker()
                self._again.popleft()
                worker.give(call, index, again=True)
                return
            path = self._next_path()
            if path is None or (path not in self._loaded and path not in self._refused and running):
                return
            if path not in self._loaded and path not in self._refused:
                with self._guard:
                    wanted = {job.path for call in self._calls for job in call.jobs}
                self._load(wanted)
            call, index = self._next()
            if path in self._refused:
                call.settle(index, Result(Outcome(Status.error, None, self._refused[path]), 0.0))
            else:
                self._give(call, index)

    def _give(self, call: Call, index: int) -> None:
        try:
            worker = self._idle_worker()
        except ServerGone:
            with self._guard:
                call.waiting.appendleft(index)
                if call not in self._calls:
                    self._calls.appendleft(call)
            raise
        worker.give(call, index, again=False)

    def _next_path(self) -> str | None:
        """Return the work function of the job whose turn it is, or None where nothing waits."""
        with self._guard:
            while self._calls and not self._calls[0].waiting:
                self._calls.popleft()
            return self._calls[0].jobs[self._calls[0].waiting[0]].path if self._calls else None

    def _next(self) -> tuple[Call, int]:
        """Take the job whose turn it is; the next turn is another call's."""
        with self._guard:
            call = self._calls[0]
            self._calls.rotate(-1)
            return call, call.waiting.popleft()

    def _idle_worker(self) -> Worker:
        for worker in self.workers:
            if worker.runs is None:
                return worker
        worker = Worker(self._fork_server())
        self.workers.append(worker)
        self._selector.register(worker.results, selectors.EVENT_READ, worker)
        return worker

    def _read(self, worker: Worker) -> None:
        messages, ended = worker.read()
        for message in messages:
            runs, worker.runs = worker.runs, None
            assert runs is not None
            if isinstance(message, dict):
                self._failed(runs, f"the verifier failed: {message['error']}")
            else:
                self._restarts = 0
                runs.call.settle(runs.at, _result(message, time.monotonic() - runs.started))
        if ended:
            status = self._remove(worker)
            cause = f"signal {-status}" if status < 0 else f"exit status {status}"
            if worker.runs is not None:
                self._failed(worker.runs, f"the worker died twice on this task ({cause})")

    def _failed(self, runs: Assignment, detail: str) -> None:
        """A job that failed once runs again, alone; the second time it is an error."""
        if runs.again:
            seconds = time.monotonic() - runs.started
            runs.call.settle(runs.at, Result(Outcome(Status.error, None, detail), seconds))
        else:
            self._again.append((runs.call, runs.at))

    def _remove(self, worker: Worker) -> int:
        """End a worker. Where the server is gone it stays listed, with what it ran, for `_restart`."""
        self._selector.unregister(worker.results)
        status = worker.end()
        self.workers.remove(worker)
        return status

    def _load(self, wanted: set[str]) -> None:
        """Load work functions, and end the workers, which do not have them."""
        for path in sorted(wanted - self._loaded - self._refused.keys()):
            answer = self._fork_server().ask({"load": path}, timeout_s=START_LIMIT_S)
            if "failed" in answer:
                self._refused[path] = f"no worker starts: {answer['failed']}"
            else:
                self._loaded.add(path)
        self._end_workers()

    def _fork_server(self) -> ForkServer:
        if self.server is None:
            environment = {**os.environ, **self._environment}
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))
            environment["PYTHONHASHSEED"] = "0"  # sympy's term order, and with it a verdict, may follow the hash seed
            for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
                environment[name] = "1"
            command = [sys.executable, "-m", "verifiers.worker", "{control}"]
            null = subprocess.DEVNULL
            self.server = ForkServer.start(command, env=environment, stdout=null, stderr=null)
        return self.server

    def _end_workers(self) -> None:
        """End idle workers by closing their input, others at once."""
        while self.workers:
            worker = self.workers.pop()
            self._selector.unregister(worker.results)
            worker.end(grace_s=5.0 if worker.runs is None else 0.0)

    def _end_all(self, reason: str) -> None:
        for worker in self.workers:
            if worker.runs is not None:
                closed = Result(Outcome(Status.error, None, reason), 0.0)
                worker.runs.call.settle(worker.runs.at, closed)
        with contextlib.suppress(ServerGone):
            self._end_workers()
        for worker in self.workers:
            worker.close_pipes()
        if self.server is not None:
            self.server.close()
        self.workers, self.server, self._loaded = [], None, set()

    def _restart(self, reason: str) -> None:
        """The server is gone, and its workers with it: what ran has failed once, the rest goes on with a new server."""
        running = [worker.runs for worker in self.workers if worker.runs is not None]
        for worker in self.workers:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(worker.results)
            worker.close_pipes()
        self.workers = []
        if self.server is not None:
            self.server.close()
        self.server, self._loaded = None, set()
        self._restarts += 1
        for runs in running:
            self._failed(runs, f"the workers' server ended twice on this task: {reason}")
        if self._restarts >= MAX_RESTARTS:
            self._give_up(f"no worker starts: {reason}")
            self._restarts = 0

    def _give_up(self, reason: str) -> None:
        """All that still waits is an error, so that the callers get what is decided."""
        failed = Result(Outcome(Status.error, None, reason), 0.0)
        while self._again:
            call, index = self._again.popleft()
            call.settle(index, failed)
        with self._guard:
            calls = list(self._calls)
            self._calls.clear()
        for call in calls:
            self._give_up_on(call, reason)

    @staticmethod
    def _give_up_on(call: Call, reason: str) -> None:
        while call.waiting:
            call.settle(call.waiting.popleft(), Result(Outcome(Status.error, None, reason), 0.0))


def _result(message: Any, seconds: float) -> Result:
    status, extracted, detail, score, parts = message
    found = tuple(Part(name, Status(of), points, why) for name, of, points, why in parts)
    return Result(Outcome(Status(status), extracted, detail, score, found), seconds)
