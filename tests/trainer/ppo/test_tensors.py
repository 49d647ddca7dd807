"""Padding, positions, minibatches, and what the models say of them. Numbers in names: the PPO checklist's."""

import pytest
import torch

from tests.trainer.ppo.world import POLICY, sums, training
from trainer.ppo.models import Models, pad_token
from trainer.ppo.prompts import PpoError
from trainer.ppo.rollouts import Response
from trainer.ppo.tensors import collate, minibatches
from trainer.ppo.update import MASKED_LOGPROB

PROMPT = sums(1)[0]


def response(context, tokens):
    return Response(PROMPT, 0, 0, context, tokens, "", "stop", None, None, 1.0, 1.0)


MIXED = [response([5, 6, 7], [8, 9, 10, 4]), response([11], [12, 4]), response([13, 14], [4])]


@pytest.fixture(scope="module")
def models():
    return Models(POLICY, training(dtype="float32").settings)


def test_1_prompts_are_padded_on_the_left_and_responses_on_the_right():
    rows = collate(MIXED, 0)
    assert rows.tokens.tolist() == [[5, 6, 7, 8, 9, 10, 4], [0, 0, 11, 12, 4, 0, 0], [0, 13, 14, 4, 0, 0, 0]]
    assert rows.attention.tolist() == [[1] * 7, [0, 0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0, 0]]
    assert rows.positions[1, 2:5].tolist() == [0, 1, 2]
    assert rows.mask.tolist() == [[True] * 4, [True, True, False, False], [True, False, False, False]]


def test_1_a_pad_token_that_is_none_or_the_end_token_is_refused():
    class Tokenizer:
        pad_token_id, eos_token_id, eos_token = None, 2, "</s>"

        def get_vocab(self):
            return {"<x>": 7, "</s>": 2}

    with pytest.raises(PpoError, match=r"the tokenizer of some/model has no pad token: .* ppo\.pad_token"):
        pad_token(Tokenizer(), "some/model", None)
    with pytest.raises(PpoError, match="pads with its end token '</s>'"):
        pad_token(Tokenizer(), "some/model", "</s>")
    with pytest.raises(PpoError, match="'<y>' is no token of some/model"):
        pad_token(Tokenizer(), "some/model", "<y>")
    assert pad_token(Tokenizer(), "some/model", "<x>") == 7


@torch.no_grad()
def test_1_padding_changes_nothing_that_is_computed(models):
    together, entropy = models.logprobs(models.policy, collate(MIXED, models.pad))
    values = models.critic.trunk
    assert values is not None
    for n, one in enumerate(MIXED):
        alone, own = models.logprobs(models.policy, collate([one], models.pad))
        width = len(one.tokens)
        torch.testing.assert_close(together[n, :width], alone[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(entropy[n, :width], own[0], atol=1e-4, rtol=1e-4)
        assert (together[n, width:] == MASKED_LOGPROB).all()


@torch.no_grad()
def test_3_log_probabilities_are_those_of_a_plain_forward_pass(models):
    one = MIXED[0]
    logits = models.policy(torch.tensor([one.context + one.tokens])).logits[0].log_softmax(-1)
    expected = [float(logits[len(one.context) - 1 + i, token]) for i, token in enumerate(one.tokens)]
    found, _ = models.logprobs(models.policy, collate([one], models.pad))
    assert found[0].tolist() == pytest.approx(expected, abs=1e-4)


@torch.no_grad()
def test_5_values_have_one_column_more_than_log_probabilities(models):
    rows = collate(MIXED, models.pad)
    assert models.logprobs(models.policy, rows)[0].shape == rows.mask.shape == (3, 4)
    assert models.critic(rows).shape == (3, 5)


@torch.no_grad()
def test_12_no_dropout_a_frozen_reference_and_a_critic_that_starts_at_zero(models):
    assert not any(m.training for part in (models.policy, models.reference, models.critic) for m in part.modules())
    assert not any(p.requires_grad for p in models.reference.parameters())
    assert all(p.requires_grad for p in models.trained.values())
    assert not any(n.startswith("reference") for n in models.trained)
    assert not models.critic(collate(MIXED, models.pad)).any()


def test_12_the_critic_can_start_from_a_reward_model():
    critic = Models(POLICY, training(critic_model="nursery-reward").settings).critic
    assert not torch.equal(
        critic.trunk.embed_tokens.weight, Models(POLICY, training().settings).critic.trunk.embed_tokens.weight
    )


def test_14_a_minibatch_is_an_exact_part_of_all_responses():
    lengths = [5, 0, 3, 9, 2, 7, 1, 4]
    epoch = list(minibatches(lengths, 2, 3, seed=1))
    assert sorted(i for minibatch in epoch for part in minibatch for i in part) == [0, 2, 3, 4, 5, 6, 7]
    assert all(len(part) <= 3 for minibatch in epoch for part in minibatch)
    with pytest.raises(ValueError, match="8 responses cannot be divided into 3 minibatches"):
        list(minibatches(lengths, 3, 3, seed=1))
    with pytest.raises(ValueError, match=r"prompts \* samples = 8 must be a multiple of minibatches = 3"):
        training(minibatches=3)


def test_13_every_epoch_has_a_fresh_permutation_which_its_seed_decides():
    lengths = list(range(1, 17))
    assert list(minibatches(lengths, 2, 8, seed=1)) == list(minibatches(lengths, 2, 8, seed=1))
    assert list(minibatches(lengths, 2, 8, seed=1)) != list(minibatches(lengths, 2, 8, seed=2))
