"""Settings of what scores rollouts: `[reward]`, `[reward_model]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from warehouse.settings.fields import Share
from warehouse.settings.machine import EngineSettings
from warehouse.settings.section import Section


class RewardSettings(Section):
    """`[reward]`: how rollouts are scored, and what an undecided score means."""

    min_scored_share: Share = 0.5  # a prompt with fewer scored rollouts is `unscored`
    budget_s: Annotated[float, Field(gt=0.0, le=3600.0)] | None = None  # for one verdict; default: its verifier's
    pass_threshold: Share | None = None  # makes pass rates of rewards that are not 0 or 1
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95  # of the pass-rate interval (Jeffreys)
    suspect_gold_agreement: Share = 0.8
    text_columns: bool = True  # max_edit_distance and the like, which read the responses


class JudgingSettings(Section):
    """`[judge]`: the generative judge, for prompts that no rule verifier and no recorded score decides."""

    model: str | None = None  # left out: nothing is judged
    engine: Literal["transformers", "vllm", "openai", "ray"] = "transformers"
    revision: str | None = None  # names the weights behind a served model, which nobody here can look at
    against: list[Literal["ground_truth", "best_of_n", "rubric"]] = ["ground_truth", "best_of_n"]
    gold_template: str = "pairwise-gold"  # against a ground truth that no rule verifier checks
    open_template: str = "pairwise"  # against the best of N reference samples
    rubric_template: str = "rubric"  # against nothing: prompts without ground truth and reference samples
    rubric: str | None = None  # the text of the rubric; default: the template's own
    temperature: Annotated[float, Field(ge=0.0, le=10.0)] = 0.0
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    max_tokens: Annotated[int, Field(ge=1)] | None = None  # default: what the template says
    top_logprobs: Annotated[int, Field(ge=0, le=100)] = 20  # 0: the verdict's line decides
    min_mass: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    retries: Annotated[int, Field(ge=0, le=20)] = 2
    seed: int = 0
    canaries: Annotated[int, Field(ge=0)] = 8  # of each kind in every chunk
    max_false_positive_rate: Share = 0.1  # of canaries; above it the run stops
    chunk_rows: Annotated[int, Field(ge=1)] = 2048  # responses: what a killed run has to judge again, at most
    batch_size: Annotated[int, Field(ge=1)] = 64
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "auto"
    serving: EngineSettings | None = None  # `[judge.serving]`, with the keys of `[engine]`; default: `[engine]` itself


class RewardModelSettings(Section):
    """`[reward_model]`: chooses the best of N, and scores what nothing else can; see `curation.model_rewards`."""

    models: list[str] = []  # folders, or names on the hub; several are an ensemble
    scope: Literal["unverified", "all"] = "unverified"  # whose rollouts: prompts without a rule verifier, or all
    combine: Literal["nominal", "mean", "worst"] = "nominal"  # of the heads of a model; members are averaged
    batch_size: Annotated[int, Field(ge=1)] = 32
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    max_length: Annotated[int, Field(ge=1)] | None = None  # tokens; default: as it was trained
    chunk_rows: Annotated[int, Field(ge=1)] = 8192  # rollouts: what a killed run has to score again, at most

    @model_validator(mode="after")
    def _once(self) -> RewardModelSettings:
        if len(set(self.models)) != len(self.models):
            msg = f"models = {self.models}: each member counts once"
            raise ValueError(msg)
        return self
