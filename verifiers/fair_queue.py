"""A queue that gives each client the same share of time, however much each of them has queued.

Start-time fair queuing (Goyal, Vin and Cheng, 1996): every client has a clock that advances by the seconds its items
cost, and the client whose clock is lowest is served next. A client that arrives starts at the clock of the one last
served, so that it neither waits behind what others queued before it nor is owed for the time it was away.
"""

import heapq
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Client(Generic[T]):
    clock: float
    requests: dict[Hashable, deque[T]] = field(default_factory=dict)  # served in the order of arrival


class FairQueue(Generic[T]):
    """Items of requests of clients. Not for several threads at once."""

    def __init__(self) -> None:
        self._clients: dict[str, _Client[T]] = {}
        self._heap: list[tuple[float, str]] = []  # may hold clocks that no longer count: they are skipped
        self._clock = 0.0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, client: str, request: Hashable, items: Iterable[T]) -> None:
        """Append the items of a request, whose key must be new, to those of its client."""
        queue = deque(items)
        if not queue:
            return
        known = self._clients.setdefault(client, _Client(self._clock))
        if not known.requests:
            known.clock = max(known.clock, self._clock)
            heapq.heappush(self._heap, (known.clock, client))
        known.requests[request] = queue
        self._size += len(queue)

    def drop(self, client: str, request: Hashable) -> int:
        """Forget what waits of a request; return how many items that was."""
        known = self._clients.get(client)
        if known is None:
            return 0
        dropped = len(known.requests.pop(request, ()))
        self._size -= dropped
        if not known.requests and known.clock <= self._clock:
            del self._clients[client]
        if len(self._heap) > 2 * len(self._clients) + 16:  # clients that come and go leave their clocks behind
            self._heap = [(c.clock, name) for name, c in self._clients.items() if c.requests]
            heapq.heapify(self._heap)
        return dropped

    def take(self, cost: Callable[[T], float], seconds: float, least: int, most: int) -> list[T]:
        """Take items in fair order until they cost `seconds`, but at least `least` and at most `most` where they wait.

        Args:
            cost: the seconds that an item is expected to take, above 0; charged to its client at once.
            seconds: where to stop.
            least: how many to take whatever they cost.
            most: how many to take though they cost less.
        """
        taken: list[T] = []
        total = 0.0
        while self._heap and len(taken) < most and (total < seconds or len(taken) < least):
            clock, name = heapq.heappop(self._heap)
            client = self._clients.get(name)
            if client is None or clock != client.clock or not client.requests:
                continue
            request, items = next(iter(client.requests.items()))
            item = items.popleft()
            if not items:
                del client.requests[request]
            self._size -= 1
            taken.append(item)
            seconds_expected = cost(item)
            total += seconds_expected
            self._clock = clock
            client.clock += seconds_expected
            if client.requests:
                heapq.heappush(self._heap, (client.clock, name))
        if not self._size:
            self._heap.clear()
        return taken

    def charge(self, client: str, seconds: float) -> None:
        """Correct the clock of a client by what its items took beyond (or below) what was expected."""
        known = self._clients.get(client)
        if known is None or not seconds:
            return
        known.clock += seconds
        if known.requests:
            heapq.heappush(self._heap, (known.clock, client))

    def forgive(self) -> None:
        """Forget the clocks that no longer matter: all of them when nothing waits, else those that are behind."""
        if not self._size:
            self._clients.clear()
            self._clock = 0.0
            return
        for name in [n for n, c in self._clients.items() if not c.requests and c.clock <= self._clock]:
            del self._clients[name]
