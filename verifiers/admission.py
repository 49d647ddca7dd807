"""Who may come in: the limits of a server, the tasks of a request that was admitted, and the room for more."""

import asyncio
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server takes on.

    Attributes:
        queue_tasks: tasks that are admitted and not yet decided, of all clients; as many again for judge and models.
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
class Ticket(Generic[Asked, Answer]):
    """The tasks of one admitted request, and their answers as they come."""

    client: str
    tasks: Sequence[Asked]
    done: asyncio.Future[None]
    answers: list[Answer | None] = field(init=False)
    undecided: int = field(init=False)
    cancelled: bool = False

    def __post_init__(self) -> None:
        self.answers, self.undecided = [None] * len(self.tasks), len(self.tasks)
        if not self.tasks:
            self.done.set_result(None)

    def answered(self) -> list[Answer]:
        """Return the answers in the order of the tasks, once all are there."""
        return [answer for answer in self.answers if answer is not None]


class Room:
    """How many tasks are admitted and not yet decided, and whether more may come.

    Args:
        limit: tasks of all clients.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting: Counter[str] = Counter()  # undecided tasks by client
        self._rate = 1_000.0  # tasks a second, as a moving average

    def admit(self, client: str, tasks: int) -> None:
        """Count the tasks of a request in.

        A client may hold as many tasks as would be left free after it: whoever comes next finds room, too.

        Raises:
            Refusal: 429, there is no room.
        """
        total = self.waiting.total()
        if total and self.waiting[client] + tasks > self.limit - total:
            seconds = min(30, math.ceil(total / self._rate))
            message = f"the queue is full: {total} of {self.limit} tasks wait; try again in {seconds} s"
            raise Refusal(429, message, {"Retry-After": str(seconds)})
        self.count(client, tasks)

    def count(self, client: str, tasks: int) -> None:
        """Count tasks in (or out, below 0), whatever room there is."""
        self.waiting[client] += tasks
        if not self.waiting[client]:
            del self.waiting[client]

    def settle(self, ticket: Ticket[Asked, Answer], tasks: int) -> None:
        """Count tasks of a ticket out: they are decided, or nobody waits for them."""
        ticket.undecided -= tasks
        self.count(ticket.client, -tasks)
        if not ticket.undecided and not ticket.cancelled and not ticket.done.done():
            ticket.done.set_result(None)

    def learn(self, tasks: int, seconds: float) -> None:
        """Take note of how long tasks took, for the next client that is told when to come back."""
        self._rate += 0.2 * (tasks / max(seconds, 1e-4) - self._rate)
