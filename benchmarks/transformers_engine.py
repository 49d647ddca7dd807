"""Tokens a second of the `transformers` engine next to a plain loop over `generate`.

    .venv/bin/python -m benchmarks.transformers_engine

Both sides use the same model (the nursery), prompts, samples and sampling, in fp32 on the CPU with the same number of
threads. The prompts are of mixed length: a question of the nursery after 0 to 20 solved examples. The baseline is what
a script does: batches of 64 samples in the order of input, padded to the longest, `model.generate` until the last one
ends, decoded. The two take turns; the ratio is the median of the rounds. Writes transformers_engine.json and .md into
benchmarks/results/; fails below 1.5.
"""

import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from trainer.engines.contract import Request, Sampling, sample_seed
from trainer.engines.transformers import TransformersEngine
from trainer.nursery.tasks import generate_tasks

RESULTS = Path(__file__).resolve().parent / "results"
TARGET = 1.5
BATCH = 64
SAMPLES = 4
SIZES = (32, 64)  # prompts
ROUNDS = 3
SAMPLING = Sampling(temperature=1.0, top_p=1.0, max_tokens=64)


def requests(prompts: int) -> list[Request]:
    tasks = generate_tasks(prompts + 400, seed=11)
    shown, asked = tasks[:400], tasks[400 : 400 + prompts]
    rng = random.Random(3)
    found = []
    for number, task in enumerate(asked):
        turns: list[tuple[str, str]] = []
        for example in rng.sample(shown, rng.randrange(21)):
            turns += [("user", example.prompt), ("assistant", example.answer)]
        name = f"prompt {number}"
        turns.append(("user", task.prompt))
        for sample in range(SAMPLES):
            seed = sample_seed(0, name, "scored", sample)
            found.append(Request(name, "scored", sample, tuple(turns), None, seed, SAMPLING))
    return found


def through_engine(engine: TransformersEngine, asked: list[Request]) -> int:
    return sum(c.response_tokens or 0 for c in engine.generate(asked))


def plain_loop(engine: TransformersEngine, asked: list[Request]) -> int:
    tokenizer, model = engine.tokenizer, engine.model
    tokenizer.padding_side = "left"
    tokens = 0
    for start in range(0, len(asked), BATCH):
        batch = asked[start : start + BATCH]
        chats = [[{"role": r, "content": c} for r, c in request.messages] for request in batch]
        texts = tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            out = model.generate(
                **inputs, do_sample=True, temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=SAMPLING.max_tokens
            )
        new = out[:, inputs["input_ids"].shape[1] :]
        tokenizer.batch_decode(new, skip_special_tokens=True)
        for row in new.tolist():
            ends = [i for i, token in enumerate(row) if token in engine.end_tokens]
            tokens += ends[0] + 1 if ends else len(row)
    return tokens


def rate(side: Callable[[TransformersEngine, list[Request]], int], engine: TransformersEngine, size: int) -> float:
    asked = requests(size)
    started = time.perf_counter()
    return side(engine, asked) / (time.perf_counter() - started)


def main() -> int:
    torch.set_num_threads(1)  # what the engine chooses for so small a model, and the faster choice for the loop, too
    engine = TransformersEngine("nursery", batch_size=BATCH)
    through_engine(engine, requests(16))
    plain_loop(engine, requests(16))
    rows = []
    for size in SIZES:
        lengths = sorted(len(engine.prompts.encode(r)) for r in requests(size))
        rounds = [(rate(plain_loop, engine, size), rate(through_engine, engine, size)) for _ in range(ROUNDS)]
        ratios = [ours / plain for plain, ours in rounds]
        rows.append(
            {
                "prompts": size,
                "samples": size * SAMPLES,
                "prompt_tokens": {"min": lengths[0], "median": lengths[len(lengths) // 2], "max": lengths[-1]},
                "plain": statistics.median(plain for plain, _ in rounds),
                "engine": statistics.median(ours for _, ours in rounds),
                "ratio": statistics.median(ratios),
                "ratios": ratios,
            }
        )
        print(json.dumps(rows[-1]))
    (RESULTS / "transformers_engine.json").write_text(json.dumps({"target": TARGET, "sizes": rows}, indent=2) + "\n")
    lines = [
        "# The transformers engine next to a plain loop over `generate`",
        "",
        "Written by `python -m benchmarks.transformers_engine`: the nursery, fp32, a thread, prompts of mixed length, "
        f"{SAMPLES} samples each, batches of {BATCH}; response tokens a second, medians of {ROUNDS} rounds in turns.",
        "",
        "| prompts | samples | prompt tokens, median (least to most) | plain loop | engine | ratio | rounds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        length = row["prompt_tokens"]
        lines.append(
            f"| {row['prompts']} | {row['samples']} | {length['median']} ({length['min']} to {length['max']}) | "
            f"{row['plain']:.0f} | {row['engine']:.0f} | **{row['ratio']:.2f}** | "
            f"{', '.join(f'{r:.2f}' for r in row['ratios'])} |"
        )
    (RESULTS / "transformers_engine.md").write_text("\n".join(lines) + "\n")
    return int(min(row["ratio"] for row in rows) < TARGET)


if __name__ == "__main__":
    sys.exit(main())
