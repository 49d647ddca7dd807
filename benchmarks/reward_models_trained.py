"""The recipes that train their trunk, on real preferences: what reproduces of the papers' claims at a tiny size.

    .venv/bin/python -m benchmarks.reward_models_trained [--seeds 5] [--members 4] [--workers 1]

The trunk is a Llama of 2 layers and 64 features, from nothing: it is first taught, as a language model, the training
pairs' own conversations, by a byte-level BPE learnt on them. Short pairs of HH helpful and PandaLM train it whole, with
the labels as they are and with 25% of them turned round; it is tried on pairs of the same sets and on four sets that it
never saw. A seed decides the fold that is tested on, the trunk, the labels that are turned round, order and head. All
recipes of a seed share these, so differences are paired. Writes benchmarks/results/reward_models_trained.{md,json}.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks._preferences import DATA, flipped
from benchmarks._reward_models import accuracy, interval, voted, with_strength
from benchmarks._trained_trunk import FOREIGN, LONGEST, TRAINED_ON, Fold, fold, pretrain
from benchmarks._trained_trunk_report import report
from trainer.nursery.train import Recipe as TrunkRecipe
from trainer.reward_models.features import TrunkCache
from trainer.reward_models.recipes import RECIPES, Recipe
from trainer.reward_models.settings import TrainSettings
from trainer.reward_models.training import train

RESULTS = Path(__file__).resolve().parent / "results"
NOISES = (0.0, 0.25)
NAMES = (
    *("bt", "bt-mlp", "margin", "smoothing", "flip", "flip+margin", "simcse", "swav"),
    *("grm-sft", "grm-dpo", "grm-dpo-noref", "brme", "metarm"),
)
SETTINGS = TrainSettings(
    rate=3e-4, head_rate=1e-3, batch=16, micro=16, epochs=2, max_length=1024, device="cpu", dtype="float32"
)
TRUNK = TrunkRecipe(
    steps=250, vocabulary=1024, hidden=64, layers=2, intermediate=192, batch_tokens=2048, warmup=20, threads=1
)


def recipe_of(name: str) -> Recipe:
    """Return a recipe; MetaRM's eta is as large as the trunk's rate, as in the paper, where both are 5e-6."""
    return replace(RECIPES[name], meta_rate=SETTINGS.rate) if name == "metarm" else RECIPES[name]


def tried(data: Fold, trunk: str, noise: float, seed: int, members: int) -> list[dict[str, Any]]:
    """Return rows of recipe, noise, seed, test and accuracy."""
    noisy, _ = flipped(data.pairs, noise, seed)
    settings, known = replace(SETTINGS, seed=seed), TrunkCache().texts
    pairs = with_strength(noisy, voted(noisy, trunk, settings, members, TrunkCache(known)))
    rows = []
    for name in NAMES:
        started = time.perf_counter()
        meta = data.meta if name == "metarm" else ()
        trained = train(pairs, trunk, recipe_of(name), settings, meta=meta, cache=TrunkCache(known))
        took = time.perf_counter() - started
        same = {"recipe": name, "noise": noise, "seed": seed, "seconds": took}
        rows += [same | {"test": test, "accuracy": accuracy(trained, some)} for test, some in data.tests.items()]
    return rows


def one_seed(seed: int, members: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    data = fold(seed)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        nats = pretrain(data.pairs, replace(TRUNK, seed=seed), Path(folder))
        pretraining = time.perf_counter() - started
        rows = [row for noise in NOISES for row in tried(data, folder, noise, seed, members)]
    return {
        "seed": seed,
        "pairs": len(data.pairs),
        "tests": {name: len(some) for name, some in data.tests.items()},
        "unlabelled_groups": len(data.meta),
        "pretraining": {"nats_a_token": nats, "seconds": pretraining},
        "seconds": time.perf_counter() - started,
        "rows": rows,
    }


def tables(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, by recipe, noise and test, accuracy and its paired difference to the recipe's baseline, over seeds.

    Besides the sets there are `in distribution` and `out of distribution`, means of their sets.
    """
    seeds = sorted({r["seed"] for r in rows})
    known = {(r["recipe"], r["noise"], r["seed"], r["test"]): r["accuracy"] for r in rows}
    for name in NAMES:
        for noise in NOISES:
            for seed in seeds:
                for label, sets in (("in distribution", TRAINED_ON), ("out of distribution", FOREIGN)):
                    some = [known[name, noise, seed, test] for test in sets]
                    known[name, noise, seed, label] = sum(some) / len(some)
    found = []
    for name, noise, test in dict.fromkeys((n, x, t) for n, x, _, t in known):
        base = baseline(name)
        values = [known[name, noise, s, test] for s in seeds]
        row: dict[str, Any] = {"recipe": name, "noise": noise, "test": test, "accuracy": interval(values)}
        if base is not None:
            others = [known[base, noise, s, test] for s in seeds]
            row |= {"baseline": base, "difference": interval([a - b for a, b in zip(values, others, strict=True)])}
        found.append(row)
    return found


def baseline(name: str) -> str | None:
    """Return the recipe that differs in nothing but what is claimed to help: that of the same head and dropout."""
    if name == "bt":
        return None
    return "bt-mlp" if RECIPES[name].text is not None or RECIPES[name].contrast is not None else "bt"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reward_models_trained")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if not DATA.is_dir():
        print("skipped: it needs the public data")
        return 0
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        seeds = list(pool.map(one_seed, range(options.seeds), [options.members] * options.seeds))
    rows = [row for seed in seeds for row in seed["rows"]]
    found = {
        "members": options.members,
        "python": platform.python_version(),
        "settings": asdict(SETTINGS),
        "trunk": asdict(TRUNK),
        "longest": LONGEST,
        "seeds": [{k: v for k, v in s.items() if k != "rows"} for s in seeds],
        "table": tables(rows),
        "rows": rows,
    }
    (RESULTS / "reward_models_trained.json").write_text(json.dumps(found, indent=1) + "\n")
    text = report(found)
    (RESULTS / "reward_models_trained.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
