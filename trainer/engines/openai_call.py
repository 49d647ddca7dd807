"""One call of `OpenAIEngine.generate`: requests in, a bounded number of them at the servers, completions out."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING

from trainer.engines import openai_wire as wire
from trainer.engines.contract import Completion, EngineError, Request
from trainer.engines.http_link import Link, open_link
from trainer.engines.openai_ask import Asker, Failed, Full, Job
from trainer.engines.server_pool import Pool, Server, pause

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator

    from trainer.engines.openai import OpenAIEngine

KEPT = 4096  # completions that may wait to be taken, so that servers go on while a chunk is written
_CLOSE_S = 5.0
_LOOK_UP_S = 0.5


class Call:
    """The threads and connections of one call.

    Args:
        engine: whose settings count.
        requests: taken one by one, in a thread of their own.
    """

    def __init__(self, engine: OpenAIEngine, requests: Iterable[Request]) -> None:
        self._engine, self._requests = engine, requests
        slots = engine.concurrency * len(engine.base_urls)
        self._room = threading.Semaphore(2 * slots)  # taken in and not answered: as many again may wait or pause
        self._kept = threading.Semaphore(2 * slots + KEPT)  # taken in and not given to the caller
        self._out: queue.SimpleQueue[Completion | BaseException | None] = queue.SimpleQueue()
        self._arrived: deque[Job] = deque()
        self._again: list[Job] = []
        self._taken = self._finished = 0
        self._taken_all = self._stopped = self._nudged = False
        self._problem: BaseException | None = None  # of the source of the requests
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._links: dict[Server, Link] = {}
        self._asking = threading.Thread(target=self._run, daemon=True, name="preppo-openai")
        self._feeding = threading.Thread(target=self._feed, daemon=True, name="preppo-openai-feed")

    # --- the caller's thread ---

    def start(self) -> None:
        """Begin to ask."""
        self._asking.start()
        self._feeding.start()

    def completions(self) -> Iterator[Completion]:
        """Yield completions until there are no more. Raises what ended the call."""
        while True:
            # An interrupt that comes just before a thread begins to wait does not wake it: it looks up now and then.
            try:
                found = self._out.get(timeout=_LOOK_UP_S)
            except queue.Empty:
                continue
            if found is None:
                return
            if isinstance(found, BaseException):
                raise found
            self._kept.release()
            yield found

    def stop(self) -> None:
        """End threads and connections; what is on its way is forgotten. It may be called from any thread, and twice."""
        first, self._stopped = not self._stopped, True
        if first:
            self._out.put(EngineError("the engine was closed while it generated"))
            self._room.release()
            self._kept.release()
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._end.set)
        # The feeding thread may hang in whatever makes the requests: it ends as soon as that returns.
        if self._asking.ident is not None and self._asking is not threading.current_thread():
            self._asking.join()
        elif self._asking.ident is None:
            with contextlib.suppress(RuntimeError):  # it has been started just now, and ends by itself
                self._loop.close()

    # --- the thread that takes requests in ---

    def _feed(self) -> None:
        try:
            for request in self._requests:
                self._kept.acquire()
                self._room.acquire()
                if self._stopped:
                    return
                self._taken += 1
                self._arrived.append(Job(request))
                self._nudge()
        except BaseException as error:  # raised again where the completions are taken
            self._problem = error
        finally:
            self._taken_all = True
            self._nudge()

    def _nudge(self) -> None:
        """Make the loop look at what has arrived; one wake-up serves many requests."""
        if not self._nudged:
            self._nudged = True
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._look)

    # --- the event loop ---

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # a defect of ours must not leave the caller waiting
            self._out.put(error)
        finally:
            self._out.put(None)

    async def _serve(self) -> None:
        engine = self._engine
        try:
            for url in engine.base_urls:
                server = Server(url, float(engine.concurrency), engine.dialects[url])
                headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", **engine.secret.headers()}
                self._links[server] = open_link(url, headers)
            self._pool = Pool(list(self._links), engine.concurrency, engine.retries, self._loop.time)
            self._asker = Asker(engine, self._links, self._pool)
            self._look()
            await self._end.wait()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for server, link in self._links.items():
                engine.dialects[server.url] = server.dialect
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(link.close(), _CLOSE_S)

    def _look(self) -> None:
        """Send whatever can be sent now, and see to it that the rest is looked at again."""
        self._nudged = False
        if self._end.is_set() or not self._links:
            return
        while (found := self._next()) is not None:
            job, server = found
            server.in_flight += 1
            self._spawn(self._try(job, server))
        if self._taken_all and self._finished == self._taken:
            if self._problem is not None:
                self._out.put(self._problem)
            self._end.set()
        elif (self._again or self._arrived) and (wakes := self._pool.wakes()) is not None:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(wakes + 0.001, self._look)

    def _next(self) -> tuple[Job, Server] | None:
        """Return what to send next and where to; what has failed before goes first, or it would be last for ever."""
        for i, job in enumerate(self._again):
            if (server := self._pool.pick(job.avoid)) is not None:
                del self._again[i]
                return job, server
        if self._arrived and (server := self._pool.pick()) is not None:
            return self._arrived.popleft(), server
        return None

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)
        self._look()

    def _fail(self, error: BaseException) -> None:
        if not self._end.is_set():
            self._out.put(error)
            self._end.set()

    def _answer(self, completion: Completion) -> None:
        """Give a completion out; nothing else does, and each job comes here once."""
        self._finished += 1
        self._room.release()
        self._out.put(completion)

    async def _try(self, job: Job, server: Server) -> None:
        """Ask one server once, and decide what becomes of the request."""
        period = server.period
        try:
            completion = await self._asker.ask(job, server)
        except Full as full:
            problem = self._asker.clean(str(full))
            self._pool.full(server, period, problem, full.retry_after)
            if job.answered == self._pool.answered:  # nothing moves: it is not just our turn that has not come
                await self._failed(job, server, problem)
            else:
                job.answered = self._pool.answered
                self._again.append(job)
        except Failed as failure:
            problem = self._asker.clean(str(failure))
            self._pool.failed(server, period, problem, absent=failure.absent)
            if self._pool.dead:
                raise self._asker.silent() from None
            await self._failed(job, server, problem)
        else:
            self._pool.succeeded(server, period)
            self._answer(completion)
        finally:
            server.in_flight -= 1

    async def _failed(self, job: Job, server: Server, problem: str) -> None:
        job.failures += 1
        job.avoid = server
        if job.failures <= self._engine.retries:
            self._loop.call_later(pause(job.failures), self._retry, job)
        elif await self._asker.works(job.request):
            self._answer(Completion.failed(job.request, wire.NAME, f"failed: {job.failures} times, last: {problem}"))
        else:
            raise self._asker.silent()

    def _retry(self, job: Job) -> None:
        self._again.append(job)
        self._look()
