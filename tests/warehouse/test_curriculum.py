"""The curriculum: examples by hand and the laws of interleaving."""

from __future__ import annotations

import io
from collections import Counter
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.curation.curriculum import curriculum
from warehouse.schemas import CURRICULUM, DECISIONS, conform
from warehouse.settings.model import CurriculumSettings, PhaseSettings


def selected(**domains):
    """Make prompts, named by domain and number, with rising scores."""
    rows = [
        (f"{ord(name[0]):02x}{i:013x}{0:017x}", name, i / max(count, 1))
        for name, count in domains.items()
        for i in range(count)
    ]
    return pl.DataFrame(rows, schema={"prompt_id": pl.String, "domain": pl.String, "score": pl.Float64}, orient="row")


def lay(prompts, *phases, order="easy_first", seed=0):
    made = [PhaseSettings(**phase) for phase in phases]
    return curriculum(prompts, CurriculumSettings(phases=made, order=order, seed=seed), "main", "f" * 32)


def names(laid):
    """Return "c3" for the fourth prompt of code."""
    return [f"{chr(int(x[:2], 16))}{int(x[2:15], 16)}" for x in laid["prompt_id"]]


PRIORITY = [
    PhaseSettings(name="code", domains={"code": 1.0}, share=0.1),
    PhaseSettings(name="code_math", domains={"code": 1.0, "math": 1.0}, share=0.2),
    PhaseSettings(name="mixture"),
]


def test_priority_is_code_then_code_and_mathematics_then_everything():
    prompts = selected(code=30, math=50, logic=20)
    laid, flags = curriculum(prompts, CurriculumSettings(phases=PRIORITY), "main")
    conform(CURRICULUM, laid)
    conform(DECISIONS, flags)
    assert flags.is_empty()
    by_phase = laid.join(prompts, on="prompt_id", maintain_order="left").group_by("phase", maintain_order=True)
    counts = {phase[0]: Counter(rows["domain"]) for phase, rows in by_phase}
    assert counts == {
        "code": Counter(code=10),
        "code_math": Counter(code=10, math=10),
        "mixture": Counter(code=30, math=50, logic=20),
    }
    assert laid["position"].to_list() == list(range(130))
    mixture = laid.filter(pl.col.phase == "mixture")
    assert sorted(mixture["prompt_id"]) == sorted(prompts["prompt_id"])
    early = set(laid.filter(pl.col.phase != "mixture")["prompt_id"])
    assert len(early) == 30  # the second phase goes on where the first stopped
    assert dict(mixture.select("prompt_id", "occurrence").iter_rows()) == {
        p: 2 if p in early else 1 for p in prompts["prompt_id"]
    }


def test_interleaving_by_hand():
    laid, _ = lay(selected(code=4, math=2, logic=2), {"name": "all"})
    # code stands at 1/8, 3/8, 5/8, 7/8; logic and math at 1/4 and 3/4, logic first by name
    assert names(laid) == ["c3", "l1", "m1", "c2", "c1", "l0", "m0", "c0"]


@pytest.mark.parametrize(
    ("order", "expected"), [("easy_first", ["c2", "c1", "c0"]), ("hard_first", ["c0", "c1", "c2"])]
)
def test_order_within_a_domain(order, expected):
    prompts = selected(code=3)
    assert names(lay(prompts, {"name": "all"}, order=order)[0]) == expected
    without = prompts.with_columns(score=pl.when(pl.col.score > 0).then("score"))
    assert names(lay(without, {"name": "all"}, order=order)[0])[-1] == "c0"  # unknown is neither easy nor hard


def test_shuffles_depend_on_the_seed_alone():
    prompts = selected(code=40)
    first = lay(prompts, {"name": "all"}, order="shuffled", seed=1)[0]
    assert lay(prompts.reverse(), {"name": "all"}, order="shuffled", seed=1)[0].equals(first)
    assert not lay(prompts, {"name": "all"}, order="shuffled", seed=2)[0].equals(first)
    more = lay(pl.concat([prompts, selected(code=50).tail(10)]), {"name": "all"}, order="shuffled", seed=1)[0]
    kept = more.filter(pl.col.prompt_id.is_in(prompts["prompt_id"].implode()))
    assert kept["prompt_id"].equals(first["prompt_id"])  # new prompts do not reorder the old ones


def test_a_domain_that_runs_out_is_flagged_and_the_others_fill_in():
    phase = {"name": "early", "domains": {"code": 2.0, "math": 1.0}, "rows": 9}
    laid, flags = lay(selected(code=4, math=20), phase)
    assert Counter(n[0] for n in names(laid)) == {"c": 4, "m": 5}
    flag = flags.filter(pl.col.rule == "early:code").row(0, named=True)
    assert (flag["outcome"], flag["value"], flag["threshold"], flag["prompt_id"]) == ("flag", 4.0, 6.0, None)
    assert flag["detail"] == "phase early asks for 6 of code, which has 4; others fill in"
    assert flags["rule"].to_list() == ["early:code", "unplaced:math"]


def test_a_phase_whose_domains_run_out_is_shorter():
    laid, flags = lay(selected(code=4), {"name": "early", "domains": {"code": 1.0}, "rows": 9}, {"name": "rest"})
    assert Counter(laid["phase"]) == {"early": 4, "rest": 4}
    assert "phase early has 4 rows instead of 9" in flags.filter(pl.col.rule == "early")["detail"][0]


def test_a_domain_without_prompts_is_flagged():
    laid, flags = lay(selected(math=4), {"name": "early", "domains": {"code": 1.0, "math": 1.0}, "rows": 4})
    assert laid.height == 4
    assert flags["detail"].to_list() == [
        "phase early asks for code, of which no prompt is selected; its other domains fill in"
    ]
    laid, flags = lay(selected(math=4), {"name": "early", "domains": {"code": 1.0}, "rows": 3}, {"name": "rest"})
    assert Counter(laid["phase"]) == {"rest": 4}
    assert flags["rule"].to_list() == ["early", "early:code"]


def test_a_repeating_phase_counts_occurrences():
    laid, flags = lay(selected(code=2), {"name": "again", "domains": {"code": 1.0}, "rows": 5, "repeat": True})
    assert names(laid) == ["c1", "c0", "c1", "c0", "c1"]
    assert laid["occurrence"].to_list() == [1, 1, 2, 2, 3]
    assert flags.is_empty()


def test_a_phase_begins_anew_at_the_end_of_a_domain():
    phases = [{"name": str(i), "domains": {"code": 1.0}, "rows": 2} for i in range(3)]
    laid, _ = lay(selected(code=3), *phases)
    assert names(laid) == ["c2", "c1", "c0", "c2", "c1", "c0"]
    assert laid["occurrence"].to_list() == [1, 1, 1, 2, 2, 2]


def test_no_prompts_and_no_phases():
    assert lay(selected(), {"name": "all"})[0].height == 0
    laid, flags = lay(selected(code=2), {"name": "maths", "domains": {"math": 1.0}})
    assert laid.height == 0
    assert "unplaced:code" in flags["rule"].to_list()


def test_a_prompt_listed_twice_is_refused():
    with pytest.raises(ValueError, match="lists one of them more than once"):
        lay(pl.concat([selected(code=1), selected(code=1)]), {"name": "all"})


sizes = st.fixed_dictionaries({d: st.integers(0, 40) for d in ("code", "logic", "math")})
weights = st.dictionaries(st.sampled_from(["code", "logic", "math"]), st.sampled_from([0.5, 1.0, 3.0]), min_size=1)


@given(sizes, st.just("natural") | weights, st.integers(1, 80) | st.none(), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_every_window_has_the_proportions_of_its_phase(domains, mix, rows, seed):
    prompts = selected(**domains)
    phase = {"name": "all", "domains": mix, "rows": rows}
    laid, _ = lay(prompts, phase, order="shuffled", seed=seed)
    shuffled = prompts.sample(fraction=1, shuffle=True, seed=seed)
    assert parquet(lay(shuffled, phase, order="shuffled", seed=seed)[0]) == parquet(laid)
    assert laid["prompt_id"].is_unique().all()
    sequence = [n[0] for n in names(laid)]
    total, domain_count = Counter(sequence), len(set(sequence))
    for name, count in total.items():
        share = Fraction(count, len(sequence))
        before = [0]
        for other in sequence:
            before.append(before[-1] + (other == name))
        excess = [b - i * share for i, b in enumerate(before)]
        assert max(excess) - min(excess) <= 1 + share * domain_count


@given(sizes, st.lists(st.tuples(weights, st.integers(1, 50), st.booleans()), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_phases_are_as_long_as_asked_or_flagged(domains, phases):
    prompts = selected(**domains)
    made = [{"name": f"p{i}", "domains": w, "rows": n, "repeat": r} for i, (w, n, r) in enumerate(phases)]
    laid, flags = lay(prompts, *made, {"name": "rest"})
    lengths = Counter(laid["phase"])
    flagged = set(flags["rule"])
    for phase in made:
        if lengths[phase["name"]] < phase["rows"]:
            assert phase["name"] in flagged
        rows = laid.filter(pl.col.phase == phase["name"])
        assert phase["repeat"] or rows["prompt_id"].is_unique().all()
    assert lengths["rest"] == prompts.height
    seen = Counter()
    for prompt, occurrence in laid.select("prompt_id", "occurrence").iter_rows():
        seen[prompt] += 1
        assert occurrence == seen[prompt]


def parquet(table):
    out = io.BytesIO()
    table.write_parquet(out)
    return out.getvalue()
