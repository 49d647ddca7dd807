"""Losses by hand, by laws, and against other ways to compute them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.reward_models.heads import Head, Rewards
from trainer.reward_models.losses import (
    _sinkhorn,
    bradley_terry,
    gaussian_nll,
    labelled_targets,
    meta_difference,
    sampled_mse,
    simcse,
    swav,
    text_regulariser,
)
from trainer.reward_models.objective import bootstrap
from trainer.reward_models.pairs import Pair
from trainer.reward_models.recipes import RECIPES, Recipe, recipe_of
from trainer.reward_models.treatment import treated

some = st.floats(-20, 20)


def t(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@given(some, some, st.floats(0, 1))
def test_bradley_terry_is_a_cross_entropy(d: float, margin: float, target: float) -> None:
    x = d - margin
    wanted = target * math.log1p(math.exp(-x)) + (1 - target) * math.log1p(math.exp(x))
    assert float(bradley_terry(t(d), margin, target)) == pytest.approx(wanted, rel=1e-6, abs=1e-6)


@given(some)
def test_a_label_that_may_be_wrong_bounds_the_loss_from_both_sides(d: float) -> None:
    smoothed = float(bradley_terry(t(d), 0.0, 0.9))
    assert smoothed >= -(0.9 * math.log(0.9) + 0.1 * math.log(0.1)) - 1e-9, "its least is the entropy of the label"
    assert float(bradley_terry(t(d), 0.0, 0.5)) == pytest.approx(float(bradley_terry(t(-d), 0.0, 0.5)))


def test_the_margin_has_a_gradient() -> None:
    d = t(0.3).requires_grad_()
    bradley_terry(d, 1.0).sum().backward()
    assert float(d.grad) == pytest.approx(-1 / (1 + math.exp(0.3 - 1.0)))


def test_text_regularisers() -> None:
    chosen, rejected = t(-30.0), t(-34.0)
    assert float(text_regulariser("sft", chosen, rejected, 0.1)) == pytest.approx(math.log1p(math.exp(3.0)))
    assert float(text_regulariser("dpo-noref", chosen, rejected, 0.1)) == pytest.approx(math.log1p(math.exp(-0.4)))
    assert float(text_regulariser("dpo", chosen, rejected, 0.1, t(4.0))) == pytest.approx(math.log(2))
    for kind in ("dpo", "other"):
        with pytest.raises(ValueError, match="reference"):
            text_regulariser(kind, chosen, rejected, 0.1)


def test_simcse_is_least_where_each_text_is_nearest_to_itself() -> None:
    features = torch.eye(4, 8, dtype=torch.float64)
    own, other = simcse(features, features, 0.1), simcse(features, features.roll(1, 0), 0.1)
    assert float(own.max()) == pytest.approx(math.log(1 + 3 * math.exp(-10)))
    assert float(other.min()) > 9


def test_swav_spreads_texts_over_clusters() -> None:
    torch.manual_seed(0)
    codes = _sinkhorn(torch.randn(64, 4) / 0.05, rounds=50)
    assert torch.allclose(codes.sum(dim=1), torch.ones(64), atol=1e-5)
    assert torch.allclose(codes.sum(dim=0), torch.full((4,), 16.0), atol=0.5)
    features, prototypes = torch.randn(16, 8), torch.randn(4, 8)
    assert (swav(features, features, prototypes, 0.1) > 0).all()
    first, second = torch.randn(16, 8), torch.randn(16, 8)
    assert torch.allclose(swav(first, second, prototypes, 0.1), swav(second, first, prototypes, 0.1)), "it is symmetric"


@given(some, some)
def test_targets_agree_with_labels_and_with_sampling(chosen: float, rejected: float) -> None:
    high, low = labelled_targets(t(chosen), t(rejected))
    assert float(high - low) > 0, "the chosen response is ahead"
    assert float(high - low) >= chosen - rejected - 1e-9
    assert float(high + low) == pytest.approx(chosen + rejected, abs=1e-6), "what one gains the other loses"


@pytest.mark.parametrize("d", [-3.0, 0.0, 2.0])
def test_targets_are_the_mean_of_differences_that_agree_with_the_label(d: float) -> None:
    u = torch.rand(400_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn = d + torch.log(u) - torch.log1p(-u)  # logistic
    high, low = labelled_targets(t(d), t(0.0))
    assert float(high - low) == pytest.approx(float(drawn[drawn > 0].mean()), rel=0.02)


def test_the_likelihood_finds_mean_and_spread_and_sampled_errors_find_no_spread() -> None:
    """What the docstrings say: the second form drives every standard deviation to zero."""
    torch.manual_seed(0)
    target = 1.5 + 0.7 * torch.randn(4000)
    for form, expected in (("nll", 0.7), ("mse", 0.0)):
        mean, raw = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
        steps = torch.optim.Adam([mean, raw], lr=0.05)
        for _ in range(400):
            given = Rewards(mean.expand(4000, 1), torch.nn.functional.softplus(raw).expand(4000, 1))
            noise = torch.randn(4000, 1)
            loss = (gaussian_nll(given, target, 0.5) if form == "nll" else sampled_mse(given, target, noise)).mean()
            steps.zero_grad()
            loss.backward()
            steps.step()
        assert float(mean.detach()) == pytest.approx(1.5, abs=0.05)
        assert float(torch.nn.functional.softplus(raw).detach()) == pytest.approx(expected, abs=0.06)


def test_meta_difference_by_hand() -> None:
    rewards = t(0.0, 1.0, 3.0)
    wanted = 2 / 9 * sum(1 / (1 + math.exp(-x)) for x in (1.0, 3.0, 2.0))
    assert float(meta_difference(rewards)) == pytest.approx(wanted)


def test_heads_say_what_papers_say() -> None:
    rewards = Rewards(t(1.0, 3.0, 2.0)[None], t(0.5, 0.1, 0.9)[None])
    assert float(rewards.nominal()) == 3.0, "the head with the smallest standard deviation"
    assert float(rewards.worst()) == 1.0
    assert float(rewards.uncertainty()) == pytest.approx(math.sqrt(2 / 3))
    assert float(rewards.pessimistic(3.0)) == pytest.approx(2.0 - 3 * 2 / 3)
    assert float(Rewards(rewards.mean).nominal()) == 2.0


@pytest.mark.parametrize("kind", ["linear", "mlp", "gaussian"])
def test_heads_have_their_shapes(kind: str) -> None:
    head = Head(16, Recipe(head=kind, heads=3, hidden=8))
    given = head(torch.randn(5, 16))
    assert given.mean.shape == (5, 3)
    assert (given.std is None) == (kind != "gaussian")
    assert given.std is None or (given.std > 0).all()


def test_a_bootstrap_draws_each_pair_once_on_average_and_for_each_head_anew() -> None:
    counts = torch.tensor([bootstrap(f"pair {i}", 5, seed=0) for i in range(4000)], dtype=torch.float64)
    assert counts.mean(dim=0).sub(1).abs().max() < 0.06
    assert counts.var(dim=0).sub(1).abs().max() < 0.1, "as a Poisson count does"
    assert torch.corrcoef(counts.T).sub(torch.eye(5)).abs().max() < 0.06
    assert bootstrap("pair 7", 5, seed=0) == [int(x) for x in counts[7]]
    assert bootstrap("any", 1, seed=0) == [1]


def strong(*strengths: float) -> list[Pair]:
    return [Pair(f"p{i}", (("user", "q"),), f"good {i}", f"bad {i}", strength=s) for i, s in enumerate(strengths)]


def test_treatments() -> None:
    pairs = strong(*range(-2, 18))
    flipped = treated(pairs, recipe_of("flip+margin"))
    assert [p.chosen[:3] for p in flipped[:3]] == ["bad", "bad", "goo"], "a tenth of twenty"
    assert [p.strength for p in flipped[:3]] == [2, 1, 0]
    assert [p.pair_id for p in treated(pairs, recipe_of("drop"))] == [f"p{i}" for i in range(2, 20)]
    soft = treated(pairs, recipe_of("soft+margin"))
    known = {p.pair_id: p.target for p in soft if p.target is not None}
    assert list(known) == ["p0", "p1", "p18", "p19"]
    assert known["p0"] == pytest.approx(1 / (1 + math.exp(2)))
    assert treated(pairs, recipe_of("bt")) == pairs
    half = [replace(p, trusted=i % 2 == 0) for i, p in enumerate(pairs)]
    for name, gone in (("flip+margin", "p1"), ("drop", "p1"), ("soft+margin", "p1")):
        kept = {p.pair_id: p for p in treated(half, recipe_of(name))}
        assert all(kept[p.pair_id] == p for p in half if p.trusted), "what outranks a reward model is not treated"
        assert kept.get(gone) != half[1]
    with pytest.raises(ValueError, match="1 have none, such as x"):
        treated([*pairs, Pair("x", (), "a", "b")], recipe_of("margin"))


def test_recipes_have_names() -> None:
    assert {"bt", "margin", "smoothing", "flip", "flip+margin", "grm-sft", "brme", "metarm", "simcse"} <= set(RECIPES)
    with pytest.raises(LookupError, match="no recipe is named 'x'; there are: bt, "):
        recipe_of("x")
