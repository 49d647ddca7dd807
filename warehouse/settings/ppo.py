"""Settings of training on a release: `[ppo]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from warehouse.settings.fields import Share
from warehouse.settings.section import Section

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]


class PpoSettings(Section):
    """`[ppo]`: how the policy learns. Temperature, max_tokens, stop and system prompt are those of `[policy]`.

    arXiv 2503.22230 gives none of these numbers. Clips, lambda and gamma are those of 2403.17031; rates and epochs are
    ours, for the nursery: a model of billions wants rates of 5e-7 and 1.5e-6 (2401.06080).
    """

    steps: Count = 80  # each phase has its share of them by its rows; a phase that has more goes over its rows again
    prompts: Count = 32  # of a step
    samples: Count = 4  # of a prompt in a step
    engine: Literal["own", "policy"] = "own"  # own: the weights in training; policy: the engine of [policy], restarted
    baseline: Literal["critic", "group"] = "critic"  # group: the mean of a prompt's samples, no critic (GRPO)
    group_scale: bool = True  # group: divide by the standard deviation of a prompt's samples
    critic_model: str | None = None  # what the critic starts from, such as a reward model; default: the policy
    rate: Positive = 3e-4
    critic_rate: Positive = 1e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 5  # in which rates rise linearly: Adam's first steps are its largest
    anneal: bool = True  # rates fall to zero, linearly
    epochs: Count = 2  # over the responses of a step
    minibatches: Count = 4  # of an epoch: steps of the optimizer
    micro_batch: Count = 32  # responses that are computed at a time; a minibatch is accumulated from them
    clip: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    value_clip: Positive = 0.2
    value_coefficient: NotNegative = 0.1
    entropy_coefficient: NotNegative = 0.0
    gamma: Share = 1.0
    gae_lambda: Share = 0.95
    grad_clip: Positive = 1.0
    kl: Literal["k1", "k3"] = "k1"
    kl_coefficient: NotNegative = 0.02
    kl_target: Positive | None = None  # nats of a response: the coefficient adapts to it; default: it is fixed
    kl_horizon: Positive = 10_000.0  # responses, of the adaptive coefficient
    robust: Share = 1.0  # share of the nominal reward; the rest is the worst that a reward model's heads give (BRME)
    null_reward: Literal["leave_out", "lowest"] = "leave_out"  # what a response without a reward counts as
    truncated: Literal["null", "lowest"] = "null"  # what a response that was cut at max_tokens counts as
    dynamic_sampling: bool = False  # prompts whose samples all have the same reward are replaced (DAPO)
    resample_rounds: Count = 3  # how often, at most
    whiten_rewards: bool = False
    whiten_advantages: bool = True
    stop_kl: Positive | None = None  # nats of a response, from the policy at the start: training ends there
    epoch_kl: Positive | None = None  # nats of a token, of one step's update: its remaining minibatches are skipped
    evaluate_every: Count = 10
    evaluate_samples: Count = 4  # of each held-out prompt
    evaluate_prompts: Count | None = None  # at most so many held-out prompts (the lowest ids)
    checkpoint_every: Count = 10
    pad_token: str | None = None  # a token to pad with, where the tokenizer has none of its own
    seed: int = 0
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"  # of the computation; weights are kept in float32
    device: str = "auto"

    @model_validator(mode="after")
    def _together(self) -> PpoSettings:
        responses = self.prompts * self.samples
        if responses % self.minibatches:
            msg = f"prompts * samples = {responses} must be a multiple of minibatches = {self.minibatches}"
            raise ValueError(msg)
        if self.baseline == "group" and self.samples < 2:
            msg = 'baseline = "group" compares the samples of a prompt: samples must be 2 at least'
            raise ValueError(msg)
        if self.baseline == "group" and self.kl == "k1":
            msg = 'baseline = "group" has the KL as a term of the loss, where k1 has no gradient: set kl = "k3"'
            raise ValueError(msg)
        if self.dynamic_sampling and self.samples < 2:
            msg = "dynamic_sampling compares the samples of a prompt: samples must be 2 at least"
            raise ValueError(msg)
        return self
