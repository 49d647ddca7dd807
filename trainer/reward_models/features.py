"""Tokens and pooled features of a trunk that is not trained: computed once a text, by length, and kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from trainer.reward_models.pairs import collate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.reward_models.network import RewardNetwork
    from trainer.reward_models.pairs import Encoded, Known


@dataclass
class TrunkCache:
    """What trainings on one and the same trunk share.

    Attributes:
        texts: conversations as tokens.
        features: tokens -> features [width], where the trunk is frozen.
    """

    texts: Known = field(default_factory=dict)
    features: dict[tuple[int, ...], torch.Tensor] = field(default_factory=dict)


def pooled_features(
    network: RewardNetwork, rows: Sequence[Encoded], pad: int, size: int, cache: TrunkCache | None = None
) -> torch.Tensor:
    """Return the pooled features of conversations, [n, width], in float32 on the CPU.

    Args:
        network: whose trunk reads them; it is left in evaluation mode.
        rows: the conversations.
        pad: token to pad with.
        size: conversations that are computed at a time.
        cache: of the same trunk, from earlier calls; what is new is added.
    """
    known = {} if cache is None else cache.features
    new = sorted({tuple(r.tokens): r for r in rows if tuple(r.tokens) not in known}.items(), key=lambda x: len(x[0]))
    network.eval()
    with torch.no_grad():
        for start in range(0, len(new), size):
            some = new[start : start + size]
            batch = collate([row for _, row in some], pad).to(network.device)
            vectors = network.pool(batch).pooled.float().cpu()
            known |= zip((key for key, _ in some), vectors.unbind(), strict=True)
    return torch.stack([known[tuple(r.tokens)] for r in rows])
