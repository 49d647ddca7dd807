"""Tokens a second of the `vllm` engine, rows written, next to raw `vllm.LLM.generate`.

    PREPPO_VLLM_PYTHON=.venv-vllm/bin/python .venv/bin/python -m benchmarks.vllm_engine

Both sides have a process of their own with the same arguments, and get the same prompts, seeds and sampling parameters
(log-probabilities included). Raw: one call of `LLM.generate` with all prompts tokenised before the clock starts, and
nothing done with what comes back. The engine: messages rendered and tokenised by the chat template, sent to the
process, streamed back, and written chunk by chunk into the Delta tables of a home, accounts included, as `preppo run`
does. The two take turns; the ratio is the median of the rounds. Needs PREPPO_VLLM_PYTHON, the interpreter of an
environment with vLLM (`make test-vllm` builds one). Writes vllm_engine.json and .md into benchmarks/results/; fails
below 0.95.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from assets.generation import Chunks
from benchmarks.transformers_engine import requests
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
SIZES = (128, 512)  # prompts, four samples each
ROUNDS = 5
CHUNK_ROWS = 512
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

    def rate(self, asked: list[Request]) -> tuple[int, float]:
        """Return tokens and seconds."""
        prompts = [self._encoder.encode(r) for r in asked]
        rooms = [self._encoder.room(p, r) for p, r in zip(prompts, asked, strict=True)]
        self._say({"prompts": prompts, "seeds": [r.seed for r in asked], "rooms": rooms})
        assert self._process.stdout is not None
        found = json.loads(self._process.stdout.readline())
        return found["tokens"], found["seconds"]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def through_engine(engine: VllmEngine, asked: list[Request]) -> tuple[int, float]:
    """Return tokens and seconds, from the first request to the last row on disk."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Home(Path(folder)))
        build = Build("rollouts", "000001-bench", {}, "code", "policy", variant="0" * 32)
        with store.stage(build) as writer:
            started = time.perf_counter()
            chunks = Chunks("bench", writer, CHUNK_ROWS)
            for completion in engine.generate(asked):
                chunks.add(completion)
            chunks.write()
            seconds = time.perf_counter() - started
            rows = writer.written("rollouts").collect()
        assert rows.height == len(asked) and rows["detail"].null_count() == rows.height
        return int(rows["response_tokens"].sum()), seconds


def main() -> int:
    python = os.environ.get("PREPPO_VLLM_PYTHON")
    if python is None:
        print("nothing measured: PREPPO_VLLM_PYTHON names no interpreter with vLLM; `make test-vllm` builds one")
        return 0
    os.environ |= {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    raw = Raw(python)
    arguments = {k: v for k, v in ARGUMENTS.items() if k != "dtype"}
    engine = VllmEngine("nursery", python=python, dtype="float32", arguments=arguments)
    warm_up = requests(16)
    raw.rate(warm_up)
    through_engine(engine, warm_up)
    rows = []
    try:
        for size in SIZES:
            asked = requests(size)
            rounds = []
            for _ in range(ROUNDS):
                plain, ours = raw.rate(asked), through_engine(engine, asked)
                rounds.append((plain[0] / plain[1], ours[0] / ours[1], ours[0] / plain[0]))
            ratios = [ours / plain for plain, ours, _ in rounds]
            rows.append(
                {
                    "samples": len(asked),
                    "raw": statistics.median(r[0] for r in rounds),
                    "engine": statistics.median(r[1] for r in rounds),
                    "tokens_engine_to_raw": rounds[0][2],
                    "ratio": statistics.median(ratios),
                    "ratios": ratios,
                }
            )
            print(json.dumps(rows[-1]))
    finally:
        engine.close()
        raw.close()
    (RESULTS / "vllm_engine.json").write_text(json.dumps({"target": TARGET, "sizes": rows}, indent=2) + "\n")
    lines = [
        "# The vllm engine, rows written, next to raw `vllm.LLM.generate`",
        "",
        "Written by `python -m benchmarks.vllm_engine`: vLLM on the CPU, the nursery in fp32, prompts of mixed length; "
        f"response tokens a second, medians of {ROUNDS} rounds in turns.",
        "",
        "| samples | raw | engine | ratio | rounds |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        each = ", ".join(f"{r:.2f}" for r in row["ratios"])
        lines.append(f"| {row['samples']} | {row['raw']:.0f} | {row['engine']:.0f} | **{row['ratio']:.2f}** | {each} |")
    (RESULTS / "vllm_engine.md").write_text("\n".join(lines) + "\n")
    return int(min(row["ratio"] for row in rows) < TARGET)


if __name__ == "__main__":
    sys.exit(main())
