"""`python -m trainer.nursery.practice FOLDER`: generated prompts that are enough to train on, and their settings.

The demo's prompts are for looking at. Here are more, all with a rule verifier, without dirt, and many of them held
out: PPO on their release can be seen to work (`make demo-train`). Plain Python, no torch.
"""

from __future__ import annotations

import argparse
import json
import re
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from trainer.nursery.tasks import generate_tasks, stream_tasks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainer.nursery.task import NurseryTask

_SUM = re.compile(r"(?<!\d)(1\d|2[0-4]) [-+] \d(?!\d)")
_OTHERS = {"code": 3, "instruction": 3, "general": 4}  # domain -> level that the nursery model passes half of
_EACH = 90  # prompts of every other domain
_STREAM = 40_000  # tasks among which every sum occurs in all its wordings
_ORIGINAL = 3  # one prompt in so many is of the original pool
SOURCE = """[[source]]
name = "{name}"
path = "{pool}.jsonl"
prompt = "question"
ground_truth = {{ column = "answer", parse_json = true }}
verifier = {{ column = "verifier" }}
domain = {{ column = "domain" }}
pool = "{pool}"
licence = "CC0-1.0"

"""
_SETTINGS = """[policy]
model = "nursery"
samples = 4
max_tokens = 32

[ingest]
heldout_share = 0.15

[selection]
rule = "all"

[curriculum]
phases = [
  { name = "code", domains = { code = 1.0 }, share = 0.04 },
  { name = "code_math", domains = { code = 1.0, math = 1.0 }, share = 0.1 },
  { name = "mixture" },
]

[ppo]
steps = 60
prompts = 32
samples = 8
baseline = "group"
kl = "k3"
kl_coefficient = 0.001
rate = 6e-4
epochs = 1
minibatches = 4
micro_batch = 32
dynamic_sampling = true # most prompts are failed by every sample at first
evaluate_every = 20
checkpoint_every = 20
device = "cpu"
"""


def practice(seed: int = 0) -> list[NurseryTask]:
    """Return the prompts, in the order of the seed.

    Sums and differences of a number from 10 to 24 and a digit, in three wordings each: what is held out is a wording of
    what is mostly trained on in another one. And prompts of three other domains, with answers that must be found.
    """
    stream = stream_tasks(5000, {"math": 1.0}, {2: 1.0})
    sums = {t.prompt: t for t in islice(stream, _STREAM) if _SUM.search(t.prompt)}
    tasks = list(sums.values())
    for domain, level in _OTHERS.items():
        found = generate_tasks(2 * _EACH, 5001, {domain: 1.0}, {level: 1.0})
        tasks += [t for t in found if t.verifier not in (None, "code")][:_EACH]
    Random(seed).shuffle(tasks)
    return tasks


def write_practice(folder: Path, seed: int = 0, prompts: int | None = None) -> Path:
    """Write `original.jsonl`, `new.jsonl` and `preppo.toml` into `folder`, and return the last.

    The same seed writes the same bytes.
    """
    tasks = practice(seed)[:prompts]
    folder.mkdir(parents=True, exist_ok=True)
    write_pool(folder / "original.jsonl", tasks[::_ORIGINAL])
    write_pool(folder / "new.jsonl", (t for n, t in enumerate(tasks) if n % _ORIGINAL))
    settings = folder / "preppo.toml"
    sources = "".join(SOURCE.format(name=f"nursery-{pool}", pool=pool) for pool in ("original", "new"))
    settings.write_text(sources + _SETTINGS, encoding="utf-8")
    return settings


def write_pool(path: Path, tasks: Iterable[NurseryTask]) -> None:
    """Write one file of prompts, as `SOURCE` reads it."""
    rows = ({"question": t.prompt, "answer": t.ground_truth, "verifier": t.verifier, "domain": t.domain} for t in tasks)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Write them where the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.nursery.practice", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prompts", type=int, help="at most so many")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write_practice(options.folder, options.seed, options.prompts)


if __name__ == "__main__":
    main()
