"""Selection: examples by hand, laws, and an independent implementation of Pre-PPO."""

from __future__ import annotations

import hashlib
import io
from fractions import Fraction
from functools import partial

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.curation.apportion import apportion, apportion_within
from warehouse.curation.draws import draw
from warehouse.curation.rules import RULES
from warehouse.curation.selection import CANDIDATE, select, selection_decisions
from warehouse.schemas import DECISIONS, SELECTION, conform
from warehouse.settings import ArmSettings, RewardSettings

SETTINGS = RewardSettings()
arm_of = partial(ArmSettings, rule="pre_ppo")  # where nothing else is said
FREE = {"max_all_zero_share": 1.0, "drop_suspect_golds": False}


def candidate(number, passes=None, *, samples=16, scored=None, **fields):
    """Make one candidate from the number of passes among its scored samples; None is never rolled out."""
    row = dict.fromkeys(CANDIDATE) | {
        "prompt_id": f"{number:032x}",
        "pool": "new",
        "split": "train",
        "domain": "math",
        "gold_conflict": False,
        "contaminated": False,
    }
    if passes is not None:
        n = samples if scored is None else scored
        p = Fraction(passes, n)
        row |= {
            "policy_id": "0" * 32,
            "source": "rtv",
            "samples": samples,
            "scored": n,
            "truncated": samples - n,
            "mean": float(p),
            "variance": float(p * (1 - p)),
            "pass_rate": float(p),
            "learnability": float(p * (1 - p)),
            "reward_min": 1.0 if passes == n else 0.0,
            "reward_max": 1.0 if passes else 0.0,
            "worst_response_chars": 100 + number % 7,
            "suspect_gold": False,
        }
    return row | fields


def frame(*rows):
    return pl.DataFrame(rows, schema=CANDIDATE)


def reasons(selection):
    return dict(zip((int(x, 16) for x in selection["prompt_id"]), selection["reason"], strict=True))


def chosen(candidates, options=SETTINGS, **arm):
    got = select(candidates, arm_of(**arm), options)
    return {int(x, 16) for x in got.filter("selected")["prompt_id"]}


def test_the_hardest_tenth_of_each_group():
    rows = [candidate(i, i % 17) for i in range(40)]
    rows += [candidate(100 + i, 1 + i % 16, domain="code") for i in range(20)]
    got = select(frame(*rows), arm_of(fraction=0.1, max_all_zero_share=1.0), SETTINGS)
    picked = got.filter("selected")
    # math: three prompts have mean 0 (0, 17, 34), then 1 and 18 and 35 with 1/16; ties by id. code: 100, 116 have 1/16
    assert reasons(picked) == dict.fromkeys([0, 17, 34, 1, 100, 116], "pre_ppo")
    first = got.row(by_predicate=pl.col.prompt_id == f"{17:032x}", named=True)
    assert (first["group"], first["score"], first["tie_size"]) == ("math/rtv", 0.0, 3)
    assert first["percentile"] == 1.5 / 40  # ranks 1, 2, 3 have the mean 2; (2 - 0.5) / 40
    assert set(reasons(got.filter(pl.col.selected.not_())).values()) == {"above_cut"}
    conform(SELECTION, got)


def test_ties_go_to_the_higher_variance_then_to_the_lower_id():
    rows = [candidate(i, 8) for i in range(20)]
    rows[13] |= {"variance": 0.3}
    assert chosen(frame(*rows), fraction=0.1) == {13, 0}


def test_reward_sources_are_ranked_apart():
    rows = [candidate(i, 2) for i in range(10)] + [candidate(20 + i, 15, source="genrm_best_of_n") for i in range(10)]
    assert chosen(frame(*rows), fraction=0.1) == {0, 20}


@pytest.mark.parametrize(
    ("row", "reason", "selected"),
    [
        (candidate(1, 0, pool="eval"), "eval", False),
        (candidate(1, 0, split="heldout"), "heldout", False),
        (candidate(1, 0, contaminated=True), "contaminated", False),
        (candidate(1, 0, gold_conflict=True), "gold_conflict", False),
        (candidate(1, 0, suspect_gold=True), "suspect_gold", False),
        (candidate(1), "unscored", False),
        (candidate(1, 0, scored=7), "unscored", False),  # 7 of 16 is below a half
        (candidate(1, 1, scored=8), "pre_ppo", True),
        (candidate(1, pool="original"), "original", True),
        (candidate(1, 3, pool="original", suspect_gold=True), "original", True),
        (candidate(1, pool="original", contaminated=True), "contaminated", False),
        (candidate(1, pool="original", split="heldout"), "heldout", False),
        (candidate(1, 16, override_selected=True), "override", True),
        (candidate(1, 0, override_selected=False), "override", False),
        (candidate(1, 0, contaminated=True, override_selected=True), "override", True),
        (candidate(1, 0, split="heldout", override_selected=True), "heldout", False),
        (candidate(1, 0, pool="eval", override_selected=True), "eval", False),
    ],
)
def test_every_reason(row, reason, selected):
    got = select(frame(row), arm_of(fraction=1.0), SETTINGS)
    assert got.select("reason", "selected").row(0) == (reason, selected)
    assert got.height == 1


def test_an_arm_may_leave_out_the_original_pool_and_keep_suspects():
    rows = [candidate(1, pool="original"), candidate(2, 1, suspect_gold=True), candidate(3, 1, scored=12)]
    arm = arm_of(include_original=False, drop_suspect_golds=False, fraction=1.0, min_samples=13)
    got = select(frame(*rows), arm, SETTINGS)
    assert reasons(got) == {1: "original", 2: "pre_ppo", 3: "unscored"}
    assert got["selected"].to_list() == [False, True, False]


def test_all_zero_prompts_fill_no_more_than_their_share():
    rows = [candidate(i, 0) for i in range(10)] + [candidate(10 + i, 1 + i % 16) for i in range(30)]
    got = reasons(select(frame(*rows), arm_of(fraction=0.1), SETTINGS))
    assert [i for i, r in got.items() if r == "pre_ppo"] == [0, 1, 10, 26]
    assert [i for i, r in got.items() if r == "guard_all_zero"] == [2, 3]
    assert got[4] == "above_cut"


def test_where_nothing_replaces_them_the_arm_is_smaller():
    rows = [candidate(i, 0) for i in range(9)] + [candidate(9, 1)]
    assert chosen(frame(*rows), fraction=1.0) == {0, 9}
    assert chosen(frame(*rows), fraction=1.0, max_all_zero_share=0.0) == {9}
    assert chosen(frame(*rows[:9]), fraction=1.0) == set()


def test_floors_and_ceilings():
    rows = [candidate(i, 1 + i % 16) for i in range(50)]
    rows += [candidate(100 + i, 1 + i % 16, domain="code") for i in range(20)]
    arm = arm_of(fraction=0.1, floors={"code": 4}, ceilings={"math": 3})
    got = reasons(select(frame(*rows), arm, SETTINGS))
    assert [i for i, r in got.items() if r == "pre_ppo"] == [0, 16, 32, 100, 116]
    assert [i for i, r in got.items() if r == "ceiling"] == [1, 48]
    assert [i for i, r in got.items() if r == "floor"] == [101, 117]


def test_a_floor_beyond_the_domain_takes_all_of_it():
    rows = [candidate(i, 1 + i % 16) for i in range(10)]
    assert chosen(frame(*rows), floors={"math": 99}) == set(range(10))
    assert chosen(frame(*rows), ceilings={"math": 0}) == set()


def test_the_other_rules():
    rows = [candidate(i, i) for i in range(17)]
    assert chosen(frame(*rows), rule="variance", fraction=0.18) == {7, 8, 9}
    assert chosen(frame(*rows), rule="learnability", fraction=0.18) == {7, 8, 9}
    assert chosen(frame(*rows), rule="band", band=(0.2, 0.4), fraction=0.18) == {4, 5, 6}
    assert chosen(frame(*rows), rule="all", fraction=0.18) == set(range(17))
    got = reasons(select(frame(*rows), arm_of(rule="band", band=(0.25, 0.5), fraction=1.0), SETTINGS))
    assert {i for i, r in got.items() if r == "band"} == {4, 5, 6, 7, 8}
    assert got[3] == got[9] == "outside_band"


def test_rip_by_hand():
    rip = {"mean": 0.5, "variance": 0.1, "pass_rate": None, "learnability": None}
    rows = [
        candidate(1, 8, **rip | {"reward_min": 0.9, "reward_max": 1.0, "worst_response_chars": 900}),
        candidate(2, 8, **rip | {"reward_min": 0.1, "reward_max": 1.0, "worst_response_chars": 100}),
        candidate(3, 8, **rip | {"reward_min": 0.5, "reward_max": 0.9, "worst_response_chars": 500}),
        candidate(4, 8, **rip | {"reward_min": 0.5, "reward_max": 0.9, "worst_response_chars": None}),
    ]
    got = select(frame(*rows), arm_of(rule="rip", fraction=0.25), SETTINGS)
    assert reasons(got) == {1: "rip", 2: "above_cut", 3: "above_cut", 4: "not_applicable"}
    assert got["score"].to_list() == pytest.approx([1 / 6, 5 / 6, 3 / 6, None])


def test_a_rule_without_its_columns_says_so():
    rows = frame(candidate(1, 2)).drop("worst_response_chars")
    with pytest.raises(ValueError, match=r"rule 'rip' needs the columns \['worst_response_chars'\]"):
        select(rows, arm_of(rule="rip"), SETTINGS)
    assert select(rows, arm_of(fraction=1.0), SETTINGS)["selected"].all()


def test_a_candidate_listed_twice_is_refused():
    with pytest.raises(ValueError, match=r"1 candidates are listed more than once, the first is prompt 0{31}1"):
        select(frame(candidate(1, 2), candidate(1, 3)), arm_of(), SETTINGS)


def test_no_candidates_no_selection():
    assert select(frame(), arm_of(), SETTINGS).height == 0


# Draws and shares


def test_draws_are_what_they_were():
    """A change of these numbers changes every random arm and every shuffled curriculum."""
    ids = pl.Series(["0" * 32, "f" * 32, "0123456789abcdef" * 2])
    assert draw(ids, "selection", 0).to_list() == [split_mix(x, "selection:0") for x in ids]
    assert draw(ids, "curriculum", 7).to_list() == [split_mix(x, "curriculum:7") for x in ids]
    assert draw(ids, "selection", 0)[0] == 0.5180003548052031
    with pytest.raises(ValueError, match="'spam' is not a hexadecimal id"):
        draw(pl.Series(["spam"]), "selection", 0)


def split_mix(prompt, purpose):
    """SplitMix64 over Python's own integers."""
    mask = 2**64 - 1
    z = int(prompt[:15], 16) ^ int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "big")
    z = (z + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return ((z ^ (z >> 31)) >> 11) / 2**53


def test_draws_are_even_and_independent_of_the_seed():
    ids = pl.Series([f"{i:015x}" + "0" * 17 for i in range(20_000)])
    a, b = draw(ids, "selection", 0), draw(ids, "selection", 1)
    deciles = (a * 10).floor().value_counts()["count"]
    assert ((deciles - 2000) ** 2 / 2000).sum() < 27.9  # chi-squared with 9 degrees of freedom, p = 0.001
    assert abs(pl.DataFrame({"a": a, "b": b}).select(pl.corr("a", "b")).item()) < 0.03


@given(st.integers(0, 500), st.dictionaries(st.text("abcde", min_size=1), st.integers(0, 90), min_size=1))
def test_shares_sum_up_and_stay_within_one(total, weights):
    got = apportion(total, weights)
    whole = sum(weights.values())
    assert sum(got.values()) == (total if whole else 0)
    for name, weight in weights.items():
        assert abs(got[name] - (Fraction(total * weight, whole) if whole else 0)) < 1
    bounded = apportion_within(total, weights, weights)
    assert sum(bounded.values()) == min(total, whole)
    assert all(bounded[n] <= weights[n] for n in weights)


# Laws

DOMAINS = ["code", "logic", "math"]


@st.composite
def corpora(draw_):
    size = draw_(st.integers(1, 60))
    numbers = draw_(st.permutations(range(size)))
    rows = []
    for number in numbers:
        fields = {
            "domain": draw_(st.sampled_from(DOMAINS)),
            "source": draw_(st.sampled_from(["rtv", "genrm_ground_truth"])),
            "pool": draw_(st.sampled_from(["new"] * 6 + ["original", "eval"])),
            "split": draw_(st.sampled_from(["train"] * 6 + ["heldout"])),
        }
        scored = draw_(st.sampled_from([8, 8, 8, 5, 2]))
        rows.append(candidate(number, draw_(st.integers(0, scored)), samples=8, scored=scored, **fields))
    return frame(*rows)


def plain_pre_ppo(rows, fraction, min_scored_share, max_zero):
    """Pre-PPO in plain Python; an implementation of its own. Returns the numbers of the prompts picked."""
    groups = {}
    for r in rows:
        if r["pool"] == "new" and r["split"] == "train" and r["scored"] / r["samples"] >= min_scored_share:
            groups.setdefault(f"{r['domain']}/{r['source']}", []).append(r)
    everything = sum(len(g) for g in groups.values())
    size = (Fraction(str(fraction)) * everything + Fraction(1, 2)).__floor__()
    quota = spread(size, {g: len(rs) for g, rs in groups.items()})
    allowance = size if max_zero == 1 else (Fraction(str(max_zero)) * size).__floor__()
    while True:
        zeros_allowed = spread(allowance, quota)
        picked = []
        for g, rs in groups.items():
            taken, zeros = 0, 0
            for r in sorted(rs, key=lambda r: (r["mean"], -r["variance"], r["prompt_id"])):
                if taken == quota[g]:
                    break
                if r["reward_max"] == 0:
                    if zeros == zeros_allowed[g]:
                        continue
                    zeros += 1
                taken += 1
                picked.append(r)
        zeros = sum(r["reward_max"] == 0 for r in picked)
        if zeros <= Fraction(str(max_zero)) * len(picked):
            return {int(r["prompt_id"], 16) for r in picked}
        allowance = (Fraction(str(max_zero)) * len(picked)).__floor__()


def spread(total, weights):
    whole = sum(weights.values())
    if not whole:
        return dict.fromkeys(weights, 0)
    out = {name: total * w // whole for name, w in weights.items()}
    order = sorted(weights, key=lambda name: (-(total * weights[name] % whole), name))
    for name in order[: total - sum(out.values())]:
        out[name] += 1
    return out


FRACTIONS = st.sampled_from([0.05, 0.1, 0.25, 1 / 3, 0.5, 1.0])
SHARES = st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])


@given(corpora(), FRACTIONS, SHARES)
@settings(max_examples=150, deadline=None)
def test_pre_ppo_against_plain_python(candidates, fraction, max_zero):
    arm = {"fraction": fraction, "max_all_zero_share": max_zero, "include_original": False}
    assert chosen(candidates, **arm) == plain_pre_ppo(candidates.to_dicts(), fraction, 0.5, max_zero)


@given(corpora(), st.sampled_from(sorted(RULES)), FRACTIONS, st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_the_order_of_candidates_changes_no_byte(candidates, rule, fraction, seed):
    arm = arm_of(rule=rule, fraction=fraction, floors={"code": 3}, ceilings={"math": 2})
    first = select(candidates, arm, SETTINGS)
    second = select(candidates.sample(fraction=1, shuffle=True, seed=seed).lazy(), arm, SETTINGS)
    assert parquet(first) == parquet(second)
    assert first["prompt_id"].to_list() == sorted(candidates["prompt_id"])
    assert first["reason"].null_count() == first["selected"].null_count() == 0
    percentiles = first["percentile"].drop_nulls()
    assert ((percentiles > 0) & (percentiles < 1)).all()


@given(corpora(), FRACTIONS)
@settings(max_examples=40, deadline=None)
def test_arms_are_of_equal_size(candidates, fraction):
    arms = [chosen(candidates, rule=rule, fraction=fraction, **FREE) for rule in sorted(set(RULES) - {"band", "all"})]
    assert len({len(a) for a in arms}) == 1
    band = chosen(candidates, rule="band", fraction=fraction, band=(0.0, 1.0), **FREE)
    assert len(band) == len(arms[0])


@given(corpora(), st.sampled_from(sorted(set(RULES) - {"all"})), FRACTIONS, SHARES)
@settings(max_examples=60, deadline=None)
def test_the_share_of_all_zero_prompts_holds(candidates, rule, fraction, share):
    arm = arm_of(rule=rule, fraction=fraction, max_all_zero_share=share, include_original=False)
    got = select(candidates, arm, SETTINGS).filter("selected").join(candidates, on="prompt_id")
    assert (got["reward_max"] == 0).sum() <= Fraction(str(share)) * got.height


@given(corpora(), st.sampled_from(["pre_ppo", "variance", "random"]), st.integers(0, 30), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_floors_and_ceilings_hold(candidates, rule, floor, ceiling):
    arm = arm_of(rule=rule, floors={"code": floor}, ceilings={"math": ceiling}, include_original=False, **FREE)
    got = select(candidates, arm, SETTINGS)
    by_domain = got.join(candidates.select("prompt_id", "domain"), on="prompt_id")
    ranked = by_domain.filter(pl.col.group.is_not_null())
    code = ranked.filter(pl.col.domain == "code")
    assert code["selected"].sum() >= min(floor, code.height)
    assert ranked.filter(pl.col.domain == "math")["selected"].sum() <= ceiling


@given(corpora(), st.data())
@settings(max_examples=40, deadline=None)
def test_a_prompt_that_could_not_be_scored_is_never_picked_for_it(candidates, data):
    """Nulls in place of every reward: the prompt leaves the ranking instead of leading it."""
    lost = data.draw(st.sampled_from(candidates["prompt_id"].to_list()))
    without = candidates.with_columns(
        pl.when(pl.col.prompt_id != lost).then(pl.col(c)).alias(c)
        for c in ("mean", "variance", "pass_rate", "learnability", "reward_min", "reward_max")
    ).with_columns(scored=pl.when(pl.col.prompt_id != lost).then("scored").otherwise(0))
    assert int(lost, 16) not in chosen(without, fraction=1.0, include_original=False, **FREE)


# Decisions


def test_every_prompt_has_a_decision_that_can_be_read():
    rows = [candidate(i, 1 + i % 16) for i in range(40)]
    rows += [
        candidate(100, 0, contaminated=True, contaminated_by="aime"),
        candidate(101, 1, scored=3),
        candidate(102, pool="original"),
    ]
    candidates = pl.DataFrame(rows, schema=CANDIDATE | {"contaminated_by": pl.String})
    arm = arm_of(name="hard", fraction=0.1)
    selection = select(candidates, arm, SETTINGS)
    got = selection_decisions(selection, arm, "f" * 32, candidates=candidates)
    conform(DECISIONS, got)
    assert got["prompt_id"].to_list() == selection["prompt_id"].to_list()
    by_id = {int(r["prompt_id"], 16): r for r in got.to_dicts()}
    assert by_id[0] == {
        "stage": "selection",
        "arm": "hard",
        "prompt_id": "0" * 32,
        "rule": "pre_ppo",
        "outcome": "keep",
        "value": 0.0625,
        "threshold": 0.125,
        "detail": "mean 0.0625 is among the 10% taken from math/rtv, lowest first (percentile 0.0375, 3 with the same)",
        "policy_hash": "f" * 32,
    }
    assert by_id[39]["rule"] == "pre_ppo"
    assert by_id[39]["outcome"] == "drop"
    assert by_id[39]["detail"].endswith("with the same): the last one taken has 0.125")
    assert by_id[100]["detail"] == "contains an item of aime"
    assert by_id[101]["detail"] == "3 of 16 rollouts have a reward"
    assert (by_id[102]["outcome"], by_id[102]["rule"]) == ("keep", "original")
    assert got["detail"].null_count() == 0


@given(corpora(), st.sampled_from(sorted(RULES)))
@settings(max_examples=40, deadline=None)
def test_decisions_agree_with_the_selection(candidates, rule):
    arm = arm_of(rule=rule, floors={"code": 5}, ceilings={"math": 1})
    selection = select(candidates, arm, SETTINGS)
    got = selection_decisions(selection, arm, "")
    assert got["detail"].null_count() == 0
    assert (got["outcome"] == "keep").to_list() == selection["selected"].to_list()


def parquet(table):
    out = io.BytesIO()
    table.write_parquet(out)
    return out.getvalue()


def test_prompts_that_reward_models_are_unsure_of_are_left_out_and_a_null_passes():
    rows = [candidate(i, i, reward_model_uncertainty=u) for i, u in enumerate([0.9, 0.2, None, 0.5])]
    rows += [candidate(4, 4, source_disagreement=0.6), candidate(5, 5, source_disagreement=0.4)]
    arm = arm_of(fraction=1.0, max_all_zero_share=1.0, max_reward_model_uncertainty=0.5, max_source_disagreement=0.5)
    got = select(frame(*rows), arm, SETTINGS)
    assert {i: r for i, r in reasons(got).items() if r != "pre_ppo"} == {0: "guard_uncertain", 4: "guard_disagreement"}
    assert got.filter(pl.col.reason.str.starts_with("guard_"))["selected"].any() is False
    told = dict(selection_decisions(got, arm, "").select("rule", "detail").iter_rows())
    assert "max_reward_model_uncertainty = 0.5" in told["guard_uncertain"]
    assert set(reasons(select(frame(*rows), arm_of(fraction=1.0), SETTINGS)).values()) <= {
        "pre_ppo", "guard_all_zero",
    }  # fmt: skip


def test_what_training_said_keeps_a_prompt_out_with_the_reason():
    rows = [candidate(i, i, rest=r) for i, r in enumerate([None, "rested_learnt", "rested_stuck", "retired"])]
    rows.append(candidate(4, 4, pool="original", rest="rested_learnt"))
    facts = frame(*rows).with_columns(signal_mean=pl.lit(1.0), signal_gain=0.25, still_visits=3, releases_ago=1)
    got = select(facts, arm_of(fraction=1.0, max_all_zero_share=1.0), SETTINGS)
    assert reasons(got) == {0: "pre_ppo", 1: "rested_learnt", 2: "rested_stuck", 3: "retired", 4: "rested_learnt"}
    told = selection_decisions(got, arm_of(fraction=1.0), "", candidates=facts).sort("prompt_id")
    assert told["outcome"].to_list() == ["keep", "drop", "drop", "drop", "drop"]
    assert "left at a mean reward of 1.0 (0.75 before), and rests since, 1 trained releases ago" in told["detail"][1]
    assert "3 visits on end gave one and the same reward" in told["detail"][3]


@given(st.lists(st.integers(0, 16), min_size=4, max_size=30), st.data())
@settings(max_examples=100, deadline=None)
def test_hysteresis_keeps_what_is_near_the_cut_and_settles_at_once(means, data):
    before = data.draw(st.lists(st.booleans(), min_size=len(means), max_size=len(means)))
    share = data.draw(st.sampled_from([0.05, 0.2, 1.0]))
    zeros = data.draw(st.sampled_from([1.0, 0.5, 0.1]))
    arm = arm_of(fraction=0.3, hysteresis=share, max_all_zero_share=zeros)
    plain = arm.model_copy(update={"hysteresis": 0.0})

    def chosen(kept, by):
        rows = [candidate(i, m, selected_before=k) for i, (m, k) in enumerate(zip(means, kept, strict=True))]
        return select(frame(*rows), by, SETTINGS)

    got, natural = chosen(before, arm), chosen(before, plain)
    assert got["selected"].sum() == natural["selected"].sum()
    kept = got.filter(pl.col.reason == "hysteresis")
    assert kept.height == got.filter(pl.col.reason == "hysteresis_waits").height
    marked = dict(zip(natural["prompt_id"], before, strict=True))
    assert all(marked[p] for p in kept["prompt_id"])
    cut = natural["selected"].sum() / natural.height
    assert kept.is_empty() or kept["percentile"].max() <= cut + share + 1e-9
    again = chosen(got["selected"].to_list(), arm)
    assert again["selected"].to_list() == got["selected"].to_list(), "made again from itself it stays"
    assert again["reason"].to_list() == got["reason"].to_list()
    details = selection_decisions(got, arm, "")
    assert details["detail"].null_count() == 0
