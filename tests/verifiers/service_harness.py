"""Real servers for the tests of service and client: preppo's own in a thread, and one that misbehaves on purpose."""

import contextlib
import socket
import threading
import time

import httpx2

from verifiers.contract import Status, Verdict
from verifiers.registry import REGISTRY
from verifiers.service import Server, create_app, open_socket

MATH = {"verifier": "math", "response": "#### 5", "ground_truth": '"5"'}


@contextlib.contextmanager
def running(pool, *, drain_s=30, **options):
    """Yield a server of `pool` on a free port, as (url, service, server); it has ended afterwards."""
    app = create_app(pool, **options)
    listener = open_socket("127.0.0.1", 0, options.get("token"))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = Server(app, drain_s)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    until(lambda: server.started)
    try:
        yield url, app.state.service, server
    finally:
        server.end()
        thread.join(60)
        assert not thread.is_alive()


def until(condition, seconds=30.0):
    """Wait for a condition, or fail."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def post(url, value=None, path="verify", **options):
    """Send one request as a program of any language would."""
    if value is not None:
        options["json"] = value
    return httpx2.post(f"{url}/{path}", trust_env=False, timeout=60, **options)


class GatedPool:
    """A pool that answers when the gate is open, and remembers what it was asked."""

    def __init__(self, workers=2):
        self.workers, self.gate = workers, threading.Event()
        self.batches, self.closed, self.seconds = [], False, 0.001

    def verify(self, tasks):
        if not any(task.response == "#### 5" or task.prompt for task in tasks):  # the probe is not held up
            return [verdict(task, Status.correct) for task in tasks]
        self.batches.append(list(tasks))
        assert self.gate.wait(30)
        return [verdict(task, Status.correct, self.seconds) for task in tasks]

    def close(self):
        self.closed = True


def verdict(task, status, seconds=0.001):
    entry = REGISTRY.get(task.verifier)
    score = {Status.correct: 1.0, Status.incorrect: 0.0}.get(status)
    return Verdict(status, score, None, "by hand", task.verifier, entry.version if entry else "", seconds * 1000)


class FaultyServer:
    """Speaks HTTP by hand. `answer(connection, body, count)` writes what it likes; then the connection is closed."""

    def __init__(self, answer):
        self._answer, self.requests = answer, []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads, self.ended = [], threading.Event()

    def __enter__(self):
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(10)
        for thread in self._threads:
            thread.join(10)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(20)
            with connection.makefile("rb") as stream:
                length = 0
                while (line := stream.readline().strip()) != b"":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                body = stream.read(length)
            self.requests.append(body)
            self._answer(connection, body, len(self.requests))


def http(connection, status, body=b"", headers=()):
    """Write one well-formed answer."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    connection.sendall("\r\n".join(lines).encode() + body)
