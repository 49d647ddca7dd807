"""Preference pairs: what is told, which of them cannot be learnt from, and as tokens."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Messages = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Pair:
    """Two responses to one prompt, the first of which was preferred.

    Attributes:
        pair_id: names it in messages and tables.
        messages: role and content of each turn before the responses.
        chosen, rejected: the responses.
        strength: mean difference of an ensemble's rewards, or None; see `warehouse.curation.strength`.
        target: the probability that the label is right, or None: 1, or what the recipe says.
        trusted: the label outranks reward models, as one that a verifier gave does; no recipe treats it.
    """

    pair_id: str
    messages: Messages
    chosen: str
    rejected: str
    strength: float | None = None
    target: float | None = None
    trusted: bool = False


class ConversationError(ValueError):
    """A conversation cannot be given to the trunk; the message begins with a code."""


@dataclass(frozen=True)
class Encoded:
    """Tokens of a conversation with its response.

    Attributes:
        tokens: all of them.
        prompt: how many come before the response.
    """

    tokens: list[int]
    prompt: int


class ConversationEncoder:
    """Renders conversations for a trunk; nothing is ever cut off.

    Args:
        tokenizer: of the trunk.
        max_length: tokens that a conversation may have.
        plain: write turns as "role: content" lines, for trunks without a chat template; None: where an encoder (such as
            BERT) has none.
        causal: the trunk is no encoder.
        known: conversations that were encoded before, in the same way; new ones are added.

    Raises:
        ConversationError: a causal trunk has no chat template, and `plain` was not asked for.
    """

    def __init__(
        self,
        tokenizer: Any,
        max_length: int,
        *,
        plain: bool | None = None,
        causal: bool = True,
        known: Known | None = None,
    ) -> None:
        self.tokenizer, self.max_length, self._known = tokenizer, max_length, known
        has_template = bool(tokenizer.chat_template)
        if plain is None and causal and not has_template:
            msg = "chat_template: the tokenizer has none; use an instruct model, or plain = true"
            raise ConversationError(msg)
        self.plain = not has_template if plain is None else plain

    def encode(self, messages: Messages, response: str) -> Encoded:
        """Return the tokens of a conversation.

        Raises:
            ConversationError: it is too long, or the chat template refuses it.
        """
        known = None if self._known is None else self._known.get((messages, response))
        found = known or self._encode(messages, response)
        if self._known is not None:
            self._known[messages, response] = found
        if len(found.tokens) > self.max_length:
            msg = f"too_long: {len(found.tokens)} tokens, and max_length is {self.max_length}"
            raise ConversationError(msg)
        return found

    def _encode(self, messages: Messages, response: str) -> Encoded:
        prompt, whole = self._texts(messages, response)
        if self.plain:
            tokens = self.tokenizer(whole, verbose=False)["input_ids"]
            return Encoded(list(tokens), len(self.tokenizer(prompt, verbose=False)["input_ids"]))
        # The response is tokenised by itself, so that its tokens do not depend on what comes before.
        parts = [self.tokenizer(t, add_special_tokens=False, verbose=False)["input_ids"] for t in (prompt, whole)]
        return Encoded([*parts[0], *parts[1]], len(parts[0]))

    def _texts(self, messages: Messages, response: str) -> tuple[str, str]:
        """Return the prompt, and the response with its end (plain: the whole)."""
        if self.plain:
            prompt = "".join(f"{role}: {content}\n" for role, content in messages) + "assistant:"
            return prompt, f"{prompt} {response}"
        turns = [{"role": role, "content": content} for role, content in messages]
        render = self.tokenizer.apply_chat_template
        try:
            prompt = render(turns, tokenize=False, add_generation_prompt=True)
            whole = render([*turns, {"role": "assistant", "content": response}], tokenize=False)
        except Exception as error:  # templates raise what they like
            msg = f"chat_template: it refuses the messages: {error}"
            raise ConversationError(msg) from error
        if not whole.startswith(prompt):
            msg = "chat_template: with a response it does not begin as it does without one"
            raise ConversationError(msg)
        return prompt, whole[len(prompt) :]


Known = dict[tuple[Messages, str], Encoded]


@dataclass(frozen=True)
class EncodedPair:
    """A pair as tokens."""

    pair: Pair
    chosen: Encoded
    rejected: Encoded


@dataclass
class Excluded:
    """Pairs that cannot be learnt from: how many by reason, and the first few of each by id."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, pair_id: str) -> None:
        """Count one."""
        self.counts[reason] += 1
        if len(self.examples.setdefault(reason, [])) < 5:
            self.examples[reason].append(pair_id)

    def __str__(self) -> str:
        """Say it in one line."""
        told = [
            f"{n} {reason} ({', '.join(self.examples[reason])}{', ...' if n > 5 else ''})"
            for reason, n in self.counts.items()
        ]
        return "; ".join(told) or "none"


def encode_pairs(pairs: Iterable[Pair], encoder: ConversationEncoder) -> tuple[list[EncodedPair], Excluded]:
    """Return the pairs that can be learnt from, and an account of the others.

    Left out are pairs of equal texts, with an empty response, too long for the trunk, refused by the chat template, and
    repeated ids.
    """
    found, excluded, seen = [], Excluded(), set()
    for pair in pairs:
        reason = _unusable(pair)
        if pair.pair_id in seen:
            reason = "repeated_id"
        seen.add(pair.pair_id)
        if reason is None:
            try:
                chosen, rejected = (encoder.encode(pair.messages, r) for r in (pair.chosen, pair.rejected))
                found.append(EncodedPair(pair, chosen, rejected))
            except ConversationError as error:
                reason = str(error).partition(":")[0]
        if reason is not None:
            excluded.add(reason, pair.pair_id)
    return found, excluded


def _unusable(pair: Pair) -> str | None:
    if pair.chosen.strip() == pair.rejected.strip():
        return "equal_texts"
    return "empty_response" if not pair.chosen.strip() or not pair.rejected.strip() else None


@dataclass(frozen=True)
class Batch:
    """Conversations of some length, padded on the right.

    Attributes:
        tokens: [n, length].
        mask: [n, length], 1 where a token is.
        prompt: [n], how many tokens come before the response.
    """

    tokens: torch.Tensor
    mask: torch.Tensor
    prompt: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """Return it on a device."""
        return Batch(self.tokens.to(device), self.mask.to(device), self.prompt.to(device))


def collate(rows: Sequence[Encoded], pad: int) -> Batch:
    """Return a batch of conversations."""
    length = max(len(r.tokens) for r in rows)
    tokens = torch.full((len(rows), length), pad)
    mask = torch.zeros(len(rows), length, dtype=torch.int64)
    for i, row in enumerate(rows):
        tokens[i, : len(row.tokens)] = torch.tensor(row.tokens)
        mask[i, : len(row.tokens)] = 1
    return Batch(tokens, mask, torch.tensor([r.prompt for r in rows]))
