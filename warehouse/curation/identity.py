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
