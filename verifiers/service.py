"""The verifiers over HTTP: many clients, one `VerifierPool`.

`POST /verify` takes `{"tasks": [...]}` and returns `{"verdicts": [...]}` in the same order; `GET /health` tells whether
the server can verify. What was admitted is decided, unless its client goes away; where there is no room, the answer is
429 with Retry-After. See `dispatch` for the work itself.
"""

import asyncio
import dataclasses
import hmac
import ipaddress
import signal
import socket
from types import FrameType
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from verifiers.dispatch import Limits, Pool, Refusal, Service, Ticket
from verifiers.registry import available
from verifiers.wire import CLIENT_HEADER, MAX_ID, TOKEN_VARIABLE, RequestError, read_request, write_verdicts

HEARTBEAT_S = 10.0
"""An answer that takes longer begins with a blank at this interval, so that a silent server is a dead one."""

MAX_CONNECTIONS = 1024
MIN_TOKEN = 16


class VerifyEndpoint:
    """`POST /verify`, from the first byte of the body to the last of the answer."""

    def __init__(self, service: Service, token: str | None) -> None:
        self._service, self._token = service, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        service, limits = self._service, self._service.limits
        authorize(request, self._token)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "the Content-Type must be application/json", _CLOSE)
        held = _Held(service)
        try:
            body = await read_body(request, limits, held)
            asked = read_request(body, max_tasks=limits.request_tasks, max_budget_s=limits.budget_s)
            del body
            ticket = service.submit(_client(request), asked.tasks)
            try:
                await self._answer(ticket, asked.id, receive, send)
            finally:
                service.cancel(ticket)
        except ClientDisconnect:
            return
        finally:
            held.release()

    async def _answer(self, ticket: Ticket, request_id: str | None, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_gone(receive))
        started = False
        try:
            while True:
                await asyncio.wait((ticket.done, gone), timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
                if gone.done() or ticket.done.done():
                    break
                if not started:
                    headers = [(b"content-type", b"application/json")]
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                    started = True
                await send({"type": "http.response.body", "body": b" ", "more_body": True})
            if not ticket.done.done():
                return
            content = write_verdicts([verdict for verdict in ticket.verdicts if verdict is not None], request_id)
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


def create_app(
    pool: Pool, *, token: str | None = None, limits: Limits | None = None, sandbox: str = "bubblewrap"
) -> Starlette:
    """Return the application; its lifespan closes the pool. `app.state.service` is its `Service`.

    Args:
        pool: verifies everything; at most two threads use it at a time.
        token: what clients must send; None serves clients on this machine only.
        limits: what to take on.
        sandbox: how the pool runs code, for `/health` to tell.
    """
    service = Service(pool, limits)

    async def health(request: Request) -> Response:
        status, problems = service.status()
        code = 200 if status == "ok" else 503
        if token is not None and not authorized(request, token):  # a probe of the cluster has no token
            return JSONResponse({"status": status}, code)
        authorize(request, token)
        total = service.waiting.total()
        waiting = sum(len(lane.queue) for lane in service.lanes.values())
        found = {
            "status": status,
            "problems": problems,
            "verifiers": available(),
            "sandbox": sandbox,
            "workers": pool.workers,
            "queue": {"waiting": waiting, "running": total - waiting, "limit": service.limits.queue_tasks},
            "limits": dataclasses.asdict(service.limits),
        }
        return JSONResponse(found, code)

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return JSONResponse({"error": str(error)}, error.code, error.headers)

    async def unreadable(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)
        problems = [problem._asdict() for problem in error.problems]
        return JSONResponse({"error": str(error), "problems": problems}, error.code)

    async def other(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"error": f"{error.detail}: POST /verify and GET /health are served"}, error.status_code)

    async def failed(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": f"the server failed: {type(error).__name__}"}, 500)

    app = Starlette(
        routes=[
            Route("/verify", VerifyEndpoint(service, token), methods=["POST"]),
            Route("/health", health, methods=["GET"]),
        ],
        exception_handlers={Refusal: refused, RequestError: unreadable, HTTPException: other, Exception: failed},
        lifespan=service.running,
    )
    app.state.service = service
    return app


class ServiceError(ValueError):
    """The server cannot be started as asked; the message says what to do."""


class ListenError(ServiceError):
    """The address cannot be listened on."""


def check_token(token: str | None) -> str | None:
    """Return a token that can be used, or None for none; the message of a failure does not show it.

    Raises:
        ServiceError: too short to be a secret, or not printable ASCII without blanks.
    """
    if not token:
        return None
    if len(token) < MIN_TOKEN or not all("!" <= character <= "~" for character in token):
        message = f"{TOKEN_VARIABLE} must be at least {MIN_TOKEN} printable ASCII characters without blanks"
        raise ServiceError(message)
    return token


def open_socket(host: str, port: int, token: str | None) -> socket.socket:
    """Return a listening socket. Only a server with a token listens beyond this machine.

    Raises:
        ServiceError: neither a loopback address nor a token.
        ListenError: no such address, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError, OverflowError) as error:
        message = f"{host}:{port} is no address to listen on: {error}"
        raise ListenError(message) from None
    if token is None and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        message = (
            f"{host} can be reached from other machines, so clients must show a token: set {TOKEN_VARIABLE} here and "
            "where they run, or listen on 127.0.0.1"
        )
        raise ServiceError(message)
    try:
        return socket.create_server(address, family=family, backlog=MAX_CONNECTIONS)
    except OSError as error:
        message = f"cannot listen on {host}:{port}: {error.strerror or error}"
        raise ListenError(message) from None


class Server(uvicorn.Server):
    """Serves an app of `create_app`. Told to end, it takes nothing new and finishes what it has admitted.

    Args:
        app: what `create_app` returned.
        drain_s: seconds for what is admitted; then its clients are cut off, and may ask another server.
    """

    def __init__(self, app: Starlette, drain_s: int) -> None:
        config = uvicorn.Config(
            app,
            http="h11",  # bounds the headers
            ws="none",
            lifespan="on",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=drain_s,
        )
        super().__init__(config)
        self._service: Service = app.state.service

    def end(self) -> None:
        """Begin to end; from any thread."""
        self._service.draining = True
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End on a signal; a second interrupt waits for nothing."""
        self._service.draining = True
        super().handle_exit(sig, frame)


def serve(app: Starlette, listener: socket.socket, drain_s: int = 120) -> None:
    """Serve until SIGTERM or SIGINT. In the main thread only, which is where signals arrive."""
    server = Server(app, drain_s)
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again when all is done: that ends nothing more
        signal.signal(number, server.handle_exit)
    server.run(sockets=[listener])
