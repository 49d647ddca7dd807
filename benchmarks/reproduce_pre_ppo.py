"""Which prompts are worth training on: Pre-PPO, its priority order and its rivals, at equal steps (arXiv 2503.22230).

    .venv/bin/python -m benchmarks.reproduce_pre_ppo [--world sums|mixed] [--arms ...] [--seeds 5] [--steps 40]
        [--together 2] [--work DIR] [--device cpu] [--curate]

A world (`_reproduction_world`) is curated by `preppo run`, an arm a way of choosing; `preppo train` trains the nursery
model on the release of each arm, by the same settings, steps and samples. What counts is the mean reward over held-out
prompts by exact rules at temperature 1 (those with a wrong ground truth and open ones left out), before and after; and
that over the held-out prompts which can be learnt, for most others are easy and cannot rise. A seed decides the samples
and the order; arms are compared by seed. Intervals are 95%, by t over seeds; their half width is the smallest effect
that a run could have seen.

Without any option it is a small size, within an hour on two processors. A training that is in `--work` already is
taken as it is: a killed run goes on, and its size can be grown. `--curate` ends after the releases are made: the folder
may then be carried to a machine with more processors. Writes its part of results/reproduce_pre_ppo.json, a plot a
world, and REPRODUCTION.md of all that is there.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks._reproduction_report import SAID, plot, write_report
from benchmarks._reproduction_world import ARMS, WORLDS, hard_prompts, write_world
from trainer.ppo.record import HELDOUT, METRICS, TIMING, read_lines
from warehouse.curation.identity import prompt_id
from warehouse.releases import load_release

RESULTS = Path(__file__).resolve().parent / "results"
FIRST = ("original", "all", "random", "pre_ppo", "pre_ppo_priority")
SEED = 200  # of the first run; the next ones follow
PPO = {
    "PROMPTS": "32", "SAMPLES": "8", "BASELINE": "group", "KL": "k3", "KL_COEFFICIENT": "0.001", "RATE": "6e-4",
    "EPOCHS": "1", "MINIBATCHES": "4", "DYNAMIC_SAMPLING": "true", "EVALUATE_EVERY": "10", "EVALUATE_SAMPLES": "8",
    "CHECKPOINT_EVERY": "10",
}  # fmt: skip


def preppo(config: Path, work: Path, arguments: list[str], environment: dict[str, str], log: Path) -> None:
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "--config", str(config)]
    command += ["--home", str(work / "home"), *arguments]
    with log.open("a") as file:
        subprocess.run(
            command, env=os.environ | {"OMP_NUM_THREADS": "1"} | environment, stdout=file, stderr=file, check=True
        )


def curated(work: Path) -> dict[str, str]:
    """Curate the world twice, flat and by priority; return arm -> release."""
    known = work / "releases.json"
    if known.is_file():
        found: dict[str, str] = json.loads(known.read_text())
        return found
    found = {}
    for order in ("flat", "priority"):
        preppo(work / f"{order}.toml", work, ["run"], {}, work / "run.log")
        for arm in ("main", *ARMS):
            name = "pre_ppo" if arm == "main" else arm
            found[name if order == "flat" else f"{name}_priority"] = load_release(
                work / "home" / "releases", "latest", arm
            ).release_id
    known.write_text(json.dumps(found, indent=1))
    return found


def trained(work: Path, arm: str, release: str, seed: int, options: argparse.Namespace) -> Path:
    folder = work / f"{arm}-{seed}-{options.steps}"
    folder.mkdir(exist_ok=True)
    if not (folder / "training.png").is_file():
        chosen = {f"PREPPO__PPO__{name}": value for name, value in PPO.items()}
        chosen |= {"PREPPO__PPO__SEED": str(seed), "PREPPO__PPO__DEVICE": options.device}
        chosen |= {"PREPPO__VERIFIERS__WORKERS": "1"}
        arguments = ["train", release, "--out", str(folder), "--steps", str(options.steps), "--resume"]
        preppo(work / "flat.toml", work, arguments, chosen, folder / "log.txt")
    return folder


def scored_ids(folder: Path) -> set[str]:
    """Return the held-out prompts that have a score at every evaluation of a training."""
    rows = pl.DataFrame(read_lines(folder / HELDOUT))
    every = rows["step"].n_unique()
    return set(rows.group_by("prompt_id").len().filter(pl.col("len") == every)["prompt_id"])


def outcome(folder: Path, counted: set[str], hard: set[str]) -> dict[str, Any]:
    """Return the held-out scores of one training: of all prompts that count, and of the hard ones among them."""
    rows = pl.DataFrame(read_lines(folder / HELDOUT)).filter(pl.col("prompt_id").is_in(list(counted)))
    score = {
        "all": pl.col("score").mean(),
        "hard": pl.col("score").filter(pl.col("prompt_id").is_in(list(hard))).mean(),
    }
    by_step = rows.group_by("step").agg(**score).sort("step")
    curve = [(int(s), float(v), float(h)) for s, v, h in by_step.iter_rows()]
    steps = [line for line in read_lines(folder / METRICS) if line["kind"] == "step"]
    return {
        "first": curve[0][1], "last": curve[-1][1], "curve": curve,
        "hard_first": curve[0][2], "hard_last": curve[-1][2],
        "reward": [line["score"] for line in steps], "kl": steps[-1]["kl"],
        "seconds": sum(sum(v for k, v in t.items() if k.endswith("_s")) for t in read_lines(folder / TIMING)),
    }  # fmt: skip


def facts(work: Path, releases: dict[str, str], wrong: set[str]) -> tuple[dict[str, dict[str, Any]], set[str]]:
    """Return what each arm took, and the held-out prompts that count: with a rule verifier and a right ground truth."""
    wrong_ids = {prompt_id([("user", text)]) for text in wrong}
    found, counted = {}, set()
    for arm, release in releases.items():
        loaded = load_release(work / "home" / "releases", release)
        rows = loaded.train().unique("prompt_id").select("prompt_id", "pool", "domain", "mean", "verifier").collect()
        new = rows.filter(pl.col("pool") == "new")
        found[arm] = {
            "prompts": rows.height, "new": new.height, "wrong_golds": len(set(new["prompt_id"]) & wrong_ids),
            "open": new.filter(pl.col("verifier").is_null()).height,
            "hopeless": new.filter(pl.col("mean") == 0).height,
            "mean_reward_of_new": None if new.is_empty() else new["mean"].mean(),
        }  # fmt: skip
        held = loaded.heldout().filter(pl.col("verifier").is_not_null()).select("prompt_id").collect()
        counted |= set(held["prompt_id"]) - wrong_ids
    return found, counted


def told() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce_pre_ppo")
    parser.add_argument("--arms", nargs="*", default=list(FIRST), choices=[*SAID, "all_of_them"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--together", type=int, default=2, help="trainings at a time")
    parser.add_argument("--work", type=Path, help="a folder to keep; trainings that it holds are taken as they are")
    parser.add_argument("--world", default="sums", choices=WORLDS)
    parser.add_argument("--device", default="cpu", help="of the trainings, as ppo.device")
    parser.add_argument("--curate", action="store_true", help="make the releases, train nothing")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds: 2 at least, for an interval")
    arms = list(SAID) if "all_of_them" in options.arms else options.arms
    options.arms = list(dict.fromkeys([*arms, "random"]))  # what the others are compared with
    return options


def run(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    wrong = write_world(work, options.world, 0)
    releases = curated(work)
    about, counted = facts(work, {a: releases[a] for a in options.arms}, wrong)
    if options.curate:
        return {}
    asked = [(arm, SEED + n) for n in range(options.seeds) for arm in options.arms]
    with ThreadPoolExecutor(options.together) as pool:
        folders = list(pool.map(lambda a: trained(work, a[0], releases[a[0]], a[1], options), asked))
    hard = {prompt_id([("user", text)]) for text in hard_prompts(options.world, 0)}
    held = len(counted)
    counted &= set.intersection(*(scored_ids(folder) for folder in folders))
    runs: dict[str, list[dict[str, Any]]] = {arm: [] for arm in options.arms}
    for (arm, _), folder in zip(asked, folders, strict=True):
        runs[arm].append(outcome(folder, counted, hard))
    return {
        "machine": platform.machine(), "seeds": options.seeds,
        "steps": options.steps, "prompts": int(PPO["PROMPTS"]), "samples": int(PPO["SAMPLES"]), "arms": options.arms,
        "releases": about, "held": held, "counted": len(counted), "runs": runs,
        "minutes": sum(r["seconds"] for some in runs.values() for r in some) / 60,
    }  # fmt: skip


def main() -> int:
    options = told()
    with tempfile.TemporaryDirectory() as temporary:
        found = run((options.work or Path(temporary)).resolve(), options)
    if options.curate:
        return 0
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "reproduce_pre_ppo.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    there = known.get(options.world, found)
    if (there["seeds"], len(there["arms"])) > (found["seeds"], len(found["arms"])):
        print(f"{file.name} holds a larger run of the world {options.world}, which stays: {found['runs']}")
        return 0
    file.write_text(json.dumps(known | {options.world: found}, indent=1) + "\n")
    plot(found, RESULTS / f"reproduce_pre_ppo_{options.world}.png")
    print(write_report(RESULTS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
