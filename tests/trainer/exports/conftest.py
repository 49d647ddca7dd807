"""A small release with prompts of every kind, written by hand, and its exports."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from tests.verifiers.service_harness import running
from trainer.exports.contract import Options
from trainer.exports.export import export_release
from verifiers import VerifierPool
from warehouse.curation.identity import prompt_id
from warehouse.release_rows import ROWS
from warehouse.releases import Release

MATHS = [("system", "Be brief."), ("user", "What is 2 + 2?")]
CODE = [("user", "Write a Python function f(x) that returns 3 * x.")]
TALK = [("user", "Wo liegt Köln?"), ("assistant", "Am Rhein."), ("user", "And Bonn? 𝔹")]
OPEN = [("user", "Write a poem.")]
TOOLS = json.dumps([{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}])
CALLS = json.dumps({"kind": "calls", "entry_point": "f", "cases": [{"args": [2], "expected": 6}]})

RIGHT = {"math": "#### 4", "code": "```python\ndef f(x):\n    return 3 * x\n```"}
WRONG = {"math": "#### 5", "code": "```python\ndef f(x):\n    return 4 * x\n```"}


def row(messages, phase, verifier="math", gold='"4"', **more):
    turns = [{"role": role, "content": content} for role, content in messages]
    found = {"prompt_id": prompt_id(messages), "messages": turns, "phase": phase, "verifier": verifier,
             "ground_truth": gold, "domain": "math", "pool": "new", "source": "hand", "occurrence": 0,
             "reward_source": "rtv" if verifier else "reward_model"}  # fmt: skip
    return dict.fromkeys(ROWS) | found | more


def rows():
    """Return phase `warm up` (two rows), then `mixture` (three); maths occurs in both."""
    return [
        row(MATHS, "warm up"),
        row(CODE, "warm up", "code", CALLS, domain="code"),
        row(TALK, "mixture", "exact", '"Am Rhein"', tools=TOOLS),
        row(MATHS, "mixture", occurrence=1),
        row([("user", "Name the capital of France.")], "mixture", "exact", '"Paris"', domain=None),
    ]


UNSCORED = row(OPEN, "mixture", None, None, domain="general", reference="Roses are red.", reference_kind="best_of_n")
RAW = row([("user", "def f(x):\n")], "mixture", "math", '"4"', raw_text="def f(x):\n")
HELDOUT = row([("user", "What is 1 + 3?")], None)


def release(folder, train, heldout=(HELDOUT,), **sections):
    """Write the files of a release that exports read."""
    folder.mkdir()
    numbered = [one | {"position": n} for n, one in enumerate(train)]
    pl.DataFrame(numbered, schema=ROWS).write_parquet(folder / "train.parquet", row_group_size=2)
    pl.DataFrame(list(heldout), schema=ROWS).write_parquet(folder / "heldout.parquet")
    policy = {"policy": {"max_tokens": 48, "model": "nursery"}, "reward": {"budget_s": 20.0},
              "reward_model": {"models": ["nursery-reward"]}, **sections}  # fmt: skip
    manifest = {"release_id": "ab" * 16, "arm": "main", "policy": policy}
    return Release("ab" * 16, folder, manifest)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    return release(tmp_path_factory.mktemp("release") / "small", rows())


@pytest.fixture(scope="session")
def exported(small, tmp_path_factory):
    """Return a function: format -> folder of its export, written once."""
    place, done = tmp_path_factory.mktemp("exports"), {}

    def export(name):
        if name not in done:
            options = Options(null_reward=0.25) if name == "verl" else None
            done[name] = export_release(small, name, place / name, options).folder
        return done[name]

    return export


def tasks_of(exported):
    """Return a task of maths, and one of code."""
    lines = (exported("jsonl") / "train.jsonl").read_text().splitlines()
    return [json.loads(line)["task"] for line in lines[:2]]


@pytest.fixture(params=["in process", "over http"])
def way(request, monkeypatch, reward_of):  # which forgets the URL
    """Return how rewards are made, with a server of one worker where it is over HTTP."""
    if request.param == "in process":
        yield request.param
        return
    with VerifierPool(1) as pool, running(pool) as (url, _, _):
        monkeypatch.setenv("PREPPO_REWARD_URL", url)
        yield request.param


@pytest.fixture
def reward_of(monkeypatch, tmp_path):
    """Return a function: folder -> its `preppo_reward.py`, imported by path as trainers do, and where it logs."""
    for name in ("PREPPO_REWARD_URL", "PREPPO_REWARD_TOKEN", "PREPPO_CONFIG", "PREPPO_NULL_REWARD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREPPO_SIGNALS", str(tmp_path / "signals.jsonl"))
    monkeypatch.setenv("PREPPO_TRAINING_RUN_ID", "training-1")
    opened = []

    def load(folder):
        spec = importlib.util.spec_from_file_location("preppo_reward", Path(folder) / "preppo_reward.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "preppo_reward", module)
        spec.loader.exec_module(module)
        opened.append(module)
        return module

    yield SimpleNamespace(
        load=load,
        signals=lambda: [json.loads(line) for line in (tmp_path / "signals.jsonl").read_text().splitlines()],
    )
    for module in opened:
        module.close()
