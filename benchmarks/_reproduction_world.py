"""Worlds to select prompts in: a small original set, and a pool of new prompts far larger, most of them easy.

`sums`: what can be learnt is sums of a number from 10 to 24 and a digit, of which the nursery model passes one in
eight, so that the lowest rewards are mostly 0; held out are wordings of sums that may be trained on in another one.
`mixed`: what can be learnt is tasks of four domains of which it passes about half, few of them hopeless; held out are
other tasks. The pool of each has few of these among many easy prompts of four domains, open questions whose reward
model can be fooled, and sums with a wrong ground truth.
"""

from __future__ import annotations

import json
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

from trainer.nursery.practice import SOURCE, practice, write_pool
from trainer.nursery.task import NurseryTask
from trainer.nursery.tasks import generate_tasks, stream_tasks

if TYPE_CHECKING:
    from pathlib import Path

ORIGINAL, EASY, OPEN, WRONG = 120, 2000, 80, 60
_EASY_LEVELS = {"math": 1, "instruction": 1, "general": 1, "code": 1}
_MIXED = {"math": 2, "instruction": 3, "general": 4, "code": 3}  # levels of which the nursery model passes about half
_EACH = 300  # tasks of each
WORLDS = ("sums", "mixed")
FLAT = '[curriculum]\nphases = [{ name = "mixture" }]\n'
PRIORITY = """[curriculum]
phases = [
  { name = "code", domains = { code = 1.0 }, share = 0.05 },
  { name = "code_math", domains = { code = 1.0, math = 1.0 }, share = 0.25 },
  { name = "mixture" },
]
"""
_SETTINGS = """[policy]
model = "nursery"
samples = 8
reference_samples = 2
max_tokens = 32
device = "cpu"

[reward_model]
models = ["nursery-reward"]
device = "cpu"

[strength]
own_rollouts = false

[ingest]
heldout_share = 0.12

[selection]
rule = "pre_ppo"
fraction = 0.1

"""
_ARM = """[[selection.arms]]
name = "{name}"
rule = "{rule}"
fraction = {fraction}

"""
ARMS = {
    "original": ("random", 0.0001),  # rounds to no new prompt at all
    "all": ("all", 1.0),
    "random": ("random", 0.1),
    "random_50": ("random", 0.5),
    "pre_ppo_20": ("pre_ppo", 0.2),
    "pre_ppo_50": ("pre_ppo", 0.5),
    "variance": ("variance", 0.1),
    "learnability": ("learnability", 0.1),
}


def learnable(name: str, seed: int) -> list[NurseryTask]:
    """Return the tasks of a world that can be learnt, in the order of the seed; `sums` has some others among them."""
    if name == "sums":
        return practice(seed)
    tasks = []
    for domain, level in _MIXED.items():
        found = generate_tasks(3 * _EACH, 5002, {domain: 1.0}, {level: 1.0})
        tasks += [t for t in found if t.verifier not in (None, "code")][:_EACH]
    Random(seed).shuffle(tasks)
    return tasks


def hard_prompts(name: str, seed: int) -> set[str]:
    """Return the prompts that can be learnt: of `sums` the sums alone."""
    return {t.prompt for t in learnable(name, seed) if name != "sums" or t.domain == "math"}


def world(name: str, seed: int) -> tuple[list[NurseryTask], list[NurseryTask], set[str]]:
    """Return original and new prompts, and those of the new ones whose ground truth is wrong."""
    rng = Random(f"world {seed}")
    hard = learnable(name, seed)
    original, rest = hard[:ORIGINAL], hard[ORIGINAL:]
    sums = [t for t in rest if t.domain == "math"]
    wrong = {t.prompt for t in rng.sample(sums, WRONG)}
    new = [_with_a_wrong_gold(t) if t.prompt in wrong else t for t in rest]
    known = {t.prompt for t in hard}
    for domain, level in _EASY_LEVELS.items():
        stream = stream_tasks(seed + 9000, {domain: 1.0}, {level: 1.0, 2: 0.3})
        easy = {t.prompt: t for t in islice(stream, 12_000) if t.verifier is not None and t.prompt not in known}
        new += list(easy.values())[: EASY // len(_EASY_LEVELS)]
    opened = [t for t in generate_tasks(400, seed + 9100, {"general": 1.0}, {2: 1.0, 3: 1.0}) if t.verifier is None]
    new += opened[:OPEN]
    rng.shuffle(new)
    return original, new, wrong


def _with_a_wrong_gold(task: NurseryTask) -> NurseryTask:
    wrong = json.dumps(str(int(json.loads(task.ground_truth or "0")) + 3))
    return NurseryTask(task.prompt, wrong, task.verifier, task.domain, task.level, task.answer)


def write_world(folder: Path, name: str, seed: int) -> set[str]:
    """Write the pools and two settings files, `flat.toml` and `priority.toml`; return the prompts with a wrong gold.

    Args:
        folder: made where it is missing.
        name: of the world, one of `WORLDS`.
        seed: of the world.
    """
    original, new, wrong = world(name, seed)
    folder.mkdir(parents=True, exist_ok=True)
    for pool, tasks in (("original", original), ("new", new)):
        write_pool(folder / f"{pool}.jsonl", tasks)
    head = "".join(SOURCE.format(name=pool, pool=pool) for pool in ("original", "new")) + _SETTINGS
    arms = "".join(_ARM.format(name=n, rule=r, fraction=f) for n, (r, f) in ARMS.items())
    for order, curriculum in (("flat", FLAT), ("priority", PRIORITY)):
        (folder / f"{order}.toml").write_text(head + arms + curriculum, encoding="utf-8")
    return wrong
