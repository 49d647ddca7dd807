"""A training that was interrupted ends in the same files as the one that was not, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from tests.conftest import REPOSITORY
from tests.trainer.ppo.world import rules, silent, training
from trainer.hybrid import makers
from trainer.ppo.checkpoint import CHECKPOINT, peek
from trainer.ppo.loop import train
from trainer.ppo.prompts import PpoError
from trainer.ppo.record import METRICS
from verifiers.registry import REGISTRY
from warehouse.settings import EngineSettings, Settings

SAME = ("metrics.jsonl", "signals.jsonl", "heldout.jsonl", "signals.parquet", "policy/model.safetensors",
        "best/model.safetensors")  # fmt: skip


def files(folder):
    return {name: (folder / name).read_bytes() for name in SAME}


class Killed(Exception):
    pass


def killed_after(lines):
    """Return a listener that ends the training after so many lines of metrics."""
    seen = []

    def told(line):
        seen.append(line)
        if len(seen) == lines:
            raise Killed

    return told


@pytest.fixture(scope="module")
def settings():
    return {"steps": 5, "kl_target": 1.0, "kl_horizon": 64, "dynamic_sampling": True}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, settings):
    folder = tmp_path_factory.mktemp("unbroken")
    train(training(**settings), rules(), folder, silent)
    return folder


@pytest.mark.parametrize("lines", [1, 3, 5, 8])
def test_an_interrupted_training_goes_on_as_if_nothing_had_been(tmp_path, unbroken, settings, lines):
    with pytest.raises(Killed):
        train(training(**settings), rules(), tmp_path, killed_after(lines))
    done = train(training(**settings), rules(), tmp_path, silent)
    assert files(tmp_path) == files(unbroken)
    assert done.steps == 5


def test_lines_that_were_cut_while_they_were_written_are_written_again(tmp_path, unbroken, settings):
    with pytest.raises(Killed):
        train(training(**settings), rules(), tmp_path, killed_after(6))
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"kind": "step", "st')
    train(training(**settings), rules(), tmp_path, silent)
    assert files(tmp_path) == files(unbroken)


def test_a_finished_training_stays_as_it_is(unbroken, settings):
    before = files(unbroken)
    assert train(training(**settings), rules(), unbroken, silent).steps == 5
    assert files(unbroken) == before


def test_a_checkpoint_of_another_training_is_refused(unbroken, settings):
    with pytest.raises(PpoError, match="holds a training with other settings, model or release, 5 steps far"):
        train(training(**settings | {"seed": 1}), rules(), unbroken, silent, started=pytest.fail)


def test_a_training_with_another_judge_is_another_training():
    judge = {"model": "nursery", "against": ["rubric"]}
    plain, judged, other = (
        Settings.model_validate({"judge": j}) for j in ({}, judge, judge | {"temperature": 0.5})
    )  # fmt: skip
    assert makers(plain) == {}
    named = [replace(training(), makers=makers(s)).identity(rules(), "model") for s in (plain, judged, other)]
    assert len(set(named)) == 3 and named[0] == training().identity(rules(), "model")


def test_a_training_by_other_verifiers_or_drawn_elsewhere_is_another_training(monkeypatch):
    here, drawn = training(), replace(training(), machine=EngineSettings())
    named = [one.identity(rules(), "model") for one in (here, drawn)]
    used = next(p.verifier for p in here.prompts.train)
    unused = next(name for name in REGISTRY if name not in {p.verifier for p in here.prompts.train})
    monkeypatch.setitem(REGISTRY, unused, replace(REGISTRY[unused], version="another"))
    assert here.identity(rules(), "model") == named[0], "what verifies no prompt of it decides nothing"
    monkeypatch.setitem(REGISTRY, used, replace(REGISTRY[used], version="another"))
    assert len({*named, here.identity(rules(), "model")}) == 3


def test_how_often_it_is_saved_changes_nothing(tmp_path, unbroken, settings):
    train(training(**settings | {"checkpoint_every": 5}), rules(), tmp_path, silent)
    assert files(tmp_path) == files(unbroken)


@pytest.mark.slow
def test_killed_at_five_random_moments_it_ends_in_the_same_metrics_and_weights(tmp_path):
    command = [sys.executable, "-m", "tests.trainer.ppo.world"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    started = time.monotonic()
    subprocess.run([*command, tmp_path / "whole"], env=environment, cwd=REPOSITORY, check=True)
    seconds = time.monotonic() - started
    rng, kills, steps = random.Random(0), 0, set()
    while kills < 5:
        process = subprocess.Popen([*command, tmp_path / "killed"], env=environment, cwd=REPOSITORY)
        try:
            process.wait(timeout=rng.uniform(0.3, 0.9) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            state = peek(tmp_path / "killed") if (tmp_path / "killed").is_dir() else None
            steps.add(0 if state is None else state.step)
        else:
            # It was faster than the moment that was drawn: the rest of the kills hit one that begins anew.
            assert files(tmp_path / "killed") == files(tmp_path / "whole")
            (tmp_path / "killed" / CHECKPOINT).unlink()
    subprocess.run([*command, tmp_path / "killed"], env=environment, cwd=REPOSITORY, check=True)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert len(steps) > 1
