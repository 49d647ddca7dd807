"""Trainings in which something is gone: what stops them, and what is told of steps that taught nothing."""

from dataclasses import replace

import pytest

from assets.training import training_line
from tests.trainer.ppo.world import rules, silent, training
from trainer.engines.transformers import TransformersEngine
from trainer.ppo import engines
from trainer.ppo.checkpoint import CHECKPOINT, State, peek
from trainer.ppo.examination import _better
from trainer.ppo.loop import train
from trainer.ppo.plots import write_plots
from trainer.ppo.prompts import PpoError
from trainer.ppo.record import read_lines
from verifiers.hybrid import RTV, HybridReward, Reward
from warehouse.settings import EngineSettings

pytestmark = pytest.mark.usefixtures("one_thread")


def saying(status, detail, reward=None):
    """Return a source that says the same of every response."""

    def ask(items):
        return [Reward(i.prompt_id, i.sample, reward, RTV, "math@1", status, detail) for i in items]

    return HybridReward({RTV: ask})


def test_a_training_whose_source_is_gone_stops_and_says_why(tmp_path):
    with pytest.raises(PpoError, match=r"none of 8 responses has a reward.*math@1: no connection.*checkpoint stays"):
        train(training(), saying("error", "no connection"), tmp_path, silent)
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [line["kind"] for line in lines] == ["evaluation"] and lines[0]["score"] is None


def test_a_step_that_nothing_could_be_learnt_from_has_no_score(tmp_path):
    done = train(training(kl_target=1.0, stop_kl=9.0), saying("bad_gold", "no number"), tmp_path, silent)
    lines = [line for line in read_lines(tmp_path / "metrics.jsonl") if line["kind"] == "step"]
    assert done.steps == 4 and {(line["score"], line["kl"], line["entropy"]) for line in lines} == {(None, None, None)}
    assert {line["left_out"] for line in lines} == {8}
    told = training_line(lines[0], 4)
    assert told.startswith("step 1/4 first: nothing to learn from, ") and told.endswith("8 of 8 responses left out")
    assert write_plots(tmp_path)


def test_a_score_of_far_fewer_prompts_is_no_new_best():
    state = State("", 0.1)
    for step, score, undecided, better in (
        (1, 0.5, 0.5, True), (2, 0.4, 0.1, True), (3, 0.9, 0.9, False), (4, 0.3, 0.1, False), (5, 0.5, 0.14, True),
        (6, None, 1.0, False),
    ):  # fmt: skip
        found = {"score": score, "undecided": undecided}
        assert _better(found, state) == better, step
        if better:
            state.best, state.decided = score, 1 - undecided


def test_an_engine_of_its_own_is_closed_in_the_end_and_where_a_training_fails(tmp_path, monkeypatch):
    opened, real = [], engines.load_engine
    monkeypatch.setattr(engines, "load_engine", lambda *a: opened.append(real(*a)) or opened[-1])
    closed = []
    monkeypatch.setattr(TransformersEngine, "close", lambda engine: closed.append(engine))
    one = replace(training(steps=2), machine=EngineSettings())
    train(one, rules(), tmp_path / "whole", silent)
    with pytest.raises(PpoError, match="none of 8"):
        train(one, saying("error", "gone"), tmp_path / "broken", silent)
    assert opened and closed == opened and not (tmp_path / "whole" / "current").exists()


def test_of_a_finished_training_no_weights_are_kept_twice(tmp_path):
    train(training(steps=2), rules(), tmp_path, silent)
    assert peek(tmp_path).finished and (tmp_path / CHECKPOINT).stat().st_size < 10_000


def test_a_checkpoint_that_is_no_longer_whole_is_named(tmp_path):
    (tmp_path / CHECKPOINT).write_bytes(b"cut")
    with pytest.raises(PpoError, match=r"checkpoint\.safetensors cannot be read .*take it away to begin"):
        train(training(steps=2), rules(), tmp_path, silent)
