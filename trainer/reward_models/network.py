"""A trunk of transformers with a head that gives rewards, and with its language model head where a recipe keeps it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from trainer.reward_models.heads import Head, Rewards

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from trainer.reward_models.pairs import Batch
    from trainer.reward_models.recipes import Recipe

SLICE = 64  # positions whose logits are held at a time


class Pooled(NamedTuple):
    """What the trunk makes of a batch.

    Attributes:
        pooled: one vector a text, [n, width]: of the last token (causal trunks), or the mean of all (encoders).
        hidden: of every token, [n, length, width].
    """

    pooled: torch.Tensor
    hidden: torch.Tensor


class RewardNetwork(nn.Module):
    """Trunk and head.

    Args:
        trunk: a model of transformers without a task head.
        head: rewards from pooled features.
        lm_head: turns hidden states into logits; kept only where a recipe regularises by it.
        causal: the trunk reads from left to right.

    Attributes:
        autocast: trunk and LM head compute in bfloat16 whatever type their weights have.
    """

    def __init__(self, trunk: Any, head: Head, lm_head: nn.Module | None, *, causal: bool) -> None:
        super().__init__()
        self.trunk, self.head, self.lm_head, self.causal = trunk, head, lm_head, causal
        self.frozen = self.autocast = False

    @property
    def device(self) -> torch.device:
        """Return where the weights are."""
        device: torch.device = next(self.trunk.parameters()).device
        return device

    def freeze(self) -> None:
        """Train the head alone from now on."""
        self.trunk.requires_grad_(requires_grad=False)
        if self.lm_head is not None:
            self.lm_head.requires_grad_(requires_grad=False)
        self.frozen = True

    def pool(self, batch: Batch) -> Pooled:
        """Run the trunk over a batch."""
        with torch.no_grad() if self.frozen else nullcontext(), self._computing():
            hidden = self.trunk(input_ids=batch.tokens, attention_mask=batch.mask).last_hidden_state
        if self.causal:
            last = batch.mask.sum(dim=1) - 1
            return Pooled(hidden[torch.arange(len(hidden), device=hidden.device), last], hidden)
        weights = batch.mask[:, :, None].to(hidden.dtype)
        return Pooled((hidden * weights).sum(dim=1) / weights.sum(dim=1), hidden)

    def forward(self, batch: Batch) -> Rewards:
        """Return the rewards of a batch."""
        rewards: Rewards = self.head(self.pool(batch).pooled)
        return rewards

    def _computing(self) -> AbstractContextManager[None]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.autocast else nullcontext()

    def log_probability(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the summed log-probability of each response's tokens under the language model head, [n], in nats."""
        assert self.lm_head is not None
        places = torch.arange(1, batch.tokens.shape[1], device=hidden.device)
        counts = (batch.mask[:, 1:] == 1) & (places[None, :] >= batch.prompt[:, None])
        total = hidden.new_zeros(len(hidden), dtype=torch.float32)
        for start in range(0, len(places), SLICE):  # logits of all positions at once would be the largest thing here
            part = slice(start, start + SLICE)
            with self._computing():
                logits = self.lm_head(hidden[:, :-1][:, part]).float()
            chosen = logits.log_softmax(dim=-1).gather(2, batch.tokens[:, 1:][:, part, None])[:, :, 0]
            total = total + (chosen * counts[:, part]).sum(dim=1)
        return total


def build_network(folder: Path, recipe: Recipe, dtype: torch.dtype = torch.float32) -> RewardNetwork:
    """Return an untrained reward model on the trunk in a folder; the head is drawn from torch's present seed.

    Raises:
        ValueError: the recipe regularises by a language model head that the trunk does not have.
    """
    config = AutoConfig.from_pretrained(folder)
    causal = _is_causal(config)
    if not causal:
        if recipe.text is not None:
            msg = f"recipe: text = {recipe.text!r} needs a causal language model, and {folder.name} is none"
            raise ValueError(msg)
        trunk = AutoModel.from_pretrained(folder, dtype=dtype)
        return RewardNetwork(trunk, Head(config.hidden_size, recipe), None, causal=False)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    trunk = model.get_decoder() if hasattr(model, "get_decoder") else model.base_model
    lm_head = model.get_output_embeddings() if recipe.text is not None else None
    return RewardNetwork(trunk, Head(config.get_text_config().hidden_size, recipe), lm_head, causal=True)


def _is_causal(config: Any) -> bool:
    names = config.architectures or []
    return any("CausalLM" in n or "LMHead" in n for n in names) or bool(getattr(config, "is_decoder", False))
