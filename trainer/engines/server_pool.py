"""Several servers of one model as one pool: which one is asked next, which one rests, and when none is left. No I/O.

A server that keeps failing rests, each time longer, and is then tried with a single request, so that a server that
hangs costs one request a timeout and not all of them. A server that says it is full (429) is asked less, not given up.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trainer.engines.openai_wire import Dialect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 30.0
LONGEST_WAIT_S = 300.0  # however long a server asks to be left alone
TRIP = 5  # failures in a row until a server rests; one is enough where nothing listens


def pause(failures: int) -> float:
    """Return how long to wait after so many failures in a row: twice as long each time, and never in step."""
    return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 30)) * random.uniform(0.75, 1.25))


@dataclass(eq=False)
class Server:
    """One base URL, and how it fares.

    Attributes:
        limit: requests it may have now; halved when it is full, then slowly raised.
        in_flight: requests it has.
        period: changes whenever the server begins to rest: what was sent before says nothing about the server after.
        failures: in a row.
        rounds: rests in a row without an answer between them.
        busy: rests in a row because it was full.
        problem: its last failure, for people.
    """

    url: str
    limit: float
    dialect: Dialect = field(default_factory=Dialect)
    aliases: frozenset[str] | None = None
    in_flight: int = 0
    period: int = 0
    failures: int = 0
    rounds: int = 0
    busy: int = 0
    rests_until: float = 0.0
    problem: str = ""


class Pool:
    """The servers, and the choice between them.

    Args:
        servers: at least one.
        concurrency: requests on their way to each of them, at most.
        retries: rests in a row after which a server counts as dead.
        clock: seconds that never go backwards.

    Attributes:
        answered: requests that any server answered so far.
    """

    def __init__(self, servers: Sequence[Server], concurrency: int, retries: int, clock: Callable[[], float]) -> None:
        self.servers = list(servers)
        self.answered = 0
        self._concurrency, self._retries, self._clock = concurrency, retries, clock

    def pick(self, avoid: Server | None = None) -> Server | None:
        """Return the server to ask next, the one with the least to do; None where a request has to wait.

        Args:
            avoid: has just failed on this request: not asked while another one is up.
        """
        now = self._clock()
        up = [s for s in self.servers if s.rests_until <= now]
        if len(up) > 1 and avoid in up:
            up.remove(avoid)
        free = [s for s in up if s.in_flight < (1 if s.rounds else max(1, int(s.limit)))]
        return min(free, key=lambda s: s.in_flight, default=None)

    def wakes(self) -> float | None:
        """Return when the first resting server may be asked again, or None where none rests."""
        now = self._clock()
        return min((s.rests_until for s in self.servers if s.rests_until > now), default=None)

    def succeeded(self, server: Server, period: int) -> None:
        """Count an answer to what was sent in `period`: the server works, though it may still be full."""
        self.answered += 1
        if server.rounds:
            server.rests_until = 0.0
        server.failures = server.rounds = 0
        if period == server.period:
            server.busy = 0
        if server.limit < self._concurrency:
            server.limit = min(float(self._concurrency), server.limit + 1.0 / server.limit)

    def failed(self, server: Server, period: int, problem: str, *, absent: bool = False) -> None:
        """Count a failure of a request that was sent in `period`; `absent` says that nothing listens there."""
        server.problem = problem
        if period != server.period:
            return
        server.failures += 1
        if absent or server.rounds or server.failures >= TRIP:
            server.failures = 0
            server.rounds += 1
            server.period += 1
            server.rests_until = self._clock() + pause(server.rounds)

    def full(self, server: Server, period: int, problem: str, retry_after: float) -> None:
        """Count a 429: the server takes less for a while, and nothing until it has said or a pause is over."""
        server.problem = problem
        if period != server.period:
            return
        server.busy += 1
        server.period += 1
        server.limit = max(1.0, server.limit / 2)
        wait = retry_after * random.uniform(1.0, 1.1) if retry_after else pause(server.busy)
        server.rests_until = self._clock() + min(wait, LONGEST_WAIT_S)

    @property
    def dead(self) -> bool:
        """Tell whether every server has failed so often that there is no hope."""
        return all(s.rounds > self._retries for s in self.servers)

    def problems(self) -> str:
        """Return what the servers' last failures were, for people."""
        return "; ".join(f"{s.url}: {s.problem or 'no failure'}" for s in self.servers)
