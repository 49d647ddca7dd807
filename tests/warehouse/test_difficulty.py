"""Difficulty: examples by hand, laws, and an independent implementation."""

from __future__ import annotations

import io
import math
import random
from collections import Counter, defaultdict
from fractions import Fraction
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from warehouse.curation import difficulty as difficulty_module
from warehouse.curation import text_spread as text_spread_module
from warehouse.curation.difficulty import difficulty
from warehouse.curation.intervals import jeffreys_bounds
from warehouse.curation.text_spread import text_spread
from warehouse.schemas import DIFFICULTY, conform
from warehouse.settings import RewardSettings

REWARDS = {"prompt_id": pl.String, "sample": pl.Int64, "reward": pl.Float64, "source": pl.String, "status": pl.String}
ROLLOUTS = {
    "prompt_id": pl.String,
    "role": pl.String,
    "sample": pl.Int64,
    "finish_reason": pl.String,
    "response_tokens": pl.Int64,
    "response": pl.String,
}
VERDICTS = {"prompt_id": pl.String, "role": pl.String, "sample": pl.Int64, "status": pl.String, "extracted": pl.String}
PLAIN = RewardSettings(text_columns=False)


def rows(prompts):
    """Make the three frames from {prompt: [(reward, answer or None), ...]}; a null reward is a truncated response."""
    rewards, rollouts, verdicts = [], [], []
    for prompt, samples in prompts.items():
        for i, (reward, answer) in enumerate(samples):
            status = "truncated" if reward is None else "correct" if reward >= 1 else "incorrect"
            if answer is None and reward is not None:
                status = "unparsed"
            rewards.append((prompt, i, reward, "rtv", status))
            rollouts.append((prompt, "scored", i, "length" if reward is None else "stop", 10 + i, "x" * (i + 1)))
            verdicts.append((prompt, "scored", i, status, answer))
    return (
        pl.DataFrame(rewards, schema=REWARDS, orient="row"),
        pl.DataFrame(rollouts, schema=ROLLOUTS, orient="row"),
        pl.DataFrame(verdicts, schema=VERDICTS, orient="row"),
    )


def measure(prompts, options=PLAIN, **kwargs):
    rewards, rollouts, verdicts = rows(prompts)
    return difficulty(rewards.lazy(), rollouts.lazy(), verdicts.lazy(), options, **kwargs).collect()


def parquet(frame):
    out = io.BytesIO()
    frame.write_parquet(out)
    return out.getvalue()


def one(samples, options=PLAIN):
    return measure({"a" * 32: samples}, options).row(0, named=True)


def test_a_prompt_by_hand():
    got = one([(1.0, "7"), (0.0, "8"), (0.0, "8"), (None, None), (0.0, None)], RewardSettings())
    assert (got["samples"], got["scored"], got["truncated"], got["binary"]) == (5, 4, 1, True)
    assert got["mean"] == 0.25
    assert got["variance"] == 0.1875
    assert got["pass_rate"] == 0.25
    assert got["learnability"] == 0.1875
    assert got["pass_rate_low"] == pytest.approx(beta.ppf(0.025, 1.5, 3.5))
    assert got["pass_rate_high"] == pytest.approx(beta.ppf(0.975, 1.5, 3.5))
    assert got["distinct_answers"] == 2
    assert got["majority_agreement"] == 0.5  # two of four judged; the unparsed one agrees with nobody
    assert got["response_tokens_mean"] == 12.0
    assert (got["reward_min"], got["reward_max"]) == (0.0, 1.0)
    assert got["worst_response_chars"] == 2  # sample 1 is the first of the worst
    assert got["max_edit_distance"] == 0.8  # "x" against "xxxxx"
    assert got["suspect_gold"] is False


def test_rewards_of_a_model_have_no_pass_rate():
    got = one([(-1.5, None), (0.25, None), (2.0, None)])
    assert got["binary"] is False
    assert got["mean"] == 0.25
    assert got["variance"] == pytest.approx((1.75**2 + 0 + 1.75**2) / 3)
    assert got["pass_rate"] is got["learnability"] is got["pass_rate_low"] is None


def test_a_threshold_makes_a_pass_rate():
    got = one([(0.2, None), (0.5, None), (0.9, None)], RewardSettings(text_columns=False, pass_threshold=0.5))
    assert got["binary"] is True
    assert got["pass_rate"] == 2 / 3
    assert got["learnability"] == 2 / 9


def test_nothing_scored_is_no_score():
    got = one([(None, None), (None, None)])
    assert (got["samples"], got["scored"], got["truncated"]) == (2, 0, 2)
    names = ["mean", "variance", "binary", "pass_rate", "pass_rate_low", "reward_min", "majority_agreement"]
    assert [got[n] for n in names] == [None] * 7
    assert got["suspect_gold"] is False


def test_a_rollout_without_any_reward_row_has_its_row():
    rewards, rollouts, verdicts = rows({"a" * 32: [(1.0, "7")]})
    got = difficulty(rewards.clear().lazy(), rollouts.lazy(), verdicts.clear().lazy(), RewardSettings()).collect()
    assert got.height == 1
    assert got.row(0, named=True)["scored"] == 0
    assert got.row(0, named=True)["source"] is None


def test_failures_of_arithmetic_are_not_scores():
    got = one([(math.nan, None), (math.inf, None), (0.5, None)])
    assert (got["scored"], got["mean"], got["binary"]) == (1, 0.5, False)


def test_large_rewards_do_not_overflow():
    got = one([(3000.0, None), (-3000.0, None)] * 8)
    assert got["variance"] == 9e6


def test_reference_samples_do_not_count():
    rewards, rollouts, verdicts = rows({"a" * 32: [(1.0, "7"), (0.0, "8")]})
    extra = rollouts.with_columns(role=pl.lit("reference"), response_tokens=pl.lit(99_999, pl.Int64))
    base = difficulty(rewards.lazy(), rollouts.lazy(), verdicts.lazy(), RewardSettings()).collect()
    both = pl.concat([rollouts, extra])
    said = pl.concat([verdicts, verdicts.with_columns(role=pl.lit("reference"), extracted=pl.lit("9"))])
    assert difficulty(rewards.lazy(), both.lazy(), said.lazy(), RewardSettings()).collect().equals(base)


@pytest.mark.parametrize(
    ("samples", "suspect"),
    [
        ([(0.0, "8")] * 4, True),
        ([(0.0, "8")] * 3, False),  # too few
        ([(0.0, "8")] * 4 + [(0.0, "9")], True),  # exactly 0.8
        ([(0.0, "8")] * 3 + [(0.0, "9")] * 2, False),
        ([(0.0, "8")] * 9 + [(1.0, "7")], False),  # somebody passed
        ([(0.0, None)] * 8, False),  # no answers
        ([(0.0, "8")] * 4 + [(0.0, None)] * 4, False),  # an unparsed response does not agree
        ([(0.0, "8")] * 3 + [(None, "8")] * 5, False),  # a truncated one has no say
    ],
)
def test_suspect_gold(samples, suspect):
    assert one(samples)["suspect_gold"] is suspect


def test_without_a_gold_none_is_suspect():
    rewards, rollouts, verdicts = rows({"a" * 32: [(0.0, "8")] * 6})
    rewards = rewards.with_columns(source=pl.lit("reward_model"))
    got = difficulty(rewards.lazy(), rollouts.lazy(), verdicts.lazy(), PLAIN).collect()
    assert got["suspect_gold"].to_list() == [False]


def test_a_second_look_at_the_gold_counts():
    prompts = {"a" * 32: [(0.0, "8")] * 6, "b" * 32: [(1.0, "7")] * 4, "c" * 32: [(0.0, "8")] * 6}
    verified = pl.LazyFrame({"prompt_id": ["a" * 32, "b" * 32], "suspect_gold": [False, True]})
    assert measure(prompts)["suspect_gold"].to_list() == [True, False, True]
    assert measure(prompts, verified=verified)["suspect_gold"].to_list() == [False, True, True]


def test_columns_are_those_of_the_table():
    conform(DIFFICULTY, measure({"a" * 32: [(1.0, "7")]}, RewardSettings()))
    conform(DIFFICULTY, measure({"a" * 32: [(1.0, "7")]}))


@pytest.mark.parametrize(("k", "n"), [(1, 10), (5, 10), (9, 10), (3, 16), (100, 1000)])
def test_jeffreys_bounds_cut_off_the_tails_of_the_posterior(k, n):
    low, high = jeffreys_bounds(np.array([k]), np.array([n]), 0.95)
    grid = np.linspace(0, 1, 2_000_001)[1:-1]
    log_density = (k - 0.5) * np.log(grid) + (n - k - 0.5) * np.log1p(-grid)
    mass = np.exp(log_density - log_density.max())
    mass /= mass.sum()
    assert mass[grid < low[0]].sum() == pytest.approx(0.025, abs=2e-4)
    assert mass[grid > high[0]].sum() == pytest.approx(0.025, abs=2e-4)


@given(
    st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95, 0.99])
)
def test_the_interval_holds_the_rate(pair, confidence):
    k, n = pair
    low, high = jeffreys_bounds(np.array([k]), np.array([n]), confidence)
    assert 0 <= low[0] <= k / n <= high[0] <= 1
    assert low[0] < high[0]


def levenshtein(a, b):
    before = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y)))
        before = row
    return before[-1]


@given(st.lists(st.lists(st.text("abé", max_size=8) | st.none(), min_size=1, max_size=7), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_edit_distance_against_the_textbook(responses):
    rollouts = [
        (f"{p:032x}", "scored", i, "stop", 1, text) for p, texts in enumerate(responses) for i, text in enumerate(texts)
    ]
    frame = pl.DataFrame(rollouts, schema=ROLLOUTS, orient="row").sample(fraction=1, shuffle=True, seed=1)
    got = text_spread(pl.LazyFrame(schema=REWARDS), frame.lazy()).collect()
    expected = {}
    for p, texts in enumerate(responses):
        kept = [t for t in texts if t is not None][:5]
        pairs = [levenshtein(a, b) / (max(len(a), len(b)) or 1) for a, b in combinations(kept, 2)]
        if kept:
            expected[f"{p:032x}"] = max(pairs) if pairs else None
    assert dict(zip(got["prompt_id"], got["max_edit_distance"], strict=True)) == pytest.approx(expected)


def test_long_responses_are_cut_and_slices_miss_no_prompt(monkeypatch):
    monkeypatch.setattr(text_spread_module, "MAX_CHARS", 4)
    monkeypatch.setattr(text_spread_module, "SLICE_ROWS", 3)
    ids = ["", "0" * 32, "7f" * 16, "8" * 32, "f" * 32, "zz"]
    rollouts = pl.DataFrame(
        [(p, "scored", i, "stop", 1, "same" + "x" * i) for p in ids for i in range(2)], schema=ROLLOUTS, orient="row"
    )
    rewards = pl.DataFrame([(p, 1, -2.5, "rtv", "incorrect") for p in ids], schema=REWARDS, orient="row")
    got = text_spread(rewards.lazy(), rollouts.lazy()).collect()
    assert sorted(got["prompt_id"]) == sorted(ids)
    assert set(got["max_edit_distance"]) == {0.0}
    assert set(got["worst_response_chars"]) == {5}  # the length itself is not cut
    assert text_spread(rewards.lazy(), rollouts.lazy()).head(2).collect().height == 2


# Laws

reward = st.none() | st.sampled_from([0.0, 1.0]) | st.floats(-3, 3, allow_nan=False)
answer = st.none() | st.sampled_from(["7", "8", "9"])
corpus = st.dictionaries(
    st.integers(0, 2**128 - 1).map("{:032x}".format),
    st.lists(st.tuples(reward, answer), min_size=1, max_size=9),
    min_size=1,
    max_size=6,
)


def reference(prompts, options):
    """Difficulty in plain Python, over exact fractions; an implementation of its own."""
    out = {}
    for prompt, samples in prompts.items():
        exact = [Fraction(round(r * 1_000_000), 1_000_000) for r, _ in samples if r is not None]
        n = len(exact)
        row = {"samples": len(samples), "scored": n, "truncated": sum(r is None for r, _ in samples)}
        row["mean"] = float(sum(exact) / n) if n else None
        row["variance"] = float(sum((x - sum(exact) / n) ** 2 for x in exact) / n) if n else None
        row["reward_min"] = float(min(exact)) if n else None
        row["reward_max"] = float(max(exact)) if n else None
        threshold = options.pass_threshold
        row["binary"] = None if not n else threshold is not None or all(x in (0, 1) for x in exact)
        passes = sum(x == 1 if threshold is None else x >= Fraction(str(threshold)) for x in exact)
        row["pass_rate"] = passes / n if row["binary"] else None
        row["learnability"] = float(Fraction(passes, n) * (1 - Fraction(passes, n))) if row["binary"] else None
        judged = [a for r, a in samples if r is not None]
        votes = Counter(a for a in judged if a is not None)
        row["distinct_answers"] = len(votes) if judged else None
        row["majority_agreement"] = max(votes.values()) / len(judged) if votes else None
        row["suspect_gold"] = bool(
            row["pass_rate"] == 0 and n >= 4 and votes and row["majority_agreement"] >= options.suspect_gold_agreement
        )
        out[prompt] = row
    return out


@given(corpus, st.sampled_from([None, 0.5]))
@settings(max_examples=60, deadline=None)
def test_against_plain_python(prompts, threshold):
    options = RewardSettings(text_columns=False, pass_threshold=threshold)
    got = {row["prompt_id"]: row for row in measure(prompts, options).to_dicts()}
    expected = reference(prompts, options)
    assert set(got) == set(expected)
    for prompt, row in expected.items():
        for name, value in row.items():
            wanted = pytest.approx(value, rel=1e-12, abs=1e-15) if isinstance(value, float) else value
            assert got[prompt][name] == wanted, (prompt, name)


@given(corpus, st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_the_order_of_rows_changes_no_byte(prompts, seed):
    frames = rows(prompts)
    shuffled = [f.sample(fraction=1, shuffle=True, seed=seed) for f in frames]
    first = difficulty(*(f.lazy() for f in frames), RewardSettings()).collect()
    second = difficulty(*(f.lazy() for f in shuffled), RewardSettings()).collect()
    assert parquet(first) == parquet(second)


@given(corpus, st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_more_failures_make_nothing_harder(prompts, failures):
    kept = ["mean", "variance", "pass_rate", "pass_rate_low", "pass_rate_high", "learnability", "binary", "scored"]
    columns = [*kept, "reward_min", "reward_max", "distinct_answers", "majority_agreement", "suspect_gold"]
    more = {p: [*samples, *[(None, None)] * failures] for p, samples in prompts.items()}
    before, after = measure(prompts), measure(more)
    assert after.select(columns).equals(before.select(columns))
    assert (after["truncated"] - before["truncated"]).to_list() == [failures] * len(prompts)


def test_on_real_rollouts(shared_data):
    """16 GSM8K problems of several models: the pass rate is the share of correct rollouts."""
    raw = pl.read_ndjson(shared_data / "rollouts_gsm8k_test.jsonl.gz", infer_schema_length=None)
    raw = raw.filter(pl.col.correct.is_not_null()).with_columns(
        prompt_id=pl.format("{}", pl.col.idx.cast(pl.String).str.zfill(32))
    )
    raw = raw.with_columns(sample=pl.int_range(pl.len()).over("prompt_id"))
    common = {
        "role": pl.lit("scored"),
        "status": pl.when("correct").then(pl.lit("correct")).otherwise(pl.lit("incorrect")),
    }
    rewards = raw.select("prompt_id", "sample", reward=pl.col.correct.cast(pl.Float64), source=pl.lit("rtv"), **common)
    rollouts = raw.select(
        "prompt_id",
        "sample",
        "response",
        finish_reason=pl.lit("stop"),
        response_tokens=pl.lit(None, pl.Int64),
        **common,
    )
    verdicts = raw.select("prompt_id", "sample", extracted=pl.col.pred.cast(pl.String), **common)
    got = difficulty(rewards.lazy(), rollouts.lazy(), verdicts.lazy(), RewardSettings()).collect()
    counted = defaultdict(list)
    for prompt, correct in raw.select("prompt_id", "correct").iter_rows():
        counted[prompt].append(correct)
    assert {r["prompt_id"]: r["pass_rate"] for r in got.to_dicts()} == {p: sum(c) / len(c) for p, c in counted.items()}
    assert got.filter(pl.col.pass_rate == 0)["learnability"].sum() == 0
    assert got["max_edit_distance"].is_between(0, 1).all()


@given(corpus)
@settings(max_examples=25, deadline=None)
def test_slices_change_nothing(prompts):
    with pytest.MonkeyPatch.context() as patch:
        whole = measure(prompts)
        patch.setattr(difficulty_module, "SLICE_ROWS", 2)
        sliced = measure(prompts)
    assert sliced.equals(whole)
    assert sliced["prompt_id"].to_list() == sorted(prompts)


def test_shuffled_files_of_several_row_groups_give_the_same_bytes(tmp_path):
    rng = random.Random(3)
    prompts = {
        f"{rng.getrandbits(128):032x}": [(rng.choice([0.0, 1.0, 0.1, None]), str(rng.randrange(3))) for _ in range(8)]
        for _ in range(500)
    }
    made = []
    for seed in (1, 2):
        scans = []
        for name, frame in zip(("rewards", "rollouts", "verdicts"), rows(prompts), strict=True):
            path = tmp_path / f"{name}-{seed}.parquet"
            frame.sample(fraction=1, shuffle=True, seed=seed).write_parquet(path, row_group_size=97)
            scans.append(pl.scan_parquet(path))
        out = tmp_path / f"out-{seed}.parquet"
        difficulty(*scans, RewardSettings()).sink_parquet(out)
        made.append(out.read_bytes())
    assert made[0] == made[1]
