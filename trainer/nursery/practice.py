"""`python -m trainer.nursery.practice FOLDER`: generated prompts that are enough to train on, and their settings.

The demo's prompts are for looking at. Here are more, all with a rule verifier, without dirt, and many of them held
out: PPO on their release can be seen to work (`make demo-train`). Plain Python, no torch.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.nursery.tasks import EVEN, generate_tasks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainer.nursery.task import NurseryTask

PROMPTS = 1600
_ORIGINAL = 3  # one prompt in so many is of the original pool
_LEVELS = {1: 1.0, 2: 2.0, 3: 2.0, 4: 1.0}  # level 5 is beyond the nursery model
_SOURCE = """[[source]]
name = "nursery-{pool}"
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
max_tokens = 48

[ingest]
heldout_share = 0.15

[selection]
rule = "pre_ppo"
fraction = 0.5
"""


def write_practice(folder: Path, seed: int = 0, prompts: int = PROMPTS) -> Path:
    """Write `original.jsonl`, `new.jsonl` and `preppo.toml` into `folder`, and return the last.

    The same seed writes the same bytes.
    """
    tasks = [t for t in generate_tasks(2 * prompts, seed + 5000, EVEN, _LEVELS) if t.verifier is not None][:prompts]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "original.jsonl", tasks[::_ORIGINAL])
    _write(folder / "new.jsonl", (t for n, t in enumerate(tasks) if n % _ORIGINAL))
    settings = folder / "preppo.toml"
    sources = "".join(_SOURCE.format(pool=pool) for pool in ("original", "new"))
    settings.write_text(sources + _SETTINGS, encoding="utf-8")
    return settings


def _write(path: Path, tasks: Iterable[NurseryTask]) -> None:
    rows = ({"question": t.prompt, "answer": t.ground_truth, "verifier": t.verifier, "domain": t.domain} for t in tasks)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Write them where the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.nursery.practice", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write_practice(options.folder, options.seed, options.prompts)


if __name__ == "__main__":
    main()
