"""Selection where samples were saved: by the scores that are expected after all of them."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.warehouse.test_selection import SETTINGS, arm_of, candidate, frame, reasons
from warehouse.curation.selection import select, selection_decisions


def saved(number, passes, samples, full=32, **fields):
    return candidate(number, passes, samples=samples, full=full, binary=True, **fields)


partial_pools = st.lists(
    st.integers(1, 12).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=25
)


@given(partial_pools, st.sampled_from(["pre_ppo", "variance", "learnability", "band"]), st.integers(0, 99))
def test_where_nothing_was_saved_expectations_change_nothing(pool, rule, seed):
    rows = [candidate(i, k, samples=n, full=n, binary=True) for i, (k, n) in enumerate(pool)]
    arm = arm_of(rule=rule, fraction=0.3, seed=seed)
    # One prompt of another domain lacks samples, so that all are ranked by what is expected.
    more = saved(999, 1, 4, domain="code")
    expected = select(frame(*rows, more), arm.model_copy(update={"max_all_zero_share": 1.0}), SETTINGS)
    alone = select(frame(*rows), arm.model_copy(update={"max_all_zero_share": 1.0}), SETTINGS)
    mine = expected.filter(pl.col("prompt_id") != more["prompt_id"])
    assert mine["score"].to_list() == pytest.approx(alone["score"].to_list(), abs=1e-8)
    assert mine["percentile"].equals(alone["percentile"])


def test_much_evidence_goes_before_little():
    rows = [saved(i, 0, 4) for i in range(4)] + [
        saved(10, 0, 30),
        saved(11, 3, 4),
        saved(12, 16, 32),
        saved(13, 32, 32),
    ]
    picked = select(frame(*rows), arm_of(fraction=0.125, max_all_zero_share=1.0), SETTINGS).filter("selected")
    assert list(reasons(picked)) == [10]
    assert select(frame(*rows[:3], rows[-1]), arm_of(rule="rip"), SETTINGS).height == 4, (
        "other rules go by what is there"
    )


def test_a_prompt_is_all_zero_where_that_is_likely_in_the_end():
    """Four failures among prompts that seldom fail are no reason to bar a prompt; thirty are."""
    often = [saved(100 + i, 20, 32) for i in range(60)]
    few = [saved(i, 0, 2) for i in range(3)]
    many = [saved(10 + i, 0, 30) for i in range(3)]
    got = reasons(select(frame(*often, *few, *many), arm_of(fraction=0.1, max_all_zero_share=0.0), SETTINGS))
    assert {got[i] for i in range(3)} == {"pre_ppo"}
    assert {got[10 + i] for i in range(3)} == {"guard_all_zero"}


def test_a_band_takes_what_is_likely_to_be_inside():
    rows = [saved(i, 16, 32) for i in range(40)] + [saved(100, 0, 1), saved(101, 0, 30)]
    arm = arm_of(rule="band", band=(0.2, 0.8), fraction=1.0)
    got = reasons(select(frame(*rows), arm, SETTINGS))
    assert got[100] == "band", "one failure where all others pass half the time"
    assert got[101] == "outside_band"


def test_decisions_say_that_a_score_is_expected():
    rows = frame(saved(1, 0, 4), saved(2, 3, 4), saved(3, 32, 32))
    arm = arm_of(fraction=0.34, max_all_zero_share=1.0)
    told = selection_decisions(select(rows, arm, SETTINGS), arm, "p", candidates=rows)["detail"].to_list()
    assert ", as expected of 32 samples by the 4 drawn, is among the 34%" in told[0]
    assert told[2].startswith("mean 1.0 is not among")


def test_a_pass_threshold_makes_passes_for_rules_that_look_at_them():
    """Scores of .4 and .9 with a threshold of .5: learnability goes by passes, Pre-PPO by scores."""
    facts = {"pass_rate": 0.5, "learnability": 0.25, "mean": 0.65, "variance": 0.0625}
    rows = [saved(i, 2, 4, **facts) for i in range(5)]
    passes = select(frame(*rows), arm_of(rule="learnability", fraction=1.0), SETTINGS)["score"]
    scores = select(frame(*rows), arm_of(rule="pre_ppo", fraction=1.0), SETTINGS)["score"]
    assert passes.is_between(-0.25, -0.2).all()
    assert scores.is_between(0.64, 0.66).all()


@pytest.mark.parametrize("rule", ["learnability", "band"])
def test_graded_rewards_do_not_keep_others_of_their_group_from_being_ranked(rule):
    graded = saved(500, 2, 4) | {"binary": False, "pass_rate": None, "learnability": None, "mean": 0.4, "variance": 0.1}
    rows = [saved(i, 2 + i % 2, 4) for i in range(9)] + [saved(100, 0, 30)]
    got = select(frame(*rows, graded), arm_of(rule=rule, fraction=0.5), SETTINGS)
    assert got.filter(pl.col("reason") == rule).height > 0
    assert got.filter("selected")["score"].null_count() == 0
    assert reasons(got)[500] == "not_applicable"


def test_least_samples_are_asked_of_all_samples_and_not_of_those_drawn():
    rows = [saved(i, i % 4, 3) for i in range(8)]
    got = select(frame(*rows), arm_of(min_samples=16), SETTINGS)
    assert "unscored" not in set(got["reason"])
    assert set(select(frame(*rows), arm_of(min_samples=33), SETTINGS)["reason"]) == {"unscored"}
