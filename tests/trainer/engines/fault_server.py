"""A local server that speaks like an OpenAI-compatible one and does whatever a script says, be it right or wrong.

It answers a request by quoting it, so that a test sees which request a completion answers.
"""

import asyncio
import json
import random
import threading
from collections import Counter

RIGHT = ("ok", "chunked", "close", "eof", "usage", "dated", "twice")
WRONG = (
    "500",
    "503",
    "html",
    "torn",
    "cut",
    "reset",
    "empty",
    "none",
    "two",
    "null",
    "model",
    "abort",
    "array",
    "garbage",
)
"""Kinds of answers: those that are one, in different clothes, and those that are none."""


def seeded(seed, share, kinds=WRONG, rare=(), right=RIGHT):
    """Return a script that does wrong in a share of all tries, by the text and the number of the try alone."""

    def script(text, attempt):
        rng = random.Random(f"{seed} {text} {attempt}")
        if rng.random() < share:
            return rng.choice(kinds)
        return rng.choice(rare) if rare and rng.random() < 0.02 else rng.choice(right)

    return script


def reply_text(text, seed):
    """Return what the server answers to a prompt."""
    return f"<{text}> with {seed}"


class FaultServer:
    """A server in a thread of its own, on a free port of the loopback address; a context manager.

    Args:
        script: (text of the prompt, number of its try) -> kind of answer.
        delay: seconds until an answer.
        model: the one it has.
        key: what it asks for, if anything.
        answer: (text, seed) -> what is answered.
        tls: speaks HTTPS by this SSL context.

    Attributes:
        asked: bodies of all requests, in order.
        gave: kinds of the answers to each text, in order.
        most: requests that it had at a time, at most.
        connections: accepted.
    """

    def __init__(
        self, script=lambda _text, _attempt: "ok", *, delay=0.0, model="m", key=None, answer=reply_text, tls=None
    ):
        self.script, self.delay, self.model, self.key, self.answer = script, delay, model, key, answer
        self.tls = tls
        self.asked, self.gave, self.headers = [], {}, []
        self.most = self.now = self.connections = 0
        self.tries = Counter()
        self.stopped = False

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/v1"

    def __enter__(self):
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_error):
        self.stop()

    def stop(self):
        """Stop, as a server that is killed: connections are reset, and nothing listens any more."""
        if not self.stopped:
            self.stopped = True
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join()

    async def _main(self, ready):
        self._loop, self._end, self._writers = asyncio.get_running_loop(), asyncio.Event(), set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._end.wait()
        for listening in server.sockets:  # asyncio leaks what it has accepted and not set up when a server closes
            self._loop.remove_reader(listening.fileno())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        server.close()
        while asyncio.all_tasks() - {asyncio.current_task()}:  # what was accepted a moment ago has yet to begin
            for writer in list(self._writers):
                writer.transport.abort()
            await asyncio.sleep(0.002)

    async def _serve(self, reader, writer):
        self.connections += 1
        self._writers.add(writer)
        writer.reader = reader
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
                content = await reader.readexactly(int(fields.get("content-length", 0)))
                self.headers.append(head)
                self.now += 1
                self.most = max(self.most, self.now)
                try:
                    await self._answer(writer, head, content)
                finally:
                    self.now -= 1
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass  # the client went away, or the server stops
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _answer(self, writer, head, content):
        if self.key is not None and f"Authorization: Bearer {self.key}\r\n" not in head:
            return await self._send(writer, 401, {"error": {"message": f"bad key, {head.split('Bearer ')[-1][:60]}"}})
        if head.startswith("GET"):
            return await self._send(
                writer, 200, {"data": [{"id": self.model, "root": "r"}, {"id": "alias", "root": "r"}]}
            )
        body = json.loads(content)
        self.asked.append(body)
        text = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        attempt = self.tries[text]
        self.tries[text] += 1
        kind = self.script(text, attempt)
        self.gave.setdefault(text, []).append(kind)
        if self.delay:
            await asyncio.sleep(self.delay)
        if isinstance(kind, tuple):
            return await self._send(writer, *kind)
        return await self._as(kind, writer, body, text)

    def completion(self, body, text):
        """Return a right answer."""
        said = self.answer(text, body.get("seed"))
        choice = {"index": 0, "finish_reason": "stop"}
        logprobs = None
        if "prompt" in body:
            choice["text"] = said
            logprobs = {"token_logprobs": [-0.5, -0.25, -0.25]} if body.get("logprobs") is not None else None
        else:
            choice["message"] = {"role": "assistant", "content": said, "refusal": None}
            logprobs = {"content": [{"logprob": -0.5}] * 3} if body.get("logprobs") else None
        choice["logprobs"] = logprobs
        usage = {"prompt_tokens": 7, "completion_tokens": 3}
        return {"id": "x", "model": body["model"], "choices": [choice], "usage": usage}

    async def _as(self, kind, writer, body, text):
        found = self.completion(body, text)
        choice = found["choices"][0]
        if kind in ("429", "500", "503"):
            extra = {"Retry-After": "0"} if kind == "429" else {}
            return await self._send(writer, int(kind), {"error": {"message": "not now"}}, **extra)
        if kind == "hang":
            while not (writer.reader.at_eof() or writer.transport.is_closing()):
                await asyncio.sleep(0.01)
            raise OSError
        if kind == "reset":
            raise OSError
        if kind == "garbage":
            writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
            return await writer.drain()
        if kind == "html":
            return await self._send(writer, 200, b"<html><body>Welcome to nginx!</body></html>")
        if kind == "empty":
            return await self._send(writer, 200, b"")
        if kind == "array":
            return await self._send(writer, 200, [found])
        if kind == "torn":
            return await self._send(writer, 200, json.dumps(found).encode()[:-20])
        if kind == "none":
            found["choices"] = []
        if kind == "two":
            found["choices"] = [choice, {**choice, "index": 1}]
        if kind == "model":
            found["model"] = "another"
        if kind == "dated":
            found["model"] = f"{body['model']}-2026-01-01"
        if kind == "usage":
            del found["usage"]
        if kind == "abort":
            choice["finish_reason"] = "abort"
        if kind == "filter":
            choice["finish_reason"] = "content_filter"
        if kind == "length":
            choice["finish_reason"] = "length"
        if kind in ("null", "filter"):
            choice["message" if "message" in choice else "text"] = None
        return await self._send(writer, 200, found, shape=kind)

    async def _send(self, writer, status, content, shape="ok", **extra):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        fields = {"Content-Type": "application/json", **extra}
        if shape == "chunked":
            fields["Transfer-Encoding"] = "chunked"
            parts = [content[i : i + 50] for i in range(0, len(content), 50)]
            data = b"".join(b"%x;x=y\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\nTrailer: 1\r\n\r\n"
        else:
            data = content
            if shape != "eof":
                fields["Content-Length"] = str(len(content))
        if shape in ("close", "eof"):
            fields["Connection"] = "close"
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode())
        if shape == "cut":
            writer.write(data[: len(data) // 2])
            await writer.drain()
            raise OSError
        if shape == "twice":  # at once: what comes only after the next request is that one's answer to any HTTP client
            data += f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + data
        writer.write(data)
        await writer.drain()
        if shape in ("close", "eof"):
            writer.close()
            await writer.wait_closed()
            raise OSError
        return None
