"""What training says of prompts: which rest, which retire, and when they are tried again."""

from __future__ import annotations

from itertools import takewhile
from statistics import fmean
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.curation.signals import RUNS, resting
from warehouse.schemas import TRAINING_SIGNALS
from warehouse.settings import SignalsSettings

Row = tuple[str, int, str, int, float | None]  # training run, step, prompt, sample, reward


def signals(rows: list[Row]) -> pl.LazyFrame:
    frame = pl.DataFrame(
        [(run, step, prompt, sample, "release", None, reward, "rtv", None, None, None)
         for run, step, prompt, sample, reward in rows],
        schema=pl.Schema(TRAINING_SIGNALS.columns), orient="row",
    )  # fmt: skip
    return frame.lazy()


def runs(*releases: int) -> pl.DataFrame:
    rows = [(f"run{n}", n, release) for n, release in enumerate(releases)]
    return pl.DataFrame(rows, schema=RUNS, orient="row")


def told(rows: list[Row], known: pl.DataFrame, **settings: Any) -> dict[str, dict[str, Any]]:
    found = resting(signals(rows), known, SignalsSettings(**settings)).collect()
    return {r["prompt_id"]: r for r in found.to_dicts()}


def visit(run: str, step: int, prompt: str, *rewards: float | None) -> list[Row]:
    return [(run, step, prompt, n, reward) for n, reward in enumerate(rewards)]


def test_a_prompt_that_a_run_has_learnt_rests_until_so_many_releases_were_trained_on() -> None:
    rows = visit("run0", 1, "p", 0.0, 1.0) + visit("run0", 5, "p", 1.0, 1.0)
    for newest, rest in ((0, "rested_learnt"), (1, "rested_learnt"), (2, None), (3, None)):
        one = told(rows, runs(*range(newest + 1)), learnt_mean=0.95, retest_after=2)["p"]
        assert (one["rest"], one["releases_ago"]) == (rest, newest)
        assert (one["signal_mean"], one["signal_gain"]) == (1.0, 0.5)


def test_two_runs_on_one_release_are_one_release() -> None:
    rows = visit("run0", 1, "p", 1.0, 1.0) + visit("run1", 1, "q", 1.0, 1.0)
    assert told(rows, runs(0, 0))["p"]["releases_ago"] == 0


def test_a_gain_counts_where_it_is_asked_for() -> None:
    rows = visit("run0", 1, "p", 0.0, 0.2) + visit("run0", 2, "p", 0.6, 0.8)
    assert told(rows, runs(0))["p"]["rest"] is None
    assert told(rows, runs(0), learnt_gain=0.6)["p"]["rest"] == "rested_learnt"
    assert told(rows, runs(0), learnt_gain=0.61)["p"]["rest"] is None


def test_a_prompt_that_never_moves_rests_is_tried_again_and_retires() -> None:
    rows = visit("run0", 1, "p", 0.0, 0.0)
    assert told(rows, runs(0), retire_after=3)["p"]["rest"] == "rested_stuck"
    assert told(rows, runs(0, 1, 2), retire_after=3, retest_after=2)["p"]["rest"] is None
    rows += visit("run2", 1, "p", 0.0, 0.0) + visit("run2", 9, "p", 0.0, 0.0)
    one = told(rows, runs(0, 1, 2), retire_after=3)["p"]
    assert (one["rest"], one["still_visits"]) == ("retired", 3)
    assert told(rows, runs(*range(9)), retire_after=3)["p"]["rest"] == "retired", "for good"
    rows += visit("run3", 1, "p", 0.0, 1.0)
    assert told(rows, runs(0, 1, 2, 3), retire_after=3)["p"]["rest"] is None, "it moves"


def test_visits_that_stand_still_at_other_rewards_have_moved() -> None:
    rows = [row for step in range(4) for row in visit("run0", step, "p", *([float(step % 2)] * 2))]
    one = told(rows, runs(0), learnt_mean=1.0)["p"]
    assert (one["rest"], one["still_visits"], one["signal_mean"]) == (None, 1, 0.5)
    rows += visit("run1", 0, "p", 1.0, 1.0) + visit("run1", 1, "p", 0.0, 0.0)
    assert told(rows, runs(0, 1), learnt_mean=1.0, retire_after=2)["p"]["still_visits"] == 1


def test_no_prompt_retires_before_it_was_tried_again() -> None:
    rows = [row for step in range(9) for row in visit("run0", step, "p", 0.0, 0.0)]
    assert told(rows, runs(0))["p"]["rest"] == "rested_stuck", "however often one run visits it"
    again = rows + visit("run1", 0, "p", 0.0, 0.0)
    assert told(again, runs(0, 0))["p"]["rest"] == "rested_stuck", "another run on the same release"
    one = told(again, runs(0, 2))["p"]
    assert (one["rest"], one["still_visits"]) == ("retired", 10)


def test_single_samples_of_a_run_are_one_visit_and_one_alone_is_none() -> None:
    singles: list[Row] = [("run0", step, "p", 0, 0.0) for step in range(5)]
    assert told(singles, runs(0))["p"]["still_visits"] == 1
    assert told(singles[:1], runs(0))["p"]["still_visits"] == 0
    assert told(singles[:1], runs(0))["p"]["rest"] is None


def test_what_has_no_reward_says_nothing() -> None:
    rows = visit("run0", 1, "p", None, None) + visit("run0", 1, "q", 0.0, None) + visit("run0", 1, "r", 0.5, 0.5)
    found = told(rows, runs(0))
    assert set(found) == {"q", "r"} and found["q"]["still_visits"] == 0


def same_to_the_end(visits: list[tuple[float | None, int]]) -> list[tuple[float | None, int]]:
    return list(takewhile(lambda v: v[0] is not None and v[0] == visits[-1][0], reversed(visits)))


rewards = st.sampled_from([0.0, 0.25, 1.0, None])
histories = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.sampled_from("pq"), rewards), min_size=1, max_size=40
)


@given(histories, st.integers(1, 4), st.integers(1, 3), st.sampled_from([None, 0.25, 0.5]))
def test_it_is_what_a_plain_reading_says(
    drawn: list[tuple[int, int, str, float | None]], retire: int, retest: int, gain: float | None
) -> None:
    counts: dict[tuple[int, int, str], int] = {}
    rows: list[Row] = []
    for run, step, prompt, reward in drawn:
        sample = counts[run, step, prompt] = counts.get((run, step, prompt), -1) + 1
        rows.append((f"run{run}", step, prompt, sample, reward))
    releases = (0, 1, 1)
    found = told(rows, runs(*releases), learnt_mean=0.9, learnt_gain=gain, retire_after=retire, retest_after=retest)
    for prompt in "pq":
        mine = sorted((int(r[3:]), s, n, w) for r, s, p, n, w in rows if p == prompt and w is not None)
        if not mine:
            assert prompt not in found
            continue
        last = [w for r, _, _, w in mine if r == mine[-1][0]]
        steps = sorted({s for r, s, _, _ in mine if r == mine[-1][0]})
        early_steps = steps[: len(steps) // 2]
        late = [w for r, s, _, w in mine if r == mine[-1][0] and s not in early_steps]
        early = [w for r, s, _, w in mine if r == mine[-1][0] and s in early_steps]
        mean = fmean(late)
        grown = mean - fmean(early) if early else None
        visits: list[tuple[float | None, int]] = []  # the reward that it stood still at, and the release
        for run in sorted({r for r, *_ in mine}):
            groups = {
                s: [w for r, t, _, w in mine if (r, t) == (run, s)]
                for s in sorted({t for r, t, *_ in mine if r == run})
            }
            several = [g for g in groups.values() if len(g) > 1]
            whole = [w for g in groups.values() for w in g]
            found_still = several or ([whole] if len(whole) > 1 else [])
            visits += [(g[0] if min(g) == max(g) else None, releases[run]) for g in found_still]
        trail = same_to_the_end(visits)
        still, tried = len(trail), len({release for _, release in trail})
        ago = 1 - releases[mine[-1][0]]
        learnt = mean >= 0.9 or (gain is not None and grown is not None and grown >= gain - 1e-12)
        expected = None
        if learnt:
            expected = "rested_learnt" if ago < retest else None
        elif still >= retire and tried > 1:
            expected = "retired"
        elif still and min(last) == max(last) and ago < retest:
            expected = "rested_stuck"
        one = found[prompt]
        assert (one["rest"], one["still_visits"], one["releases_ago"]) == (expected, still, ago)
        assert one["signal_mean"] == pytest.approx(mean)
        assert one["signal_gain"] == (None if grown is None else pytest.approx(grown))
