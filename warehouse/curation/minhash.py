"""MinHash signatures of texts, and the bands by which similar ones meet.

The similarity of two texts is the Jaccard index of their sets of word shingles, operators and brackets counted as
words: "3 + 4" and "3 - 4" are two tasks. A signature of `size` 32-bit minima
estimates it as the share of equal places, with standard error sqrt(J (1 - J) / size) at most: 0.035 at J = 0.8 and 128.
Signatures are rensa's full-set R-MinHash. (Its faster rho sketch overestimates: it gives 0.81 where J is 0.60.)

Two texts meet in a band when `rows` consecutive places agree in one of `count` bands, so with probability
1 - (1 - J^rows)^count. For the default thresholds this is 4 rows in 32 bands:

    J       0.2    0.3    0.4    0.5    0.6    0.65   0.7    0.8       0.9
    met     0.05   0.23   0.56   0.87   0.988  0.998  0.9998 1 - 5e-8  1 - 3e-15
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rensa import RMinHash

from warehouse.curation.words import mix, ngrams, normalise, text_hash, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    U32 = NDArray[np.uint32]
    I64 = NDArray[np.int64]

SEED = 0x5EED  # part of what a stored signature means: never change it
_PIECE = 500  # texts at a time: the arrays of so many stay in cache
_RECALL_NEAR = 0.99
_RECALL_NEIGHBOUR = 0.98


@dataclass(frozen=True)
class Bands:
    """A layout: `count` bands of `rows` consecutive places of a signature."""

    rows: int
    count: int

    def recall(self, similarity: float) -> float:
        """Return the probability that two texts of this similarity meet in at least one band."""
        return 1.0 - (1.0 - similarity**self.rows) ** self.count


def choose_bands(size: int, near: float, neighbour: float) -> Bands:
    """Return the layout of longest bands that still finds enough of the pairs at both thresholds.

    Args:
        size: places of a signature.
        near: similarity of near duplicates; at least 99% of the pairs at the threshold meet.
        neighbour: similarity across which the held-out split is inherited; at least 98% meet.
    """
    for rows in range(size, 1, -1):
        bands = Bands(rows, size // rows)
        if bands.recall(near) >= _RECALL_NEAR and bands.recall(neighbour) >= _RECALL_NEIGHBOUR:
            return bands
    return Bands(1, size)


def signatures(texts: Sequence[str], *, shingle_words: int, size: int) -> U32:
    """Return the signatures of texts, shape (N, size).

    A text of fewer words than a shingle is one token: its normalised text, punctuation included. So short texts are
    near one another only where they are the same but for case and spacing ("2 + 2" and "2 - 2" are not).
    """
    found = np.empty((len(texts), size), np.uint32)
    for start in range(0, len(texts), _PIECE):
        found[start : start + _PIECE] = _piece(texts[start : start + _PIECE], shingle_words, size)
    return found


def _piece(texts: Sequence[str], shingle_words: int, size: int) -> list[list[int]]:
    words = words_of(texts, symbols=True)
    hashes, first = ngrams(words, shingle_words)
    counts = np.maximum(words.counts - shingle_words + 1, 0)
    short = np.flatnonzero(counts == 0)
    if len(short):
        own = np.array([text_hash(_spaced(texts[int(i)])) for i in short], np.uint64)
        hashes = np.insert(hashes, np.searchsorted(first, words.offsets[short]), own)
        counts[short] = 1
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)
    rows: list[list[int]] = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, size, SEED).to_rows()
    return rows


def _spaced(text: str) -> str:
    return " ".join((normalise(text).strip() or text).split())


def band_keys(signature: U32, bands: Bands, first: int = 0, count: int | None = None) -> I64:
    """Return 64-bit keys, shape (N, count): equal keys mean that the signatures agree in that band.

    Args:
        signature: shape (N, size).
        bands: the layout.
        first: the first band wanted.
        count: how many; default: all from `first` on.
    """
    count = bands.count - first if count is None else count
    start = first * bands.rows
    part = np.asarray(signature[:, start : start + count * bands.rows]).reshape(-1, count, bands.rows)
    keys = mix(np.arange(first + 1, first + count + 1, dtype=np.uint64))[None, :].repeat(len(part), axis=0)
    for row in range(bands.rows):
        keys = mix(keys ^ part[:, :, row])
    return keys.view(np.int64)


def to_bytes(signature: U32) -> list[bytes]:
    """Return signatures as they are stored: uint32, little-endian."""
    width = signature.shape[1] * 4
    data = np.ascontiguousarray(signature, dtype="<u4").tobytes()
    return [data[i : i + width] for i in range(0, len(data), width)]


def from_bytes(stored: Sequence[bytes], size: int) -> U32:
    """Return stored signatures as an array of shape (N, size).

    Raises:
        ValueError: a signature has another size: it was made under other settings.
    """
    data = b"".join(stored)
    if len(data) != len(stored) * size * 4:
        found = sorted({len(s) // 4 for s in stored} - {size})
        msg = (
            f"earlier batches hold signatures of {found} places, ingest.signature_size is {size}; "
            "set it back, or ingest all batches anew"
        )
        raise ValueError(msg)
    return np.frombuffer(data, "<u4").reshape(-1, size).astype(np.uint32, copy=False)
