"""Decisions: what is written is what changed, and what was written gives back everything."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.decisions import COMPARED, KEYS, changes, replay
from warehouse.schemas import DECISIONS, conform

EVERYTHING = ("outcome", "value", "threshold", "detail", "policy_hash")


def decision(prompt=1, outcome="keep", value=0.5, **fields):
    base = {
        "stage": "selection",
        "arm": "main",
        "prompt_id": None if prompt is None else f"{prompt:032x}",
        "rule": "pre_ppo",
        "outcome": outcome,
        "value": value,
        "threshold": 0.5,
        "detail": "because",
        "policy_hash": "f" * 32,
    }
    return base | fields


def frame(*rows):
    return pl.DataFrame(rows, schema=pl.Schema(DECISIONS.columns))


def test_a_first_write_is_everything():
    new = frame(decision(1), decision(2))
    assert changes(frame().lazy(), new).equals(new)


def test_changed_new_withdrawn_and_carried():
    previous = frame(decision(1), decision(2), decision(3), decision(4), decision(None, rule="flagged", arm=None))
    new = frame(
        decision(1),
        decision(2, "drop"),
        decision(4, value=None),
        decision(5),
        decision(None, rule="flagged", arm=None),
    )
    got = changes(previous.lazy(), new)
    conform(DECISIONS, got)
    written = {
        (r["arm"], r["prompt_id"] and int(r["prompt_id"], 16)): (r["outcome"], r["value"]) for r in got.to_dicts()
    }
    assert written == {
        ("main", 2): ("drop", 0.5),
        ("main", 3): ("withdrawn", 0.5),
        ("main", 4): ("keep", None),
        ("main", 5): ("keep", 0.5),
        ("main", None): ("carry", 1.0),
        (None, None): ("carry", 1.0),
    }
    assert got.filter(pl.col.outcome == "carry")["detail"].to_list() == ["1 decisions are as before"] * 2


def test_a_threshold_alone_is_no_change():
    previous, new = frame(decision()), frame(decision(threshold=0.6, detail="moved", policy_hash="0" * 32))
    assert changes(previous.lazy(), new)["outcome"].to_list() == ["carry"]
    assert changes(previous.lazy(), new, compared=(*COMPARED, "threshold")).equals(new)


def test_nothing_left_is_all_withdrawn():
    previous = frame(decision(1), decision(2))
    assert changes(previous.lazy(), frame())["outcome"].to_list() == ["withdrawn"] * 2


def test_two_rows_of_one_key_are_refused():
    with pytest.raises(ValueError, match=r"2 decisions share a key with another, the first is \{'stage': 'selection'"):
        changes(frame().lazy(), frame(decision(1), decision(1, "drop")))


nights = st.lists(
    st.lists(
        st.builds(
            decision,
            st.none() | st.integers(1, 6),
            st.sampled_from(["keep", "drop", "flag"]),
            st.none() | st.sampled_from([0.1, 0.2]),
            arm=st.none() | st.sampled_from(["main", "other"]),
            rule=st.sampled_from(["pre_ppo", "override"]),
            detail=st.sampled_from(["a", "b"]),
            threshold=st.none() | st.just(0.3),
        ),
        max_size=8,
        unique_by=lambda d: tuple(d[k] for k in KEYS),
    ),
    min_size=1,
    max_size=5,
)


@given(nights, st.sampled_from([COMPARED, EVERYTHING]))
@settings(max_examples=80, deadline=None)
def test_replaying_the_changes_gives_the_full_decisions(made, compared):
    history = []
    for night in made:
        new = frame(*night)
        current = replay([h.lazy() for h in history])
        written = changes(current, new, compared=compared)
        assert (
            written.filter(pl.col.outcome == "carry")["value"].sum()
            + written.join(new, on=KEYS, how="semi", nulls_equal=True)
            .filter(~pl.col.outcome.is_in(["carry", "withdrawn"]))
            .height
            == new.height
        )
        history.append(written)
        replayed = replay([h.lazy() for h in history]).collect()
        columns = [*KEYS, *compared]
        expected = new.select(columns).sort(KEYS, nulls_last=True)
        assert replayed.select(columns).equals(expected)


@given(nights)
@settings(max_examples=30, deadline=None)
def test_an_unchanged_night_writes_carries_only(made):
    new = frame(*made[-1])
    written = changes(changes(frame().lazy(), new).lazy(), new)
    assert set(written["outcome"]) <= {"carry"}
    assert written["value"].sum() == new.height
    assert replay([]).collect().is_empty()
