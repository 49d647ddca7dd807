"""Random numbers that belong to a prompt: the same for ever, whatever the order or the company of the prompt."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

_HEX_DIGITS = 15  # 60 bits of an id fit a signed integer


def draw(prompt_ids: pl.Series, purpose: str, seed: int) -> pl.Series:
    """Return one number in [0, 1) per prompt id, independent for each (purpose, seed).

    An id is a BLAKE2b hash already: its first 60 bits, XORed with BLAKE2b(purpose, seed), go through the SplitMix64
    finaliser (Steele, Lea and Flood, 2014). No library's own hash takes part, so no upgrade can change a draw.

    Raises:
        ValueError: an id is not hexadecimal.
    """
    head = prompt_ids.str.slice(0, _HEX_DIGITS)
    bits = head.str.to_integer(base=16, strict=False)
    if bits.null_count():
        bad = prompt_ids.filter(bits.is_null())[0]
        msg = f"prompt_id {bad!r} is not a hexadecimal id; ids are made by warehouse.curation.identity.prompt_id"
        raise ValueError(msg)
    digest = hashlib.blake2b(f"{purpose}:{seed}".encode(), digest_size=8).digest()
    z = bits.to_numpy().astype(np.uint64) ^ np.uint64(int.from_bytes(digest, "big"))
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return pl.Series("draw", (z >> np.uint64(11)).astype(np.float64) * 2.0**-53)
