"""Words of many texts as 64-bit hashes, in a few passes over arrays instead of one Python object a word.

A word is a maximal run of letters and digits of the normalised text (NFKC, case folded). A character of a script that
is written without spaces is a word by itself, and so is a mathematical symbol beyond ASCII. The hashes are ours, so
what is stored stays comparable across library versions: a word's is mix(sum over its bytes of table[byte] *
P^position), modulo 2^64.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    U64 = NDArray[np.uint64]
    I64 = NDArray[np.int64]

_P = 0x9E3779B97F4A7C15  # odd, so that powers have inverses modulo 2^64
_P_INVERSE = pow(_P, -1, 1 << 64)
_SYMBOL, _LETTER = 1, 2
_PIECE_BYTES = 1 << 20  # arrays of one piece stay in cache

_SYMBOLS = b"+-*/=<>^|&%~[]{}"  # what tells one formula or program from another
_NOT_WORD = re.compile(r"[^\w\x00-\x7f\u00b1\u00d7\u00f7\u2190-\u22ff]+")
_UNSPACED = re.compile(
    r"([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    r"\u00b1\u00d7\u00f7\u2190-\u22ff])"  # arrows and mathematical operators
)


@dataclass(frozen=True)
class Words:
    """The W words of N texts.

    `hashes` (W,); `offsets` (N + 1,): where each text's words begin; `start` and `end` (W,): byte places in `text`.
    """

    hashes: U64
    offsets: I64
    start: I64
    end: I64
    text: bytes

    @property
    def counts(self) -> I64:
        """Words of each text, shape (N,)."""
        return np.diff(self.offsets)

    def spell(self, first: int, count: int) -> str:
        """Return `count` words from word number `first`, joined by blanks."""
        return " ".join(self.text[self.start[i] : self.end[i]].decode() for i in range(first, first + count))


def normalise(text: str) -> str:
    """Return the text in NFKC and case folded; beyond ASCII, blanks part the words."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _NOT_WORD.sub(" ", _UNSPACED.sub(r" \1 ", folded))


def words_of(texts: Sequence[str], *, symbols: bool = False) -> Words:
    """Return the words of texts; with `symbols`, each operator or bracket of ASCII is a word too."""
    parts = list(_pieces(texts, symbols=symbols))
    if len(parts) == 1:
        return parts[0]
    if not parts:
        empty = np.empty(0, np.int64)
        return Words(np.empty(0, np.uint64), np.zeros(1, np.int64), empty, empty, b"")
    words_before = np.cumsum([0, *(len(p.hashes) for p in parts)])
    bytes_before = np.cumsum([0, *(len(p.text) for p in parts)])
    return Words(
        np.concatenate([p.hashes for p in parts]),
        np.concatenate([[0], *(p.offsets[1:] + b for p, b in zip(parts, words_before, strict=False))]),
        np.concatenate([p.start + b for p, b in zip(parts, bytes_before, strict=False)]),
        np.concatenate([p.end + b for p, b in zip(parts, bytes_before, strict=False)]),
        b"".join(p.text for p in parts),
    )


def ngrams(words: Words, n: int) -> tuple[U64, I64]:
    """Return the hash of each run of `n` words inside one text, and the number of its first word.

    A text of w words gives max(w - n + 1, 0) of them, in order.
    """
    total = len(words.hashes)
    if total < n:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    sums = _word_sums(words)
    hashes = mix((sums[n:] - sums[:-n]) * _inverse_powers(total)[: total - n + 1])
    inside = np.ones(total - n + 1, bool)
    for back in range(1, n):  # a run may not pass the end of its text
        ends = words.offsets[1:-1] - back
        inside[ends[(ends >= 0) & (ends < len(inside))]] = False
    first = np.flatnonzero(inside)
    return hashes[first], first


def runs(words: Words, first: I64, length: I64) -> U64:
    """Return the hash of `length` words from word number `first`, for many; as `ngrams` hashes them."""
    if not len(first):
        return np.empty(0, np.uint64)
    sums = _word_sums(words)
    return mix((sums[first + length] - sums[first]) * _inverse_powers(len(words.hashes))[first])


def _word_sums(words: Words) -> U64:
    sums = np.zeros(len(words.hashes) + 1, np.uint64)
    np.cumsum(words.hashes * _powers(len(words.hashes)), out=sums[1:])
    return sums


def mix(values: U64) -> U64:
    """Return the finaliser of splitmix64: every bit of the output depends on every bit of the input."""
    values = values ^ (values >> np.uint64(30))
    values = values * np.uint64(0xBF58476D1CE4E5B9)
    values = values ^ (values >> np.uint64(27))
    values = values * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def text_hash(text: str) -> int:
    """Return a 64-bit hash of one text as it is."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _pieces(texts: Sequence[str], *, symbols: bool) -> Iterator[Words]:
    held: list[bytes] = []
    size = 0
    for text in texts:
        data = normalise(text).encode("utf-8", "replace")
        held.append(data)
        size += len(data) + 1
        if size >= _PIECE_BYTES:
            yield _hash_piece(held, symbols=symbols)
            held, size = [], 0
    if held:
        yield _hash_piece(held, symbols=symbols)


def _hash_piece(texts: list[bytes], *, symbols: bool) -> Words:
    text = b"\n".join([*texts, b""])  # a line break after each: no word passes from one text into the next
    data = np.frombuffer(text, np.uint8)
    kind = np.zeros(len(data) + 2, np.uint8)
    kind[1:-1] = _kinds(symbols=symbols)[data]
    here = kind[1:-1]
    start = np.flatnonzero((here > kind[:-2]) | (here == _SYMBOL))
    end = np.flatnonzero(((here == _LETTER) & (kind[2:] != _LETTER)) | (here == _SYMBOL)) + 1
    sums = np.zeros(len(data) + 1, np.uint64)
    np.cumsum(_byte_table()[data] * _powers(len(data)), out=sums[1:])
    hashes = mix((sums[end] - sums[start]) * _inverse_powers(len(data))[start])
    text_ends = np.cumsum([len(t) + 1 for t in texts])
    offsets = np.concatenate([[0], np.searchsorted(start, text_ends)])
    return Words(hashes, offsets, start, end, text)


@cache
def _kinds(*, symbols: bool) -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    table[128:] = _LETTER  # beyond ASCII, `normalise` has taken out whatever is not a word
    table[list(b"abcdefghijklmnopqrstuvwxyz0123456789")] = _LETTER
    if symbols:
        table[list(_SYMBOLS)] = _SYMBOL
    return table


@cache
def _byte_table() -> U64:
    return mix(np.arange(1, 257, dtype=np.uint64) * np.uint64(_P))


_cached_powers: dict[int, U64] = {}


def _powers(count: int) -> U64:
    return _power_table(_P, count)


def _inverse_powers(count: int) -> U64:
    return _power_table(_P_INVERSE, count)


def _power_table(base: int, count: int) -> U64:
    """Return base^0 .. base^(count - 1) modulo 2^64; the table of each base is kept, and grows."""
    table = _cached_powers.get(base)
    if table is None or len(table) < count:
        factors = np.full(max(count, _PIECE_BYTES), base, np.uint64)
        factors[0] = 1
        table = np.cumprod(factors)
        _cached_powers[base] = table
    return table[:count]
