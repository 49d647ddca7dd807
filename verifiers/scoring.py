"""Rewards of many clients by one judge and its reward models: what waits is scored together, in one thread.

Tasks of rule verifiers never come here; see `dispatch` for those.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from verifiers.admission import Refusal, Room, Ticket
from verifiers.fair_queue import FairQueue
from verifiers.hybrid import HybridReward, Reward, Scorable
from verifiers.reward_wire import UNAVAILABLE, UNUSABLE

logger = logging.getLogger(__name__)

BATCH = 512
"""Responses that are scored together, at most: whoever comes next waits for so many."""

GATHER_S = 0.02
"""Seconds that an idle server waits for more responses before it scores the first one."""

AWAY_S = 60.0
"""Seconds for which a source that could not be asked makes the server unhealthy; then somebody should try again."""

ERROR = "error"
"""Status of a response that its source failed on."""

BROKEN = 4
"""Responses on end that a source fails on, from which it counts as away: no response is to blame any more."""

ScoreTicket = Ticket[Scorable, Reward]
Source = Callable[[Sequence[Scorable]], Sequence[Reward]]


class Scoring:
    """Admits responses, and has their sources score them.

    A reward depends on the task and the response alone; see `HybridReward.score_by_content`.

    Args:
        sources: the judge and the reward models, by the name of the source; never asked by two threads at a time.
        makers: who makes the rewards of each source.
        queue_tasks: responses that are admitted and not yet scored, of all clients.
        unusable: exceptions after which a source is not asked again, for its scores are worth nothing.
        away: exceptions that say that a source cannot be asked now.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        makers: Mapping[str, str],
        queue_tasks: int,
        *,
        unusable: tuple[type[Exception], ...] = (),
        away: tuple[type[Exception], ...] = (),
    ) -> None:
        self._hybrid = HybridReward(sources)
        self._unusable, self._away = unusable, away
        self.makers = dict(makers)
        self.room = Room(queue_tasks)
        self.queue: FairQueue[tuple[ScoreTicket, int]] = FairQueue()
        self._closed: dict[str, str] = {}  # why a source is not to be used, for ever
        self._lost: dict[str, int] = {}  # responses that a source has failed on since it last answered
        self._failed: dict[str, tuple[float, str]] = {}  # when and why a source could not be asked the last time
        self._awake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "score")

    def submit(self, client: str, items: Sequence[Scorable]) -> ScoreTicket:
        """Admit responses; see `Room.admit`.

        Raises:
            Refusal: 409 where their source is not to be used, 429 while there is no room.
        """
        for source in {self._hybrid.source_of(item) for item in items} if self._closed else ():
            if source in self._closed:
                raise Refusal(409, f"{source} is not to be used: {self._closed[source]}")
        self.room.admit(client, len(items))
        ticket = ScoreTicket(client, items, asyncio.get_running_loop().create_future())
        self.queue.put(client, ticket, [(ticket, position) for position in range(len(items))])
        if items:
            self._awake.set()
        return ticket

    def cancel(self, ticket: ScoreTicket) -> None:
        """Give up a request: what still waits of it is forgotten, what is being scored is thrown away afterwards."""
        if ticket.cancelled or not ticket.undecided:
            return
        ticket.cancelled = True
        self.room.settle(ticket, self.queue.drop(ticket.client, ticket))

    async def run(self) -> None:
        """Score what comes in, for ever."""
        while True:
            batch = await self._next_batch()
            started = time.monotonic()
            items = [ticket.tasks[position] for ticket, position in batch]
            rewards = await asyncio.get_running_loop().run_in_executor(self._thread, self.score, items)
            self.room.learn(len(batch), time.monotonic() - started)
            for (ticket, position), reward in zip(batch, rewards, strict=True):
                ticket.answers[position] = reward
                self.room.settle(ticket, 1)

    async def _next_batch(self) -> list[tuple[ScoreTicket, int]]:
        """Wait for responses, and return the next ones: every client has the same share of a batch."""
        while not len(self.queue):  # also where the client that woke this went away
            self._awake.clear()
            await self._awake.wait()
            await asyncio.sleep(GATHER_S)
        return self.queue.take(lambda _: 1.0, math.inf, 0, BATCH)

    def score(self, items: Sequence[Scorable]) -> list[Reward]:
        """Return one reward a response, in order. What fails costs its own source, and has no score."""
        places: dict[str | None, list[int]] = {}
        for place, item in enumerate(items):
            places.setdefault(self._hybrid.source_of(item), []).append(place)
        found: dict[int, Reward] = {}
        for source, own in places.items():
            asked = [items[place] for place in own]
            found |= zip(own, self._unless_broken(source, asked, self._ask(source, asked)), strict=True)
        return [found[place] for place in range(len(items))]

    def _unless_broken(self, source: str | None, items: Sequence[Scorable], rewards: list[Reward]) -> list[Reward]:
        """Return the rewards; where a source has failed on all that it was asked, it is the source that is broken."""
        name = str(source)
        if any(reward.status != ERROR for reward in rewards):
            self._lost[name] = 0
            return rewards
        self._lost[name] = self._lost.get(name, 0) + len(rewards)
        if self._lost[name] < BROKEN:
            return rewards
        self._failed[name] = time.monotonic(), rewards[-1].detail
        return [_failure(item, source, UNAVAILABLE, rewards[-1].detail) for item in items]

    def _ask(self, source: str | None, items: Sequence[Scorable]) -> list[Reward]:
        """Return the rewards of responses of one source."""
        name = str(source)
        if name in self._closed:
            return [_failure(item, source, UNUSABLE, self._closed[name]) for item in items]
        try:
            rewards = self._hybrid.score_by_content(items)
        except self._unusable as error:
            self._closed[name] = str(error)
            logger.error("%s is not to be used any more: %s", name, error)
            return [_failure(item, source, UNUSABLE, str(error)) for item in items]
        except self._away as error:
            self._failed[name] = time.monotonic(), str(error)
            logger.warning("%s cannot be asked: %s", name, error)
            return [_failure(item, source, UNAVAILABLE, str(error)) for item in items]
        except Exception as error:  # a defect, or too little memory: it must cost the response that meets it, no other
            if len(items) == 1:
                logger.exception("%s failed on a response", name)
                return [_failure(items[0], source, ERROR, f"error: {type(error).__name__}: {error}"[:300])]
            half = len(items) // 2
            return self._ask(source, items[:half]) + self._ask(source, items[half:])
        self._failed.pop(name, None)
        return rewards

    def problems(self) -> dict[str, str]:
        """Return what is wrong with which source."""
        recent = {name: why for name, (when, why) in self._failed.items() if time.monotonic() - when < AWAY_S}
        return recent | self._closed

    async def close(self) -> None:
        """End the thread, when what is being scored has been."""
        await asyncio.to_thread(self._thread.shutdown)


def _failure(item: Scorable, source: str | None, status: str, detail: str) -> Reward:
    return Reward(item.prompt_id, item.sample, None, source, None, status, detail)
