"""Who votes on labels, and pairs out of a prompt's own rollouts."""

from __future__ import annotations

import polars as pl
import pytest

from warehouse.curation.model_rewards import CALIBRATIONS
from warehouse.curation.own_pairs import own_pairs
from warehouse.curation.pair_votes import pair_votes
from warehouse.curation.strength import Rule, strength, strength_beside
from warehouse.schemas import PAIR_REWARDS, PREFERENCES, REWARDS, ROLLOUTS


def rewards(*rows: tuple[str, str, str, int, float | None, float | None]) -> pl.LazyFrame:
    return pl.DataFrame([(*r, None, "t") for r in rows], schema=pl.Schema(PAIR_REWARDS.columns), orient="row").lazy()


def calibrated(**scales: float) -> pl.DataFrame:
    return pl.DataFrame([(n, 0.0, s) for n, s in scales.items()], schema=CALIBRATIONS, orient="row")


def test_members_vote_one_by_one_on_one_scale() -> None:
    told = rewards(
        ("p", "chosen", "a", 0, 1.0, None), ("p", "rejected", "a", 0, 0.5, None),
        ("p", "chosen", "b", 0, 10.0, None), ("p", "rejected", "b", 0, 30.0, None),
        ("q", "chosen", "a", 0, 1.0, None), ("q", "rejected", "a", 0, None, None),
        ("q", "chosen", "b", 0, 1.0, None), ("q", "rejected", "b", 0, 0.0, None),
    )  # fmt: skip
    votes = pair_votes(told, calibrated(a=1.0, b=3.0), "nominal")  # whose mean is the unit: 2
    assert pytest.approx([0.5 * 2, -20 / 3 * 2, 1 / 3 * 2]) == votes["difference"].drop_nulls().to_list()
    assert votes.select("pair_id", "member").rows() == [("p", 0), ("p", 1), ("q", 0), ("q", 1)]
    assert votes["difference"].is_null().to_list() == [False, False, True, False]
    found = {r["pair_id"]: r for r in strength(votes, Rule()).to_dicts()}
    assert (found["p"]["votes_for"], found["p"]["votes"], found["q"]["votes"]) == (1, 2, 1)


def test_of_one_model_alone_each_head_votes() -> None:
    told = rewards(*((("p"), side, "a", h, float(value * (h + 1)), 0.1)
                     for side, value in (("chosen", 2), ("rejected", 1)) for h in range(5)))  # fmt: skip
    votes = pair_votes(told, calibrated(a=2.0), "nominal")
    assert votes["difference"].to_list() == [1.0, 2.0, 3.0, 4.0, 5.0], "of one model, as it says them"


def test_labels_that_outrank_the_votes_are_never_treated() -> None:
    differences = pl.DataFrame(
        [(f"p{n:02d}", 0, n - 10.0) for n in range(20)],
        schema={"pair_id": pl.String, "member": pl.Int64, "difference": pl.Float64}, orient="row",
    )  # fmt: skip
    trusted = pl.Series([f"p{n:02d}" for n in range(0, 20, 2)])
    found = strength_beside(differences, Rule(weakest=0.2, strongest=0.1), trusted)
    plain = strength(differences, Rule())
    assert found["bucket"].equals(plain["bucket"])
    kinds = dict(found.select("pair_id", "treatment").iter_rows())
    assert {p for p, t in kinds.items() if t == "flip"} == {"p01", "p03"}
    assert {p for p, t in kinds.items() if t == "smooth"} == {"p19"}
    assert found.filter(pl.col("treatment") == "flip")["margin"].to_list() == [9.0, 7.0]


def test_best_and_worst_of_own_rollouts_are_a_pair() -> None:
    texts = [("p", n, t, "stop") for n, t in enumerate(["bad", "good", "cut", "fair", "good"])]
    texts[2] = ("p", 2, "cut", "length")
    texts += [("q", 0, "a", "stop"), ("q", 1, "b", "stop"), ("r", 0, "same", "stop"), ("r", 1, "same ", "stop")]
    rollouts = pl.DataFrame(
        [(p, "scored", n, t, None, f, *[None] * 8) for p, n, t, f in texts],
        schema={c: pl.String if k == pl.Null else k for c, k in ROLLOUTS.columns.items()}, orient="row",
    )  # fmt: skip
    told = [("p", 0, 0.0), ("p", 1, 1.0), ("p", 2, 1.0), ("p", 3, 0.5), ("p", 4, 1.0), ("r", 0, 0.0), ("r", 1, 1.0)]
    rows = [(p, n, r, "rtv", "v", "correct") for p, n, r in told]
    rows += [("q", n, float(n), "reward_model", "m", "scored") for n in range(2)]
    table = pl.DataFrame(rows, schema=pl.Schema(REWARDS.columns), orient="row")
    messages = [[{"role": "user", "content": name}] for name in "pqr"]
    prompts = pl.DataFrame(
        {"prompt_id": list("pqr"), "messages": messages}, schema_overrides={"messages": PREFERENCES.columns["messages"]}
    )
    [pair] = own_pairs(rollouts.lazy(), table.lazy(), prompts.lazy(), 0.5).to_dicts()
    assert (pair["prompt_id"], pair["chosen"], pair["rejected"], pair["origin"]) == ("p", "good", "bad", "own_rollouts")
    assert own_pairs(rollouts.lazy(), table.lazy(), prompts.lazy(), 1.0).height == 1
    smaller = table.with_columns(reward=pl.col("reward") * 0.4)
    assert own_pairs(rollouts.lazy(), smaller.lazy(), prompts.lazy(), 0.5).is_empty()
