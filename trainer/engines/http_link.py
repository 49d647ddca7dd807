"""HTTP to one server, over connections that stay open: POST and GET of small JSON, from one event loop.

Two of them. `HttpxLink` does everything (TLS, proxies) and takes half a millisecond of processor a request.
`PlainLink` does HTTP/1.1 without TLS and without a proxy, all that vLLM and SGLang need inside a cluster, for a tenth
of that: an engine beside its server would otherwise take the processor that the server needs. It also
leaves a connection on which more than the answer has come, which httpx2 takes for the answer to the next request.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
import time
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from trainer.engines.openai_wire import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_S = 10.0
KEPT_S = 4.0  # uvicorn, and so vLLM, closes a connection that was idle for 5 s
MAX_REPLY = 64 << 20  # bytes
_MAX_LINE = 1 << 16
_MAX_FIELDS = 200


class LinkError(Exception):
    """No answer came back.

    Attributes:
        absent: nothing listens there.
    """

    def __init__(self, problem: str, *, absent: bool = False) -> None:
        super().__init__(problem)
        self.absent = absent


class Link(Protocol):
    """The way to one server. `path` begins with a slash and goes below the base URL."""

    async def post(self, path: str, content: bytes) -> Reply: ...

    async def get(self, path: str) -> Reply: ...

    async def close(self) -> None: ...


def open_link(url: str, headers: Mapping[str, str]) -> Link:
    """Return the link to a base URL; inside a running event loop. Loopback is never reached through a proxy."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    local = _is_loopback(host)
    if parts.scheme == "http" and (local or not _proxied(host)):
        return PlainLink(url, headers)
    return HttpxLink(url, headers, trust_env=not local)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _proxied(host: str) -> bool:
    found = getproxies()
    return bool(found.get("http") or found.get("all")) and not proxy_bypass(host)


class HttpxLink:
    """Any server that httpx2 reaches. No redirect is followed."""

    def __init__(self, url: str, headers: Mapping[str, str], *, trust_env: bool) -> None:
        # Whoever asks bounds the time and the number of requests.
        self._url = url
        self._client = httpx2.AsyncClient(
            headers=dict(headers),
            timeout=httpx2.Timeout(None, connect=CONNECT_S),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEPT_S),
            trust_env=trust_env,
            verify=ssl.create_default_context(),  # what the machine trusts, or SSL_CERT_FILE
        )

    async def post(self, path: str, content: bytes) -> Reply:
        return await self._ask("POST", path, content)

    async def get(self, path: str) -> Reply:
        return await self._ask("GET", path, None)

    async def _ask(self, method: str, path: str, content: bytes | None) -> Reply:
        body = bytearray()
        try:
            async with self._client.stream(method, self._url + path, content=content) as reply:
                async for part in reply.aiter_bytes():
                    body += part
                    if len(body) > MAX_REPLY:
                        raise LinkError("the reply has no end")
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise LinkError(_said(error), absent=True) from None
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise LinkError(_said(error)) from None
        return Reply(reply.status_code, bytes(body), _seconds(reply.headers.get("retry-after", "")))

    async def close(self) -> None:
        await self._client.aclose()


class _Reader(asyncio.StreamReader):
    """Knows how many bytes have come that nobody has read.

    A server that answers twice must not have its second answer taken for that of the next request.
    """

    pending = 0

    def feed_data(self, data: Any) -> None:
        self.pending += len(data)
        super().feed_data(data)

    async def readuntil(self, separator: Any = b"\n") -> bytes:
        return self._took(await super().readuntil(separator))

    async def readexactly(self, n: int) -> bytes:
        return self._took(await super().readexactly(n))

    async def read(self, n: int = -1) -> bytes:
        return self._took(await super().read(n))

    def _took(self, data: bytes) -> bytes:
        self.pending -= len(data)
        return data


class _Connection:
    """A connection, and until when it may be used again."""

    __slots__ = ("reader", "until", "writer")

    def __init__(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.until = reader, writer, 0.0

    @property
    def usable(self) -> bool:
        idle = not (self.reader.pending or self.reader.at_eof() or self.writer.is_closing())
        return idle and self.until > time.monotonic()


class PlainLink:
    """HTTP/1.1 without TLS: content by length, in chunks, or until the end of the connection."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._base = parts.hostname or "", parts.port or 80, parts.path
        lines = [f"{name}: {value}" for name, value in {"Host": parts.netloc, **headers}.items()]
        self._lines = "\r\n".join(lines)
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()

    async def post(self, path: str, content: bytes) -> Reply:
        head = f"POST {self._base}{path} HTTP/1.1\r\n{self._lines}\r\nContent-Length: {len(content)}\r\n\r\n"
        return await self._ask(head.encode("latin-1") + content)

    async def get(self, path: str) -> Reply:
        return await self._ask(f"GET {self._base}{path} HTTP/1.1\r\n{self._lines}\r\n\r\n".encode("latin-1"))

    async def close(self) -> None:
        for connection in list(self._open):
            self._drop(connection)
        await asyncio.sleep(0)  # transports close their sockets in the next turn of the loop

    async def _ask(self, message: bytes) -> Reply:
        while self._idle:
            connection = self._idle.pop()
            if not connection.usable:
                self._drop(connection)
                continue
            with contextlib.suppress(_StaleError):  # the server has just closed it: that says nothing about this one
                return await self._exchange(connection, message, reused=True)
        return await self._exchange(await self._connect(), message, reused=False)

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        reader = _Reader(_MAX_LINE, loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            async with asyncio.timeout(CONNECT_S):
                transport, _ = await loop.create_connection(lambda: protocol, self._host, self._port)
        except (OSError, TimeoutError) as error:
            raise LinkError(_said(error), absent=True) from None
        connection = _Connection(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
        self._open.add(connection)
        return connection

    async def _exchange(self, connection: _Connection, message: bytes, *, reused: bool) -> Reply:
        keep, reader, first = False, connection.reader, b""
        try:
            connection.writer.write(message)
            await connection.writer.drain()
            first = await reader.readuntil(b"\r\n")
            reply, keep = await _read(reader, first)
            return reply
        except asyncio.IncompleteReadError as error:
            if reused and not first and not error.partial:
                raise _StaleError from None
            raise LinkError("the connection was closed before the reply was complete") from None
        except (OSError, ValueError, asyncio.LimitOverrunError) as error:
            if reused and not first and isinstance(error, OSError):
                raise _StaleError from None
            raise LinkError(_said(error)) from None
        finally:
            if keep:
                connection.until = time.monotonic() + KEPT_S
                self._idle.append(connection)
            else:
                self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        self._open.discard(connection)
        # What is left to send or to read is of no use: the server should stop computing it at once.
        connection.writer.transport.abort()


class _StaleError(Exception):
    """A connection from before was closed before any answer came."""


async def _read(reader: asyncio.StreamReader, first: bytes) -> tuple[Reply, bool]:
    """Return a reply, and whether its connection may be used again. Raises ValueError where it is no HTTP/1."""
    version, status = _status(first)
    fields = await _fields(reader)
    while 100 <= status < 200:
        version, status = _status(await reader.readuntil(b"\r\n"))
        fields = await _fields(reader)
    keep = version == b"HTTP/1.1" and fields.get(b"connection", b"").lower() != b"close"
    if status in (204, 304):
        content = b""
    elif b"chunked" in fields.get(b"transfer-encoding", b"").lower():
        content = await _chunks(reader)
    elif (length := fields.get(b"content-length")) is not None:
        content = await reader.readexactly(_size(length, 10))
    else:
        keep, content = False, b""
        while part := await reader.read(_MAX_LINE):
            content += part
            _size(b"%d" % len(content), 10)
    return Reply(status, content, _seconds(fields.get(b"retry-after", b"").decode("latin-1"))), keep


def _status(line: bytes) -> tuple[bytes, int]:
    version, _, rest = line.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        problem = f"what answers does not speak HTTP: {line[:40]!r}"
        raise ValueError(problem)
    return version, int(rest[:3])


async def _fields(reader: asyncio.StreamReader) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        name, _, value = line.partition(b":")
        fields[name.strip().lower()] = value.strip()
        if len(fields) > _MAX_FIELDS:
            raise ValueError("the reply has no end of headers")
    return fields


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    content = bytearray()
    while size := _size((await reader.readuntil(b"\r\n")).split(b";")[0].strip(), 16):
        content += await reader.readexactly(size)
        _size(b"%d" % len(content), 10)
        if await reader.readexactly(2) != b"\r\n":
            raise ValueError("a chunk of the reply has another length than it says")
    await _fields(reader)  # trailers
    return bytes(content)


def _size(text: bytes, base: int) -> int:
    """Return a length in bytes that a reply may have. Raises ValueError."""
    if not text.isalnum() or (size := int(text, base)) > MAX_REPLY:
        problem = f"no length that a reply can have: {text[:20]!r}"
        raise ValueError(problem)
    return size


def _seconds(text: str) -> float:
    """Return the seconds that Retry-After asks for; 0 where it holds a date, or nothing."""
    return float(text[:9]) if text.isascii() and text.isdecimal() else 0.0


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")[:200]
