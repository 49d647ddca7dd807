"""Which reward source can be trained against, and whether a robust objective helps (arXiv 2503.22230, 2409.15360).

    .venv/bin/python -m benchmarks.reward_sources [--seeds 5] [--steps 40] [--together 2] [--work DIR]
        [--device cpu] [--only sources|robust] [--smoke] [--prepare]

The nursery model is trained on word problems by one reward source at a time: the rule verifier, the nursery's judge
with the ground truth, the same judge with the answer of the best of 8 responses of the untrained policy, a
Bradley-Terry reward model alone; and by a BRME reward model with noisy labels, at shares of its nominal reward. All
else is the same. The true score is what the rule verifier says of the very same responses. Each seed has a world of
its own (`_reward_sources_world`).

A world and a training that are in `--work` already are taken as they are, so that seeds can be added. All trainings
run in processes of their own, on one thread each. `--prepare` makes the worlds alone. Nothing here needs Dagster.
Writes benchmarks/results/reward_sources.{json,md,png} and reward_sources_robust.png.
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks._reproduction_report import write_report
from benchmarks._reward_sources_numbers import differences, outcome, summary
from benchmarks._reward_sources_report import plot_robust, plot_sources, report
from benchmarks._reward_sources_train import PROMPTS, ROBUST, SAMPLES, SOURCES, train_arm
from benchmarks._reward_sources_world import make_world

RESULTS = Path(__file__).resolve().parent / "results"
FIRST_SEED = 300  # others were tried with
SLOWEST_FIRST = ("genrm_gold", "genrm_best_of_n", *ROBUST, "bt", "rtv")


def world_facts(work: Path, seed: int, device: str) -> dict[str, float]:
    return make_world(work / f"world-{seed}", seed, device).facts


def trained(work: Path, arm: str, seed: int, steps: int, device: str) -> dict[str, Any]:
    world = make_world(work / f"world-{seed}", seed, device)
    return outcome(train_arm(world, arm, seed, steps, work / f"{arm}-{seed}-{steps}", device))


def arms_of(only: str | None) -> list[str]:
    found = {"sources": list(SOURCES), "robust": list(ROBUST)}
    return found[only] if only else [*SOURCES, *ROBUST]


def run(options: argparse.Namespace, work: Path) -> dict[str, Any] | None:
    """Make the worlds and train; return everything that the report tells, or None where only worlds were asked for."""
    seeds, arms = [FIRST_SEED + n for n in range(options.seeds)], arms_of(options.only)
    os.environ["OMP_NUM_THREADS"] = "1"
    start = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    asked = [(arm, seed) for seed in seeds for arm in sorted(arms, key=SLOWEST_FIRST.index)]
    with ProcessPoolExecutor(options.together, mp_context=start, max_tasks_per_child=1) as pool:
        facts = list(pool.map(world_facts, *zip(*((work, seed, options.device) for seed in seeds), strict=True)))
        if options.prepare:
            return None
        waiting = [(arm, pool.submit(trained, work, arm, seed, options.steps, options.device)) for arm, seed in asked]
        runs: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
        for arm, future in waiting:
            runs[arm].append(future.result())
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, device {options.device}",
        "seeds": seeds, "steps": options.steps, "prompts": PROMPTS, "samples": SAMPLES, "together": options.together,
        "minutes": sum(o["seconds"] for some in runs.values() for o in some) / 60, "worlds": facts,
        "arms": {arm: summary(some) for arm, some in runs.items()}, "differences": differences(runs), "runs": runs,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reward_sources")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--together", type=int, default=2, help="processes at a time")
    parser.add_argument("--work", type=Path, help="a folder to keep; worlds and trainings in it are taken as they are")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--only", choices=["sources", "robust"])
    parser.add_argument("--smoke", action="store_true", help="2 seeds, 3 steps: does it run at all?")
    parser.add_argument("--prepare", action="store_true", help="make the worlds, with their reward models, and stop")
    parser.add_argument(
        "--results", type=Path, help="where the report goes; default: benchmarks/results, or of a smoke DIR"
    )
    options = parser.parse_args()
    if options.smoke:
        options.seeds, options.steps = 2, 3
    if options.seeds < 2:
        parser.error("--seeds: an interval takes two seeds at least")
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        found = run(options, work)
        if found is not None:
            folder = options.results or (work / "results" if options.smoke else RESULTS)
            write(found, folder)
            if folder == RESULTS:
                write_report(RESULTS)  # REPRODUCTION.md, of which this is a part
    return 0


def write(found: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "reward_sources.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "reward_sources.md").write_text(report(found))
    plot_sources(found, folder / "reward_sources.png")
    plot_robust(found, folder / "reward_sources_robust.png")
    sys.stdout.write(report(found))


if __name__ == "__main__":
    sys.exit(main())
