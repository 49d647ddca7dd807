"""The mathematics of a step against numbers that were worked out by hand. Numbers in names: the PPO checklist's."""

import math

import pytest
import torch

from trainer.ppo import update
from trainer.ppo.update import MASKED_LOGPROB

MASK = torch.tensor([[True, True, True], [True, False, False]])


def close(found, *rows):
    torch.testing.assert_close(found, torch.tensor(rows if len(rows) > 1 else rows[0]), atol=1e-6, rtol=1e-5)


def test_2_log_probabilities_are_of_the_tempered_distribution():
    logits = torch.tensor([[[0.0, math.log(9.0)]]])
    mask = torch.ones(1, 1, dtype=torch.bool)
    logp, entropy = update.token_logprobs(logits, torch.tensor([[1]]), mask, temperature=2.0)
    close(logp, [[math.log(0.75)]])  # sqrt(9) : 1
    close(entropy, [[-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))]])


def test_3_the_logits_of_a_token_are_those_of_the_position_before_it():
    logits = torch.arange(2 * 5 * 1.0).reshape(2, 5, 1)
    close(update.response_logits(logits, 2)[..., 0], [1.0, 2.0, 3.0], [6.0, 7.0, 8.0])


def test_3_log_softmax_is_computed_in_fp32():
    logits = torch.tensor([[[10.0, 0.0]]], dtype=torch.bfloat16)
    logp, _ = update.token_logprobs(logits, torch.tensor([[0]]), torch.ones(1, 1, dtype=torch.bool), 1.0)
    assert logp.dtype == torch.float32
    assert float(logp) == pytest.approx(-math.log1p(math.exp(-10.0)), rel=1e-3)  # bf16 would round it to 0


def test_6_masked_tokens_share_one_constant_so_that_their_ratio_is_1_and_their_kl_0():
    found = [
        update.token_logprobs(torch.randn(2, 3, 7), torch.zeros(2, 3, dtype=torch.long), MASK, 1.0)[0] for _ in "ab"
    ]
    assert all(bool((f[~MASK] == MASKED_LOGPROB).all()) for f in found)
    assert bool(((found[0] - found[1]).exp()[~MASK] == 1).all())
    assert bool((update.kl_estimate(found[0], found[1], "k1")[~MASK] == 0).all())
    assert bool((update.kl_estimate(found[0], found[1], "k3")[~MASK] == 0).all())


def test_7_k1_and_k3_by_hand():
    logp, reference = torch.tensor([[math.log(0.5), math.log(0.2)]]), torch.tensor([[math.log(0.25), math.log(0.4)]])
    close(update.kl_estimate(logp, reference, "k1"), [[math.log(2.0), -math.log(2.0)]])
    close(update.kl_estimate(logp, reference, "k3"), [[0.5 - 1 + math.log(2.0), 2 - 1 - math.log(2.0)]])


@pytest.mark.parametrize("kind", ["k1", "k3"])
def test_7_both_estimators_have_the_true_kl_for_their_mean(kind):
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.2, 0.6])
    true = float((p * (p / q).log()).sum())
    assert float((p * update.kl_estimate(p.log(), q.log(), kind)).sum()) == pytest.approx(true, rel=1e-5)


def test_7_k3_as_a_term_of_the_loss_pulls_towards_the_reference():
    logp = torch.tensor([[math.log(0.5), math.log(0.2)]], requires_grad=True)
    update.kl_estimate(logp, torch.tensor([[math.log(0.25), math.log(0.4)]]), "k3").sum().backward()
    close(logp.grad, [[1 - 0.5, 1 - 2.0]])


def test_7_the_score_is_given_once_at_the_last_token():
    kl = torch.tensor([[0.1, -0.2, 0.3], [0.4, 9.0, 9.0]])
    found = update.token_rewards(torch.tensor([1.0, 0.5]), kl, MASK, 0.5)
    close(found, [-0.05, 0.1, 0.85], [0.3, 0.0, 0.0])


def test_7_a_row_without_tokens_has_no_reward():
    empty = torch.zeros(1, 3, dtype=torch.bool)
    close(update.token_rewards(torch.tensor([1.0]), torch.ones(1, 3), empty, 0.5), [[0.0, 0.0, 0.0]])


def test_8_the_adaptive_coefficient_is_clipped_and_goes_the_right_way():
    assert update.next_coefficient(0.1, 12.0, 6.0, 64, 640) == pytest.approx(0.1 * (1 + 0.2 * 0.1))
    assert update.next_coefficient(0.1, 0.0, 6.0, 64, 640) == pytest.approx(0.1 * (1 - 0.2 * 0.1))
    assert update.next_coefficient(0.1, 6.6, 6.0, 64, 640) == pytest.approx(0.1 * (1 + 0.1 * 0.1))
    assert update.next_coefficient(0.1, 6.0, 6.0, 64, 640) == 0.1


def test_9_whitening_of_advantages_takes_the_mean_away_and_that_of_rewards_keeps_it():
    values = torch.tensor([[1.0, 2.0, 3.0], [6.0, 99.0, -99.0]])  # mean 3, variance 14 / 3 over four tokens
    by = math.sqrt(14 / 3)
    close(update.whiten(values, MASK, shift_mean=True), [-2 / by, -1 / by, 0.0], [3 / by, 0.0, 0.0])
    close(update.whiten(values, MASK, shift_mean=False), [3 - 2 / by, 3 - 1 / by, 3.0], [3 + 3 / by, 0.0, 0.0])


def test_10_advantages_by_hand_and_nothing_after_the_end():
    rewards = torch.tensor([[0.0, 0.0, 1.0], [0.5, 7.0, 7.0]])
    values = torch.tensor([[0.2, 0.4, 0.6, 5.0], [0.1, 5.0, 5.0, 5.0]])  # what stands after the end does not count
    found, returns = update.advantages(rewards, values, MASK, gamma=1.0, lam=0.95)
    third = 1.0 - 0.6
    second = (0.6 - 0.4) + 0.95 * third
    first = (0.4 - 0.2) + 0.95 * second
    close(found, [first, second, third], [0.4, 0.0, 0.0])
    close(returns, [first + 0.2, second + 0.4, 1.0], [0.5, 0.0, 0.0])


def test_10_with_lambda_1_returns_are_the_sums_of_later_rewards():
    rewards = torch.tensor([[0.1, 0.2, 0.4], [0.5, 0.0, 0.0]])
    _, returns = update.advantages(rewards, torch.randn(2, 4), MASK, gamma=1.0, lam=1.0)
    close(returns, [0.7, 0.6, 0.4], [0.5, 0.0, 0.0])
    _, discounted = update.advantages(rewards, torch.randn(2, 4), MASK, gamma=0.5, lam=1.0)
    close(discounted, [0.1 + 0.1 + 0.1, 0.4, 0.4], [0.5, 0.0, 0.0])


def test_11_the_policy_loss_by_hand():
    old = torch.full((1, 4), math.log(0.2))
    logp = torch.log(torch.tensor([[0.2, 0.3, 0.1, 0.3]]))  # ratios 1, 1.5, 0.5, 1.5
    advantage = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    mask = torch.ones(1, 4, dtype=torch.bool)
    found = update.policy_loss(logp, old, advantage, mask, 0.2, tokens=4)
    assert float(found.loss) == pytest.approx((-1.0 - 1.2 + 0.8 + 1.5) / 4)
    assert int(found.clipped) == 2
    assert float(found.kl) == pytest.approx(2 * (0.5 - math.log(1.5)) + (-0.5 + math.log(2.0)), rel=1e-5)
    assert float(found.ratio) == pytest.approx(4.5)
    assert float(found.ratio_squared) == pytest.approx(1 + 2.25 + 0.25 + 2.25)


def test_11_the_gradient_is_cut_off_where_the_clip_binds_and_in_padding():
    logp = torch.log(torch.tensor([[0.2, 0.3, 0.3]])).requires_grad_()
    mask = torch.tensor([[True, True, False]])
    found = update.policy_loss(logp, torch.full((1, 3), math.log(0.2)), torch.ones(1, 3), mask, 0.2, tokens=2)
    found.loss.backward()
    close(logp.grad, [[-0.5, 0.0, 0.0]])


def test_11_the_value_loss_is_half_the_larger_of_plain_and_clipped():
    old, values = torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[0.1, 0.5, 0.5]])
    returns = torch.tensor([[1.0, 1.0, -1.0]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    loss, clipped = update.value_loss(values, old, returns, mask, 0.2, tokens=3)
    # plain .81 .25 2.25, clipped .81 .64 1.44
    assert float(loss) == pytest.approx(0.5 * (0.81 + 0.64 + 2.25) / 3)
    assert int(clipped) == 1


def test_14_losses_of_parts_add_up_to_the_loss_of_the_whole():
    generator = torch.Generator().manual_seed(0)
    logp, old, advantage = (torch.randn(6, 5, generator=generator) for _ in range(3))
    mask = torch.arange(5)[None] < torch.tensor([1, 5, 2, 4, 3, 5])[:, None]  # parts have other numbers of tokens
    total = int(mask.sum())
    whole = update.policy_loss(logp, old, advantage, mask, 0.2, total).loss
    parts = [
        update.policy_loss(logp[r], old[r], advantage[r], mask[r], 0.2, total).loss for r in (slice(0, 2), slice(2, 6))
    ]
    torch.testing.assert_close(sum(parts), whole)


def test_the_group_baseline_by_hand():
    scores = torch.tensor([1.0, 0.0, 1.0, 0.25, 0.75, 5.0])
    groups = torch.tensor([0, 0, 0, 1, 1, 1])
    counted = torch.tensor([True, True, True, True, True, False])
    close(update.group_advantages(scores, groups, counted, scale=False), [1 / 3, -2 / 3, 1 / 3, -0.25, 0.25, 0.0])
    by, other = math.sqrt(1 / 3) + 1e-4, math.sqrt(0.125) + 1e-4
    scaled = update.group_advantages(scores, groups, counted, scale=True)
    close(scaled, [1 / 3 / by, -2 / 3 / by, 1 / 3 / by, -0.25 / other, 0.25 / other, 0.0])


def test_a_group_that_agrees_has_no_advantage():
    scores, counted = torch.ones(4), torch.tensor([True, True, True, False])
    assert not update.group_advantages(scores, torch.zeros(4, dtype=torch.long), counted, scale=True).any()


def test_the_robust_objective_is_between_nominal_and_worst():
    close(update.robust_scores(torch.tensor([0.8]), torch.tensor([0.3]), 0.6), [0.6])


def losses(filler):
    """Return all that an update computes of random responses, and the gradients, with something in the padding."""
    draws = torch.Generator().manual_seed(0)
    mask = torch.arange(6) < torch.tensor([[6], [1], [4], [0]])
    logp, old, reference, values, rewards = (
        torch.randn(4, 6, generator=draws).masked_fill(~mask, filler).requires_grad_(n in (0, 3)) for n in range(5)
    )
    after = torch.cat([values.detach(), torch.full((4, 1), filler)], dim=1)
    scores, counted = torch.rand(4, generator=draws), mask.any(dim=1)
    scores = scores.masked_fill(~counted, filler)
    kl = update.kl_estimate(logp.detach(), reference, "k1")
    found, returns = update.advantages(rewards, after, mask, 0.9, 0.95)
    policy = update.policy_loss(logp, old, found, mask, 0.2, 11)
    value, clipped = update.value_loss(values, old, returns, mask, 0.2, 11)
    (policy.loss + value).backward()
    groups = torch.tensor([0, 0, 1, 1])
    grouped = [update.group_advantages(scores, groups, counted, scale=scale) for scale in (True, False)]
    paid = update.token_rewards(scores, kl, mask, 0.1)
    white = update.whiten(rewards, mask, shift_mean=False)
    return [found, returns, *policy, value, clipped, logp.grad, values.grad, paid, white, *grouped]


@pytest.mark.parametrize("filler", [math.nan, math.inf, 7.0])
def test_5_what_stands_in_the_padding_decides_nothing(filler):
    for one, other in zip(losses(filler), losses(0.0), strict=True):
        assert torch.equal(one, other)
