"""The scripts of exports, run by bash with something else in the place of the trainer."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.verifiers.service_harness import running
from verifiers import VerifierPool
from warehouse.signal_lines import read_signals

BARE = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
PYTHON = """#!/bin/sh
if [ "$1" = "-" ]; then exec "{python}" "$@"; fi
printf '%s\\n' "$@" >> "{log}"
echo . >> "{log}"
"""
WORKER = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("reward_func", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
label = json.loads(open(sys.argv[2]).readline())["label"]
print(json.dumps(module.reward_func(["Q: #### 4"], ["Q: "], [label])["rewards"].tolist()))
"""


@pytest.fixture
def openrlhf(exported, tmp_path):
    """Return a function: run `openrlhf.sh` with variables; return the arguments of every call of the trainer."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(PYTHON.format(python=sys.executable, log=tmp_path / "log"))
    (tmp_path / "bin" / "python").chmod(0o755)

    def call(*arguments, code=0, **variables):
        environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", **variables}
        command = ["bash", str(exported("openrlhf") / "openrlhf.sh"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return [part.splitlines() for part in (tmp_path / "log").read_text().split("\n.\n")[:-1]] if code == 0 else []

    return call


def option(arguments, name):
    return arguments[arguments.index(name) + 1]


def test_openrlhf_trains_phase_after_phase(openrlhf, tmp_path):
    first, second = openrlhf("MODEL", "out", "--vllm.num_engines", "2")
    assert (option(first, "--actor.model_name_or_path"), option(first, "--vllm.num_engines")) == ("MODEL", "2")
    assert option(second, "--actor.model_name_or_path") == str(tmp_path / "out" / "train-01-warm-up")
    assert option(second, "--data.prompt_dataset").endswith("/train-02-mixture.jsonl")
    openrlhf("MODEL", code=1)


@pytest.mark.parametrize("name", ["mine", None])
def test_openrlhf_rewards_on_a_cluster_that_has_no_settings(openrlhf, exported, tmp_path, name):
    """The workers of a Ray that runs already: all that they have of this training is the file that they load."""
    signals = tmp_path / "signals.jsonl"
    with VerifierPool(1) as pool, running(pool) as (url, _, _):
        given = {"PREPPO_TRAINING_RUN_ID": name} if name else {}
        calls = openrlhf("MODEL", "out", PREPPO_REWARD_URL=url, PREPPO_SIGNALS=str(signals),
                         PREPPO_REWARD_TOKEN="secret", **given)  # fmt: skip
        for call, file in zip(calls, ("train-01-warm-up.jsonl", "train-02-mixture.jsonl"), strict=True):
            reward = option(call, "--reward.remote_url")
            worker = subprocess.run(
                [sys.executable, "-c", WORKER, reward, str(exported("openrlhf") / file)],
                cwd=tmp_path / "bin", env=BARE, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert worker.returncode == 0, worker.stderr
            assert "secret" not in Path(reward).read_text()
    names = read_signals([signals]).frame["training_run_id"].to_list()
    assert len(names) == 2
    assert set(names) == {name} if name else len(set(names)) == 1 and names[0].startswith("openrlhf-2")


@pytest.mark.parametrize(("form", "file"), [("openrlhf", "openrlhf.sh"), ("verl", "verl.sh")])
def test_a_script_says_how_it_is_started(exported, form, file):
    """With bash: neither knows only what sh has to."""
    script = exported(form) / file
    assert f": bash {file} MODEL" in script.read_text().splitlines()[1]
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_prime_takes_its_rows_along_from_a_repository_that_ignores_data(exported):
    """Hatchling obeys the repository around it; test_real_trainers builds the package in one."""
    project = tomllib.loads((exported("prime-rl") / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["ignore-vcs"] is True
