"""Exports in the hands of the trainers they are for, on the CPU, in environments of their own (`make test-exports`).

TRL 1.16 trains on the nursery, in one process and in two. verl 0.9.1 composes our configuration, resolves it in another
process, reads rows by its data set class and rewards by its loader; OpenRLHF 0.11.2 likewise, by its data set and its
executor. SkyRL-Gym 0.4 steps our environment, and SkyRL 0.4 has the options that we name. NeMo Gym 0.4 and 0.7 take our
configuration, and our server verifies on their classes. `verifiers` 0.4, which prime-rl trains on, loads our taskset
from the package that hatchling builds. verl, OpenRLHF and SkyRL train on GPUs alone; prime-rl itself and open-instruct
are in no package index: these are tested by schema (test_schemas), and against stand-ins (test_templates).
"""

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.trainer.exports.conftest import MATHS, rows
from tests.verifiers.service_harness import running
from trainer.engines.weights import NURSERY
from verifiers import VerifierPool
from warehouse.signal_lines import read_signals

ENVIRONMENTS = Path(os.environ.get("PREPPO_EXPORTS_ENVIRONMENTS", "no"))
PYTHON, PRIME, NEMO_GYM = (ENVIRONMENTS / name / "bin" / "python" for name in (".", "prime", "nemo-gym"))
REAL = Path(__file__).parent / "real"
IDS = [one["prompt_id"] for one in rows()]
pytestmark = [
    pytest.mark.exports,
    pytest.mark.skipif(
        not PYTHON.exists(),
        reason="PREPPO_EXPORTS_ENVIRONMENTS names no folder with the trainers: make test-exports",
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


def test_grpo_walks_the_curriculum_once(use, exported, tmp_path):
    out = tmp_path / "trained"
    said = use(PYTHON, exported("trl") / "train_trl.py", "--model", NURSERY, "--output", out, "--cpu",
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
    assert set(signals.frame["training_run_id"]) == {"elsewhere"}


def test_two_processes_of_grpo_are_one_training(use, exported, tmp_path):
    """Started apart, as on two machines, they share no environment: the first one's name is that of all."""
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "--no-python", "sh", "-c")
    given = ("--model", NURSERY, "--output", tmp_path / "out", "--cpu", "--max-steps", 1, "--generations", 2)
    script = " ".join(map(str, ('"$0"', '"$1"', *given, "--batch-size", 2)))
    named = "PREPPO_TRAINING_RUN_ID=machine-$RANK "
    lines = {}
    for begin in ("", named):
        signals = tmp_path / f"{bool(begin)}.jsonl"
        use(PYTHON, *launch, begin + script, PYTHON, exported("trl") / "train_trl.py", PREPPO_TRAINING_RUN_ID=None,
            PREPPO_SIGNALS=str(signals))  # fmt: skip
        lines[begin] = [json.loads(line) for line in signals.read_text().splitlines()]
    assert [len({line["worker"] for line in told}) for told in lines.values()] == [2, 2]
    unnamed, told = ({line["training_run_id"] for line in lines[begin]} for begin in ("", named))
    assert told == {"machine-0"}
    assert len(unnamed) == 1 and unnamed.pop().startswith("trl-2")


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
    path = put_python(tmp_path / "bin", REAL / "verl_driver.py")
    use("bash", folder / "verl.sh", NURSERY, "trainer.n_gpus_per_node=1", PREPPO_TRAINING_RUN_ID=name,
        PREPPO_REWARD_WORKERS="", PATH=path, VERL_CONFIG=str(config))  # fmt: skip
    found = last_line(use(PYTHON, REAL / "use_verl.py", config, tmp_path / "cache", settings=False))
    assert (found["ids"], found["heldout"]) == (IDS, 1)
    assert [turn["role"] for turn in found["prompt"]] == ["system", "user"]
    assert (found["right"]["score"], found["wrong"]["score"], found["right"]["preppo_undecided"]) == (1.0, 0.0, 0.0)
    told = found["settings"]
    assert told["training_run_id"] == name or (name is None and told["training_run_id"].startswith("verl-2"))
    assert (told["null_reward"], told["reward_workers"], told["config"]) == (0.25, None, None)
    signals = read_signals([tmp_path / "signals.jsonl"]).frame
    assert signals["training_run_id"].to_list() == [told["training_run_id"]] * 2


def test_openrlhf(use, exported, tmp_path):
    """Its loader and its executor, which loads the file that the script names, in an environment without settings."""
    bin_, calls = tmp_path / "bin", tmp_path / "calls"
    path = put_python(bin_, REAL / "openrlhf_driver.py")
    use("bash", exported("openrlhf") / "openrlhf.sh", NURSERY, "out", PATH=path, OPENRLHF_CALLS=str(calls))
    called = [json.loads(line) for line in calls.read_text().splitlines()]
    found = last_line(use(PYTHON, REAL / "use_openrlhf.py", calls, NURSERY, settings=False))
    assert found["ids"] == [IDS[:2], IDS[2:]]
    assert MATHS[1][1] in found["prompt"]
    assert (found["right"], found["wrong"], found["unknown"]) == (1.0, 0.0, [])
    assert len(called) == 2
    assert set(read_signals([tmp_path / "signals.jsonl"]).frame["training_run_id"]) == {"elsewhere"}


def test_skyrl(use, exported):
    found = last_line(use(PYTHON, REAL / "use_skyrl.py", exported("skyrl")))
    right, wrong, cut_off = found["steps"]
    assert (right["reward"], wrong["reward"], right["done"]) == (1.0, 0.0, True)
    assert right["metadata"] == {"preppo_undecided": 0.0, "preppo_status": "correct"}
    assert cut_off["metadata"] == {"preppo_undecided": 1.0, "preppo_status": "no_response"}
    assert found["metrics"] == {"preppo_undecided": 1 / 3}
    assert found["options"] == {
        "data.train_data": "List[str]", "data.val_data": "List[str]", "trainer.policy.model.path": "Optional[str]",
        "generator.sampling_params.max_generate_length": "int", "trainer.max_prompt_length": "int",
        "generator.apply_overlong_filtering": "bool", "trainer.eval_interval": "int",
        "trainer.ckpt_path": "str", "trainer.export_path": "str", "trainer.hf_save_interval": "int",
    }  # fmt: skip


@pytest.mark.parametrize(("version", "masks"), [("0.4.0", [None] * 4), ("0.7.0", [False, False, True, True])])
def test_nemo_gym(use, exported, version, masks):
    found = last_line(use(NEMO_GYM, REAL / "use_nemo_gym.py", exported("nemo-gym"),
                          PYTHONPATH=str(ENVIRONMENTS / "nemo-gym" / version)))  # fmt: skip
    assert found["servers"] == {
        "preppo": "ResourcesServerInstanceConfig",
        "preppo_simple_agent": "ResponsesAPIAgentServerInstanceConfig",
    }
    assert found["datasets"] == [["train", "train", "TBD"], ["validation", "validation", "TBD"]]
    assert [one[:2] for one in found["verified"]] == [
        [1.0, "correct"], [0.0, "incorrect"], [0.0, "truncated"], [0.0, "truncated"]
    ]  # fmt: skip
    assert [one[2] for one in found["verified"]] == masks


def test_prime(use, exported, tmp_path):
    """The package is built in a repository that ignores data, as many do, and used from where it is installed."""
    folder = shutil.copytree(exported("prime-rl"), tmp_path / "repository" / "export")
    subprocess.run(["git", "init", "--quiet", str(folder.parent)], check=True)
    (folder.parent / ".gitignore").write_text("*.jsonl\n*.json\nexport/\n")
    use(PRIME, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "wheels"), cwd=folder)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    found = last_line(use(PRIME, REAL / "use_prime.py", tmp_path / "installed"))
    assert found["keys"] == [list(dict.fromkeys(IDS)), IDS[2:]]
    assert (found["system"], found["prompt"], found["turns"]) == (
        "Be brief.",
        MATHS[1][1],
        ["user", "assistant", "user"],
    )
    assert found["rewards"] == [1.0, 0.0, "not decided: truncated"]
