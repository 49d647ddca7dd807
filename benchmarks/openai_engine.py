"""Tokens a second through the `openai` engine, against what the same server gives to a bare load generator.

    PREPPO_VLLM_PYTHON=... .venv/bin/python -m benchmarks.openai_engine [--turns 5]

The load generator sends every request at once, each over a connection of its own, and does nothing with the answers but
count tokens: the server's own limit. The engine sends the same bytes, a bounded number at a time, and gives completions
out. They take turns in one run, and go first in turn. Servers, on the loopback address of this machine: a real
`vllm.entrypoints.openai.api_server` with the nursery model on the processor (which the engine competes for), and one
that only pretends to decode, with so many sequences at a time and so long for a token. Writes
benchmarks/results/openai_engine.{json,md}; fails when a sample is missing. Without vLLM it writes nothing.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from trainer.engines import Request, Sampling, sample_seed
from trainer.engines.openai import OpenAIEngine
from trainer.engines.openai_wire import Dialect, body, path
from trainer.engines.weights import NURSERY

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
TARGET = 0.95
CONCURRENCY = 256
START_S = 600
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_TOKENS = re.compile(rb'"completion_tokens": ?(\d+)')


class Size(NamedTuple):
    """What is asked: so many requests, each for at most so many tokens."""

    name: str
    requests: int
    max_tokens: int
    temperature: float = 1.0
    concurrency: int = CONCURRENCY


REAL = (
    Size("short answers, with log-probabilities", 512, 24),
    Size("at most 64 tokens", 512, 64, 2.0),
    Size("at most 256 tokens", 512, 256, 2.0),
    Size("at most 64 tokens", 512, 64, 2.0, 64),
)
PRETENDED = (Size("16 tokens", 800, 16), Size("64 tokens", 256, 64), Size("256 tokens", 128, 256))
SLOTS, STEP_S = 64, 0.02  # sequences at a time, and seconds for a token of each of them


def asked(size: Size, turn: int) -> list[Request]:
    sampling = Sampling(size.temperature, 1.0, size.max_tokens)
    found = []
    for i in range(size.requests):
        text = f"What is {i // 8 + 10} + {i // 8 % 9 + 1}?"
        seed = sample_seed(turn, text, "scored", i % 8)
        found.append(Request(str(i // 8), "scored", i % 8, (("user", text),), None, seed, sampling))
    return found


async def load(url: str, model: str, requests: list[Request]) -> int:
    """Send everything at once; return the tokens of all answers."""
    host, port = re.fullmatch(r"http://([\d.]+):(\d+)/v1", url).groups()

    async def one(request: Request) -> int:
        content = body(request, model, Dialect())
        head = f"POST /v1{path(request)} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        fields = await reader.readuntil(b"\r\n\r\n")
        answer = await reader.readexactly(int(_LENGTH.search(fields)[1]))
        writer.close()
        return int(_TOKENS.search(answer)[1])

    return sum(await asyncio.gather(*map(one, requests)))


def generate(url: str, model: str, size: Size, requests: list[Request]) -> tuple[int, int]:
    """Return the tokens and the number of completions through the engine."""
    engine = OpenAIEngine(model, base_urls=[url], concurrency=size.concurrency)
    found = list(engine.generate(iter(requests)))
    names = {(c.prompt_id, c.sample) for c in found if c.finish_reason != "error"}
    return sum(c.response_tokens or 0 for c in found), len(names)


def measure(url: str, model: str, size: Size, turns: int) -> dict[str, Any]:
    """Return the rates of both; the first turn warms connections, caches and code, and does not count."""
    rates: dict[str, list[float]] = {"engine": [], "load": []}
    processor, missing = [], 0
    for turn in range(turns + 1):
        requests = asked(size, turn)
        for who in ("engine", "load") if turn % 2 else ("load", "engine"):
            started, used = time.perf_counter(), time.process_time()
            if who == "engine":
                tokens, named = generate(url, model, size, requests)
                missing += size.requests - named
                processor.append((time.process_time() - used) / size.requests * 1e6)
            else:
                tokens = asyncio.run(load(url, model, requests))
            if turn:
                rates[who].append(tokens / (time.perf_counter() - started))
    engine, bare = statistics.median(rates["engine"]), statistics.median(rates["load"])
    pairs = [e / b for e, b in zip(rates["engine"], rates["load"], strict=True)]
    each = tokens / size.requests  # those of the last turn
    return {
        **size._asdict(),
        "tokens_a_response": round(each, 1),
        "engine_tokens_per_second": round(engine, 1),
        "load_tokens_per_second": round(bare, 1),
        "engine_requests_per_second": round(engine / each, 1),
        "ratio": round(statistics.median(pairs), 4),
        "ratio_by_turn": [round(p, 4) for p in pairs],
        "engine_processor_microseconds_a_request": round(statistics.median(processor), 1),
        "missing": missing,
    }


# --- servers ---------------------------------------------------------------------------------------------------------


@contextmanager
def running(command: list[str], port: int, health: str):  # noqa: ANN201 (a context manager of a URL)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + START_S
            while not _answers(f"http://127.0.0.1:{port}{health}"):
                if server.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"the server did not start: {log.read()[-2000:]}")
                time.sleep(0.25)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(60)


def _answers(address: str) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Pretender(asyncio.Protocol):
    """A connection to the server that pretends: SLOTS sequences at a time, STEP_S for a token of each."""

    busy: ClassVar[int] = 0
    waiting: ClassVar[deque[tuple["Pretender", int]]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n") + 4) > 3:
            length = _LENGTH.search(self.buffer[:end])
            size = int(length[1]) if length else 0
            if len(self.buffer) < end + size:
                return
            content, self.buffer = self.buffer[end : end + size], self.buffer[end + size :]
            tokens = json.loads(content)["max_tokens"] if content else 0
            Pretender.waiting.append((self, tokens))
            Pretender.begin()

    @classmethod
    def begin(cls) -> None:
        while cls.waiting and cls.busy < SLOTS:
            one, tokens = cls.waiting.popleft()
            cls.busy += 1
            asyncio.get_running_loop().call_later(tokens * STEP_S, one.finish, tokens)

    def finish(self, tokens: int) -> None:
        message = {"role": "assistant", "content": "word " * tokens}
        choice = {"index": 0, "message": message, "finish_reason": "length", "logprobs": None}
        usage = {"prompt_tokens": 9, "completion_tokens": tokens}
        content = json.dumps({"model": "pretended", "choices": [choice], "usage": usage}).encode()
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content))
        Pretender.busy -= 1
        Pretender.begin()

    def eof_received(self) -> bool:
        return False


async def pretend(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Pretender, "127.0.0.1", port, backlog=8192)
    await server.serve_forever()


# --- the report ------------------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--pretend", type=int, metavar="PORT", help="be the server that pretends")
    options = parser.parse_args()
    if options.pretend is not None:
        asyncio.run(pretend(options.pretend))
        return 0
    python = os.environ.get("PREPPO_VLLM_PYTHON")
    if python is None:
        print("skipped: PREPPO_VLLM_PYTHON names no interpreter with vLLM (see `make test-vllm`)")
        return 0
    rows = []
    port = free_port()
    with running([sys.executable, "-m", "benchmarks.openai_engine", "--pretend", str(port)], port, "/health") as url:
        rows += [{"server": "pretended", **measure(url, "pretended", size, options.turns)} for size in PRETENDED]
    port = free_port()
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(NURSERY), "--enforce-eager"]
    command += ["--served-model-name", "nursery", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    with running(command, port, "/health") as url:
        rows += [{"server": "vLLM", **measure(url, "nursery", size, options.turns)} for size in REAL]
    machine = f"{len(os.sched_getaffinity(0))} CPUs, {platform.machine()}, Python {platform.python_version()}"
    load_average = round(os.getloadavg()[1], 1)
    report = {"machine": machine, "load_average": load_average, "turns": options.turns, "target": TARGET, "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "openai_engine.json").write_text(json.dumps(report, indent=2) + "\n")
    (RESULTS / "openai_engine.md").write_text(_markdown(report))
    print(_markdown(report))
    return int(any(row["missing"] for row in rows))


def _markdown(report: dict[str, Any]) -> str:
    lines = [
        "# The `openai` engine against its server's own limit",
        "",
        f"Written by `python -m benchmarks.openai_engine`; {report['machine']}, shared (load average "
        f"{report['load_average']}). Medians of {report['turns']} turns; the ratio is that within a turn.",
        f"The load generator sends all requests at once; the target is a ratio of {report['target']}.",
        f"The pretended server decodes {SLOTS} sequences at a time, {STEP_S * 1000:g} ms a token.",
        "",
        "| server | responses | requests | at a time | engine, tokens/s | load generator, tokens/s | ratio | by turn "
        "| engine, requests/s | processor, µs a request |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        turns = f"{min(row['ratio_by_turn']):.2f} to {max(row['ratio_by_turn']):.2f}"
        lines.append(
            f"| {row['server']} | {row['name']} | {row['requests']} | {row['concurrency']} "
            f"| {row['engine_tokens_per_second']:,.0f} | {row['load_tokens_per_second']:,.0f} | {row['ratio']:.3f} "
            f"| {turns} | {row['engine_requests_per_second']:,.0f} "
            f"| {row['engine_processor_microseconds_a_request']:,.0f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
