"""Canonical ids: what makes two prompts the same prompt."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


_quote = json.JSONEncoder(ensure_ascii=False).encode


def canonical_text(text: str) -> str:
    """Return text in Unicode NFC with outer white space stripped."""
    return text.strip() if text.isascii() else unicodedata.normalize("NFC", text).strip()


def canonical_messages(messages: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return (role, content) pairs with canonical content."""
    return [(role, canonical_text(content)) for role, content in messages]


def prompt_id(messages: Sequence[tuple[str, str]]) -> str:
    """Return the id of a prompt: 32 hex characters, BLAKE2b (16 bytes) of its canonical messages."""
    # What json.dumps writes for the list of pairs, without its detours.
    pairs = (f"[{_quote(role)},{_quote(content)}]" for role, content in canonical_messages(messages))
    text = f"[{','.join(pairs)}]"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def gold_hash(ground_truth: str | None) -> str | None:
    """Return 32 hex characters by which two golds (JSON text) are the same, or None where there is no gold.

    Key order, spacing, Unicode form, white space around strings, thousands separators ("1,875" and "1875") and zeros
    after the point ("18.0" and "18") make no difference.
    """
    return None if ground_truth is None else gold_value_hash(json.loads(ground_truth))


def gold_value_hash(gold: object) -> str:
    """Return `gold_hash` of a gold that is not JSON text but the value itself."""
    if isinstance(gold, str):
        text = _quote(_canonical_number(canonical_text(gold)))
    else:
        text = json.dumps(_canonical(gold), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


_NUMBER = re.compile(r"([-+]?)(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d*))?", re.ASCII)


def _canonical_number(text: str) -> str:
    """Return a plain decimal number in one spelling, and any other text as it is."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    sign, whole, fraction = match[1].replace("+", ""), match[2].replace(",", "").lstrip("0") or "0", match[3] or ""
    fraction = fraction.rstrip("0")
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def _canonical(value: object) -> object:
    if isinstance(value, str):
        return _canonical_number(canonical_text(value))
    if isinstance(value, list):
        return [_canonical(v) for v in value]
    if isinstance(value, dict):
        return {k: _canonical(v) for k, v in value.items()}  # two keys must not become one
    return value
