"""Any Hugging Face causal LM as an engine: batched, seeded a sample, with its own decode loop.

A sample's tokens follow from its seed, its prompt and its sampling alone. Which other rows share its batch, and how
far it is padded, changes the logits by rounding only: in fp32 on the CPU texts repeat exactly, elsewhere almost always.
The samples of one prompt share its prefill; finished rows leave the batch.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from jinja2 import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from trainer.engines.contract import Completion, Request, split_reasoning
from trainer.engines.sampling import Draws, RowSampling, draw
from trainer.engines.weights import find_model, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

log = logging.getLogger(__name__)

_WINDOW = 64  # batches that are sorted by length together; bounds memory and keeps completions streaming
# Below so many parameters one thread is right: a second gains about a tenth on idle cores, and on busy ones its
# barriers cost a factor of ten.
_TINY = 20_000_000


@dataclass(slots=True)
class _Row:
    """One sample on its way."""

    request: Request
    prompt: list[int]
    room: int  # tokens until max_tokens or the end of the context
    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0
    finish: str | None = None
    text: str | None = None


class TransformersEngine:
    """Generate with a causal LM from a folder, the hub, or the shipped nursery.

    Args:
        model: "nursery", a folder, or a hub name.
        batch_size: samples decoded together.
        dtype: "auto" is fp32 on the CPU and bf16 elsewhere.
        device: "auto" is the first GPU where there is one, else the CPU.
    """

    def __init__(
        self, model: str = "nursery", *, batch_size: int = 64, dtype: str = "auto", device: str = "auto"
    ) -> None:
        folder = find_model(model)
        self.name = model
        self.fingerprint = fingerprint(folder)
        self.batch_size = batch_size
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        if dtype == "auto":
            dtype = "float32" if self.device.type == "cpu" else "bfloat16"
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        # preppo has progress bars of its own; a line for every shard is noise beside them.
        disable_progress_bar()  # type: ignore[no-untyped-call]
        loaded: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), use_safetensors=True)
        self.model = loaded.to(self.device).eval()
        self.context = _context(self.model.config.get_text_config(), self.tokenizer)
        self.chat_template: str | None = self.tokenizer.chat_template and self.tokenizer.get_chat_template()
        self.end_tokens = _end_tokens(self.model, self.tokenizer)
        tiny = sum(p.numel() for p in self.model.parameters()) < _TINY
        self._threads = 1 if tiny and self.device.type == "cpu" else None

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion a request, in any order.

        A prompt that does not fit the context comes back as an error with a null response: it is never cut.

        Raises:
            ValueError: messages were given to a model without a chat template.
        """
        source = iter(requests)
        while window := list(islice(source, self.batch_size * _WINDOW)):
            rows = []
            for row in self._prepare(window):
                if row.finish == "error":
                    yield self._completion(row)
                else:
                    rows.append(row)
            # Longest first, so that a batch too large for the device fails at once; then by name, so that batches do
            # not depend on the order of arrival.
            rows.sort(key=lambda r: (-len(r.prompt), r.request.prompt_id, r.request.role, r.request.sample))
            for start in range(0, len(rows), self.batch_size):
                batch = rows[start : start + self.batch_size]
                with _threads(self._threads), torch.inference_mode():
                    self._decode(batch)
                yield from map(self._completion, batch)

    def _prepare(self, requests: list[Request]) -> Iterator[_Row]:
        encoded: dict[tuple[str | None, tuple[tuple[str, str], ...]], list[int] | None] = {}
        told: set[str] = set()
        for request in requests:
            key = (request.raw_text, request.messages if request.raw_text is None else ())
            if key not in encoded:
                encoded[key] = self._encode(request)
            prompt = encoded[key]
            if prompt is None:
                yield _Row(request, [], 0, finish="error")
                continue
            row = _Row(request, prompt, min(request.sampling.max_tokens, self.context - len(prompt)))
            if row.room < 1 or not prompt:
                if request.prompt_id not in told:  # once, not once a sample
                    told.add(request.prompt_id)
                    log.warning("prompt %s: %d tokens do not fit in %d", request.prompt_id, len(prompt), self.context)
                row.finish = "error"
            yield row

    def _encode(self, request: Request) -> list[int] | None:
        """Return the prompt's tokens, or None where the model's template refuses these messages."""
        if request.raw_text is not None:
            return list(self.tokenizer(request.raw_text, verbose=False)["input_ids"])
        if self.chat_template is None:
            msg = f"model {self.name!r} has no chat template: use an instruct model, or raw prompts (`raw = true`)"
            raise ValueError(msg)
        messages = [{"role": role, "content": content} for role, content in request.messages]
        try:
            text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            log.warning("prompt %s: the chat template of %s refuses it: %s", request.prompt_id, self.name, error)
            return None
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _decode(self, rows: list[_Row]) -> None:
        """Fill in tokens, log-probabilities and the finish reason of every row."""
        sampling = RowSampling([r.request.sampling for r in rows], self.device)
        draws = Draws([r.request.seed for r in rows])
        logits, cache, mask = self._prefill(rows)
        active = rows
        while True:
            token, logp = draw(logits, draws.next(), sampling)
            for row, t, lp in zip(active, token.tolist(), logp.tolist(), strict=True):
                self._append(row, t, lp)
            kept = [i for i, row in enumerate(active) if row.finish is None]
            if not kept:
                return
            if len(kept) < len(active):
                index = torch.tensor(kept, device=self.device)
                active = [active[i] for i in kept]
                draws.keep(kept)
                sampling.keep(index)
                cache.batch_select_indices(index)
                mask, token = mask[index], token[index]
            mask = torch.cat([mask, mask.new_ones(len(active), 1)], dim=1)
            output = self.model(
                input_ids=token[:, None],
                attention_mask=mask,
                position_ids=mask.sum(dim=1, keepdim=True) - 1,
                past_key_values=cache,
                use_cache=True,
            )
            logits, cache = output.logits[:, -1], output.past_key_values

    def _prefill(self, rows: list[_Row]) -> tuple[torch.Tensor, Any, torch.Tensor]:
        """Return (logits [rows, vocabulary], cache, mask [rows, length]); equal prompts are computed once."""
        distinct = list(dict.fromkeys(tuple(r.prompt) for r in rows))
        length = max(map(len, distinct))
        pad = self.tokenizer.pad_token_id or 0  # never attended to
        tokens = torch.tensor([[pad] * (length - len(p)) + list(p) for p in distinct], device=self.device)
        mask = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in distinct], device=self.device)
        output = self.model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
            use_cache=True,
            logits_to_keep=1,
        )
        place = {p: i for i, p in enumerate(distinct)}
        index = torch.tensor([place[tuple(r.prompt)] for r in rows], device=self.device)
        cache = output.past_key_values
        cache.batch_select_indices(index)
        return output.logits[index, -1], cache, mask[index]

    def _append(self, row: _Row, token: int, logp: float) -> None:
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

    def _stopped(self, row: _Row) -> str | None:
        """Return the text before the first stop string, or None; the tail is looked at first, as it is cheap."""
        stops = row.request.sampling.stop
        tail = row.tokens[-(max(len(s.encode()) for s in stops) + 4) :]
        tail_text = self.tokenizer.decode(tail, skip_special_tokens=True)
        if not any(s in tail_text for s in stops):
            return None
        text = self._text(row, row.tokens)
        found = [text.find(s) for s in stops if s in text]
        return text[: min(found)] if found else None

    def _text(self, row: _Row, tokens: list[int]) -> str:
        """Decode after the end of the prompt, since some decoders drop the first blank of what they are given."""
        before = row.prompt[-4:]
        prefix: str = self.tokenizer.decode(before, skip_special_tokens=True)
        whole: str = self.tokenizer.decode(before + tokens, skip_special_tokens=True)
        if whole.startswith(prefix):
            return whole[len(prefix) :]
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))

    def _completion(self, row: _Row) -> Completion:
        request, failed = row.request, row.finish == "error"
        reasoning, response = None, row.text
        if row.text is not None and request.raw_text is None:
            reasoning, response = split_reasoning(row.text)
        return Completion(
            prompt_id=request.prompt_id,
            role=request.role,
            sample=request.sample,
            response=response,
            reasoning=reasoning,
            finish_reason=row.finish or "error",
            prompt_tokens=len(row.prompt) or None,
            response_tokens=None if failed else len(row.tokens),
            logprob_sum=None if failed else row.logprob,
            seed=request.seed,
            engine="transformers",
            recorded=False,
        )


def _context(config: Any, tokenizer: Any) -> int:
    """Return how many tokens prompt and response may have together; architectures name it differently."""
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        length = getattr(config, name, None)
        if isinstance(length, int) and length > 0:
            return length
    return int(tokenizer.model_max_length)  # a very large number where the tokenizer knows no limit either


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
