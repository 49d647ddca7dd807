"""Which prompts are worth training on: Pre-PPO, its priority order and its rivals, at equal steps (arXiv 2503.22230).

    .venv/bin/python -m benchmarks.reproduce_pre_ppo [--arms ...] [--seeds 3] [--steps 30] [--together 2] [--work DIR]

A world of the nursery (`_reproduction_world`) is curated by `preppo run`, an arm a way of choosing; `preppo train`
trains the nursery model on the release of each arm, by the same settings, steps and samples. What counts is the mean
reward over held-out prompts by exact rules at temperature 1 (those with a wrong ground truth and open ones left out),
before and after; and that over the held-out sums which can be learnt, for most others are easy and cannot rise. A seed
decides the samples and the order; arms are compared by seed. Intervals are 95%, by t over seeds.

The smallest effect that a run could have seen is the half width of the interval. A training that is in `--work`
already is taken as it is, so that the size can be grown. Writes benchmarks/REPRODUCTION.md and
results/reproduce_pre_ppo.{json,png}.
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
from statistics import fmean
from typing import Any

import matplotlib
import polars as pl

from benchmarks._reproduction_world import hard_sums, write_world
from benchmarks._reward_models import interval
from trainer.ppo.record import HELDOUT, METRICS, TIMING, read_lines
from warehouse.curation.identity import prompt_id
from warehouse.releases import load_release

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).resolve().parent / "results"
FIRST = ("original", "all", "random", "pre_ppo", "pre_ppo_priority")
SAID = {
    "original": "original only",
    "all": "original + all new",
    "random": "original + random 10%",
    "pre_ppo": "original + Pre-PPO 10%",
    "pre_ppo_priority": "the same, with domain priority",
    "pre_ppo_20": "original + Pre-PPO 20%",
    "pre_ppo_50": "original + Pre-PPO 50%",
    "variance": "original + variance 10%",
    "learnability": "original + learnability 10%",
}
PPO = {
    "PROMPTS": "32", "SAMPLES": "8", "BASELINE": "group", "KL": "k3", "KL_COEFFICIENT": "0.001", "RATE": "6e-4",
    "EPOCHS": "1", "MINIBATCHES": "4", "DYNAMIC_SAMPLING": "true", "EVALUATE_EVERY": "10", "CHECKPOINT_EVERY": "10",
    "DEVICE": "cpu",
}  # fmt: skip
BASE = "random"


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
        for arm in ("main", "original", "all", "random", "pre_ppo_20", "pre_ppo_50", "variance", "learnability"):
            name = "pre_ppo" if arm == "main" else arm
            found[name if order == "flat" else f"{name}_priority"] = load_release(
                work / "home" / "releases", "latest", arm
            ).release_id
    known.write_text(json.dumps(found, indent=1))
    return found


def trained(work: Path, arm: str, release: str, seed: int, steps: int) -> Path:
    folder = work / f"{arm}-{seed}-{steps}"
    folder.mkdir(exist_ok=True)
    if not (folder / "training.png").is_file():
        chosen = {f"PREPPO__PPO__{name}": value for name, value in PPO.items()} | {"PREPPO__PPO__SEED": str(seed)}
        arguments = ["train", release, "--out", str(folder), "--steps", str(steps), "--resume"]
        preppo(work / "flat.toml", work, arguments, chosen, folder / "log.txt")
    return folder


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
        "first": curve[0][1], "last": curve[-1][1], "gain": curve[-1][1] - curve[0][1], "curve": curve,
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
            "mean_reward_of_new": None if new.is_empty() else new["mean"].mean(),
        }  # fmt: skip
        held = loaded.heldout().filter(pl.col("verifier").is_not_null()).select("prompt_id").collect()
        counted |= set(held["prompt_id"]) - wrong_ids
    return found, counted


def report(found: dict[str, Any]) -> str:
    lines = [
        "# Which prompts are worth training on",
        "",
        f"Written by `python -m benchmarks.reproduce_pre_ppo`: {found['seeds']} seeds, {found['steps']} steps of "
        f"{PPO['PROMPTS']} prompts x {PPO['SAMPLES']} samples; {found['counted']} held-out prompts by exact rules. "
        f"{found['machine']}; {found['minutes']:.0f} minutes of training in all. Against `{SAID[BASE]}`, by "
        "seed; 95% intervals.",
        "",
        "| arm | prompts | new | wrong golds | open | mean of new | held out | against random | hard sums "
        "| against random |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for arm in found["arms"]:
        about, runs = found["releases"][arm], found["runs"][arm]
        mean = "" if about["mean_reward_of_new"] is None else f"{about['mean_reward_of_new']:.2f}"
        cells = [SAID[arm], about["prompts"], about["new"], about["wrong_golds"], about["open"], mean]
        for name in ("last", "hard_last"):
            last = interval([r[name] for r in runs])
            cells.append(f"{last['mean']:.3f} ± {last['high'] - last['mean']:.3f}")
            gaps = [a[name] - b[name] for a, b in zip(runs, found["runs"][BASE], strict=True)]
            cells.append("" if arm == BASE else _told(interval(gaps)))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    never = "a group-relative trainer learns nothing from a prompt that no sample solves"
    before = [fmean(r[n] for runs in found["runs"].values() for r in runs) for n in ("first", "hard_first")]
    lines += [
        "",
        f"Before training: {before[0]:.3f}, of the hard sums {before[1]:.3f}. The nursery model passes one in eight of "
        f"the sums that can be learnt, so the lowest mean rewards are mostly 0 here, and {never}; the paper's policies "
        "are far stronger, and its prompts of low reward seldom hopeless. What stands in bold is clear of zero "
        "at this size; nothing else is shown, either way.",
        "",
        "![held-out score over steps](results/reproduce_pre_ppo.png)",
    ]
    return "\n".join(lines) + "\n"


def _told(gap: dict[str, float]) -> str:
    text = f"{gap['mean']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f})"
    return f"**{text}**" if gap["low"] > 0 or gap["high"] < 0 else text


def plot(found: dict[str, Any], file: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    for arm in found["arms"]:
        runs = found["runs"][arm]
        steps = [s for s, *_ in runs[0]["curve"]]
        left.plot(
            steps, [fmean(r["curve"][i][2] for r in runs) for i in range(len(steps))], marker="o", label=SAID[arm]
        )
        right.plot([fmean(r["reward"][i] for r in runs) for i in range(len(runs[0]["reward"]))], label=SAID[arm])
    left.set(xlabel="step", ylabel="held-out score", title="Held-out sums that can be learnt, by exact rules")
    right.set(xlabel="step", ylabel="training reward", title="What the training saw")
    left.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce_pre_ppo")
    parser.add_argument("--arms", nargs="*", default=list(FIRST), choices=list(SAID))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--together", type=int, default=2, help="trainings at a time")
    parser.add_argument("--work", type=Path, help="a folder to keep; trainings that it holds are taken as they are")
    options = parser.parse_args()
    arms = list(dict.fromkeys([*options.arms, BASE]))
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        wrong = write_world(work, 0)
        releases = curated(work)
        about, counted = facts(work, {a: releases[a] for a in arms}, wrong)
        asked = [(arm, 200 + n) for n in range(options.seeds) for arm in arms]
        with ThreadPoolExecutor(options.together) as pool:
            folders = list(pool.map(lambda a: trained(work, a[0], releases[a[0]], a[1], options.steps), asked))
        hard = {prompt_id([("user", text)]) for text in hard_sums(0)}
        runs: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
        for (arm, _), folder in zip(asked, folders, strict=True):
            runs[arm].append(outcome(folder, counted, hard))
    found: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors", "seeds": options.seeds, "steps": options.steps,
        "arms": arms, "releases": about, "counted": len(counted), "runs": runs,
        "minutes": sum(r["seconds"] for some in runs.values() for r in some) / 60,
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "reproduce_pre_ppo.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS.parent / "REPRODUCTION.md").write_text(report(found))
    plot(found, RESULTS / "reproduce_pre_ppo.png")
    print(report(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
