"""The verifiers over HTTP, and the hybrid reward: many clients, one `VerifierPool`, one judge with its reward models.

`POST /verify` takes `{"tasks": [...]}` and returns `{"verdicts": [...]}` in the same order, `POST /reward` returns
`{"rewards": [...]}`; `GET /health` tells whether the server can do both, and who makes the rewards. What was admitted
is decided, unless its client goes away; where there is no room, the answer is 429 with Retry-After. See `dispatch` for
the work of the verifiers and `scoring` for that of judge and models.
"""

import dataclasses
import ipaddress
import signal
import socket
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from verifiers.admission import Limits, Refusal, Room
from verifiers.dispatch import Pool, Service
from verifiers.endpoints import VerifyEndpoint, authorize, authorized
from verifiers.hybrid import RTV
from verifiers.registry import available
from verifiers.reward_endpoint import RewardEndpoint
from verifiers.scoring import Scoring
from verifiers.wire import TOKEN_VARIABLE, RequestError

MAX_CONNECTIONS = 1024
MIN_TOKEN = 16


def create_app(
    pool: Pool,
    *,
    token: str | None = None,
    limits: Limits | None = None,
    sandbox: str = "bubblewrap",
    scoring: Scoring | None = None,
    budget_s: float | None = None,
) -> Starlette:
    """Return the application; its lifespan closes the pool. `app.state.service` is its `Service`.

    Args:
        pool: verifies everything; at most two threads use it at a time.
        token: what clients must send; None serves clients on this machine only.
        limits: what to take on.
        sandbox: how the pool runs code, for `/health` to tell.
        scoring: scores for `/reward` what no rule decides; default: nothing does.
        budget_s: for a verdict that `/reward` needs; default: what its verifier says.
    """
    service = Service(pool, limits)
    scoring = scoring or Scoring({}, {}, service.limits.queue_tasks)

    async def health(request: Request) -> Response:
        status, problems = service.status()
        if status == "ok" and (problems := scoring.problems()):
            status = "failing"
        code = 200 if status == "ok" else 503
        if token is not None and not authorized(request, token):  # a probe of the cluster has no token
            return JSONResponse({"status": status}, code)
        authorize(request, token)
        waiting = sum(len(lane.queue) for lane in service.lanes.values())
        found = {
            "status": status,
            "problems": problems,
            "verifiers": available(),
            "sources": [RTV, *scoring.makers],
            "makers": scoring.makers,
            "sandbox": sandbox,
            "workers": pool.workers,
            "queue": _queue(service.room, waiting),
            "score_queue": _queue(scoring.room, len(scoring.queue)),
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
        served = "POST /verify, POST /reward and GET /health are served"
        return JSONResponse({"error": f"{error.detail}: {served}"}, error.status_code)

    async def failed(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": f"the server failed: {type(error).__name__}"}, 500)

    app = Starlette(
        routes=[
            Route("/verify", VerifyEndpoint(service, token), methods=["POST"]),
            Route("/reward", RewardEndpoint(service, token, scoring, budget_s), methods=["POST"]),
            Route("/health", health, methods=["GET"]),
        ],
        exception_handlers={Refusal: refused, RequestError: unreadable, HTTPException: other, Exception: failed},
        lifespan=lambda _: service.running(scoring),
    )
    app.state.service, app.state.scoring = service, scoring
    return app


def _queue(room: Room, waiting: int) -> dict[str, int]:
    return {"waiting": waiting, "running": room.waiting.total() - waiting, "limit": room.limit}


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
