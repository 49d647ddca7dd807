"""Any Hugging Face causal LM as an engine: batched, seeded a sample, with its own decode loop.

A sample's tokens follow from its seed, its prompt and its sampling alone. Which other rows share its batch, and how
far it is padded, changes the logits by rounding only: in fp32 on the CPU texts repeat exactly, elsewhere almost always.
The samples of one prompt share its prefill; finished rows leave the batch, and others take their places.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from trainer.engines.contract import Completion, Position, Request, position
from trainer.engines.decoding import Group, Row
from trainer.engines.device import find_device
from trainer.engines.prompts import PromptEncoder, PromptError
from trainer.engines.slots import SlotGroup, Slots
from trainer.engines.weights import find_model, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from trainer.engines.compiled import CompiledDecoder

NAME = "transformers"
_WINDOW = 64  # batches of samples that are sorted by length together; bounds memory and keeps completions streaming
# Below so many parameters one thread is right: a second gains about a tenth on idle cores, and on busy ones its
# barriers cost a factor of ten.
TINY = 20_000_000


class TransformersEngine:
    """Generate with a causal LM from a folder, the hub, or the shipped nursery.

    Args:
        model: "nursery", a folder, or a hub name.
        batch_size: samples decoded together.
        dtype: "auto" is fp32 on the CPU and bf16 elsewhere.
        device: "auto" is the first GPU where there is one, else the CPU.
        compile: decode through torch.compile. Compiling takes up to some minutes, once an engine.

    Attributes:
        decoder: of the compiled steps; none without `compile`.
    """

    def __init__(
        self,
        model: str = "nursery",
        *,
        batch_size: int = 64,
        dtype: str = "auto",
        device: str = "auto",
        compile: bool = False,
    ) -> None:
        folder = find_model(model)
        self.name = model
        self.fingerprint = fingerprint(folder)
        self.batch_size = batch_size
        self.device = find_device(device)
        if dtype == "auto":
            dtype = "float32" if self.device.type == "cpu" else "bfloat16"
        self.prompts = PromptEncoder(folder, model)
        self.tokenizer: Any = self.prompts.tokenizer
        # preppo has progress bars of its own; a line for every shard is noise beside them.
        disable_progress_bar()  # type: ignore[no-untyped-call]
        loaded: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), use_safetensors=True)
        self.model = loaded.to(self.device).eval()
        self.end_tokens = _end_tokens(self.model, self.tokenizer)
        self._pad = int(self.tokenizer.pad_token_id or 0)
        self._pieces: dict[int, str] = {}
        tiny = sum(p.numel() for p in self.model.parameters()) < TINY
        self._threads = 1 if tiny and self.device.type == "cpu" else None
        self.decoder = _compiled(self.model, batch_size) if compile else None

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion a request, in any order.

        A prompt that does not fit the context comes back as an error with its reason: it is never cut.

        Raises:
            EngineError: messages were given to a model without a chat template, or it cannot be compiled here.
        """
        source = iter(requests)
        while window := list(islice(source, self.batch_size * _WINDOW)):
            rows = []
            for request in window:
                try:
                    prompt = self.prompts.encode(request)
                except PromptError as error:
                    yield Completion.failed(request, NAME, str(error), error.tokens)
                else:
                    rows.append(Row(request, prompt, self.prompts.room(prompt, request)))
            # Longest first, so that a batch too large for the device fails at once; then by name, so that batches do
            # not depend on the order of arrival.
            rows.sort(key=lambda r: (-len(r.prompt), r.request.prompt_id, r.request.role, r.request.sample))
            yield from self._decode(rows)

    def _decode(self, rows: list[Row]) -> Iterator[Completion]:
        """Yield the completions of some rows as they finish; others take their places."""
        waiting = deque(rows)
        group: Group | None = None
        slots = self.decoder.take() if self.decoder is not None else None
        while waiting or group is not None:
            with _threads(self._threads), self._without_gradients():
                if group is not None:
                    group.advance()
                group = self._filled(group, waiting, slots)
                for row, (token, logp) in zip(group.rows, group.draw(), strict=True):
                    self._append(row, token, logp)
                done = [row for row in group.rows if row.finish is not None]
                if len(done) == len(group.rows):
                    group = None
                else:
                    group.keep([i for i, row in enumerate(group.rows) if row.finish is None])
            yield from map(self._completion, done)
        if self.decoder is not None and slots is not None:
            self.decoder.give_back(slots)

    def _without_gradients(self) -> AbstractContextManager[None]:
        """Compiled code gets plain tensors: those of the inference mode cannot be written to outside of it."""
        return torch.no_grad() if self.decoder is not None else torch.inference_mode()

    def _filled(self, group: Group | None, waiting: deque[Row], slots: Slots | None) -> Group:
        """Return the group with as many rows as fit; it is filled up when a quarter of its places is free.

        A join copies the cache, so that filling every place at once would cost more than it brings.
        """
        free = self.batch_size - (len(group.rows) if group is not None else 0)
        if group is not None and (not waiting or 4 * free < self.batch_size or not group.joinable):
            return group
        joining = Group(self.model, [waiting.popleft() for _ in range(min(free, len(waiting)))], self._pad)
        if group is not None:
            group.join(joining)
            return group
        if self.decoder is None or slots is None:
            return joining
        return SlotGroup(self.decoder, slots, joining)

    def _append(self, row: Row, token: int, logp: float) -> None:
        row.tokens.append(token)
        row.logprob += logp
        if token in self.end_tokens:
            row.finish = "stop"
            row.text = self._text(row, row.tokens[:-1])
        elif row.request.sampling.stop and (text := self._stopped(row)) is not None:
            row.finish, row.text = "stop", text
        elif len(row.tokens) >= row.room:
            row.finish = "length"
            row.text = self._text(row, row.tokens)

    def _stopped(self, row: Row) -> str | None:
        """Return the text before the first stop string, or None; the tail is looked at first, as it is cheap."""
        stops = row.request.sampling.stop
        tail = row.tokens[-(max(len(s.encode()) for s in stops) + 4) :]
        tail_text = self.tokenizer.decode(tail, skip_special_tokens=True)
        if not any(s in tail_text for s in stops):
            return None
        text = self._text(row, row.tokens)
        found = [text.find(s) for s in stops if s in text]
        return text[: min(found)] if found else None

    def _text(self, row: Row, tokens: list[int]) -> str:
        """Decode after the end of the prompt, since some decoders drop the first blank of what they are given."""
        before = row.prompt[-4:]
        prefix: str = self.tokenizer.decode(before, skip_special_tokens=True)
        whole: str = self.tokenizer.decode(before + tokens, skip_special_tokens=True)
        if whole.startswith(prefix):
            return whole[len(prefix) :]
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))

    def _completion(self, row: Row) -> Completion:
        return Completion.of_text(
            row.request,
            NAME,
            self.prompts.opening(row.request) + row.text,
            row.finish or "length",
            prompt_tokens=len(row.prompt),
            response_tokens=len(row.tokens),
            logprob_sum=row.logprob,
            top_logprobs=self._positions(row) if row.request.top_logprobs else None,
            tokens=tuple(row.tokens) if row.request.tokens else None,
        )

    def _positions(self, row: Row) -> tuple[Position, ...]:
        drawn = row.tokens[len(row.tokens) - len(row.alternatives) :]
        return tuple(
            position(self._piece(token), ((self._piece(i), p) for i, p in zip(ids, logp, strict=True)))
            for token, (ids, logp) in zip(drawn, row.alternatives, strict=True)
        )

    def _piece(self, token: int) -> str:
        """Return the text of one token; the alternatives are much the same ones from row to row."""
        if token not in self._pieces:
            self._pieces[token] = str(self.tokenizer.decode([token]))
        return self._pieces[token]

    def close(self) -> None:
        """Give the memory of the weights back."""
        self.model = None
        if self.decoder is not None:
            self.decoder.close()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _compiled(model: Any, batch_size: int) -> CompiledDecoder:
    from trainer.engines.compiled import CompiledDecoder  # the compiler takes a second to import

    return CompiledDecoder(model, batch_size)


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return every token that ends a response, by the generation configuration and by the tokenizer."""
    ends: set[int] = set()
    for value in (model.generation_config.eos_token_id, model.config.eos_token_id, tokenizer.eos_token_id):
        ends.update([value] if isinstance(value, int) else value or ())
    return frozenset(ends)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Compute with so many CPU threads, then restore what was set."""
    before = torch.get_num_threads()
    if count is None or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
