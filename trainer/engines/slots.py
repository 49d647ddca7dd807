"""A KV cache of fixed places: a row joins and leaves without any other row's cache being moved.

A place holds one row, its position p in column p: nothing is padded on the left, so that rows of any lengths share
the cache, and each writes where it stands. A decoding step reads the first places and columns only, both rounded up:
its shapes are few, and most steps repeat those before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import CacheLayerMixin

from trainer.engines.contract import EngineError
from trainer.engines.decoding import Group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.engines.compiled import CompiledDecoder

_COLUMNS = 32  # lengths are multiples of it, which attention kernels want of a mask
_LEAST_ROWS = 2  # compilers take a size of 1 for a constant


def rounded_rows(rows: int, limit: int) -> int:
    """Return the next power of two, from 2, but not above the limit (which is 2 at least)."""
    return min(limit, max(_LEAST_ROWS, 1 << (rows - 1).bit_length()))


def rounded_columns(columns: int) -> int:
    """Return the next of 32, 64, 96, ..., 256, 320, ..., 512, 640, ...: from 128 on four to an octave."""
    step = max(_COLUMNS, 1 << max(0, (columns - 1).bit_length() - 3))
    return -(-columns // step) * step


class Slots:
    """Places for rows.

    Attributes:
        keys, values: a tensor a layer, [places, heads, columns, head size]. They are written in place; where they grow
            they are other tensors afterwards, and `stamp` is another object.
    """

    def __init__(self) -> None:
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []
        self.stamp = object()

    def reserve(self, keys: list[torch.Tensor], values: list[torch.Tensor], places: int, columns: int) -> None:
        """Have room for so many places and columns, both at least; what is there is kept.

        Args:
            keys: of each layer, for number and size of the heads, type and device; may be the own ones.
            values: likewise.
            places: of rows.
            columns: that a step may read.
        """
        if self.keys:
            places, columns = max(places, self.keys[0].shape[0]), max(columns, self.columns)
            if (places, columns) == (self.keys[0].shape[0], self.columns):
                return
        self.keys = _grown(self.keys, keys, places, columns)
        self.values = _grown(self.values, values, places, columns)
        self.stamp = object()

    @property
    def columns(self) -> int:
        """Return how many columns a step may read."""
        return self.keys[0].shape[2] - _COLUMNS

    def write(self, places: Sequence[int], prefilled: Sequence[tuple[torch.Tensor, torch.Tensor]], mask: Any) -> None:
        """Put rows that are padded on the left at these places.

        Args:
            places: one a row.
            prefilled: keys and values of each layer, [rows, heads, length, head size].
            mask: [rows, length], 1 where there is no padding.
        """
        length = mask.shape[1]
        index = torch.tensor(places, device=mask.device)
        shift = length - mask.sum(dim=1, keepdim=True)
        # After a row's end comes its own padding: never read, since the row overwrites a column when it gets there.
        source = (torch.arange(length, device=mask.device) + shift)[:, None, :, None] % length
        for number, parts in enumerate(prefilled):
            for mine, part in zip((self.keys[number], self.values[number]), parts, strict=True):
                mine[index, :, :length] = part.gather(2, source.expand(part.shape))

    def move(self, sources: Sequence[int], targets: Sequence[int], columns: int) -> None:
        """Copy so many columns of places to other places, none of which is a source."""
        device = self.keys[0].device
        here, there = torch.tensor(sources, device=device), torch.tensor(targets, device=device)
        for tensor in (*self.keys, *self.values):
            tensor[there, :, :columns] = tensor[here, :, :columns]


def _grown(old: list[torch.Tensor], like: list[torch.Tensor], places: int, columns: int) -> list[torch.Tensor]:
    """Return larger tensors; a layer's old one goes before the next layer's is made, so that memory suffices."""
    found = []
    for number, part in enumerate(like):
        # More columns than are ever read: a slice that may be the whole would be compiled a second time. Zeros, not
        # what memory holds: even with a weight of 0, NaN would count.
        larger = part.new_zeros(places, part.shape[1], columns + _COLUMNS, part.shape[3])
        if old:
            larger[: old[number].shape[0], :, : old[number].shape[2]] = old[number]
            old[number] = larger
        torch._dynamo.mark_dynamic(larger, 0)
        torch._dynamo.mark_dynamic(larger, 2)
        found.append(larger)
    return found


class SlotLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """A layer of the cache in one decoding step, as models of transformers want it.

    Args:
        keys, values: [places, heads, columns, head size], written in place.
        positions: int64 [rows, 1], where each of the first places writes.
        length: columns that attention reads.
    """

    is_compileable = True  # a mask is made in any case, without a look at what it holds
    is_sliding = False

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, positions: torch.Tensor, length: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._keys, self._values, self.is_initialized = keys, values, True
        self._positions, self._length = positions[:, 0], length

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Do nothing: the tensors are there."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write [rows, heads, 1, head size] and return what attention reads, [rows, heads, length, head size]."""
        rows = key_states.shape[0]
        places = torch.arange(rows, device=key_states.device)
        self._keys[places, :, self._positions] = key_states[:, :, 0]
        self._values[places, :, self._positions] = value_states[:, :, 0]
        return self._keys[:rows, :, : self._length], self._values[:rows, :, : self._length]

    def get_mask_sizes(self, _query_length: int) -> tuple[int, int]:
        """Return length and offset of what attention reads."""
        return self._length, 0

    def get_seq_length(self) -> int:
        """Return where the query stands: behind all columns, so that only the mask decides what a row sees."""
        return self._length - 1

    def get_max_length(self) -> int:
        """Return the columns that attention reads."""
        return self._length


class SlotGroup(Group):
    """Rows that are decoded together in slots.

    Args:
        decoder: computes the steps.
        slots: nobody else's while the group is there.
        first: prompts that were computed; it is used up.

    Raises:
        EngineError: the model keeps less than every position.
    """

    def __init__(self, decoder: CompiledDecoder, slots: Slots, first: Group) -> None:
        if not first.joinable:
            msg = "engine.compile: the model has layers that do not keep every position; set compile = false"
            raise EngineError(msg)
        self._decoder, self._slots = decoder, slots
        self.rows = first.rows
        self._places: list[int] = []
        self._sampling, self._draws, self._logits = first._sampling, first._draws, first._logits
        self._seat(first)

    @property
    def joinable(self) -> bool:
        """Tell that other groups of the same model can join this one."""
        return True

    def join(self, other: Group) -> None:
        """Take the rows of another group in; both must be about to draw."""
        self._logits = torch.cat([self._logits, other._logits])
        self._draws.join(other._draws)
        self._sampling.join(other._sampling)
        self.rows = self.rows + other.rows
        self._seat(other)

    def _seat(self, other: Group) -> None:
        """Give every row of a group that was computed by itself a place, the first free ones."""
        prefilled = [(layer.keys, layer.values) for layer in other._cache.layers]
        self._reserve([keys for keys, _ in prefilled], [values for _, values in prefilled])
        taken = set(self._places)
        free = [i for i in range(len(self.rows)) if i not in taken]
        places = free[: len(other.rows)]
        self._slots.write(places, prefilled, other._mask)
        self._places += places

    def _reserve(self, keys: list[torch.Tensor], values: list[torch.Tensor]) -> None:
        """Have room for what the rows may become, though not for more than twice what they are: few end so late."""
        now = self._length()
        utmost = rounded_columns(max(len(r.prompt) + r.room for r in self.rows))
        places = rounded_rows(len(self.rows), self._decoder.limit)
        self._slots.reserve(keys, values, places, max(now, min(utmost, 2 * now)))

    def keep(self, places: list[int]) -> None:
        """Let all rows go but those at these places of `rows`."""
        if len(places) == len(self.rows):
            return
        self.rows = [self.rows[i] for i in places]
        self._places = [self._places[i] for i in places]
        self._draws.keep(places)
        self._sampling.keep(torch.tensor(places, device=self._token.device))
        self._pack()

    def _pack(self) -> None:
        """Move rows to the front, where a step then has fewer places to read."""
        read = self._decoder.rows(len(self.rows))
        outside = [i for i, place in enumerate(self._places) if place >= read]
        if not outside:
            return
        taken = set(self._places)
        targets = [place for place in range(read) if place not in taken][: len(outside)]
        self._slots.move([self._places[i] for i in outside], targets, self._length())
        for i, target in zip(outside, targets, strict=True):
            self._places[i] = target

    def _length(self) -> int:
        """Return the columns that the next step reads, its own token's included."""
        return rounded_columns(max(len(r.prompt) + len(r.tokens) for r in self.rows))

    def advance(self) -> None:
        """Compute the logits after the tokens that were drawn.

        Raises:
            EngineError: the model cannot be compiled here.
        """
        length = self._length()
        if length > self._slots.columns:
            self._reserve(self._slots.keys, self._slots.values)
        # A place without a row writes its own first column, which nobody reads.
        read = self._decoder.rows(len(self.rows))
        tokens, positions = [0] * read, [0] * read
        for row, place in zip(self.rows, self._places, strict=True):
            tokens[place], positions[place] = row.tokens[-1], len(row.prompt) + len(row.tokens) - 1
        logits = self._decoder.step(tokens, positions, length, self._slots)
        self._logits = logits[torch.tensor(self._places, device=logits.device)]
