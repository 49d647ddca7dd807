"""Over-optimisation: best-of-N by proxies that were trained on gold's labels, and what gold says of what they pick.

    .venv/bin/python -m benchmarks.over_optimisation [--seeds 8] [--pairs 500]

After Gao et al. (arXiv 2210.10760) and the reward model papers that repeat their test (2310.02743, 2406.10216): gold
labels pairs of the policy's answers, proxies are trained on them, with the labels as they are and with 25% of them
turned round, and best-of-N by a proxy, for N = 1..256, goes as far from the policy as KL = log N - (N - 1) / N nats.
The world is `_proxy_world`: text, a policy trained as a language model, and a gold that is known. All proxies start
from the policy's weights and train them whole.

The world was written before any proxy was trained. Rates, epochs and the number of pairs were then chosen by trying
`bt` alone, on a seed that is not reported; no other recipe was looked at before.

For N out of K samples a prompt, gold of the best is the exact mean over all subsets of N: the sum over ranks r of
C(K - r, N - 1) / C(K, N) times gold at rank r. Intervals are 95%, by t over seeds; a seed decides pairs, wrong labels,
order and heads, and the policy and the samples are the same for all. Differences are paired by seed. Writes
benchmarks/results/over_optimisation.{md,json,png}. On one thread it takes about 21 minutes.
"""

import argparse
import json
import math
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch

from benchmarks import _proxy_world as world
from benchmarks._over_optimisation_report import picture, report
from benchmarks._preferences import flipped
from trainer.reward_models.ensemble import train_members
from trainer.reward_models.features import TrunkCache, pooled_features
from trainer.reward_models.heads import Rewards
from trainer.reward_models.pairs import Pair
from trainer.reward_models.recipes import RECIPES
from trainer.reward_models.settings import TrainSettings
from trainer.reward_models.training import Trained, train

RESULTS = Path(__file__).resolve().parent / "results"
BEST_OF = [2**k for k in range(9)]
NOISES = (0.0, 0.25)
MEMBERS = 5
TRIED, SAMPLES, TO_PAIR = 32, 512, 64  # prompts that are only tried on; their samples; samples of a training prompt
MIXES = (0.2, 0.4, 0.6, 0.8)
SINGLE = ("bt-mlp", "grm-sft", "grm-dpo", "grm-dpo-noref")
SETTINGS = TrainSettings(
    rate=1e-3, head_rate=3e-3, micro=32, epochs=3, second_epochs=16, max_length=128, device="cpu", dtype="float32"
)


class Bench(NamedTuple):
    """What all seeds share.

    Attributes:
        folder: of the policy's weights, the trunk of all proxies.
        tried: topic and prompt of those that best-of-N is tried on.
        pool: the policy's answers to each.
        gold: of these, [prompts, samples], with mean 0 and standard deviation 1.
        taught: topic and prompt of those that pairs are made of.
        answers: the policy's answers to each.
        unit: gold's standard deviation as it was.
    """

    folder: Path
    tried: list[tuple[str, str]]
    pool: list[list[str]]
    gold: torch.Tensor
    taught: list[tuple[str, str]]
    answers: list[list[str]]
    unit: float


def build(folder: Path) -> Bench:
    """Train the policy and let it answer every prompt."""
    model, tokenizer = world.train_policy(folder)
    asked = world.prompts()
    Random(0).shuffle(asked)
    tried, taught = asked[:TRIED], asked[TRIED:]
    pool = world.sample(model, tokenizer, tried, SAMPLES, 1)
    answers = world.sample(model, tokenizer, taught, TO_PAIR, 2)
    gold = torch.tensor([[world.gold(topic, x) for x in xs] for (topic, _), xs in zip(tried, pool, strict=True)])
    unit = float(gold.std())
    return Bench(folder, tried, pool, ((gold - gold.mean()) / unit).double(), taught, answers, unit)


def labelled(bench: Bench, count: int, seed: int) -> list[Pair]:
    """Return pairs of answers to one prompt each, the one that gold prefers first."""
    rng = Random(seed)
    found: list[Pair] = []
    while len(found) < count:
        i = rng.randrange(len(bench.taught))
        topic, prompt = bench.taught[i]
        worse, better = sorted(rng.sample(bench.answers[i], 2), key=lambda text: world.gold(topic, text))
        if world.gold(topic, worse) < world.gold(topic, better):
            found.append(Pair(f"{seed}-{len(found)}", world.messages(prompt), better, worse))
    return found


def rewards(trained: Trained, bench: Bench) -> tuple[Rewards, Rewards]:
    """Return the rewards of the pool, and of the reference set: answers to the training prompts."""
    rows = [
        trained.encoder.encode(world.messages(prompt), text)
        for asked, answered in ((bench.tried, bench.pool), (bench.taught, [a[:16] for a in bench.answers]))
        for (_, prompt), texts in zip(asked, answered, strict=True)
        for text in texts
    ]
    pooled = pooled_features(trained.network, rows, int(trained.tokenizer.pad_token_id), 256)
    cut = TRIED * SAMPLES
    with torch.no_grad():
        return trained.network.head(pooled[:cut]), trained.network.head(pooled[cut:])


def proxies(bench: Bench, pairs: list[Pair], seed: int, cache: TrunkCache) -> Iterator[tuple[str, torch.Tensor]]:
    """Train every proxy on the same pairs, and yield its name and rewards of the pool, [prompts x samples]."""
    trunk, settings = str(bench.folder), replace(SETTINGS, seed=10 * seed)
    members = []
    for member in train_members(pairs, trunk, RECIPES["bt"], settings, MEMBERS, cache=cache):
        pool, reference = (r.nominal() for r in rewards(member, bench))
        members.append((pool - reference.mean()) / reference.std())
    yield "bt", members[0]
    yield "ensemble mean", torch.stack(members).mean(dim=0)
    yield "ensemble minimum", torch.stack(members).min(dim=0).values
    for name in SINGLE:
        yield name, rewards(train(pairs, trunk, RECIPES[name], settings, cache=cache), bench)[0].nominal()
    for name in ("brme", "brme-mse"):
        own, _ = rewards(train(pairs, trunk, RECIPES[name], settings, cache=cache), bench)
        yield f"{name} nominal", own.nominal()
        yield f"{name} robust", own.worst()
        if name == "brme":
            yield from ((f"mix {a}", a * own.nominal() + (1 - a) * own.worst()) for a in MIXES)


def curve(proxy: torch.Tensor, gold: torch.Tensor) -> list[float]:
    """Return gold of the best of N by a proxy, for every N of `BEST_OF`: means over subsets, then over prompts."""
    k = gold.shape[1]
    ranked = gold.gather(1, proxy.reshape(gold.shape).argsort(dim=1, descending=True, stable=True))
    weights = [[math.comb(k - r, n - 1) / math.comb(k, n) for r in range(1, k + 1)] for n in BEST_OF]
    found: list[float] = (ranked @ torch.tensor(weights, dtype=torch.float64).T).mean(dim=0).tolist()
    return found


def accuracy(proxy: torch.Tensor, gold: torch.Tensor) -> float:
    """Return in how many of the pairs of two samples of a prompt, that have not the same gold, both agree."""
    own = proxy.reshape(gold.shape)
    half = gold.shape[1] // 2
    left, right = gold[:, :half] - gold[:, half:], own[:, :half] - own[:, half:]
    return float((left * right > 0).sum() / (left != 0).sum())


def measure(bench: Bench, seeds: int, count: int) -> list[dict[str, Any]]:
    """Return noise, seed, proxy, accuracy and gold by N of every proxy."""
    rows, cache = [], TrunkCache()
    for seed in range(seeds):
        clean = labelled(bench, count, seed)
        for noise in NOISES:
            started = time.perf_counter()
            for name, proxy in proxies(bench, flipped(clean, noise, seed)[0], seed, cache):
                row = {"noise": noise, "seed": seed, "proxy": name, "accuracy": accuracy(proxy, bench.gold)}
                rows.append(row | {"gold": curve(proxy, bench.gold)})
            print(f"seed {seed}, noise {noise}: {time.perf_counter() - started:.0f} s", flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.over_optimisation")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.seeds < 3:
        parser.error("--seeds: at least 3; intervals are over seeds, and a peak is chosen on the others")
    torch.set_num_threads(1)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        bench = build(Path(folder))
        rows = measure(bench, options.seeds, options.pairs)
    found = {
        "python": platform.python_version(), "torch": torch.__version__, "seeds": options.seeds, "pairs": options.pairs,
        "prompts": TRIED, "samples": SAMPLES, "members": MEMBERS, "epochs": SETTINGS.epochs,
        "rates": [SETTINGS.rate, SETTINGS.head_rate], "unit": bench.unit, "best_of": BEST_OF,
        "seconds": round(time.perf_counter() - started),
        "oracle": curve(bench.gold, bench.gold), "rows": rows,
    }  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "over_optimisation.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (options.out / "over_optimisation.md").write_text(report(found), encoding="utf-8")
    (options.out / "over_optimisation.png").write_bytes(picture(found))
    print(report(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
