"""Settings of preferences: where pairs come from, what becomes of weak ones, how reward models are trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from warehouse.settings.fields import ColumnField, Share, Where
from warehouse.settings.section import Section


class PreferencesSettings(Section):
    """One `[[preferences]]`: pairs of responses of which people, or a model, preferred one.

    `chosen` and `rejected` are texts; or, without `prompt` and `messages`, whole transcripts that begin with the same
    turns: lists of messages, or texts of "Human:" and "Assistant:" turns. With `label` they are the first and the
    second response, and the label says which was preferred: 1 or 2 (`map` makes these of other values), or a list of
    both scores; a null, "tie" and equal scores are a tie, which is no pair.
    """

    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$")]
    path: str | list[str]
    prompt: ColumnField | None = None
    messages: ColumnField | None = None
    chosen: ColumnField
    rejected: ColumnField
    label: ColumnField | None = None
    where: list[Where] = []
    encoding: str = "utf-8"

    @model_validator(mode="after")
    def _one_prompt(self) -> PreferencesSettings:
        if self.prompt is not None and self.messages is not None:
            msg = "give `prompt` or `messages`, or neither where `chosen` and `rejected` are whole transcripts"
            raise ValueError(msg)
        return self


class StrengthSettings(Section):
    """`[strength]`: what becomes of pairs by the votes of the reward models; see `curation.strength`."""

    own_rollouts: bool = True  # best and worst of a prompt's own rollouts are a pair, too
    min_gap: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5  # between their rewards
    weakest: Share = 0.10  # of the pairs, by strength
    weakest_treatment: Literal["keep", "flip", "smooth", "drop"] = "flip"
    votes: Share = 0.5  # of those, only where at most this share of the members votes for the label
    strongest: Share = 0.0  # of the pairs, from the top: smoothed


class RewardTrainingSettings(Section):
    """`[reward_training]`: what `preppo reward train` does; see `trainer.reward_models` for recipes and numbers."""

    trunk: str = "nursery"
    recipe: str = "bt"
    members: Annotated[int, Field(ge=1, le=100)] = 1
    pairs: Literal["auto", "cleaned", "raw"] = "auto"  # auto: raw where the recipe treats weak pairs itself
    origins: list[str] = []  # names of [[preferences]], or "own_rollouts"; empty: all
    heldout_share: Share = 0.1  # of the prompts, for the report
    tune: Literal["full", "lora", "frozen"] = "full"
    rate: Annotated[float, Field(gt=0.0)] = 1e-5
    head_rate: Annotated[float, Field(gt=0.0)] = 1e-3
    batch: Annotated[int, Field(ge=1)] = 32
    micro: Annotated[int, Field(ge=1)] = 8
    epochs: Annotated[int, Field(ge=1)] = 1
    second_epochs: Annotated[int, Field(ge=1)] = 4
    max_length: Annotated[int, Field(ge=1)] = 1024
    plain: bool | None = None
    seed: int = 0
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    checkpoint_steps: Annotated[int, Field(ge=1)] = 100
    lora_rank: Annotated[int, Field(ge=1)] = 32
    lora_alpha: Annotated[int, Field(ge=1)] = 64
