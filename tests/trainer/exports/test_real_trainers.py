"""Exports in the hands of the trainers they are for, on the CPU, in environments of their own (`make test-exports`).

TRL 1.16 trains two steps of GRPO on the nursery. verl 0.9.1 composes our configuration, reads rows by its data set
class and rewards by its loader; OpenRLHF 0.11.2 likewise, by its data set and its executor; SkyRL-Gym 0.4 steps our
environment; `verifiers` 0.4, which prime-rl trains on, loads our taskset. verl, OpenRLHF and SkyRL train on GPUs alone;
prime-rl, open-instruct and NeMo Gym could not be had from a package index: these are tested by schema (test_schemas).
"""

import json
import os
import shutil
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
    """Return a function: run a program in another environment, with a reward server to ask; return what it printed.

    `settings`: the program is told of the server, of the file for signals and of the training's name. More keyword
    arguments are variables; None removes one.
    """
    with VerifierPool(1) as pool, running(pool) as (url, _, _):

        def call(python, *command, cwd=tmp_path, settings=True, **variables):
            environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
            environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path / "hf")}
            if settings:  # else like a process that does not share the environment of the one that trains
                environment |= {"PREPPO_REWARD_URL": url, "PREPPO_SIGNALS": str(tmp_path / "signals.jsonl"),
                                "PREPPO_TRAINING_RUN_ID": "elsewhere"}  # fmt: skip
            environment |= {name: value for name, value in variables.items() if value is not None}
            for name in (name for name, value in variables.items() if value is None):
                environment.pop(name, None)
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


def put_python(folder, program, python=PYTHON):
    """Put a `python` into a folder that runs a program with the arguments that it gets; return a PATH with it."""
    folder.mkdir()
    (folder / "python").write_text(f'#!/bin/sh\nexec "{python}" "{program}" "$@"\n')
    (folder / "python").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize("name", ["verl-of-today", None])
def test_verl(use, exported, tmp_path, name):
    """Its driver composes what `verl.sh` says; a worker that shares nothing with it resolves that, and rewards."""
    folder = shutil.copytree(exported("verl"), tmp_path / "Bob's export (1)")
    config = tmp_path / "config.pickle"
    use("bash", folder / "verl.sh", NURSERY, "trainer.n_gpus_per_node=1", PREPPO_TRAINING_RUN_ID=name,
        PREPPO_REWARD_WORKERS="", PATH=put_python(tmp_path / "bin", REAL / "verl_driver.py"), VERL_CONFIG=str(config))  # fmt: skip
    found = last_line(use(PYTHON, REAL / "use_verl.py", config, tmp_path / "cache", settings=False))
    assert (found["ids"], found["heldout"]) == (IDS, 1)
    assert [turn["role"] for turn in found["prompt"]] == ["system", "user"]
    assert (found["right"]["score"], found["wrong"]["score"], found["right"]["preppo_undecided"]) == (1.0, 0.0, 0.0)
    told = found["settings"]
    assert told["training_run_id"] == name or (name is None and told["training_run_id"].startswith("verl-2"))
    assert (told["null_reward"], told["reward_workers"], told["config"]) == (0.25, None, None)
    signals = read_signals([tmp_path / "signals.jsonl"]).frame
    assert signals["training_run_id"].to_list() == [told["training_run_id"]] * 2


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
