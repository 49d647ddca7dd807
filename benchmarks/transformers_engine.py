"""Tokens a second of the `transformers` engine next to a plain loop over `generate`.

    .venv/bin/python -m benchmarks.transformers_engine

Both sides use the same model (the nursery), prompts, samples and sampling, in fp32 on the CPU with the same number of
threads. The prompts are of mixed length: a question of the nursery after 0 to 20 solved examples. The baseline is what
a script does: batches of 64 samples in the order of input, padded to the longest, `model.generate` until the last one
ends, decoded. The two take turns; the ratio is the median of the rounds. Below 1.5 this fails.

A second table has the engine with `compile = true` next to itself without: the same questions, and one batch of short
prompts with long responses, where decoding is all there is. Two things change with that setting, the cache and the
compiled code, so the slots of the compiled engine are measured without compiled code, too. No target: what compiling
is for are the launches of a GPU. Writes transformers_engine.json and .md into benchmarks/results/.
"""

import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch._inductor.utils import fresh_cache

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
LONG = 192  # response tokens where decoding is all there is


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


def long_requests() -> list[Request]:
    """Return a batch of short prompts, each row with LONG tokens if no end token ends it."""
    tasks = generate_tasks(BATCH, seed=12)
    sampling = Sampling(max_tokens=LONG)
    return [Request(f"prompt {i}", "scored", 0, (("user", t.prompt),), None, i, sampling) for i, t in enumerate(tasks)]


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
    return speed(side, engine, requests(size))


def speed(
    side: Callable[[TransformersEngine, list[Request]], int], engine: TransformersEngine, asked: list[Request]
) -> float:
    started = time.perf_counter()
    return side(engine, asked) / (time.perf_counter() - started)


def without_compiled_code(engine: TransformersEngine, asked: list[Request]) -> int:
    with torch.compiler.set_stance("force_eager"):
        return through_engine(engine, asked)


def compiled_rows() -> list[dict]:
    """Return, for two loads, the rates of the engine plain, in slots, and in slots with compiled code."""
    plain = TransformersEngine("nursery", batch_size=BATCH)
    compiled = TransformersEngine("nursery", batch_size=BATCH, compile=True)
    started = time.perf_counter()
    with fresh_cache():  # nothing that was compiled before
        through_engine(compiled, requests(1))
    first = time.perf_counter() - started
    endings = plain.end_tokens
    rows = []
    for load, asked, ends in (
        ("questions, as above", requests(SIZES[0]), endings),
        (f"short prompts, {LONG} tokens each", long_requests(), frozenset()),
    ):
        plain.end_tokens = compiled.end_tokens = ends
        contenders = ((through_engine, plain), (without_compiled_code, compiled), (through_engine, compiled))
        rounds = [[speed(side, engine, asked) for side, engine in contenders] for _ in range(ROUNDS)]
        rows.append(
            {
                "load": load,
                "samples": len(asked),
                "plain": statistics.median(r[0] for r in rounds),
                "slots": statistics.median(r[1] for r in rounds),
                "compiled": statistics.median(r[2] for r in rounds),
                "slots_ratio": statistics.median(r[1] / r[0] for r in rounds),
                "ratio": statistics.median(r[2] / r[0] for r in rounds),
                "ratios": [r[2] / r[0] for r in rounds],
                "first_run_s": first,
                "compilations": compiled.decoder.compilations if compiled.decoder else 0,
            }
        )
        print(json.dumps(rows[-1]))
    return rows


def compiled_report(rows: list[dict]) -> list[str]:
    lines = [
        "",
        "## `compile = true` next to `compile = false`",
        "",
        f"The engine alone, tokens a second, medians of {ROUNDS} rounds in turns. In slots: the cache of the compiled "
        "engine, without compiled code. "
        f"The first run, which compiles, took {rows[0]['first_run_s']:.0f} s and is not counted; "
        f"compilations in all: {rows[-1]['compilations']}.",
        "",
        "| load | samples | plain | in slots | compiled | slots / plain | compiled / plain | rounds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['load']} | {row['samples']} | {row['plain']:.0f} | {row['slots']:.0f} | {row['compiled']:.0f} | "
        f"{row['slots_ratio']:.2f} | **{row['ratio']:.2f}** | {', '.join(f'{r:.2f}' for r in row['ratios'])} |"
        for row in rows
    ]
    return lines


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
    compiled = compiled_rows()
    found = {"target": TARGET, "sizes": rows, "compiled": compiled}
    (RESULTS / "transformers_engine.json").write_text(json.dumps(found, indent=2) + "\n")
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
    lines += compiled_report(compiled)
    (RESULTS / "transformers_engine.md").write_text("\n".join(lines) + "\n")
    return int(min(row["ratio"] for row in rows) < TARGET)


if __name__ == "__main__":
    sys.exit(main())
