"""A batch that is decoded token by token while rows leave it and others join: continuous batching over one KV cache.

Rows are padded on the left. A group that joins is computed by itself (its distinct prompts once), its cache or the
batch's is padded on the left to the longer of the two, and both are put one below the other; masks and positions make
the padding invisible, so that a row's logits are those it would have alone, up to rounding. Columns that no row needs
any more are cut off.

Only layers that keep every position can be joined. A model with others (a sliding window, a recurrent state) decodes
one group after the other, with rows leaving and none joining.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pad
from transformers.cache_utils import DynamicLayer

from trainer.engines.contract import LAST_POSITIONS
from trainer.engines.sampling import Draws, RowSampling, draw, likeliest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.engines.contract import FinishReason, Request


@dataclass(slots=True)
class Row:
    """One sample on its way.

    Attributes:
        room: tokens until max_tokens or the end of the context.
        logprob: sum over `tokens`, as in `Completion.logprob_sum`.
        finish: None until it is finished; then `text` is there.
        alternatives: tokens and their log-probabilities at the last positions, where the request wants them.
    """

    request: Request
    prompt: list[int]
    room: int
    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0
    finish: FinishReason | None = None
    text: str = ""
    alternatives: deque[tuple[list[int], list[float]]] = field(default_factory=lambda: deque(maxlen=LAST_POSITIONS))


class Group:
    """Rows that are decoded together.

    Args:
        model: a causal LM of transformers.
        rows: at least one.
        pad_token: fills up shorter prompts; never attended to.

    Attributes:
        rows: in the order of the tensors.
    """

    def __init__(self, model: Any, rows: Sequence[Row], pad_token: int) -> None:
        self._model = model
        self.rows = list(rows)
        device = model.device
        self._sampling = RowSampling([r.request.sampling for r in rows], device)
        self._draws = Draws([r.request.seed for r in rows])
        self._prefill(pad_token, device)

    def _prefill(self, pad_token: int, device: torch.device) -> None:
        """Compute the prompts, equal ones once: logits [rows, vocabulary], cache, mask [rows, length]."""
        distinct = list(dict.fromkeys(tuple(r.prompt) for r in self.rows))
        length = max(map(len, distinct))
        tokens = torch.tensor([[pad_token] * (length - len(p)) + list(p) for p in distinct], device=device)
        mask = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in distinct], device=device)
        output = self._model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
            use_cache=True,
            logits_to_keep=1,
        )
        place = {p: i for i, p in enumerate(distinct)}
        index = torch.tensor([place[tuple(r.prompt)] for r in self.rows], device=device)
        self._cache: Any = output.past_key_values
        self._cache.batch_select_indices(index)
        self._logits, self._mask = output.logits[index, -1], mask[index]

    @property
    def joinable(self) -> bool:
        """Tell whether other groups of the same model can join this one."""
        return all(type(layer) is DynamicLayer for layer in self._cache.layers)

    def draw(self) -> list[tuple[int, float]]:
        """Return each row's next token and its log-probability."""
        self._token, logp = draw(self._logits, self._draws.next(), self._sampling)
        if most := max(r.request.top_logprobs for r in self.rows):
            self._note(most)
        return list(zip(self._token.tolist(), logp.tolist(), strict=True))

    def _note(self, most: int) -> None:
        """Keep the most likely tokens of the rows that want them."""
        tokens, values = likeliest(self._logits, self._sampling, most)
        for row, ids, logp in zip(self.rows, tokens.tolist(), values.tolist(), strict=True):
            if count := row.request.top_logprobs:
                row.alternatives.append((ids[:count], logp[:count]))

    def keep(self, places: list[int]) -> None:
        """Let all rows go but those at these places."""
        if len(places) == len(self.rows):
            return
        index = torch.tensor(places, device=self._token.device)
        self.rows = [self.rows[i] for i in places]
        self._draws.keep(places)
        self._sampling.keep(index)
        self._cache.batch_select_indices(index)
        self._mask, self._token = self._mask[index], self._token[index]
        if self.joinable:
            self._cut_off()

    def _cut_off(self) -> None:
        """Forget the columns on the left that are padding in every row."""
        unused = int(self._mask.argmax(dim=1).min())
        if unused:
            self._mask = self._mask[:, unused:]
            for layer in self._cache.layers:
                layer.keys, layer.values = layer.keys[:, :, unused:], layer.values[:, :, unused:]

    def advance(self) -> None:
        """Compute the logits after the tokens that were drawn."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self.rows), 1)], dim=1)
        output = self._model(
            input_ids=self._token[:, None],
            attention_mask=self._mask,
            position_ids=self._mask.sum(dim=1, keepdim=True) - 1,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._logits, self._cache = output.logits[:, -1], output.past_key_values

    def join(self, other: Group) -> None:
        """Take the rows of another group in; both must be about to draw."""
        length = max(self._mask.shape[1], other._mask.shape[1])
        for group in (self, other):
            missing = length - group._mask.shape[1]
            if missing:
                group._mask = pad(group._mask, (missing, 0))
                for layer in group._cache.layers:
                    layer.keys, layer.values = (pad(t, (0, 0, missing, 0)) for t in (layer.keys, layer.values))
        for mine, theirs in zip(self._cache.layers, other._cache.layers, strict=True):
            mine.keys = torch.cat([mine.keys, theirs.keys])
            mine.values = torch.cat([mine.values, theirs.values])
        self._mask = torch.cat([self._mask, other._mask])
        self._logits = torch.cat([self._logits, other._logits])
        self._draws.join(other._draws)
        self._sampling.join(other._sampling)
        self.rows += other.rows
