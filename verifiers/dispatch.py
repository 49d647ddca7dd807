"""Deciding tasks of many clients on one `VerifierPool`: admission, fair order, batches, and whether all is well.

A request is admitted whole or refused whole. Its tasks wait in one of two lanes, each with a thread of its own:
verifiers that never need a worker process do not wait for those that may. See `fair_queue` for who is next.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from verifiers import composite
from verifiers.contract import Status, Task, Verdict
from verifiers.fair_queue import FairQueue
from verifiers.registry import REGISTRY

logger = logging.getLogger(__name__)

PROBE_EVERY_S = 60.0
START_LIMIT_S = 240.0
BATCH_S = {"light": 0.1, "heavy": 0.5}
"""Seconds that a batch should take: whoever comes next waits about so long before the first of its tasks begins."""

FIRST_S = {"light": 1e-3, "heavy": 0.25}
"""What a task of a new client is taken for: its first batches are small until it is known how long they take."""

BATCH_TASKS = 1024
MAX_KNOWN = 10_000

PROBES = (
    Task("math", r"\boxed{1 + x}", '"x + 1"'),
    Task("code", "def double(x):\n    return 2 * x", '{"kind": "asserts", "tests": ["assert double(2) == 4"]}'),
)
"""One task for each kind of process that the pool starts; all are correct."""


class Pool(Protocol):
    """What the service needs of a `VerifierPool`."""

    workers: int

    def verify(self, tasks: Sequence[Task]) -> list[Verdict]:
        """Return one verdict per task."""
        ...

    def close(self) -> None:
        """End the workers."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server takes on.

    Attributes:
        queue_tasks: tasks that are admitted and not yet decided, of all clients.
        request_tasks: tasks in one request.
        body_bytes: bytes of one request's body.
        held_bytes: bytes of all bodies that are being read or wait for verdicts.
        budget_s: the most seconds that a task may ask for.
        body_s: seconds in which a body must have arrived.
    """

    queue_tasks: int = 16_384
    request_tasks: int = 1_024
    body_bytes: int = 32 << 20
    held_bytes: int = 512 << 20
    budget_s: float = 60.0
    body_s: float = 30.0

    def __post_init__(self) -> None:
        if self.request_tasks > self.queue_tasks or self.body_bytes > self.held_bytes:
            message = "one request must fit in: request_tasks <= queue_tasks, and body_bytes <= held_bytes"
            raise ValueError(message)


class Refusal(Exception):
    """A request is answered with an error: its HTTP status, one message, and headers."""

    def __init__(self, code: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code, self.headers = code, dict(headers or {})


@dataclass(eq=False, slots=True)
class Ticket:
    """The tasks of one admitted request, and their verdicts as they come."""

    client: str
    tasks: Sequence[Task]
    done: asyncio.Future[None]
    verdicts: list[Verdict | None] = field(init=False)
    undecided: int = field(init=False)
    cancelled: bool = False

    def __post_init__(self) -> None:
        self.verdicts, self.undecided = [None] * len(self.tasks), len(self.tasks)


class Lane:
    """One thread that verifies batches, filled fairly from what waits."""

    def __init__(self, name: str, pool: Pool) -> None:
        self.name, self._pool = name, pool
        self.queue: FairQueue[tuple[Ticket, int]] = FairQueue()
        self.seconds: dict[tuple[str, str], float] = {}  # what a client's task of a verifier takes: a moving average
        self.late_at = math.inf  # when the batch that runs can no longer be all right
        self.awake = asyncio.Event()
        self.thread = ThreadPoolExecutor(1, f"verify-{name}")

    def expected_s(self, item: tuple[Ticket, int]) -> float:
        """Return the seconds that a task should take."""
        ticket, position = item
        return self.seconds.get((ticket.client, ticket.tasks[position].verifier), FIRST_S[self.name])

    async def next_batch(self) -> list[tuple[Ticket, int]]:
        """Wait for tasks, and return the next ones: enough to keep all workers busy for a moment, no more."""
        while not len(self.queue):
            self.awake.clear()
            await self.awake.wait()
        workers = self._pool.workers if self.name == "heavy" else 1
        return self.queue.take(self.expected_s, BATCH_S[self.name] * workers, 2 * workers, BATCH_TASKS)

    async def verify(self, batch: list[tuple[Ticket, int]]) -> list[Verdict]:
        """Verify one batch in the lane's thread."""
        tasks = [ticket.tasks[position] for ticket, position in batch]
        self.late_at = time.monotonic() + START_LIMIT_S + 2 * sum(map(_budget_s, tasks))  # a job may run twice
        try:
            return await asyncio.get_running_loop().run_in_executor(self.thread, self._verify, tasks)
        finally:
            self.late_at = math.inf

    def _verify(self, tasks: list[Task]) -> list[Verdict]:
        try:
            verdicts = self._pool.verify(tasks)
            if len(verdicts) == len(tasks):
                return verdicts
            message = f"{len(verdicts)} verdicts for {len(tasks)} tasks"
        except Exception as error:  # a defect of ours: it must cost the task that meets it, and no other
            logger.exception("the pool failed on a batch of %d tasks", len(tasks))
            message = f"{type(error).__name__}: {error}"[:300]
        if len(tasks) > 1:
            return [verdict for task in tasks for verdict in self._verify([task])]
        name = tasks[0].verifier
        version = REGISTRY[name].version if name in REGISTRY else ""
        return [Verdict(Status.error, None, None, f"the verifier pool failed: {message}", name, version, 0.0)]

    def learn(self, batch: list[tuple[Ticket, int]], verdicts: list[Verdict]) -> None:
        """Correct the clocks of the clients by what their tasks took, and what is expected of the next ones."""
        extra: Counter[str] = Counter()
        for item, verdict in zip(batch, verdicts, strict=True):
            took, expected = max(verdict.elapsed_ms / 1000, 1e-5), self.expected_s(item)
            extra[item[0].client] += took - expected  # type: ignore[assignment]
            self.seconds[item[0].client, verdict.verifier] = expected + 0.2 * (took - expected)
        if len(self.seconds) > MAX_KNOWN:
            self.seconds.clear()
        for client, seconds in extra.items():
            self.queue.charge(client, seconds)
        self.queue.forgive()


class Service:
    """Admits requests, and has the lanes decide them."""

    def __init__(self, pool: Pool, limits: Limits | None = None) -> None:
        self.pool, self.limits = pool, limits or Limits()
        self.waiting: Counter[str] = Counter()  # undecided tasks by client
        self.held_bytes = 0
        self.draining = False
        self.problems: dict[str, str] | None = None  # by verifier; None until the first probe has ended
        self.lanes = {name: Lane(name, pool) for name in BATCH_S}
        self._rate = 1_000.0  # tasks a second, as a moving average
        self._loops: list[asyncio.Task[None]] = []

    def submit(self, client: str, tasks: Sequence[Task], *, probe: bool = False) -> Ticket:
        """Admit tasks.

        A client may hold as many tasks as would be left free after it: whoever comes next finds room, too.

        Raises:
            Refusal: 429 while there is no room, 503 while the server ends.
        """
        if self.draining and not probe:
            raise Refusal(503, "the server is ending; try another, or again later", {"Retry-After": "5"})
        total = self.waiting.total()
        free = self.limits.queue_tasks - total
        if total and not probe and self.waiting[client] + len(tasks) > free:
            seconds = min(30, math.ceil(total / self._rate))
            message = f"the queue is full: {total} of {self.limits.queue_tasks} tasks wait; try again in {seconds} s"
            raise Refusal(429, message, {"Retry-After": str(seconds)})
        ticket = Ticket(client, tasks, asyncio.get_running_loop().create_future())
        if not tasks:
            ticket.done.set_result(None)
            return ticket
        self.waiting[client] += len(tasks)
        by_lane: dict[str, list[tuple[Ticket, int]]] = {name: [] for name in self.lanes}
        for position, task in enumerate(tasks):
            by_lane["heavy" if _may_need_worker(task.verifier) else "light"].append((ticket, position))
        for name, items in by_lane.items():
            self.lanes[name].queue.put(client, ticket, items)
            self.lanes[name].awake.set()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Give up a request: what still waits of it is forgotten, what runs is thrown away when it ends."""
        if ticket.cancelled or not ticket.undecided:
            return
        ticket.cancelled = True
        self._settle(ticket, sum(lane.queue.drop(ticket.client, ticket) for lane in self.lanes.values()))

    def _settle(self, ticket: Ticket, tasks: int) -> None:
        ticket.undecided -= tasks
        self.waiting[ticket.client] -= tasks
        if not self.waiting[ticket.client]:
            del self.waiting[ticket.client]

    async def run(self, lane: Lane) -> None:
        """Verify what comes into a lane, for ever."""
        while True:
            batch = await lane.next_batch()
            started = time.monotonic()
            verdicts = await lane.verify(batch)
            rate = len(batch) / max(time.monotonic() - started, 1e-4)
            self._rate += 0.2 * (rate - self._rate)
            lane.learn(batch, verdicts)
            for (ticket, position), verdict in zip(batch, verdicts, strict=True):
                ticket.verdicts[position] = verdict
                self._settle(ticket, 1)
                if not ticket.undecided and not ticket.done.done():
                    ticket.done.set_result(None)

    async def probe(self) -> None:
        """See, again and again, that a task of each kind is decided as it must be."""
        tasks = [task for task in PROBES if task.verifier in REGISTRY]
        while True:
            ticket = self.submit("", tasks, probe=True)
            await ticket.done
            found = zip(tasks, ticket.verdicts, strict=True)
            problems = {task.verifier: v.detail for task, v in found if v and v.status is not Status.correct}
            for name in sorted(problems.keys() - (self.problems or {}).keys()):
                logger.warning("%s cannot be verified here: %s", name, problems[name])
            self.problems = problems
            await asyncio.sleep(PROBE_EVERY_S)

    def status(self) -> tuple[str, dict[str, str]]:
        """Return `ok` only where the server can verify, and what is wrong."""
        if self.draining:
            return "draining", {}
        late = {lane.name: "the batch that runs does not end" for lane in self.lanes.values()
                if lane.late_at < time.monotonic()}  # fmt: skip
        if late or any(task.done() for task in self._loops):
            return "stuck", late or {"server": "a lane has ended"}
        if self.problems is None:
            return "starting", {}
        return ("failing", dict(self.problems)) if self.problems else ("ok", {})

    @contextlib.asynccontextmanager
    async def running(self, _: object = None) -> AsyncIterator[None]:
        """Keep the lanes going; end them, their threads and the pool afterwards."""
        self._loops = [asyncio.create_task(self.run(lane)) for lane in self.lanes.values()]
        self._loops.append(asyncio.create_task(self.probe()))
        try:
            yield
        finally:
            for task in self._loops:
                task.cancel()
            await asyncio.gather(*self._loops, return_exceptions=True)
            for lane in self.lanes.values():
                await asyncio.to_thread(lane.thread.shutdown)
            await asyncio.to_thread(self.pool.close)


def _may_need_worker(name: str) -> bool:
    entry = REGISTRY.get(name)
    return name == composite.NAME or (entry is not None and entry.needs_worker)


def _budget_s(task: Task) -> float:
    """Return the most seconds of workers that a task may take."""
    entry = REGISTRY.get(task.verifier)
    budget_s = (entry.budget_s if entry else 0.0) if task.budget_s is None else task.budget_s
    return budget_s * composite.MAX_PARTS if task.verifier == composite.NAME else budget_s
