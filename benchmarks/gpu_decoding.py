"""Decoding on a GPU against what its memory allows: the `transformers` engine, plain and compiled.

    .venv/bin/python -m benchmarks.gpu_decoding [--hidden 1024 --layers 24 --batch 1 8 64 256]

A model of the nursery's architecture, larger, with random weights in bf16; its end token ends nothing, so that every
row has the same number of tokens. A decoding step reads all weights once and the keys and values of every row, so no
engine that computes a token at a time gives more tokens a second than

    batch / ((weight bytes + cache bytes) / bandwidth)

with the mean size of the cache. The bandwidth is what this card does here, the better of a large copy (read and write)
and a large sum (read). Time for the prompts is taken off: a run of one token a row is subtracted. What is left is all
that the engine does for a token, drawing and stop conditions included. The first run, which compiles and records, is
told apart.

Where no NVIDIA GPU is, one line says so, and that is no failure. Writes gpu_decoding.json and .md into
benchmarks/results/, only for a GPU. `--device cpu` shows that all of it runs, with small sizes, and writes nothing.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from trainer.engines.contract import EngineError, Request, Sampling
from trainer.engines.transformers import TransformersEngine
from trainer.engines.weights import NURSERY
from trainer.nursery.train import CONTEXT, Recipe, build_model, save

RESULTS = Path(__file__).resolve().parent / "results"
MIB, GIB = 2**20, 2**30
REPEATS = 8


def arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_decoding")
    parser.add_argument("--device", choices=["auto", "cuda", "cpu"], default="auto")
    parser.add_argument("--hidden", type=int, default=1024, help="a multiple of 32, the size of a head")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--intermediate", type=int, default=3072)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--prompt", type=int, default=128, help="tokens of each prompt")
    parser.add_argument("--new", type=int, default=128, help="tokens to generate, 2 at least")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bandwidth-mib", type=int, default=2048, help="size of what is copied; more than any cache")
    options = parser.parse_args(given)
    if options.new < 2 or options.prompt < 1 or options.prompt + options.new > CONTEXT:
        parser.error(f"--prompt and --new: 1 and 2 at least, {CONTEXT} at most together")
    return options


def visible_gpus() -> list[str]:
    """Return the NVIDIA GPUs that the driver names, whether this torch can use them or not."""
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode != 0:
        return []
    return [line.split(" (UUID")[0] for line in done.stdout.splitlines() if line.startswith("GPU ")]


def usable() -> bool:
    return torch.version.cuda is not None and torch.cuda.is_available()


def settle(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def bandwidth(device: torch.device, mib: int) -> dict[str, float]:
    """Return bytes a second of a copy (read and written bytes) and of a sum (read bytes), the best of five each."""
    count = mib * MIB // 4
    if device.type == "cuda":
        count = min(count, torch.cuda.mem_get_info(device)[0] // 16)  # two of them: half of what is free at most
    source = torch.ones(count, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    found = {}
    for name, work, moved in (
        ("copy", lambda: target.copy_(source), 2 * 4 * count),
        ("sum", lambda: source.sum(), 4 * count),
    ):
        work()
        took = []
        for _ in range(5):
            settle(device)
            started = time.perf_counter()
            for _ in range(REPEATS):  # so that starting and waiting, which take microseconds, do not count
                work()
            settle(device)
            took.append(time.perf_counter() - started)
        found[name] = REPEATS * moved / min(took)
    return found


def build(options: argparse.Namespace, folder: Path) -> None:
    """Write the model into a folder, with the nursery's tokenizer."""
    disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(NURSERY)
    recipe = Recipe(hidden=options.hidden, layers=options.layers, intermediate=options.intermediate)
    save(build_model(recipe, tokenizer).to(torch.bfloat16), tokenizer, recipe, folder)


def prompts(batch: int, length: int, new: int) -> list[Request]:
    """Return one request a row, each with a prompt of its own: a digit is a token."""
    rng = random.Random(batch)
    sampling = Sampling(temperature=1.0, max_tokens=new)
    return [
        Request(f"{i}", "scored", 0, (), "".join(rng.choices("0123456789", k=length)), i, sampling)
        for i in range(batch)
    ]


def seconds(engine: TransformersEngine, asked: list[Request]) -> float:
    settle(engine.device)
    started = time.perf_counter()
    done = list(engine.generate(asked))
    settle(engine.device)
    took = time.perf_counter() - started
    expected = (len(asked[0].raw_text or ""), asked[0].sampling.max_tokens)
    if any((c.prompt_tokens, c.response_tokens) != expected for c in done) or len(done) != len(asked):
        msg = f"every row should have {expected} tokens of prompt and response"
        raise RuntimeError(msg)
    return took


def sizes(engine: TransformersEngine, options: argparse.Namespace) -> tuple[int, float]:
    """Return the bytes of all weights, and those of a row's keys and values, in the mean over the steps."""
    config, width = engine.model.config, next(engine.model.parameters()).element_size()
    position = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * width
    positions = options.prompt + options.new / 2  # prompt + 1 in the first step, prompt + new - 1 in the last one
    return sum(p.numel() for p in engine.model.parameters()) * width, positions * position


def measure(engine: TransformersEngine, batch: int, options: argparse.Namespace) -> dict[str, float]:
    """Return seconds of a decoding step (median of the rounds), of the first run, and the most memory in use."""
    long = prompts(batch, options.prompt, options.new)
    short = prompts(batch, options.prompt, 1)
    if engine.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(engine.device)
    first = seconds(engine, long)
    seconds(engine, short)
    steps = [(seconds(engine, long) - seconds(engine, short)) / (options.new - 1) for _ in range(options.rounds)]
    peak = torch.cuda.max_memory_allocated(engine.device) if engine.device.type == "cuda" else 0
    return {"step_s": statistics.median(steps), "first_run_s": first, "peak_bytes": peak}


def rows_of(engine: TransformersEngine, name: str, speed: float, options: argparse.Namespace) -> list[dict]:
    weights, cache = sizes(engine, options)
    rows = []
    for batch in options.batch:
        row = {"engine": name, "batch": batch, "bound": batch / ((weights + batch * cache) / speed)}
        try:
            found = measure(engine, batch, options)
        except torch.OutOfMemoryError:
            row["skipped"] = "out of memory"
            torch.cuda.empty_cache()
        else:
            row |= {**found, "tokens_per_s": batch / found["step_s"]}
            row["share"] = row["tokens_per_s"] / row["bound"]
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def run(options: argparse.Namespace, device: torch.device) -> dict:
    speeds = bandwidth(device, options.bandwidth_mib)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    print(", ".join(f"{name}: {speed / 1e9:.0f} GB/s" for name, speed in speeds.items()), flush=True)
    found = {"device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"}
    found |= {"torch": torch.__version__, "options": vars(options), "bandwidth": speeds, "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        build(options, Path(folder))
        for name in ("plain", "compiled"):
            engine = TransformersEngine(
                folder, batch_size=max(options.batch), device=str(device), compile=name == "compiled"
            )
            engine.end_tokens = frozenset()
            parameters = list(engine.model.parameters())
            found |= {"parameters": sum(p.numel() for p in parameters), "dtype": str(parameters[0].dtype)}
            del parameters
            found["rows"] += rows_of(engine, name, max(speeds.values()), options)
            if engine.decoder is not None:
                found["compilations"] = engine.decoder.compilations
            engine.close()
    return found


def report(found: dict) -> str:
    options, speeds = found["options"], found["bandwidth"]
    lines = [
        "# Decoding against the bandwidth of the memory",
        "",
        f"Written by `python -m benchmarks.gpu_decoding` on {found['device']} (torch {found['torch']}): "
        f"{found['parameters'] / 1e6:.0f}M parameters in {found['dtype'].removeprefix('torch.')}, prompts of "
        f"{options['prompt']} tokens, {options['new']} generated. Bandwidth as measured in the same run: "
        f"{speeds['copy'] / 1e9:.0f} GB/s copied (read and written), {speeds['sum'] / 1e9:.0f} GB/s summed (read). "
        f"The bound is batch / ((weight bytes + cache bytes) / the better of the two). "
        f"Medians of {options['rounds']} rounds, without the time for the prompts. "
        f"Compilations: {found['compilations']}.",
        "",
        "| batch | engine | tokens/s | bound | share | ms a step | first run, s | most memory, GiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(found["rows"], key=lambda r: r["batch"]):
        start = f"| {row['batch']} | {row['engine']} |"
        if "skipped" in row:
            lines.append(f"{start} {row['skipped']} | {row['bound']:.0f} | | | | |")
        else:
            lines.append(
                f"{start} {row['tokens_per_s']:.0f} | {row['bound']:.0f} | **{row['share']:.1%}** | "
                f"{1000 * row['step_s']:.2f} | {row['first_run_s']:.1f} | {row['peak_bytes'] / GIB:.1f} |"
            )
    return "\n".join(lines) + "\n"


def check(options: argparse.Namespace) -> int:
    if options.device == "cpu":
        print(report(run(options, torch.device("cpu"))))
        return 0
    if usable():
        print(f"NVIDIA GPU found: {torch.cuda.get_device_name(0)}", flush=True)
        found = run(options, torch.device("cuda", 0))
        (RESULTS / "gpu_decoding.json").write_text(json.dumps(found, indent=2) + "\n")
        (RESULTS / "gpu_decoding.md").write_text(report(found))
        print(report(found))
        return 0
    if gpus := visible_gpus():
        print(f"NVIDIA GPU found ({gpus[0]}), but torch {torch.__version__} cannot use it: install its CUDA build.")
        return 1
    print("No NVIDIA GPU here: nothing to check.")
    return 0


def main(given: list[str]) -> int:
    try:
        return check(arguments(given))
    except EngineError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
