"""Canonical ids: what makes two prompts the same prompt."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def canonical_text(text: str) -> str:
    """Return text in Unicode NFC with outer white space stripped."""
    return unicodedata.normalize("NFC", text).strip()


def canonical_messages(messages: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return (role, content) pairs with canonical content."""
    return [(role, canonical_text(content)) for role, content in messages]


def prompt_id(messages: Sequence[tuple[str, str]]) -> str:
    """Return the id of a prompt: 32 hex characters, BLAKE2b (16 bytes) of its canonical messages."""
    text = json.dumps(canonical_messages(messages), ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def gold_hash(ground_truth: str | None) -> str | None:
    """Return 32 hex characters by which two golds (JSON text) are the same, or None where there is no gold.

    Key order, spacing, Unicode form and white space around strings make no difference.
    """
    if ground_truth is None:
        return None
    text = json.dumps(_canonical(json.loads(ground_truth)), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _canonical(value: object) -> object:
    if isinstance(value, str):
        return canonical_text(value)
    if isinstance(value, list):
        return [_canonical(v) for v in value]
    if isinstance(value, dict):
        return {canonical_text(k): _canonical(v) for k, v in value.items()}
    return value
