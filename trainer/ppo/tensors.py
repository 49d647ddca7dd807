"""Responses as tensors: prompts padded on the left, responses on the right, positions counted without padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainer.ppo.rollouts import Response


@dataclass(frozen=True)
class Rows:
    """Some responses with their prompts, ready for a model. N rows, C columns of prompts, T of responses.

    Attributes:
        tokens: int64 [N, C + T].
        attention: int64 [N, C + T], 0 where there is padding.
        positions: int64 [N, C + T], from 0 at the first token of the prompt.
        context: C.
        mask: bool [N, T], of the responses.
    """

    tokens: torch.Tensor
    attention: torch.Tensor
    positions: torch.Tensor
    context: int
    mask: torch.Tensor

    @property
    def responses(self) -> torch.Tensor:
        """Return the tokens of the responses, [N, T]."""
        return self.tokens[:, self.context :]


def collate(responses: Sequence[Response], pad: int, device: torch.device | str = "cpu") -> Rows:
    """Return some responses as tensors; each has at least one token.

    Args:
        responses: of any lengths.
        pad: token that fills up; it is attended to by nobody.
        device: of the tensors.
    """
    context, length = max(len(r.context) for r in responses), max(len(r.tokens) for r in responses)
    rows, attention = [], []
    for r in responses:
        left, right = context - len(r.context), length - len(r.tokens)
        rows.append([pad] * left + r.context + r.tokens + [pad] * right)
        attention.append([0] * left + [1] * (len(r.context) + len(r.tokens)) + [0] * right)
    tokens, seen = torch.tensor(rows, device=device), torch.tensor(attention, device=device)
    positions = (seen.cumsum(dim=1) - 1).clamp(min=0)
    return Rows(tokens, seen, positions, context, seen[:, context:].bool())


Minibatch = list[list[int]]  # numbers of responses, in parts that are computed at a time


def minibatches(lengths: Sequence[int], count: int, micro: int, seed: int) -> Iterator[Minibatch]:
    """Yield the minibatches of one epoch: a fresh permutation, divided exactly.

    Inside a minibatch parts hold responses of like length, for less padding: only sums over the minibatch matter.

    Args:
        lengths: tokens of each response with its prompt; 0 where it is left out, which takes its place all the same.
        count: of minibatches.
        micro: responses of a part, at most.
        seed: of the permutation.

    Raises:
        ValueError: the responses cannot be divided exactly.
    """
    size, rest = divmod(len(lengths), count)
    if rest:
        msg = f"{len(lengths)} responses cannot be divided into {count} minibatches"
        raise ValueError(msg)
    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed)).tolist()
    for start in range(0, len(order), size):
        some = sorted((i for i in order[start : start + size] if lengths[i]), key=lambda i: (lengths[i], i))
        yield [some[i : i + micro] for i in range(0, len(some), micro)]
