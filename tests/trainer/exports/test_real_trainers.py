"""Exports in the hands of the trainers they are for, on the CPU, in environments of their own (`make test-exports`).

TRL 1.16 trains two steps of GRPO on the nursery. verl 0.9.1 composes our configuration, reads rows by its data set
class and rewards by its loader; OpenRLHF 0.11.2 likewise, by its data set and its executor; SkyRL-Gym 0.4 steps our
environment; `verifiers` 0.4, which prime-rl trains on, loads our taskset. verl, OpenRLHF and SkyRL train on GPUs alone;
prime-rl, open-instruct and NeMo Gym could not be had from a package index: these are tested by schema (test_schemas).
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.trainer.exports.conftest import MATHS, rows
from tests.verifiers.service_harness import running
from trainer.engines.weights import NURSERY
from verifiers import VerifierPool
from warehouse.signal_lines import read_signals

PYTHON = os.environ.get("PREPPO_EXPORTS_PYTHON")
PRIME = os.environ.get("PREPPO_PRIME_PYTHON")
REAL = Path(__file__).parent / "real"
IDS = [one["prompt_id"] for one in rows()]
pytestmark = [
    pytest.mark.exports,
    pytest.mark.skipif(
        PYTHON is None or PRIME is None,
        reason="PREPPO_EXPORTS_PYTHON and PREPPO_PRIME_PYTHON name no interpreters: make test-exports",
    ),
]


@pytest.fixture
def use(tmp_path):
    """Return a function: run a program in another environment, with a reward server to ask; return what it printed."""
    with VerifierPool(1) as pool, running(pool) as (url, _, _):

        def call(python, *command, cwd=tmp_path):
            environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
            environment |= {
                "PREPPO_REWARD_URL": url, "PREPPO_SIGNALS": str(tmp_path / "signals.jsonl"), "HF_HUB_OFFLINE": "1",
                "PREPPO_TRAINING_RUN_ID": "elsewhere", "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path / "hf"),
            }  # fmt: skip
            done = subprocess.run(
                [python, *map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr[-3000:]
            return done.stdout

        yield call


def last_line(text):
    return json.loads(text.strip().splitlines()[-1])


def test_two_steps_of_grpo(use, exported, tmp_path):
    out = tmp_path / "trained"
    said = use(PYTHON, exported("trl") / "train_trl.py", "--model", NURSERY, "--output", out, "--cpu", "--max-steps", 2,
               "--generations", 4, "--batch-size", 8)  # fmt: skip
    assert said.count("'preppo_undecided'") == 2
    assert (out / "model.safetensors").is_file()
    signals = read_signals([tmp_path / "signals.jsonl"])
    assert signals.rejected == {}
    assert signals.frame.height == 16
    per_step = signals.frame.group_by("step", maintain_order=True).agg("prompt_id")
    asked = {step: list(dict.fromkeys(ids)) for step, ids in per_step.iter_rows()}
    assert {step: sorted(ids) for step, ids in asked.items()} == {0: sorted(IDS[:2]), 1: sorted(IDS[2:4])}  # in order
    assert signals.frame["response_tokens"].min() > 0


def test_verl(use, exported, tmp_path):
    found = last_line(use(PYTHON, REAL / "use_verl.py", exported("verl"), NURSERY, tmp_path / "cache"))
    assert (found["ids"], found["heldout"]) == (IDS, 1)
    assert [turn["role"] for turn in found["prompt"]] == ["system", "user"]
    assert (found["right"]["score"], found["wrong"]["score"], found["right"]["preppo_undecided"]) == (1.0, 0.0, 0.0)


def test_openrlhf(use, exported):
    found = last_line(use(PYTHON, REAL / "use_openrlhf.py", exported("openrlhf"), NURSERY))
    assert found["ids"] == [IDS[:2], IDS[2:]]
    assert MATHS[1][1] in found["prompt"]
    assert (found["right"], found["wrong"], found["unknown"]) == (1.0, 0.0, [])


def test_skyrl(use, exported):
    right, wrong = last_line(use(PYTHON, REAL / "use_skyrl.py", exported("skyrl")))
    assert (right["reward"], wrong["reward"], right["done"]) == (1.0, 0.0, True)
    assert right["metadata"] == {"preppo_undecided": 0.0, "preppo_status": "correct"}


def test_prime(use, exported):
    found = last_line(use(PRIME, REAL / "use_prime.py", exported("prime-rl")))
    assert found["keys"] == [list(dict.fromkeys(IDS)), IDS[2:]]
    assert (found["system"], found["prompt"], found["turns"]) == (
        "Be brief.",
        MATHS[1][1],
        ["user", "assistant", "user"],
    )
    assert found["rewards"] == [1.0, 0.0, "not decided: truncated"]
