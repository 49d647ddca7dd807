"""A step of ours and the same step of TRL's PPOTrainer: the same responses, the same rewards, the same weights after.

Needs the extra `trl`: its last version that has PPO.
"""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForSequenceClassification

from tests.trainer.ppo.world import POLICY, sums, training
from trainer.engines.weights import NURSERY
from trainer.ppo import update
from trainer.ppo.experience import judge, lengths, observe
from trainer.ppo.learner import BETAS, EPSILON, Learner
from trainer.ppo.models import Models
from trainer.ppo.rollouts import Response
from trainer.ppo.tensors import minibatches

theirs = pytest.importorskip("trl.experimental.ppo.ppo_trainer")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("one_thread")]

ROWS, CONTEXT, LENGTH = 6, 9, 7
RATE, BETA, LAMBDA = 3e-3, 0.3, 0.9  # rates so high that the second epoch clips


@pytest.fixture(scope="module")
def batch():
    """Return prompts padded on the left, responses of one length, rewards; no end token, no padding in responses."""
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(5, 500, (ROWS, CONTEXT + LENGTH), generator=generator)
    for row in range(ROWS):
        tokens[row, : row % 4] = 0
    scores = torch.rand(ROWS, generator=generator)
    return SimpleNamespace(tokens=tokens, scores=scores)


def head():
    return torch.randn(1, 128, generator=torch.Generator().manual_seed(5)) * 0.05


def their_step(batch, tmp_path, kind):
    """Let PPOTrainer take its step, with our batch in the place of what it would have sampled and scored."""
    trl = pytest.importorskip("trl.experimental.ppo")
    policy, reference = (AutoModelForCausalLM.from_pretrained(NURSERY, dtype=torch.float32) for _ in "ab")
    value, reward = (
        LlamaForSequenceClassification.from_pretrained(NURSERY, num_labels=1, dtype=torch.float32) for _ in "ab"
    )
    value.score.weight.data.copy_(head())
    moved(reference)
    arguments = trl.PPOConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=ROWS, gradient_accumulation_steps=1, num_mini_batches=1,
        num_ppo_epochs=2, total_episodes=ROWS, response_length=LENGTH, temperature=1.0, kl_coef=BETA,
        kl_estimator=kind, cliprange=0.2, cliprange_value=0.2, vf_coef=0.1, gamma=1.0, lam=LAMBDA, whiten_rewards=False,
        learning_rate=RATE, adam_beta1=BETAS[0], adam_beta2=BETAS[1], adam_epsilon=EPSILON, weight_decay=0.0,
        missing_eos_penalty=None, num_sample_generations=0, report_to="none", use_cpu=True, bf16=False, seed=1,
        save_strategy="no", logging_strategy="no", local_rollout_forward_batch_size=ROWS, gradient_checkpointing=False,
        optim="adamw_torch",
    )  # fmt: skip
    from datasets import Dataset

    models = Models(POLICY, training().settings)
    rows = Dataset.from_dict({"input_ids": batch.tokens[:, :CONTEXT].tolist()})
    with pytest.MonkeyPatch.context() as patch:

        def drawn(model, queries, *_):
            # The trainer shuffles its prompts: theirs and ours are put in one order here.
            logits = theirs.forward(model, batch.tokens, 0).logits[:, CONTEXT - 1 : -1]
            return batch.tokens, logits

        real = theirs.get_reward

        def scored(model, tokens, pad, context):
            if model is reward:
                return None, batch.scores, None
            return real(model, tokens, pad, context)

        patch.setattr(theirs, "batch_generation", drawn)
        patch.setattr(theirs, "get_reward", scored)
        trainer = trl.PPOTrainer(
            args=arguments, processing_class=models.engine.tokenizer, model=policy, ref_model=reference,
            reward_model=reward, value_model=value, train_dataset=rows, eval_dataset=rows,
        )  # fmt: skip
        trainer.train()
    return policy, value


def moved(reference):
    """Move a reference away from the policy, so that the KL is not 0."""
    generator = torch.Generator().manual_seed(9)
    for parameter in reference.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)


def our_step(batch, kind):
    settings = training(
        prompts=ROWS, samples=1, minibatches=1, micro_batch=4, epochs=2, rate=RATE, critic_rate=RATE, anneal=False,
        kl=kind, kl_coefficient=BETA, gae_lambda=LAMBDA, grad_clip=1e9,
    ).settings  # fmt: skip
    models = Models(POLICY, settings)
    moved(models.reference)
    models.critic.head.weight.data.copy_(head())
    models.critic.head.bias.requires_grad_(requires_grad=False)  # theirs has none
    responses = [
        Response(
            sums(1)[0], 0, row, batch.tokens[row, row % 4 : CONTEXT].tolist(), batch.tokens[row, CONTEXT:].tolist(),
            "", "length", None, None, float(batch.scores[row]), float(batch.scores[row]),
        )
        for row in range(ROWS)
    ]  # fmt: skip
    epochs = [list(minibatches(lengths(responses), 1, settings.micro_batch, n)) for n in range(2)]
    seen = observe(models, responses, epochs[0])
    told = Learner(models, settings).learn(seen, judge(seen, settings, BETA), epochs, 0, BETA)
    return models, told


@pytest.mark.parametrize("kind", ["k1", "k3"])
def test_two_epochs_end_in_the_weights_that_trl_ends_in(batch, tmp_path, kind):
    policy, value = their_step(batch, tmp_path, kind)
    models, told = our_step(batch, kind)
    assert told.sums["clipped"] > 0
    assert told.sums["value_clipped"] > 0
    before = AutoModelForCausalLM.from_pretrained(NURSERY, dtype=torch.float32)
    for ours, other, old in ((models.policy, policy, before), (models.critic.trunk, value.model, before.model)):
        reference = dict(old.named_parameters())
        expected = dict(other.named_parameters())
        for name, parameter in ours.named_parameters():
            went = float((expected[name] - reference[name]).norm())
            apart = float((parameter - expected[name]).norm())
            assert apart < 2e-3 * went, name
            assert went > 0, name


def test_the_loss_of_the_group_baseline_is_that_of_trls_grpo():
    grpo = pytest.importorskip("trl.trainer.grpo_trainer")
    generator = torch.Generator().manual_seed(0)
    shape = (6, 5)
    old, reference, new = (-torch.rand(shape, generator=generator) * 2 for _ in range(3))
    mask = torch.arange(5)[None] < torch.tensor([5, 3, 1, 4, 2, 5])[:, None]
    scores, groups = torch.rand(6, generator=generator), torch.tensor([0, 0, 0, 1, 1, 1])
    advantage = update.group_advantages(scores, groups, torch.ones(6, dtype=torch.bool), scale=True)

    # Only what its loss asks of the trainer; the log-probabilities are given, since the models are compared above.
    theirs_logp = new.clone().requires_grad_()
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (theirs_logp, torch.zeros(shape), None),
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None, beta=BETA, epsilon_low=0.2,
        epsilon_high=0.2, importance_sampling_level="token", loss_type="bnpo", use_vllm=False,
        _entropy_bonus_enabled=False, current_gradient_accumulation_steps=1, model=SimpleNamespace(training=True),
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None),
        accelerator=SimpleNamespace(gather=lambda x: x), _metrics=defaultdict(lambda: defaultdict(list)),
    )  # fmt: skip
    inputs = {
        "prompt_ids": torch.zeros(6, 1), "prompt_mask": torch.ones(6, 1), "completion_ids": torch.zeros(shape),
        "completion_mask": mask, "advantages": advantage, "old_per_token_logps": old, "ref_per_token_logps": reference,
    }  # fmt: skip
    expected = grpo.GRPOTrainer._compute_loss(trainer, None, inputs)
    expected.backward()

    logp = new.clone().requires_grad_()
    tokens = int(mask.sum())
    found = update.policy_loss(logp, old, advantage[:, None] * mask, mask, 0.2, tokens)
    loss = found.loss + BETA * (update.kl_estimate(logp, reference, "k3") * mask).sum() / tokens
    loss.backward()
    assert int(found.clipped) > 0
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(logp.grad, theirs_logp.grad)
