"""Giving jobs to killable worker processes under a wall clock that the parent holds: one thread does it.

One worker runs one job at a time, so a crash or an overrun has one culprit. An overrun is killed and its worker
replaced; a job whose worker died, or which raised, is run once more, alone, in a fresh worker. Workers are forked from
a server that has loaded what they need, so that a replacement costs milliseconds and not an import of sympy.
"""

import contextlib
import os
import selectors
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from verifiers.contract import Outcome, Status
from verifiers.forkserver import ForkServer, ServerGone
from verifiers.jobs import Assignment, Call, Result, Worker, result_of

START_LIMIT_S = 120.0
MAX_RESTARTS = 3
_ROOT = str(Path(__file__).resolve().parent.parent)


class Scheduler:
    """The one thread that has to do with workers. Others only add calls, drop them, and stop it."""

    def __init__(self, size: int, environment: Mapping[str, str]) -> None:
        self.size = size
        self.workers: list[Worker] = []
        self.server: ForkServer | None = None
        self._environment = environment
        self._loaded: set[str] = set()
        self._refused: dict[str, str] = {}
        self._guard = threading.RLock()  # a pool may be collected, and stopped, anywhere in this thread
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

    def abandon(self, call: Call) -> None:
        """Forget what of a call has not begun, kill what runs of it, and let its caller go."""
        with self._guard:
            call.abandoned = True
            call.waiting.clear()
            if not self._ended and not self._stopping:
                os.write(self._wake_write, b".")
        call.done.set()

    def stop(self) -> None:
        """End everything, and wait until it is gone."""
        with self._guard:
            self._stopping = True
            os.write(self._wake_write, b".")
        if self._thread is not threading.current_thread():  # a pool that nobody closed is collected in any thread
            self._thread.join()
            self._close()

    def forget(self) -> None:
        """In a forked process: close what it has of the parent's, and touch nothing that the parent uses."""
        with contextlib.suppress(OSError):  # a thread of the parent may have been about to close it, too
            for worker in self.workers:
                worker.close_pipes()
        if self.server is not None:
            self.server.forget()
        self._close()

    def _close(self) -> None:
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
        for worker in list(self.workers):
            runs = worker.runs
            if runs is None or (now <= runs.deadline and not runs.call.abandoned):
                continue
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
                if call.abandoned:
                    self._again.popleft()
                    continue
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
            taken = self._next(path)
            if taken is None:  # abandoned meanwhile
                continue
            call, index = taken
            if path in self._refused:
                call.settle(index, Result(Outcome(Status.error, None, self._refused[path]), 0.0))
            else:
                self._give(call, index)

    def _give(self, call: Call, index: int) -> None:
        try:
            worker = self._idle_worker()
        except ServerGone:
            with self._guard:
                if not call.abandoned:
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

    def _next(self, path: str) -> tuple[Call, int] | None:
        """Take the job whose turn it is, if it is one for `path` still; the next turn is another call's."""
        with self._guard:
            call = self._calls[0]
            if not call.waiting or call.jobs[call.waiting[0]].path != path:
                return None
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
            if runs is None:  # a second word on one job: the worker can be trusted no more
                ended = True
            elif isinstance(message, dict):
                self._failed(runs, f"the verifier failed: {message['error']}")
            else:
                self._restarts = 0
                runs.call.settle(runs.at, result_of(message, time.monotonic() - runs.started))
        if ended and worker in self.workers:
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
