"""Asking one server once, and telling whose fault it is where no text comes back: the request's, or the server's."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trainer.engines import openai_wire as wire
from trainer.engines.contract import Completion, EngineError, Request
from trainer.engines.http_link import Link, LinkError
from trainer.engines.server_pool import Pool, Server, pause

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.engines.openai import OpenAIEngine

_CANARIES = 3  # tries to get anything at all out of the pool
_AGAIN = frozenset({408, 409, 425})
_ABOUT_A_REQUEST = frozenset({400, 413, 415, 422, 451})


class Failed(Exception):
    """A try came to nothing, for a reason that another one need not have. `absent`: nothing listens there."""

    def __init__(self, problem: str, *, absent: bool = False) -> None:
        super().__init__(problem)
        self.absent = absent


class Full(Exception):
    """A server takes no more for now, and says so."""

    def __init__(self, problem: str, retry_after: float) -> None:
        super().__init__(problem)
        self.retry_after = retry_after


@dataclass(eq=False, slots=True)
class Job:
    """A request on its way: what failed so far, and what was learnt from it."""

    request: Request
    failures: int = 0
    answered: int = -1  # by the pool when a server was last full for it
    avoid: Server | None = None
    dialect: wire.Dialect | None = None
    room: int | None = None


class Asker:
    """What knows how to ask. The event loop that it runs in holds its links.

    Args:
        engine: whose settings count.
        links: to every server of the pool.
        pool: the servers.
    """

    def __init__(self, engine: OpenAIEngine, links: Mapping[Server, Link], pool: Pool) -> None:
        self._engine, self._links, self._pool = engine, links, pool
        self._proven: set[str] = set()  # endpoints that have answered something
        self._proving = asyncio.Lock()

    async def ask(self, job: Job, server: Server) -> Completion:
        """Return the completion that a server gives, be it one that says why there is no text.

        Raises:
            EngineError: the server will not answer anybody.
            Failed, Full: another try may help.
        """
        request, model = job.request, self._engine.name
        while True:
            dialect = job.dialect or server.dialect
            reply = await self._post(server, wire.path(request), wire.body(request, model, dialect, job.room))
            try:
                if reply.status == 200:
                    completion = await self._read(request, reply.content, server)
                    if job.dialect is not None:
                        server.dialect = job.dialect
                    self._proven.add(wire.path(request))
                    return completion
                refusal = wire.refusal(reply.content)
            except wire.WrongReplyError as error:
                where = "the answer cannot be used" if reply.status == 200 else f"answers {reply.status}"
                raise Failed(f"{where}: {error}") from None
            if (simpler := dialect.without(refusal)) is not None:
                job.dialect = simpler
            elif refusal.too_long and job.room is None and 0 < (refusal.room or 0) < request.sampling.max_tokens:
                job.room = refusal.room  # as other engines do: a prompt that fits gets what is left of the context
            else:
                await self._believe(request, server, refusal)
                return Completion.failed(
                    request, wire.NAME, self.clean(refusal.detail), refusal.prompt_tokens if refusal.too_long else None
                )

    async def _post(self, server: Server, path: str, content: bytes) -> wire.Reply:
        """Return a reply that is an answer, or a refusal of one request. Raises as `ask` does."""
        try:
            async with asyncio.timeout(self._engine.timeout_s):
                reply = await self._links[server].post(path, content)
        except LinkError as error:
            raise Failed(str(error), absent=error.absent) from None
        except TimeoutError:
            msg = f"no answer within {self._engine.timeout_s:g} s (engine.timeout_s)"
            raise Failed(msg) from None
        if reply.status == 200 or reply.status in _ABOUT_A_REQUEST:
            return reply
        problem = f"answers {reply.status}"
        with contextlib.suppress(wire.WrongReplyError):
            if reply.status != 401:  # some quote a part of the key
                problem += f": {wire.refusal(reply.content).message}"
        if reply.status == 429 or (reply.status == 503 and reply.retry_after):
            raise Full(problem, reply.retry_after)
        if reply.status >= 500 or reply.status in _AGAIN:
            raise Failed(problem)
        raise EngineError(self.clean(await self._barred(server, path, reply.status, problem)))

    async def _read(self, request: Request, content: bytes, server: Server) -> Completion:
        model = self._engine.name
        try:
            return wire.completion(request, content, model, server.aliases or frozenset())
        except wire.WrongReplyError as error:
            if error.model is None or server.aliases is not None:
                raise
        known = await self._models(server)
        same = known.get(model)
        server.aliases = frozenset(n for n, root in known.items() if same is not None and root == same)
        return wire.completion(request, content, model, server.aliases)

    async def _models(self, server: Server) -> dict[str, object]:
        with contextlib.suppress(LinkError, TimeoutError):
            async with asyncio.timeout(min(30.0, self._engine.timeout_s)):
                reply = await self._links[server].get("/models")
            return wire.models(reply.content) if reply.status == 200 else {}
        return {}

    async def _barred(self, server: Server, path: str, status: int, problem: str) -> str:
        engine = self._engine
        text = f"policy.engine = 'openai': {server.url}{path} {problem}"
        if status in (401, 402, 403):
            have = "holds a key that it does not take" if engine.secret.headers() else "is not set"
            return f"{text}; the key is taken from the variable {engine.api_key_env} (engine.api_key_env), which {have}"
        names = ", ".join(list(await self._models(server))[:10])
        if names:
            return f"{text}; policy.model = {engine.name!r}, and the server has: {names}"
        return f"{text}; engine.base_urls must name the address that /chat/completions is under, often with /v1"

    async def _believe(self, request: Request, server: Server, refusal: wire.Refusal) -> None:
        """Make sure that a refusal is about its request: a server that has never answered may refuse everything."""
        path = wire.path(request)
        async with self._proving:
            if path in self._proven:
                return
            model = self._engine.name
            trivial = _canary(request)
            dialect: wire.Dialect | None = server.dialect
            while dialect is not None:
                reply = await self._post(server, path, wire.body(trivial, model, dialect))
                try:
                    if reply.status == 200:
                        await self._read(trivial, reply.content, server)
                        self._proven.add(path)
                        return
                    dialect = dialect.without(wire.refusal(reply.content))
                except wire.WrongReplyError as error:
                    raise Failed(f"the answer cannot be used: {error}") from None
            msg = f"policy.engine = 'openai': {server.url}{path} refuses every request, last: {refusal.message}"
            raise EngineError(self.clean(msg))

    async def works(self, request: Request) -> bool:
        """Tell whether the pool answers something trivial, at the same address and with the same sampling."""
        trivial, model = _canary(request), self._engine.name
        for i in range(_CANARIES):
            if i:
                await asyncio.sleep(pause(i))
            for server in sorted(self._pool.servers, key=lambda s: s.rounds):
                with contextlib.suppress(Failed, Full, wire.WrongReplyError):
                    reply = await self._post(server, wire.path(request), wire.body(trivial, model, server.dialect))
                    if reply.status == 200:
                        await self._read(trivial, reply.content, server)
                        return True
        return False

    def silent(self) -> EngineError:
        """Return what to raise where no server answers."""
        return EngineError(
            self.clean(
                f"policy.engine = 'openai': no server answers, after {self._engine.retries} retries: "
                f"{self._pool.problems()}; what was generated is kept"
            )
        )

    def clean(self, text: str) -> str:
        """Return a text for people without the key in it."""
        return self._engine.secret.hide(text)


def _canary(request: Request) -> Request:
    """Return a request that any server can answer, with the sampling of another."""
    if request.raw_text is not None:
        return replace(request, raw_text="Hello")
    return replace(request, messages=(("user", "Hello"),))
