"""What a new batch costs: 1% more prompts, added to a curated home, against curating the whole.

    python benchmarks/incremental.py                  # 20,000, 100,000, 300,000 prompts; results/incremental.{json,md}
    python benchmarks/incremental.py --sizes 20000

A home is filled with word problems of 8 recorded rollouts each (one run: "full"); then a file of 1% as many new
problems, and a file of their rollouts, are put beside the old ones and the command runs again ("added"); then once more
with nothing to do ("idle"). Each run is a process of its own, measured from outside (wall clock, from start to exit)
and from inside (seconds of the processor, worker processes included; seconds by stage, as Dagster recorded them). The
corpus stages look at every prompt again, so their cost grows with the home; everything before costs what is new.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

_STARTED = time.perf_counter()
REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = REPOSITORY / "benchmarks" / "results"
SIZES = (20_000, 100_000, 300_000)
SHARE = 0.01
SAMPLES = 8
GOAL = 0.05
SETTINGS = """\
[[source]]
name = "word-problems"
path = "prompts/*.jsonl"
prompt = "question"
ground_truth = "answer"
verifier = "math"
domain = "math"

[[rollouts]]
name = "sft"
path = "rollouts/*.jsonl"
prompt = "question"
response = "responses"

[policy]
engine = "recorded"
"""
_NAMES = ("Ada", "Bela", "Chen", "Dora", "Emil", "Fatou", "Goran", "Hana", "Ivo", "Jun", "Kofi", "Lena")
_GOODS = ("apples", "stamps", "marbles", "tickets", "candles", "ribbons", "shells", "bricks", "lamps", "bowls")
_PLACES = ("market", "harbour", "school", "library", "farm", "workshop", "station", "museum", "bakery", "garden")
_ASIDES = (
    "It rained all morning, so few people came.",
    "The cart had to be pushed uphill for the last mile.",
    "A neighbour lent a hand without asking for anything.",
    "Nobody had counted anything the day before.",
    "The shop next door was closed for the holidays.",
    "Everyone agreed that the light was beautiful.",
    "A small dog watched the whole time.",
    "The bell rang twice while they were working.",
)


# --- the corpus ------------------------------------------------------------------------------------------------------


def problems(first: int, count: int, seed: int) -> Iterator[tuple[str, int]]:
    """Yield (question, answer), about 300 characters each; no number gives the same question twice."""
    for number in range(first, first + count):
        rng = Random(f"{seed} {number}")
        name, goods, place, aside = (rng.choice(x) for x in (_NAMES, _GOODS, _PLACES, _ASIDES))
        boxes, each, price, gone = rng.randint(3, 90), rng.randint(2, 60), rng.randint(2, 30), rng.randint(1, 40)
        yield (
            f"{name} takes {boxes} boxes with {each} {goods} each to the {place} of street {number}. {aside} On the "
            f"way {gone} {goods} are lost near house {rng.randint(1, 9999)}, and of the others one in every "
            f"{price} turns out to be worth keeping for {rng.choice(_NAMES)}, who lives at number "
            f"{rng.randint(1, 99999)}. How many {goods} were there on arrival at street {number}?",
            boxes * each - gone,
        )


def responses(answer: int, rng: Random) -> list[str]:
    """Return `SAMPLES` responses of about 350 characters, right with a probability that belongs to the problem."""
    skill = rng.betavariate(0.6, 0.6)
    found = []
    for _ in range(SAMPLES):
        value = answer if rng.random() < skill else answer + rng.choice((-10, -2, -1, 1, 2, 10, 100))
        form = rng.choice((f"\\boxed{{{value}}}", f"#### {value}", f"\\boxed{{{value:,}}}", f"\\boxed{{{value}.0}}"))
        if rng.random() < 0.1:
            form = rf"\boxed{{\frac{{{2 * value}}}{{2}}}}"  # needs algebra to compare
        lost = rng.randint(1, 40)
        found.append(
            f"First I count everything that was packed, box by box. {' '.join(rng.sample(_ASIDES, 3))} That makes "
            f"{value + lost} in all before anything was lost. Then {lost} are gone, so {value + lost} - {lost} = "
            f"{value} are left. The answer is {form}"
        )
    return found


def write_batch(folder: Path, name: str, first: int, count: int, seed: int) -> None:
    """Write a file of prompts, and one of their rollouts."""
    for part in ("prompts", "rollouts"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    with (
        (folder / "prompts" / f"{name}.jsonl").open("w", encoding="utf-8") as prompts,
        (folder / "rollouts" / f"{name}.jsonl").open("w", encoding="utf-8") as rollouts,
    ):
        for number, (question, answer) in enumerate(problems(first, count, seed), first):
            prompts.write(json.dumps({"question": question, "answer": str(answer)}) + "\n")
            rng = Random(f"responses {seed} {number}")
            row = {"question": question, "responses": responses(answer, rng)}
            rollouts.write(json.dumps(row) + "\n")


# --- one run, in a process of its own --------------------------------------------------------------------------------


def run_once(config: Path, home: Path) -> dict[str, Any]:
    """Curate in this process, as `preppo run` does, and return what was measured from inside."""
    os.environ["PREPPO_CONFIG"], os.environ["PREPPO_HOME"] = str(config), str(home)
    from assets.project import open_project
    from pipeline.execute import curate
    from pipeline.instance import open_instance

    project = open_project(config, home)
    with open_instance(project.home) as instance:
        known = {r.run_id for r in instance.get_runs()}
        opened = time.perf_counter()
        report = curate(project, instance)
        ended = time.perf_counter()
        stages = {
            step.step_key: step.end_time - step.start_time
            for run in instance.get_runs()
            if run.run_id not in known
            for step in instance.get_run_step_stats(run.run_id)
            if step.start_time is not None and step.end_time is not None
        }
    if report.failures:
        raise SystemExit("\n".join(report.failures))
    own, workers = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "start_s": opened - _STARTED,
        "curate_s": ended - opened,
        "stages_s": stages,
        "cpu_s": own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime,
        "peak_mib": own.ru_maxrss / 1024,
        "release": [c.counts for c in project.store.snapshot().of_stage("release")],
    }


def measure(config: Path, home: Path) -> dict[str, Any]:
    """Run once in a fresh process."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--child", str(config), str(home)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    wall = time.perf_counter() - started
    return {"wall_s": wall, **json.loads(done.stdout.splitlines()[-1])}


# --- the whole -------------------------------------------------------------------------------------------------------


def compare(size: int, seed: int, scratch: Path | None) -> dict[str, Any]:
    """Fill a home, add 1%, and look once more."""
    folder = Path(tempfile.mkdtemp(prefix="incremental-", dir=scratch))
    try:
        (folder / "preppo.toml").write_text(SETTINGS, encoding="utf-8")
        config, home = folder / "preppo.toml", folder / "home"
        added = round(size * SHARE)
        write_batch(folder, "first", 0, size, seed)
        runs = {"full": measure(config, home)}
        write_batch(folder, "second", size, added, seed)
        runs |= {"added": measure(config, home), "idle": measure(config, home)}
    finally:
        shutil.rmtree(folder)
    full, new = runs["full"], runs["added"]
    ratios = {
        "wall": new["wall_s"] / full["wall_s"],
        "wall_without_start": new["curate_s"] / full["curate_s"],
        "cpu": new["cpu_s"] / full["cpu_s"],
    }
    return {"prompts": size, "added": added, "samples": SAMPLES, "runs": runs, "ratios": ratios}


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# What a new batch costs",
        "",
        f"{SHARE:.0%} more prompts of {SAMPLES} recorded rollouts each, added to a curated home, against curating the "
        f"whole. Written by `benchmarks/incremental.py` on {platform.machine()}, {os.cpu_count()} cores. The goal is "
        f"under {GOAL:.0%} of the wall clock.",
        "",
        "Recorded rollouts are the hardest case: nothing is generated, so the whole is cheap, and what a run costs "
        "whatever it does (the start of Python, Dagster's records, opening tables, drawing plots) weighs most.",
        "",
        "| prompts | added | full (s) | added (s) | nothing to do (s) | wall clock | without start | processor |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        runs, ratios = r["runs"], r["ratios"]
        seconds = " | ".join(f"{runs[n]['wall_s']:.1f}" for n in ("full", "added", "idle"))
        shares = " | ".join(f"{ratios[n]:.1%}" for n in ("wall", "wall_without_start", "cpu"))
        lines.append(f"| {r['prompts']:,} | {r['added']:,} | {seconds} | {shares} |")
    lines += ["", "Seconds by stage (`other`: looking for new files and stale stages; `start`: imports):", ""]
    columns = [(r, n) for r in results for n in ("full", "added", "idle")]
    lines += ["| stage | " + " | ".join(f"{r['prompts']:,} {n}" for r, n in columns) + " |"]
    lines += ["|---|" + "---|" * len(columns)]
    names = list(dict.fromkeys(s for r, n in columns for s in r["runs"][n]["stages_s"]))
    for name in names:
        cells = [r["runs"][n]["stages_s"].get(name) for r, n in columns]
        lines.append(f"| {name} | " + " | ".join("" if c is None else f"{c:.1f}" for c in cells) + " |")
    other = [r["runs"][n]["curate_s"] - sum(r["runs"][n]["stages_s"].values()) for r, n in columns]
    start = [r["runs"][n]["wall_s"] - r["runs"][n]["curate_s"] for r, n in columns]
    peak = [r["runs"][n]["peak_mib"] for r, n in columns]
    lines.append("| other | " + " | ".join(f"{c:.1f}" for c in other) + " |")
    lines.append("| start | " + " | ".join(f"{c:.1f}" for c in start) + " |")
    lines.append("| peak memory (MiB) | " + " | ".join(f"{c:.0f}" for c in peak) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of a new batch against the cost of the whole.")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="prompts in the home")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, help="folder for the homes (default: the system's)")
    parser.add_argument("--out", type=Path, default=RESULTS / "incremental.json")
    parser.add_argument("--child", nargs=2, type=Path, metavar=("CONFIG", "HOME"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(run_once(*arguments.child), default=str))
        return
    results = [compare(size, arguments.seed, arguments.scratch) for size in arguments.sizes]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"share": SHARE, "goal": GOAL, "results": results}, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text(table(results), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
