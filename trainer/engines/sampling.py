"""Draw tokens so that a sample depends on its own seed and logits, never on its neighbours in the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.engines.contract import Sampling

_BLOCK = 64  # uniforms drawn at a time; a constant, so that max_tokens does not change the stream


class Draws:
    """One stream of uniforms in [0, 1) a row, from a generator of its own, the same on every device."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._blocks = torch.empty(len(seeds), _BLOCK, dtype=torch.float64)
        self._used = torch.full((len(seeds),), _BLOCK)

    def next(self) -> torch.Tensor:
        """Return float64 [rows], on the CPU."""
        for row in (self._used == _BLOCK).nonzero()[:, 0].tolist():
            torch.rand(_BLOCK, generator=self._generators[row], dtype=torch.float64, out=self._blocks[row])
            self._used[row] = 0
        found = self._blocks.gather(1, self._used[:, None])[:, 0]
        self._used += 1
        return found

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these, in this order."""
        self._generators = [self._generators[i] for i in rows]
        self._blocks, self._used = self._blocks[list(rows)], self._used[list(rows)]

    def join(self, other: Draws) -> None:
        """Take the rows of another in, after the own ones."""
        self._generators += other._generators
        self._blocks = torch.cat([self._blocks, other._blocks])
        self._used = torch.cat([self._used, other._used])


class RowSampling:
    """Temperature and top_p of each row of a batch."""

    def __init__(self, settings: Sequence[Sampling], device: torch.device) -> None:
        temperature = torch.tensor([s.temperature for s in settings], dtype=torch.float32, device=device)
        self.greedy = temperature == 0
        self.temperature = torch.where(self.greedy, 1.0, temperature)
        self.top_p = torch.tensor([s.top_p for s in settings], dtype=torch.float64, device=device)

    def keep(self, rows: torch.Tensor) -> None:
        """Forget all rows but these, in this order."""
        self.greedy, self.temperature, self.top_p = self.greedy[rows], self.temperature[rows], self.top_p[rows]

    def join(self, other: RowSampling) -> None:
        """Take the rows of another in, after the own ones."""
        self.greedy = torch.cat([self.greedy, other.greedy])
        self.temperature = torch.cat([self.temperature, other.temperature])
        self.top_p = torch.cat([self.top_p, other.top_p])


def draw(logits: torch.Tensor, uniform: torch.Tensor, sampling: RowSampling) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (token int64 [rows], its log-probability float64 [rows]) by inverting each row's cumulative distribution.

    Args:
        logits: [rows, vocabulary], any floating type; taken to fp32.
        uniform: float64 [rows], in [0, 1).
        sampling: per row. The log-probability is that of softmax(logits / temperature), before the top_p cut.
    """
    logp = torch.log_softmax(logits.float() / sampling.temperature[:, None], dim=-1)
    weights = logp.double().exp()
    if bool((sampling.top_p < 1).any()):
        weights = _nucleus(weights, sampling.top_p)
    cdf = weights.cumsum(dim=-1)
    target = uniform.to(cdf.device)[:, None] * cdf[:, -1:]
    drawn = torch.searchsorted(cdf, target, right=True)[:, 0].clamp_(max=logits.shape[-1] - 1)
    token = torch.where(sampling.greedy, logp.argmax(dim=-1), drawn)
    return token, logp.gather(1, token[:, None])[:, 0].double()


def likeliest(logits: torch.Tensor, sampling: RowSampling, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the most likely tokens (int64 [rows, count]) and their log-probabilities (float32), as `draw` has them."""
    logp = torch.log_softmax(logits.float() / sampling.temperature[:, None], dim=-1)
    values, tokens = logp.topk(min(count, logp.shape[-1]), dim=-1)
    return tokens, values


def _nucleus(weights: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Zero all but the smallest set of most likely tokens that holds `top_p` of the mass (ties: lower token id)."""
    ordered, index = weights.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(dim=-1) - ordered
    kept = torch.where(before < top_p[:, None], ordered, 0.0)
    return torch.zeros_like(weights).scatter(1, index, kept)
