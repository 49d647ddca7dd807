"""References: the gold where there is one, else the best of the reference samples."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.curation.references import references
from warehouse.schemas import REFERENCES, conform

A, B, C, D, E = (letter * 32 for letter in "abcde")
ROLLOUTS = {
    "prompt_id": pl.String,
    "role": pl.String,
    "sample": pl.Int64,
    "response": pl.String,
    "finish_reason": pl.String,
}
REWARDS = {"prompt_id": pl.String, "role": pl.String, "sample": pl.Int64, "reward": pl.Float64}


def refer(prompts, samples):
    """Samples are (prompt, role, sample, response, finish_reason, reward)."""
    golds = pl.LazyFrame(prompts, schema={"prompt_id": pl.String, "ground_truth": pl.String}, orient="row")
    rollouts = pl.LazyFrame([s[:5] for s in samples], schema=ROLLOUTS, orient="row")
    rewards = pl.LazyFrame([(*s[:3], s[5]) for s in samples], schema=REWARDS, orient="row")
    return references(golds, rollouts, rewards).collect()


def test_by_hand():
    got = refer(
        [(A, '"7"'), (B, None), (C, None), (D, None), (E, None)],
        [
            (A, "reference", 0, "unused", "stop", 9.0),
            (B, "scored", 0, "would judge itself", "stop", 9.0),
            (B, "reference", 0, "second", "stop", -1.25),
            (B, "reference", 1, "best", "stop", 0.5),
            (B, "reference", 2, "tied, later", "stop", 0.5),
            (B, "reference", 3, "cut off", "length", 5.0),
            (B, "reference", 4, "not scored", "stop", None),
            (C, "reference", 7, "the only one", None, -3.0),
            (D, "scored", 0, "no candidates", "stop", 1.0),
            (E, "reference", 0, "cut off", "length", 1.0),
            (E, "reference", 1, "not scored", "stop", None),
        ],
    )
    conform(REFERENCES, got)
    assert got.rows() == [
        (A, "ground_truth", None, '"7"', None, None),
        (B, "best_of_n", 1, "best", 0.5, 0.0),
        (C, "best_of_n", 7, "the only one", -3.0, None),
        (E, "none_chosen", None, None, None, None),
    ]


def test_the_margin_is_to_the_second_best():
    samples = [(B, "reference", i, f"r{i}", "stop", reward) for i, reward in enumerate([0.25, 2.0, -1.0, 1.5])]
    assert refer([(B, None)], samples).rows() == [(B, "best_of_n", 1, "r1", 2.0, 0.5)]


samples_of = st.lists(st.none() | st.sampled_from([-1.0, 0.0, 0.3, 1.0]), max_size=6)


@given(st.lists(samples_of, min_size=1, max_size=5), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_against_plain_python(prompts, seed):
    ids = [f"{i:032x}" for i in range(len(prompts))]
    samples = [
        (prompt, "reference", i, f"text {i}", "stop", reward)
        for prompt, rewards in zip(ids, prompts, strict=True)
        for i, reward in enumerate(rewards)
    ]
    expected = []
    for prompt, rewards in zip(ids, prompts, strict=True):
        ranked = sorted((-r, i) for i, r in enumerate(rewards) if r is not None)
        if ranked:
            margin = round(ranked[1][0] - ranked[0][0], 6) if len(ranked) > 1 else None
            expected.append((prompt, "best_of_n", ranked[0][1], f"text {ranked[0][1]}", 0.0 - ranked[0][0], margin))
        elif rewards:
            expected.append((prompt, "none_chosen", None, None, None, None))
    shuffled = pl.Series(range(len(samples))).sample(fraction=1, shuffle=True, seed=seed)
    assert refer([(p, None) for p in ids], [samples[i] for i in shuffled]).rows() == expected
