"""`POST /verify` and `POST /reward`: from the first byte of a request's body to the last of its answer."""

import asyncio
import hmac
import ipaddress
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from verifiers.admission import Limits, Refusal
from verifiers.dispatch import Service
from verifiers.wire import CLIENT_HEADER, MAX_ID, read_request, write_verdicts

HEARTBEAT_S = 10.0
"""An answer that takes longer begins with a blank at this interval, so that a silent server is a dead one."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A request that was admitted.

    Attributes:
        done: when all of it is decided.
        body: gives the body of the answer, then.
        cancel: gives up what is not decided.
    """

    done: asyncio.Future[Any]
    body: Callable[[], bytes]
    cancel: Callable[[], None]


class Endpoint(ABC):
    """One path that takes `{"tasks": [...]}`.

    Args:
        service: whose limits hold.
        token: what clients must send; None serves clients on this machine only.
    """

    def __init__(self, service: Service, token: str | None) -> None:
        self._service, self._token = service, token

    @abstractmethod
    def admit(self, client: str, body: bytes) -> Pending:
        """Read a body and admit what it asks.

        Raises:
            RequestError: it is no request.
            Refusal: it is not admitted.
        """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        authorize(request, self._token)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "the Content-Type must be application/json", _CLOSE)
        held = _Held(self._service)
        try:
            body = await read_body(request, self._service.limits, held)
            pending = self.admit(_client(request), body)
            del body
            try:
                await _answer(pending, receive, send)
            finally:
                pending.cancel()
        except ClientDisconnect:
            return
        finally:
            held.release()


class VerifyEndpoint(Endpoint):
    """`POST /verify`: tasks of rule verifiers."""

    def admit(self, client: str, body: bytes) -> Pending:
        service, limits = self._service, self._service.limits
        asked = read_request(body, max_tasks=limits.request_tasks, max_budget_s=limits.budget_s)
        ticket = service.submit(client, asked.tasks)
        return Pending(ticket.done, lambda: write_verdicts(ticket.answered(), asked.id), lambda: service.cancel(ticket))


async def _answer(pending: Pending, receive: Receive, send: Send) -> None:
    gone = asyncio.create_task(_gone(receive))
    started = False
    try:
        while True:
            await asyncio.wait((pending.done, gone), timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() or pending.done.done():
                break
            if not started:
                headers = [(b"content-type", b"application/json")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                started = True
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
        if not pending.done.done():
            return
        content = pending.body()
        if started:
            await send({"type": "http.response.body", "body": content})
        else:
            await Response(content, media_type="application/json")({"type": "http"}, receive, send)
    finally:
        gone.cancel()


class _Held:
    """The bytes of one body, counted among those of all."""

    def __init__(self, service: Service) -> None:
        self._service, self._bytes = service, 0

    def add(self, size: int) -> None:
        if self._service.held_bytes + size > self._service.limits.held_bytes:
            raise Refusal(429, "too many bytes of requests wait; try again in 1 s", {"Retry-After": "1", **_CLOSE})
        self._bytes += size
        self._service.held_bytes += size

    def release(self) -> None:
        self._service.held_bytes -= self._bytes
        self._bytes = 0


_CLOSE = {"Connection": "close"}  # the rest of the body is not read


async def read_body(request: Request, limits: Limits, held: _Held) -> bytes:
    """Read a body, no further than its limit.

    Raises:
        Refusal: 413 as soon as it is known to be too long, 408 when it does not arrive in time, 429 when too much is
            held already.
    """
    declared = request.headers.get("content-length", "")
    too_long = Refusal(413, f"the body is longer than this server's {limits.body_bytes} bytes: send parts", _CLOSE)
    if declared.isdecimal() and int(declared[:20]) > limits.body_bytes:
        raise too_long
    chunks, size = [], 0
    try:
        async with asyncio.timeout(limits.body_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limits.body_bytes:
                    raise too_long
                held.add(len(chunk))
                chunks.append(chunk)
    except TimeoutError:
        raise Refusal(408, f"the body did not arrive within {limits.body_s:g} s", _CLOSE) from None
    return b"".join(chunks)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _client(request: Request) -> str:
    named = request.headers.get(CLIENT_HEADER, "")[:MAX_ID]
    return named or (request.client.host if request.client else "unknown")


def authorized(request: Request, token: str) -> bool:
    """Tell whether a request carries the token; takes as long for a wrong one as for the right one."""
    given = request.headers.get("authorization", "")
    scheme, _, value = given.partition(" ")
    return hmac.compare_digest(value.strip().encode(), token.encode()) and scheme.lower() == "bearer"


def authorize(request: Request, token: str | None) -> None:
    """Let a request pass, or not.

    Without a token only this machine is served, and only under a name of its own: a web page that made its name point
    here must not reach the verifiers through a browser.

    Raises:
        Refusal: 401 or 403.
    """
    if token is not None:
        if not authorized(request, token):
            headers = {"WWW-Authenticate": "Bearer", **_CLOSE}
            raise Refusal(401, "this server asks for its token: `Authorization: Bearer ...`", headers)
        return
    try:
        name = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        local = name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        local = False
    if not local:
        raise Refusal(403, "without a token this server answers to localhost only", _CLOSE)
