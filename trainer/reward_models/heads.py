"""What stands on a trunk and gives rewards: linear, MLP, or several Gaussian heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn.functional import softplus

if TYPE_CHECKING:
    from trainer.reward_models.recipes import Recipe

LEAST_STD = 1e-3  # a standard deviation below this says nothing, and its logarithm dominates a loss


class Rewards(NamedTuple):
    """Rewards of n texts by k heads.

    Attributes:
        mean: [n, k].
        std: [n, k], or None where the heads do not say how certain they are.
    """

    mean: torch.Tensor
    std: torch.Tensor | None = None

    def nominal(self) -> torch.Tensor:
        """Return [n]: the mean of the head with the smallest standard deviation (arXiv 2409.15360), or of all heads."""
        if self.std is None:
            return self.mean.mean(dim=1)
        return self.mean.gather(1, self.std.argmin(dim=1, keepdim=True))[:, 0]

    def worst(self) -> torch.Tensor:
        """Return [n]: the lowest mean of all heads (worst case of arXiv 2409.15360 and 2310.02743)."""
        return self.mean.min(dim=1).values

    def uncertainty(self) -> torch.Tensor:
        """Return [n]: the population standard deviation of the heads' means."""
        return self.mean.std(dim=1, unbiased=False)

    def pessimistic(self, weight: float) -> torch.Tensor:
        """Return [n]: the mean less `weight` times the variance over heads (UWO, arXiv 2310.02743)."""
        return self.mean.mean(dim=1) - weight * self.mean.var(dim=1, unbiased=False)


class Head(nn.Module):
    """Rewards from pooled features.

    Args:
        width: of the features.
        recipe: head, number of heads, hidden width, dropout.

    `mlp` is GRM's: dropout, linear, ReLU, linear (arXiv 2406.10216; its authors' code). `gaussian` gives a mean and a
    standard deviation per head, from a hidden layer that each head has for itself, so that heads may differ.
    """

    def __init__(self, width: int, recipe: Recipe) -> None:
        super().__init__()
        self.kind, self.count = recipe.head, recipe.heads
        self.dropout = nn.Dropout(recipe.dropout)
        outputs = recipe.heads * (2 if recipe.head == "gaussian" else 1)
        self.hidden: nn.Module = nn.Identity()
        if recipe.head == "linear":
            self.out = nn.Linear(width, outputs)
        else:
            groups = recipe.heads if recipe.head == "gaussian" else 1
            self.hidden = nn.Sequential(nn.Linear(width, groups * recipe.hidden), nn.ReLU())
            self.out = nn.Linear(recipe.hidden, outputs // groups)
        nn.init.normal_(self.out.weight, std=1 / (self.out.in_features + 1) ** 0.5)
        nn.init.zeros_(self.out.bias)

    def features(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return what rewards are read off: [n, width of the features], or [n, hidden] of the hidden layer."""
        found: torch.Tensor = self.hidden(self.dropout(pooled))
        return found

    def forward(self, pooled: torch.Tensor) -> Rewards:
        """Return rewards from pooled features [n, width], in float32."""
        features = self.features(pooled.to(self.out.weight.dtype))
        if self.kind != "gaussian":
            return Rewards(self.out(features).float())
        each = features.reshape(len(features), self.count, -1)
        mean, raw = self.out(each).float().unbind(dim=2)
        return Rewards(mean, softplus(raw) + LEAST_STD)
