"""Entries of reasoning_gym's datasets, made in a process of their own: nothing here imports the package."""

import functools
import json
import subprocess
import sys
from typing import Any

import pytest

from verifiers.reasoning_gym import usable
from verifiers.reasoning_gym_answers import PACKAGE_VERSION
from verifiers.sandbox import host

MAKE = """
import json, sys
import reasoning_gym
names, size, seed = json.loads(sys.argv[1])
made = {}
for name in names:
    dataset = reasoning_gym.create_dataset(name, seed=seed, size=size)
    made[name] = [dataset[index] for index in range(size)]
print("\\n" + json.dumps(made, default=str))  # what JSON has no form for, no scorer reads
"""


def needs_reasoning_gym() -> pytest.MarkDecorator:
    """Skip where the package, or what isolates its scorers, is missing."""
    missing = None if usable() else f"reasoning_gym {PACKAGE_VERSION} is missing: pip install 'preppo[reasoning-gym]'"
    reason = missing or host.problem()
    return pytest.mark.skipif(reason is not None, reason=str(reason))


def python(program: str, *arguments: str) -> str:
    """Return what a program prints in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    return run.stdout


@functools.cache
def entries(names: tuple[str, ...], size: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Return `size` entries of each dataset, as they come out of JSON."""
    printed = python(MAKE, json.dumps([names, size, seed]))
    made: dict[str, list[dict[str, Any]]] = json.loads(printed.rpartition("\n{")[2].join(["{", ""]))
    return made


def entry(name: str, index: int = 0) -> dict[str, Any]:
    """Return one entry of one dataset."""
    return entries((name,), 2, 20)[name][index]
