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
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from verifiers import composite
from verifiers.admission import Limits, Refusal, Room, Ticket
from verifiers.contract import Status, Task, Verdict
from verifiers.fair_queue import FairQueue
from verifiers.registry import REGISTRY
from verifiers.scoring import Scoring

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


VerifyTicket = Ticket[Task, Verdict]


class Lane:
    """One thread that verifies batches, filled fairly from what waits."""

    def __init__(self, name: str, pool: Pool) -> None:
        self.name, self._pool = name, pool
        self.queue: FairQueue[tuple[VerifyTicket, int]] = FairQueue()
        self.seconds: dict[tuple[str, str], float] = {}  # what a client's task of a verifier takes: a moving average
        self.late_at = math.inf  # when the batch that runs can no longer be all right
        self.awake = asyncio.Event()
        self.thread = ThreadPoolExecutor(1, f"verify-{name}")

    def expected_s(self, item: tuple[VerifyTicket, int]) -> float:
        """Return the seconds that a task should take."""
        ticket, position = item
        return self.seconds.get((ticket.client, ticket.tasks[position].verifier), FIRST_S[self.name])

    async def next_batch(self) -> list[tuple[VerifyTicket, int]]:
        """Wait for tasks, and return the next ones: enough to keep all workers busy for a moment, no more."""
        while not len(self.queue):
            self.awake.clear()
            await self.awake.wait()
        workers = self._pool.workers if self.name == "heavy" else 1
        return self.queue.take(self.expected_s, BATCH_S[self.name] * workers, 2 * workers, BATCH_TASKS)

    async def verify(self, batch: list[tuple[VerifyTicket, int]]) -> list[Verdict]:
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

    def learn(self, batch: list[tuple[VerifyTicket, int]], verdicts: list[Verdict]) -> None:
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
        self.room = Room(self.limits.queue_tasks)
        self.held_bytes = 0
        self.draining = False
        self.problems: dict[str, str] | None = None  # by verifier; None until the first probe has ended
        self.lanes = {name: Lane(name, pool) for name in BATCH_S}
        self._loops: list[asyncio.Task[None]] = []

    @property
    def waiting(self) -> Counter[str]:
        """Return the undecided tasks by client."""
        return self.room.waiting

    def submit(self, client: str, tasks: Sequence[Task], *, probe: bool = False) -> VerifyTicket:
        """Admit tasks; see `Room.admit`.

        Raises:
            Refusal: 429 while there is no room, 503 while the server ends.
        """
        if probe:
            self.room.count(client, len(tasks))
        else:
            self.refuse_while_draining()
            self.room.admit(client, len(tasks))
        ticket = VerifyTicket(client, tasks, asyncio.get_running_loop().create_future())
        by_lane: dict[str, list[tuple[VerifyTicket, int]]] = {name: [] for name in self.lanes}
        for position, task in enumerate(tasks):
            by_lane["heavy" if _may_need_worker(task.verifier) else "light"].append((ticket, position))
        for name, items in by_lane.items():
            self.lanes[name].queue.put(client, ticket, items)
            self.lanes[name].awake.set()
        return ticket

    def refuse_while_draining(self) -> None:
        """Take nothing new while the server ends.

        Raises:
            Refusal: 503.
        """
        if self.draining:
            raise Refusal(503, "the server is ending; try another, or again later", {"Retry-After": "5"})

    def cancel(self, ticket: VerifyTicket) -> None:
        """Give up a request: what still waits of it is forgotten, what runs is thrown away when it ends."""
        if ticket.cancelled or not ticket.undecided:
            return
        ticket.cancelled = True
        self.room.settle(ticket, sum(lane.queue.drop(ticket.client, ticket) for lane in self.lanes.values()))

    async def run(self, lane: Lane) -> None:
        """Verify what comes into a lane, for ever."""
        while True:
            batch = await lane.next_batch()
            started = time.monotonic()
            verdicts = await lane.verify(batch)
            self.room.learn(len(batch), time.monotonic() - started)
            lane.learn(batch, verdicts)
            for (ticket, position), verdict in zip(batch, verdicts, strict=True):
                ticket.answers[position] = verdict
                self.room.settle(ticket, 1)

    async def probe(self) -> None:
        """See, again and again, that a task of each kind is decided as it must be."""
        tasks = [task for task in PROBES if task.verifier in REGISTRY]
        while True:
            ticket = self.submit("", tasks, probe=True)
            await ticket.done
            found = zip(tasks, ticket.answers, strict=True)
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
    async def running(self, scoring: Scoring) -> AsyncIterator[None]:
        """Keep the lanes and the scoring going; end them, their threads and the pool afterwards."""
        self._loops = [asyncio.create_task(self.run(lane)) for lane in self.lanes.values()]
        self._loops += [asyncio.create_task(self.probe()), asyncio.create_task(scoring.run())]
        try:
            yield
        finally:
            for task in self._loops:
                task.cancel()
            await asyncio.gather(*self._loops, return_exceptions=True)
            for lane in self.lanes.values():
                await asyncio.to_thread(lane.thread.shutdown)
            await scoring.close()
            await asyncio.to_thread(self.pool.close)


def _may_need_worker(name: str) -> bool:
    entry = REGISTRY.get(name)
    return name == composite.NAME or (entry is not None and entry.needs_worker)


def _budget_s(task: Task) -> float:
    """Return the most seconds of workers that a task may take."""
    entry = REGISTRY.get(task.verifier)
    budget_s = (entry.budget_s if entry else 0.0) if task.budget_s is None else task.budget_s
    return budget_s * composite.MAX_PARTS if task.verifier == composite.NAME else budget_s
