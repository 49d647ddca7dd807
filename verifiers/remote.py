"""Verifying on a server (`preppo reward serve`) what cannot be verified here.

Whatever goes wrong between here and the server is an `error` without a score. So is a verdict by another version of a
verifier than the one installed here: scores of two versions are never mixed.
"""

import asyncio
import json
import math
import os
import random
import ssl
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar
from urllib.parse import urlsplit

import httpx2

from verifiers.contract import Status, Task, Verdict
from verifiers.registry import REGISTRY, available
from verifiers.wire import CLIENT_HEADER, TOKEN_VARIABLE, AnswerError, read_verdicts, write_task

if TYPE_CHECKING:
    from concurrent.futures import Future

CONNECT_S = 10.0
MAX_PAUSE_S = 60.0
MAX_BACKOFF_S = 10.0
MAX_REPLY = 256 << 20
"""Bytes of one reply."""

T = TypeVar("T")


class _Chunk(NamedTuple):
    """Tasks that travel together: their positions in the call, and their JSON text."""

    positions: list[int]
    texts: list[str]

    def halves(self) -> tuple["_Chunk", "_Chunk"]:
        middle = len(self.positions) // 2
        return (
            _Chunk(self.positions[:middle], self.texts[:middle]),
            _Chunk(self.positions[middle:], self.texts[middle:]),
        )

    def without(self, places: set[int]) -> "_Chunk":
        kept = [place for place in range(len(self.positions)) if place not in places]
        return _Chunk([self.positions[place] for place in kept], [self.texts[place] for place in kept])


class _Call:
    """One call of `verify`: what is asked, what is known, and when to stop trying."""

    def __init__(self, tasks: Sequence[Task], deadline_s: float) -> None:
        self.tasks = tasks
        self.verdicts: list[Verdict | None] = [None] * len(tasks)
        self.started = self.last_success = time.monotonic()
        self.deadline = self.started + deadline_s
        self.hopeless: str | None = None  # why no other chunk needs to try

    def open(self, chunk: _Chunk) -> list[int]:
        return [position for position in chunk.positions if self.verdicts[position] is None]

    def fail(self, positions: Sequence[int], detail: str) -> None:
        elapsed_ms = (time.monotonic() - self.started) * 1000
        for position in positions:
            name = self.tasks[position].verifier
            self.verdicts[position] = Verdict(Status.error, None, None, detail, str(name), _version(name), elapsed_ms)


class RemoteVerifier:
    """A client of one server, for any number of threads; connections stay open between calls.

    A context manager. Connection failures and answers of the 5xx kind are tried again with growing pauses, up to
    `retries` times; 429 (the server is full) is waited out. Nothing is sent over a proxy, and no redirect is followed.

    Args:
        url: of the server, http or https, without a user or a query.
        token: what the server asks for; None takes it from PREPPO_REWARD_TOKEN.
        concurrency: requests on their way at a time.
        chunk_tasks: the most tasks in one request.
        chunk_bytes: and about the most bytes; a task that is longer travels alone.
        silence_s: a server that sends nothing for so long is gone. It gives a sign of life every 10 s.
        deadline_s: after this, what one call of `verify` has no verdict for is an error.
        retries: how often one request may fail before its tasks are errors.
        versions: of the verifiers that the server must have, by name; None demands those installed here.

    Raises:
        ValueError: the URL or a number cannot be used.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        concurrency: int = 4,
        chunk_tasks: int = 256,
        chunk_bytes: int = 4 << 20,
        silence_s: float = 60.0,
        deadline_s: float = 3600.0,
        retries: int = 7,
        versions: Mapping[str, str] | None = None,
    ) -> None:
        if min(concurrency, chunk_tasks, chunk_bytes) < 1 or min(silence_s, deadline_s) <= 0 or retries < 0:
            raise ValueError("concurrency, chunk_tasks, chunk_bytes, silence_s and deadline_s must be above 0")
        self.url = checked_url(url)
        self._server = f"the reward server at {self.url}"
        token = os.environ.get(TOKEN_VARIABLE) if token is None else token
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        self._headers[CLIENT_HEADER] = uuid.uuid4().hex
        if token:
            if not all("!" <= character <= "~" for character in token):
                message = f"the token ({TOKEN_VARIABLE}) must be printable ASCII without blanks"
                raise ValueError(message)
            self._headers["Authorization"] = f"Bearer {token}"
        self._chunk_tasks, self._chunk_bytes, self._retries = chunk_tasks, chunk_bytes, retries
        self._concurrency, self._silence_s, self._deadline_s = concurrency, silence_s, deadline_s
        self._versions = dict(available() if versions is None else versions)
        self._lock = threading.Lock()
        self._loop: _LoopThread | None = None
        _clients.add(self)

    def verify(self, tasks: Sequence[Task]) -> list[Verdict]:
        """Return one verdict per task, in the same order; nothing that a task or the server does makes it raise."""
        future = self.submit(tasks)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # interrupted: the server forgets what it was asked
            raise

    def submit(self, tasks: Sequence[Task]) -> "Future[list[Verdict]]":
        """Begin to verify, and return at once what will hold the verdicts."""
        tasks = list(tasks)
        with self._lock:
            if self._loop is not None and self._loop.owner != os.getpid():  # a forked process has no such thread
                _forked.append(self._loop)
                self._loop = None
            if self._loop is None:
                self._loop = _LoopThread(self._open, self._concurrency)
            return self._loop.run(self._verify(tasks, self._loop))

    async def verify_async(self, tasks: Sequence[Task]) -> list[Verdict]:
        """Do the same, so that an event loop goes on."""
        return await asyncio.wrap_future(self.submit(tasks))

    def close(self) -> None:
        """Close the connections. The client may be used again."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None and loop.owner == os.getpid():
            loop.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> httpx2.AsyncClient:
        timeout = httpx2.Timeout(connect=CONNECT_S, read=self._silence_s, write=self._silence_s, pool=None)
        limits = httpx2.Limits(max_connections=self._concurrency, keepalive_expiry=60.0)
        certificates = ssl.create_default_context()  # what the machine trusts, or SSL_CERT_FILE
        return httpx2.AsyncClient(
            base_url=self.url,
            headers=self._headers,
            timeout=timeout,
            limits=limits,
            trust_env=False,
            verify=certificates,
        )

    async def _verify(self, tasks: Sequence[Task], loop: "_LoopThread") -> list[Verdict]:
        call = _Call(tasks, self._deadline_s)
        chunks = self._chunks(call)
        running = [asyncio.create_task(self._decide(chunk, call, loop)) for chunk in chunks]
        try:
            await asyncio.gather(*running)
        except asyncio.CancelledError:
            if not loop.ending:  # the caller gave up
                raise
            for chunk in chunks:
                call.fail(call.open(chunk), "the client was closed")
        finally:
            for task in running:
                task.cancel()
        return [verdict for verdict in call.verdicts if verdict is not None]

    def _chunks(self, call: _Call) -> list[_Chunk]:
        """Cut a call into requests of about equal length, one after the other as the tasks come."""
        chunks: list[_Chunk] = []
        most = min(self._chunk_tasks, max(16, math.ceil(len(call.tasks) / self._concurrency)))
        size = 0
        for position, task in enumerate(call.tasks):
            text = write_task(task)
            if text is None:
                call.fail([position], "a field of the task is not what `verifiers.Task` says")
                continue
            size += len(text)
            if not chunks or len(chunks[-1].positions) == most or size > self._chunk_bytes:
                chunks.append(_Chunk([], []))
                size = len(text)
            chunks[-1].positions.append(position)
            chunks[-1].texts.append(text)
        return chunks

    async def _decide(self, chunk: _Chunk, call: _Call, loop: "_LoopThread") -> None:
        async with loop.slots:
            try:
                async with asyncio.timeout(call.deadline - time.monotonic()):
                    await self._persist(chunk, call, loop.client)
            except TimeoutError:
                call.fail(call.open(chunk), f"{self._server} had no verdict within {self._deadline_s:g} s")
            except Exception as error:  # a defect of ours must not lose the verdicts of other chunks
                call.fail(
                    call.open(chunk), f"the client of {self._server} failed: {type(error).__name__}: {error}"[:300]
                )

    async def _persist(self, chunk: _Chunk, call: _Call, client: httpx2.AsyncClient) -> None:
        """Ask until there are verdicts, or no hope for any."""
        failures, began = 0, time.monotonic()
        while chunk.positions:
            if call.hopeless is not None:
                return call.fail(chunk.positions, call.hopeless)
            pause_s = 0.0
            try:
                reply = await self._ask(chunk, call, client)
            except AnswerError as error:
                problem = str(error)
            except httpx2.HTTPError as error:
                problem = f"{type(error).__name__}: {error}".rstrip(": ")
            else:
                if reply is None:
                    return None
                if reply.status_code == 413 and len(chunk.positions) > 1:
                    for half in chunk.halves():
                        await self._persist(half, call, client)
                    return None
                pause_s, problem = _retry_after(reply), _said(reply)
                if reply.status_code == 429:  # full, which is no failure
                    await asyncio.sleep(_spread(max(pause_s, 0.1)))
                    continue
                if reply.status_code < 500:
                    chunk = self._refused(chunk, call, reply)
                    continue
            failures += 1
            if failures > self._retries:
                message = f"{self._server} failed {failures} times: {problem}"[:400]
                if call.last_success < began:  # and no other request had more luck
                    call.hopeless = message
                return call.fail(chunk.positions, message)
            await asyncio.sleep(_spread(max(pause_s, min(MAX_BACKOFF_S, 0.25 * 2 ** (failures - 1)))))
        return None

    async def _ask(self, chunk: _Chunk, call: _Call, client: httpx2.AsyncClient) -> httpx2.Response | None:
        """Send a request. Keep its verdicts and return None, or return the reply that holds none."""
        request_id = uuid.uuid4().hex
        content = f'{{"id": "{request_id}", "tasks": [{", ".join(chunk.texts)}]}}'.encode("ascii")
        async with client.stream("POST", "/verify", content=content) as reply:
            body = bytearray()
            async for part in reply.aiter_bytes():
                body += part
                if len(body) > MAX_REPLY:
                    raise AnswerError("a reply without end")
        if reply.status_code != 200:
            return httpx2.Response(reply.status_code, headers=reply.headers, content=bytes(body))
        verdicts = read_verdicts(bytes(body), [call.tasks[position] for position in chunk.positions], request_id)
        for position, verdict in zip(chunk.positions, verdicts, strict=True):
            wanted = self._versions.get(verdict.verifier, "")
            if verdict.version == wanted:
                call.verdicts[position] = verdict
            else:
                both = f"{verdict.verifier} {verdict.version or '(none)'}, not {wanted or '(none)'} as here"
                call.fail([position], f"{self._server} has {both}: install the same preppo on both")
        call.last_success = time.monotonic()
        return None

    def _refused(self, chunk: _Chunk, call: _Call, reply: httpx2.Response) -> _Chunk:
        """Give up the tasks that the server will not take, and return the others."""
        problem = _said(reply)
        if reply.status_code == 422 and (found := _problems(reply, len(chunk.positions))):
            for place, why in found.items():
                call.fail([chunk.positions[place]], f"{self._server} refused the task: {why}")
            return chunk.without(set(found))
        message = f"{self._server} refused: {problem}"
        if reply.status_code != 413:  # one task that is too long says nothing about the others
            call.hopeless = message
        call.fail(chunk.positions, message)
        return _Chunk([], [])


class _LoopThread:
    """An event loop in a thread of its own, and the connections that live in it."""

    def __init__(self, open_client: Callable[[], httpx2.AsyncClient], concurrency: int) -> None:
        self.owner = os.getpid()
        self.ending = False
        self.client, self.slots = open_client(), asyncio.Semaphore(concurrency)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="remote-verifier", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def end(self) -> None:
        self.run(self._finish()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _finish(self) -> None:
        self.ending = True
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self.client.aclose()


_forked: list[_LoopThread] = []
"""Loops of a parent process: kept, since to free one would close what it shares with the parent."""

_clients: "weakref.WeakSet[RemoteVerifier]" = weakref.WeakSet()


def _new_locks() -> None:
    for client in list(_clients):
        client._lock = threading.Lock()


os.register_at_fork(after_in_child=_new_locks)  # a thread of the parent may have held one


def _version(name: object) -> str:
    entry = REGISTRY.get(name) if isinstance(name, str) else None
    return "" if entry is None else entry.version


def _said(reply: httpx2.Response) -> str:
    """Return the status of a reply with its one message."""
    try:
        value = json.loads(reply.content)
        message = value["error"] if isinstance(value, dict) and isinstance(value.get("error"), str) else ""
    except (ValueError, RecursionError):
        message = ""
    hint = f" ({TOKEN_VARIABLE} must hold the server's token)" if reply.status_code == 401 else ""
    return f"{reply.status_code} {message[:300] or reply.reason_phrase}{hint}"


def _problems(reply: httpx2.Response, tasks: int) -> dict[int, str]:
    """Return what is wrong with which tasks, or nothing where the reply does not say."""
    try:
        rows = json.loads(reply.content)["problems"]
        found = {row["task"]: f"{row['field']}: {row['message']}"[:300] for row in rows}
    except (ValueError, RecursionError, TypeError, KeyError):
        return {}
    return found if all(isinstance(place, int) and 0 <= place < tasks for place in found) else {}


def _retry_after(reply: httpx2.Response) -> float:
    """Return the seconds that a reply asks to wait for; 0 where it does not."""
    text = reply.headers.get("retry-after", "")
    return min(float(text[:9]), MAX_PAUSE_S) if text.isascii() and text.isdecimal() else 0.0


def _spread(seconds: float) -> float:
    """Return a pause of about so long: clients that failed together must not come back together."""
    return seconds * random.uniform(0.75, 1.5)


def checked_url(url: str) -> str:
    """Return the base URL of a server.

    Raises:
        ValueError: not http or https, or with a user, a query or a fragment.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or "@" in parts.netloc or parts.query or parts.fragment or not url.isprintable() or " " in url:
        message = (
            f"the URL of a reward server is like http://127.0.0.1:8400, without user, query or fragment; not {url!r}"
        )
        raise ValueError(message)
    return url.rstrip("/")
