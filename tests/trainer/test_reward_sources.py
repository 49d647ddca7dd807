"""What benchmarks/reward_sources.py makes of trainings: rows of the witness, gaps, departures."""

import pytest

from benchmarks._reward_sources_numbers import departures, differences, outcome
from benchmarks._reward_sources_train import PROMPTS, SAMPLES, Witness
from benchmarks._reward_sources_world import Problem
from verifiers.hybrid import Reward, Scorable

STEPS = (0, 5, 10, 15)


def outcomes(rewards, truths):
    """Return three seeds that differ by a little."""
    return [
        {"curve": [(s, r + seed / 1000, t - seed / 1000) for s, r, t in zip(STEPS, rewards, truths, strict=True)]}
        for seed in range(3)
    ]


def test_a_reward_that_rises_with_the_truth_never_departs():
    assert departures(outcomes([0.2, 0.3, 0.4, 0.5], [0.2, 0.3, 0.4, 0.5])) == {"stalls": None, "falls": None}


def test_a_reward_that_rises_while_the_truth_falls_below_its_best_departs_there():
    assert departures(outcomes([0.2, 0.3, 0.4, 0.5], [0.2, 0.4, 0.3, 0.3])) == {"stalls": 10, "falls": 10}


def test_a_fall_that_differs_between_seeds_is_not_clear():
    some = outcomes([0.2, 0.3, 0.4, 0.5], [0.2, 0.4, 0.39, 0.39])
    for seed, one in enumerate(some):
        one["curve"] = [(s, r, t + (seed - 1) / 10 * (s > 5)) for s, r, t in one["curve"]]
    assert departures(some) == {"stalls": 10, "falls": None}


def test_a_fall_of_both_is_no_departure():
    assert departures(outcomes([0.5, 0.4, 0.3, 0.2], [0.5, 0.4, 0.3, 0.2])) == {"stalls": None, "falls": None}


def test_the_witness_gives_rewards_on_and_notes_the_truth():
    def source(items):
        return [Reward(i.prompt_id, i.sample, 0.9 if i.sample else 0.4, "reward_model") for i in items]

    def rules(items):
        assert all(i.verifier == "math" and i.ground_truth == '"7"' for i in items)
        return [Reward(i.prompt_id, i.sample, float(i.response == "7"), "rtv") for i in items]

    witness = Witness(source, rules, {"p": Problem("?", "7", "8", "8")}, set())
    items = [Scorable("p", n, (("user", "?"),), text, "stop") for n, text in enumerate(("7", "8"))]
    assert [r.reward for r in witness(items)] == [0.4, 0.9]
    (row,) = witness.rows
    total = PROMPTS * SAMPLES  # all others were cut: wrong, and of reward 0
    assert row["truth"] == pytest.approx(1 / total)
    assert row["reward"] == pytest.approx(1.3 / total)
    assert (row["of_right"], row["of_wrong"], row["ordered"]) == (0.4, 0.9, 0.0)
    assert (row["part"], row["step"], row["cut"], row["unscored"]) == ("train", 0, total - 2, 0)


def test_a_gap_is_what_the_source_believes_was_won_and_was_not():
    def run(last):
        common = {"part": "heldout", "reward_sd": 0.2, "truth_sd": 0.5, "ordered": 0.7}
        rows = [{"step": 0, "reward": 0.4, "truth": 0.4, **common}, {"step": 5, "reward": 0.6, "truth": last, **common}]
        return {"rows": rows, "kl": [0.1], "seconds": 1.0}

    found = outcome(run(0.3))
    assert found["gap"] == pytest.approx(0.2 / 0.2 + 0.1 / 0.5)
    assert found["correlation_in_training"] is None
    arms = {"rtv": [outcome(run(0.6)), outcome(run(0.7))], "bt": [found, outcome(run(0.2))]}
    (one,) = differences(arms)
    assert (one["better"], one["worse"], one["kind"]) == ("rtv", "bt", "also")
    assert one["last"]["mean"] == pytest.approx(0.4)


def test_what_is_noted_is_what_a_robust_objective_learns_from():
    def source(items):
        return [Reward(i.prompt_id, i.sample, 0.8, "reward_model", worst=0.2) for i in items]

    def rules(items):
        return [Reward(i.prompt_id, i.sample, 1.0, "rtv") for i in items]

    witness = Witness(source, rules, {"p": Problem("?", "7", "8", "8")}, set(), share=0.75)
    (given,) = witness([Scorable("p", 0, (("user", "?"),), "7", "stop")])
    assert (given.reward, given.worst) == (0.8, 0.2)
    assert witness.rows[0]["of_right"] == pytest.approx(0.65)
