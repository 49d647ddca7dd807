"""How a reward model is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainSettings:
    """How a reward model is trained, whatever its recipe.

    Attributes:
        tune: the whole trunk, low-rank adapters in it (LoRA; needs the extra `lora`), or the head alone.
        rate: peak learning rate of the trunk and its language model head (5e-6 in arXiv 2401.06080, 1e-5 with LoRA in
            2406.10216).
        head_rate: of the head, which starts from nothing; the papers give none of its own.
        batch: pairs a step (32 in arXiv 2401.06080, 24 in 2406.10216).
        micro: pairs that are computed at a time; the rest of a batch is accumulated. Contrasts see no more than these.
        epochs: over the pairs.
        second_epochs: over the pairs, of the Gaussian heads' second stage.
        warmup: share of the steps.
        betas: of AdamW.
        weight_decay: of AdamW.
        clip: of the gradient's norm.
        max_length: tokens of a conversation; longer ones are left out and counted.
        plain: write turns as lines instead of by a chat template; None: where an encoder has no template.
        seed: of the head, the order and the dropout; members of an ensemble differ in it.
        dtype: of the computation; auto is bfloat16 on a GPU and float32 on a CPU. Weights that learn are in float32.
        device: auto is a GPU where there is one.
        checkpoint_steps: between checkpoints.
        lora_rank: r (32 in arXiv 2406.10216).
        lora_alpha: alpha (64).
    """

    tune: Literal["full", "lora", "frozen"] = "full"
    rate: float = 1e-5
    head_rate: float = 1e-3
    batch: int = 32
    micro: int = 8
    epochs: int = 1
    second_epochs: int = 4
    warmup: float = 0.03
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    clip: float = 1.0
    max_length: int = 1024
    plain: bool | None = None
    seed: int = 0
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    checkpoint_steps: int = 100
    lora_rank: int = 32
    lora_alpha: int = 64
