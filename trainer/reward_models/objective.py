"""From a few encoded pairs to a loss, as the recipe has it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import torch

from trainer.reward_models.losses import bradley_terry, simcse, swav, text_regulariser
from trainer.reward_models.pairs import Batch, EncodedPair, collate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer.reward_models.network import Pooled, RewardNetwork
    from trainer.reward_models.recipes import Recipe

# Cumulative probabilities of a Poisson(1) count, which is how often a large bootstrap draws one pair.
_POISSON = (0.36788, 0.73576, 0.91970, 0.98101, 0.99634, 0.99941, 0.99992)


class Loss(NamedTuple):
    """Sums over the pairs: the loss, and how many had the chosen response ahead."""

    total: torch.Tensor
    right: torch.Tensor


def bootstrap(pair_id: str, heads: int, seed: int) -> list[int]:
    """Return how often each head sees a pair: Poisson(1) counts, a function of pair, head and seed alone.

    One head sees every pair once.
    """
    if heads == 1:
        return [1]
    draws = [hashlib.blake2b(f"{seed}\x1f{h}\x1f{pair_id}".encode(), digest_size=8).digest() for h in range(heads)]
    return [sum(int.from_bytes(d) / 2**64 > c for c in _POISSON) for d in draws]


class Objective:
    """The loss of stage 1, by Bradley-Terry and what the recipe adds.

    Args:
        network: to train.
        recipe: says what counts.
        pad: token to pad with.
        seed: of the bootstraps.
        references: pair_id -> lp_c - lp_r under the untrained model; for the regulariser "dpo".
        features: pair_id -> pooled features [2, width] of chosen and rejected, where the trunk is frozen.
    """

    def __init__(
        self,
        network: RewardNetwork,
        recipe: Recipe,
        pad: int,
        seed: int,
        references: Mapping[str, float] | None = None,
        features: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        self._network, self._recipe, self._pad, self._seed = network, recipe, pad, seed
        self._references, self._features = references or {}, features
        self.prototypes: torch.nn.Parameter | None = None
        if recipe.contrast == "swav":
            width = network.head.out.in_features
            self.prototypes = torch.nn.Parameter(torch.randn(recipe.prototypes, width, device=network.device))

    def __call__(self, pairs: Sequence[EncodedPair]) -> Loss:
        """Return the sum of the losses of some pairs."""
        recipe, network, n = self._recipe, self._network, len(pairs)
        batch, trunk = self._read(pairs)
        rewards = network.head(trunk.pooled)
        difference = rewards.mean[:n] - rewards.mean[n:]
        weights = torch.tensor(
            [bootstrap(p.pair.pair_id, recipe.heads, self._seed) for p in pairs], device=difference.device
        )
        ranked = (bradley_terry(difference, self._margins(pairs), self._targets(pairs)) * weights).mean(dim=1)
        loss = ranked
        if recipe.text is not None and batch is not None:
            told = network.log_probability(trunk.hidden, batch)
            reference = torch.tensor([self._references.get(p.pair.pair_id, 0.0) for p in pairs], device=told.device)
            text = text_regulariser(recipe.text, told[:n], told[n:], recipe.text_beta, reference)
            loss = (1 - recipe.text_weight) * ranked + recipe.text_weight * text
        if recipe.contrast is not None:
            loss = loss + recipe.contrast_weight * self._contrast(pairs, trunk, n)
        return Loss(loss.sum(), (difference.detach().mean(dim=1) > 0).sum())

    def log_ratios(self, pairs: Sequence[EncodedPair]) -> list[float]:
        """Return lp_c - lp_r of some pairs under the model as it is."""
        batch, trunk = self._read(pairs)
        assert batch is not None
        told = self._network.log_probability(trunk.hidden, batch)
        return [float(x) for x in told[: len(pairs)] - told[len(pairs) :]]

    def _read(self, pairs: Sequence[EncodedPair]) -> tuple[Batch | None, Pooled]:
        from trainer.reward_models.network import Pooled

        if self._features is not None:
            kept = torch.stack([self._features[p.pair.pair_id] for p in pairs], dim=1)
            pooled = kept.flatten(0, 1).to(self._network.device)
            return None, Pooled(pooled, pooled[:, None])
        batch = collate([*(p.chosen for p in pairs), *(p.rejected for p in pairs)], self._pad)
        batch = batch.to(self._network.device)
        return batch, self._network.pool(batch)

    def _margins(self, pairs: Sequence[EncodedPair]) -> torch.Tensor | float:
        if not self._recipe.margin:
            return 0.0
        return torch.tensor([[p.pair.strength or 0.0] for p in pairs], device=self._network.device)

    def _targets(self, pairs: Sequence[EncodedPair]) -> torch.Tensor:
        usual = 1 - self._recipe.smoothing
        known = [[usual if p.pair.target is None else p.pair.target] for p in pairs]
        return torch.tensor(known, device=self._network.device)

    def _contrast(self, pairs: Sequence[EncodedPair], trunk: Pooled, n: int) -> torch.Tensor:
        """Return [n]: features of two dropout passes, of each response or of their difference."""
        recipe, head = self._recipe, self._network.head
        again = trunk if self._features is not None or self._network.frozen else self._read(pairs)[1]
        first, second = head.features(trunk.pooled).float(), head.features(again.pooled).float()
        if recipe.contrast_on == "difference":
            first, second = first[:n] - first[n:], second[:n] - second[n:]
        if self.prototypes is not None:
            found = swav(first, second, self.prototypes, recipe.temperature)
        else:
            found = simcse(first, second, recipe.temperature)
        return found if recipe.contrast_on == "difference" else (found[:n] + found[n:]) / 2
