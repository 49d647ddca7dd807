"""Tokens a second of the `vllm` engine, rows written, next to raw `vllm.LLM.generate`.

    PREPPO_VLLM_PYTHON=.venv-vllm/bin/python .venv/bin/python -m benchmarks.vllm_engine [MINUTES]

Both sides have a process of their own with the same arguments, and get the same prompts, seeds and sampling parameters
(log-probabilities included). Raw: one call of `LLM.generate` with all prompts tokenised before the clock starts, and
nothing done with what comes back. The engine: messages rendered and tokenised by the chat template, sent to the
process, streamed back, and written chunk by chunk into the Delta tables of a home, accounts included, as `preppo run`
does. Every round has prompts that neither side has seen, as a run has: nothing is in a prefix cache from before.

A round is one turn of each, who begins alternates, and what counts is the ratio of the two turns of a round: what
others do on the machine meanwhile comes and goes with the rounds. The result is their median with an interval of order
statistics, next to the processor time that the two take a sample outside of the model's processes (raw: the process
that calls `generate`; the engine: that process and this one), and how many cores others had. No round begins after
MINUTES (7).

Needs PREPPO_VLLM_PYTHON, the interpreter of an environment with vLLM (`make test-vllm` builds one). Writes
vllm_engine.json and .md into benchmarks/results/; fails below 0.95, or where too few rounds were left for a result.
"""

import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.chunks import Chunks
from benchmarks.transformers_engine import SAMPLES, requests
from trainer.engines import Request
from trainer.engines.prompts import PromptEncoder
from trainer.engines.vllm import VllmEngine
from trainer.engines.weights import NURSERY
from warehouse.home import Home
from warehouse.ledger import Build
from warehouse.store import Store

RESULTS = Path(__file__).resolve().parent / "results"
RAW = Path(__file__).resolve().parent / "_vllm_raw.py"
TARGET = 0.95
ROUNDS = {512: 10, 2048: 6, 4096: 6}  # by samples of a round
FEWEST = 5  # rounds; fewer have no interval that holds 90 %
MINUTES = 7.0
CHUNK_ROWS = 512
TICKS = os.sysconf("SC_CLK_TCK")
ARGUMENTS: dict[str, Any] = {
    "dtype": "float32",
    "enforce_eager": True,
    "enable_prefix_caching": True,
    "enable_chunked_prefill": False,
}


class Raw:
    """The process with `LLM.generate` and nothing else."""

    def __init__(self, python: str) -> None:
        pipe, log = subprocess.PIPE, subprocess.DEVNULL
        self._process = subprocess.Popen([python, str(RAW)], stdin=pipe, stdout=pipe, stderr=log, text=True)
        self._encoder = PromptEncoder(NURSERY, "nursery")
        self._say({"model": str(NURSERY), "arguments": ARGUMENTS})
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def _say(self, message: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def run(self, asked: list[Request]) -> tuple[int, float, float]:
        """Return tokens, seconds, and processor seconds of the process that calls `generate`."""
        prompts = [self._encoder.encode(r) for r in asked]
        rooms = [self._encoder.room(p, r) for p, r in zip(prompts, asked, strict=True)]
        before = processor_s(self._process.pid)
        self._say({"prompts": prompts, "seeds": [r.seed for r in asked], "rooms": rooms})
        assert self._process.stdout is not None
        found = json.loads(self._process.stdout.readline())
        return found["tokens"], found["seconds"], processor_s(self._process.pid) - before

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def through_engine(engine: VllmEngine, asked: list[Request]) -> tuple[int, float, float]:
    """Return tokens, and seconds and processor seconds of both processes from the first request to the last row."""

    def own() -> float:
        return time.process_time() + (processor_s(engine._process.pid) if engine._process else 0.0)

    with tempfile.TemporaryDirectory() as folder:
        store = Store(Home(Path(folder)))
        build = Build("rollouts", "000001-bench", {}, "code", "policy", variant="0" * 32)
        with store.stage(build) as writer:
            started, before = time.perf_counter(), own()
            chunks = Chunks("bench", writer, CHUNK_ROWS)
            for completion in engine.generate(asked):
                chunks.add(completion)
            chunks.write()
            seconds, took = time.perf_counter() - started, own() - before
            rows = writer.written("rollouts").collect()
        assert rows.height == len(asked) and rows["detail"].null_count() == rows.height
        return int(rows["response_tokens"].sum()), seconds, took


@dataclass(frozen=True)
class Turn:
    """What one side did in a round.

    Attributes:
        tokens: of responses.
        rate: of them a second.
        own: processor seconds outside of the model's processes.
        others: cores that everybody else on the machine had meanwhile.
    """

    tokens: int
    rate: float
    own: float
    others: float


def turn(side: Callable[[], tuple[int, float, float]]) -> Turn:
    ours, busy, began = family_s(os.getpid()), busy_s(), time.perf_counter()
    tokens, seconds, own = side()
    others = (busy_s() - busy) - (family_s(os.getpid()) - ours)
    return Turn(tokens, tokens / seconds, own, max(others / (time.perf_counter() - began), 0.0))


def processor_s(pid: int) -> float:
    """Return the processor time of a process, in seconds."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / TICKS


def family_s(pid: int) -> float:
    """Return the processor time of a process and all below it, in seconds."""
    children: list[str] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread has ended
            children += listed.read_text().split()
    return processor_s(pid) + sum(family_s(int(c)) for c in children)


def busy_s() -> float:
    """Return the processor time of the whole machine, in seconds."""
    user, nice, system, _, _, irq, soft, steal = map(int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9])
    return (user + nice + system + irq + soft + steal) / TICKS


def interval(values: list[float]) -> tuple[float, float, float]:
    """Return the narrowest pair of order statistics around the median that holds it at 90 % at least, and its level."""
    ordered, count = sorted(values), len(values)
    for outside in reversed(range(count // 2)):
        level = 1 - 2 * sum(math.comb(count, i) for i in range(outside + 1)) / 2**count
        if level >= 0.9:
            return ordered[outside], ordered[count - 1 - outside], level
    return ordered[0], ordered[-1], 1 - 2 / 2**count


def summary(samples: int, rounds: list[tuple[Turn, Turn]]) -> dict[str, Any]:
    ratios = [ours.rate / plain.rate for plain, ours in rounds]
    low, high, level = interval(ratios)
    return {
        "samples": samples,
        "raw": statistics.median(plain.rate for plain, _ in rounds),
        "engine": statistics.median(ours.rate for _, ours in rounds),
        "tokens_engine_to_raw": sum(ours.tokens for _, ours in rounds) / sum(plain.tokens for plain, _ in rounds),
        "ratio": statistics.median(ratios),
        "interval": [low, high],
        "level": level,
        "ratios": ratios,
        "own_ms_a_sample": {
            "raw": 1000 * statistics.median(plain.own for plain, _ in rounds) / samples,
            "engine": 1000 * statistics.median(ours.own for _, ours in rounds) / samples,
        },
        "cores_of_others": [statistics.mean(t.others for t in both) for both in rounds],
    }


def measure(python: str, until: float) -> list[dict[str, Any]]:
    """Return the result of every size; no round begins after `until`, of the monotonic clock."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    raw = Raw(python)
    arguments = {k: v for k, v in ARGUMENTS.items() if k != "dtype"}
    engine = VllmEngine("nursery", python=python, dtype="float32", arguments=arguments)
    pool = iter(requests(16 + sum(size * count for size, count in ROUNDS.items()) // SAMPLES))

    def some(samples: int) -> list[Request]:
        return [next(pool) for _ in range(samples)]

    rows = []
    try:
        warm_up = some(16 * SAMPLES)
        raw.run(warm_up)
        through_engine(engine, warm_up)
        for size, count in ROUNDS.items():
            rounds: list[tuple[Turn, Turn]] = []
            while len(rounds) < count and time.monotonic() < until:
                rounds.append(one_round(raw, engine, some(size), raw_first=len(rounds) % 2 == 0))
            if len(rounds) < FEWEST:
                print(f"{size} samples: time for {len(rounds)} rounds only, no result")
                break
            rows.append(summary(size, rounds))
            print(json.dumps(rows[-1]), flush=True)
    finally:
        engine.close()
        raw.close()
    return rows


def one_round(raw: Raw, engine: VllmEngine, asked: list[Request], *, raw_first: bool) -> tuple[Turn, Turn]:
    sides = {"raw": lambda: raw.run(asked), "engine": lambda: through_engine(engine, asked)}
    found = {name: turn(sides[name]) for name in sorted(sides, reverse=raw_first)}
    return found["raw"], found["engine"]


def table(rows: list[dict[str, Any]]) -> str:
    cores = os.cpu_count()
    lines = [
        "# The vllm engine, rows written, next to raw `vllm.LLM.generate`",
        "",
        f"Written by `python -m benchmarks.vllm_engine`: vLLM on the CPU ({cores} cores), the nursery in fp32, prompts "
        "of mixed length that neither side has seen; response tokens a second. Ratio: median of those of the rounds, "
        "and the order statistics that hold it at 90 % or more. Own time: processor time outside of the model's "
        "processes. Others: cores that the rest of the machine had, mean and most of the rounds.",
        "",
        "| samples | raw | engine | ratio | interval | own ms a sample, raw / engine | others | rounds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        (low, high), own, others = row["interval"], row["own_ms_a_sample"], row["cores_of_others"]
        each = ", ".join(f"{r:.2f}" for r in row["ratios"])
        lines.append(
            f"| {row['samples']} | {row['raw']:.0f} | {row['engine']:.0f} | **{row['ratio']:.2f}** | {low:.2f} to "
            f"{high:.2f} ({row['level']:.0%}) | {own['raw']:.2f} / {own['engine']:.2f} | "
            f"{statistics.mean(others):.2f}, {max(others):.2f} | {each} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    python = os.environ.get("PREPPO_VLLM_PYTHON")
    if python is None:
        print("nothing measured: PREPPO_VLLM_PYTHON names no interpreter with vLLM; `make test-vllm` builds one")
        return 0
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES
    rows = measure(python, time.monotonic() + 60 * minutes)
    found = {"target": TARGET, "cores": os.cpu_count(), "sizes": rows}
    (RESULTS / "vllm_engine.json").write_text(json.dumps(found, indent=2) + "\n")
    (RESULTS / "vllm_engine.md").write_text(table(rows))
    return int(len(rows) < len(ROUNDS) or min(row["ratio"] for row in rows) < TARGET)


if __name__ == "__main__":
    sys.exit(main())
