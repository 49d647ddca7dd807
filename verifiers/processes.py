"""Running jobs on worker processes, which stay warm between calls. Calls of several threads share the workers."""

import os
import threading
import weakref
from collections.abc import Mapping, Sequence

from verifiers.forkserver import ForkServer
from verifiers.jobs import Abandoned, Call, Cancel, Job, Result, Worker
from verifiers.scheduler import Scheduler

__all__ = ["Abandoned", "Cancel", "Job", "Result", "Runner"]


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
        _runners.add(self)

    def run(self, jobs: Sequence[Job], cancel: Cancel | None = None) -> list[Result]:
        """Run all jobs; results come in the order of the jobs and do not depend on the number of workers.

        Raises:
            Abandoned: given up through `cancel`.
        """
        if not jobs:
            return []
        call = Call(jobs)
        with self._lock:
            if self._scheduler is not None and self._scheduler.failed:
                self._scheduler.stop()
                self._scheduler = None
            if self._scheduler is None:
                self._scheduler = Scheduler(self.size, self._environment)
            scheduler = self._scheduler
            scheduler.add(call)
        try:
            if cancel is not None:
                cancel.add(lambda: scheduler.abandon(call))
            call.done.wait()
        except BaseException:
            scheduler.abandon(call)  # interrupted: nobody wants what still waits
            raise
        if call.abandoned:
            raise Abandoned
        return [result for result in call.results if result is not None]

    def close(self) -> None:
        """End all workers and their server; a job that still runs is killed, and its call ends with an error."""
        with self._lock:
            scheduler, self._scheduler = self._scheduler, None
            if scheduler is not None:
                scheduler.stop()

    def forget(self) -> None:
        """In a forked process: thread, server and pipes are the parent's, and a lock may be held by a thread of it."""
        self._lock = threading.Lock()
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None:
            scheduler.forget()

    @property
    def workers(self) -> list[Worker]:
        """The workers that run now."""
        return [] if self._scheduler is None else self._scheduler.workers

    @property
    def server(self) -> ForkServer | None:
        """The server that forks them, if it runs."""
        return None if self._scheduler is None else self._scheduler.server


_runners: weakref.WeakSet[Runner] = weakref.WeakSet()


def _forget_all() -> None:
    for runner in list(_runners):
        runner.forget()


os.register_at_fork(after_in_child=_forget_all)
