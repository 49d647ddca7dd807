"""Running jobs on worker processes, which stay warm between calls. Calls of several threads share the workers."""

import os
import threading
from collections.abc import Mapping, Sequence

from verifiers.forkserver import ForkServer
from verifiers.scheduler import Call, Job, Result, Scheduler, Worker

__all__ = ["Job", "Result", "Runner"]


class Runner:
    """Runs jobs on up to `size` workers, which stay warm between calls until `close`.

    Args:
        size: how many jobs may run at a time.
        environment: variables that the workers get beside this process's own.
    """

    def __init__(self, size: int, environment: Mapping[str, str] | None = None) -> None:
        self.size = size
        self._environment = dict(environment or {})
        self._lock = threading.Lock()
        self._scheduler: Scheduler | None = None
        self._owner = os.getpid()

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        """Run all jobs; results come in the order of the jobs and do not depend on the number of workers."""
        if not jobs:
            return []
        call = Call(jobs)
        with self._lock:
            if self._owner != os.getpid():  # forked: thread, server and pipes belong to the parent process
                self._scheduler, self._owner = None, os.getpid()
            if self._scheduler is None or self._scheduler.failed:
                self._scheduler = Scheduler(self.size, self._environment)
            scheduler = self._scheduler
            scheduler.add(call)
        try:
            call.done.wait()
        except BaseException:
            scheduler.drop(call)  # interrupted: nobody wants what still waits
            raise
        return [result for result in call.results if result is not None]

    def close(self) -> None:
        """End all workers and their server; a job that still runs is killed, and its call ends with an error."""
        with self._lock:
            scheduler, self._scheduler = self._scheduler, None
            if scheduler is not None and self._owner == os.getpid():
                scheduler.stop()

    @property
    def workers(self) -> list[Worker]:
        """The workers that run now."""
        return [] if self._scheduler is None else self._scheduler.workers

    @property
    def server(self) -> ForkServer | None:
        """The server that forks them, if it runs."""
        return None if self._scheduler is None else self._scheduler.server
