"""Tokens a second of whole training steps (sampling, reward, updates) against TRL's GRPO, on the same model and batch.

    .venv/bin/python -m benchmarks.ppo_speed [--python .venv-exports/bin/python] [--steps 4] [--rounds 3]

The nursery model, the same prompts, samples, token limit, updates a step and rate; the group baseline with k3, a
reference model on both sides; the same reward, which takes no time (does the response end in the gold). One thread, on
the CPU, in fp32. Both take turns, a round after the other; TRL runs in a process of its own, and the first step of each
round, which warms up, does not count. The ratio is of response tokens a second. Writes
benchmarks/results/ppo_speed.{md,json}.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from trainer.engines.weights import NURSERY
from trainer.nursery.practice import practice
from trainer.ppo.loop import train
from trainer.ppo.prompts import Prompt, Prompts
from trainer.ppo.training import Training
from verifiers.hybrid import RTV, HybridReward, Reward, Scorable
from warehouse.settings import PolicySettings, PpoSettings

RESULTS = Path(__file__).resolve().parent / "results"
SIZES = {"prompts_a_step": 32, "samples": 8, "minibatches": 4, "max_tokens": 32, "rate": 6e-4}
ENOUGH = 1.3


def ends_in_gold(items: Sequence[Scorable]) -> list[Reward]:
    return [
        Reward(
            i.prompt_id,
            i.sample,
            float((i.response or "").rstrip("}. \n").endswith(str(i.ground_truth))),
            RTV,
            "ends",
            "scored",
        )
        for i in items
    ]


def ours(tasks: list[tuple[str, str]], steps: int) -> dict[str, Any]:
    """Return tokens and seconds of every step, and the mean rewards."""
    prompts = tuple(
        Prompt(f"{n:032x}", (("user", p),), None, "math", "math", g, None, "mixture") for n, (p, g) in enumerate(tasks)
    )
    settings = PpoSettings(
        steps=steps, prompts=SIZES["prompts_a_step"], samples=SIZES["samples"], minibatches=SIZES["minibatches"],
        micro_batch=SIZES["prompts_a_step"] * SIZES["samples"] // SIZES["minibatches"], epochs=1, baseline="group",
        kl="k3", kl_coefficient=0.001, rate=SIZES["rate"], device="cpu", evaluate_every=10_000, checkpoint_every=10_000,
    )  # fmt: skip
    policy = PolicySettings(model="nursery", max_tokens=SIZES["max_tokens"])
    lines: list[dict[str, Any]] = []
    clock = [time.perf_counter()]

    def told(line: dict[str, Any]) -> None:
        lines.append(line)
        clock.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        chosen = Training(Prompts(prompts, (), Counter()), "f" * 32, settings, policy)
        train(chosen, HybridReward({RTV: ends_in_gold}), Path(folder), told)
    tokens = [line["response_tokens"] * line["responses"] for line in lines]
    seconds = [b - a for a, b in itertools.pairwise(clock)]
    return {"tokens": tokens, "seconds": seconds, "rewards": [line["score"] for line in lines]}


def theirs(python: Path, tasks: list[tuple[str, str]], steps: int) -> dict[str, Any]:
    asked = {
        "model": str(NURSERY),
        "prompts": [p for p, _ in tasks],
        "golds": [g for _, g in tasks],
        "steps": steps,
        **SIZES,
    }
    script = Path(__file__).with_name("_trl_grpo.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    done = subprocess.run(
        [str(python), str(script)], input=json.dumps(asked), capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def rate(found: dict[str, Any]) -> float:
    """Return response tokens a second, without the first step."""
    return float(sum(found["tokens"][1:]) / sum(found["seconds"][1:]))


def report(found: dict[str, Any]) -> str:
    ratios = found["ratios"]
    lines = [
        "# Speed of training steps",
        "",
        f"Written by `python -m benchmarks.ppo_speed`: response tokens a second of whole steps of "
        f"{SIZES['prompts_a_step']} prompts x {SIZES['samples']} samples, {SIZES['minibatches']} updates each; the "
        f"nursery model, one thread, fp32. {found['machine']}. TRL {found['trl']} (GRPO).",
        "",
        "| round | preppo, tokens a second | TRL | ratio | tokens of a response | reward, last step (preppo, TRL) |",
        "|---|---|---|---|---|---|",
    ]
    responses = SIZES["prompts_a_step"] * SIZES["samples"]
    for n, (a, b) in enumerate(found["rounds"]):
        lengths = [statistics.mean(x["tokens"]) / responses for x in (a, b)]
        lines.append(
            f"| {n + 1} | {rate(a):,.0f} | {rate(b):,.0f} | {ratios[n]:.2f} | {lengths[0]:.1f}, {lengths[1]:.1f} "
            f"| {a['rewards'][-1]:.2f}, {b['rewards'][-1]:.2f} |"
        )
    lines += ["", f"Median ratio **{statistics.median(ratios):.2f}**; asked for is {ENOUGH}."]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ppo_speed")
    parser.add_argument(
        "--python", type=Path, default=Path(".venv-exports/bin/python"), help="of an environment with TRL"
    )
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not options.python.exists():
        print(f"skipped: {options.python} is missing; make test-exports makes it")
        return 0
    torch.set_num_threads(1)
    tasks = [(t.prompt, json.loads(t.ground_truth or '""')) for t in practice(0) if t.domain == "math"]
    tasks = tasks[: SIZES["prompts_a_step"] * options.steps]
    rounds = []
    for _ in range(options.rounds):
        rounds.append((ours(tasks, options.steps), theirs(options.python, tasks, options.steps)))
        print(json.dumps([rate(x) for x in rounds[-1]]), flush=True)
    found = {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}",
        "trl": rounds[0][1]["version"], "rounds": rounds, "ratios": [rate(a) / rate(b) for a, b in rounds],
    }  # fmt: skip
    (RESULTS / "ppo_speed.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "ppo_speed.md").write_text(report(found))
    print(report(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
