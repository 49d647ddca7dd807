"""Which prompts share text with an evaluation set: n-grams of normalised words, looked up by hash, confirmed by text.

A prompt overlaps with an item of a set

- `exact`: when both have the same words;
- `whole`: when the item is shorter than an n-gram, has at least `WHOLE_WORDS` words, and the prompt holds all of it;
- `ngram`: when `n` consecutive words of the item stand in the prompt.

Words are compared in NFKC, case folded, without punctuation. Shorter items than `WHOLE_WORDS` count only when exact:
three words stand in many prompts that never saw the set. Of several items of a set the one that shares most is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from warehouse.curation.words import Words, mix, ngrams, runs, words_of
from warehouse.ingest.fields import RowError, getter
from warehouse.ingest.readers import InputError, expand, read_rows
from warehouse.schemas import CONTAMINATION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from warehouse.settings import EvaluationSet

    U64 = NDArray[np.uint64]
    I64 = NDArray[np.int64]

WHOLE_WORDS = 5
_SLICE_ROWS = 4_000  # prompts at a time: the arrays of so many stay small
_FILTER_BITS = 24

ITEMS = pl.Schema({"eval_set": pl.String, "item": pl.String, "text": pl.String})
_RANK = {"exact": 0, "whole": 1, "ngram": 2}


def evaluation_items(sets: Sequence[EvaluationSet], base: Path, prompts: pl.LazyFrame) -> pl.DataFrame:
    """Return the items of all evaluation sets: columns `eval_set`, `item` (file and row, or prompt_id), `text`.

    Args:
        sets: as configured.
        base: where relative paths start.
        prompts: the `prompts` table, for sets that are the `eval` pool of a source.

    Raises:
        InputError: a file is missing, or a row of it cannot be read: an item left out would be an overlap not seen.
    """
    frames = [pl.DataFrame(schema=ITEMS)]
    for chosen in sets:
        if chosen.source is not None:
            own = prompts.filter((pl.col("pool") == "eval") & (pl.col("source") == chosen.source))
            items = own.select(item="prompt_id", text=_content()).unique("item").sort("item").collect()
        else:
            items = pl.DataFrame(_read_items(chosen, base), schema=["item", "text"], orient="row")
        named = items.select(pl.lit(chosen.name).alias("eval_set"), pl.col("item", "text").cast(pl.String))
        frames.append(named)
    return pl.concat(frames)


def contamination(prompts: Iterable[pl.DataFrame], items: pl.DataFrame, words: int) -> pl.DataFrame:
    """Return one row for each prompt and evaluation set that overlap: the columns of `contamination`, sorted.

    Args:
        prompts: frames with `prompt_id` and `messages`; any number of any size.
        items: what `evaluation_items` returns.
        words: n, the length of an n-gram.
    """
    tables = [_SetTable(str(name), own, words) for (name,), own in items.group_by("eval_set", maintain_order=True)]
    index = _Index(tables, words)
    found = [pl.DataFrame(schema=CONTAMINATION.columns)]
    for frame in prompts:
        for part in frame.select("prompt_id", text=_content()).iter_slices(_SLICE_ROWS):
            found.extend(index.search(part.get_column("prompt_id"), part.get_column("text").to_list()))
    return pl.concat(found).sort("prompt_id", "eval_set")


def _content() -> pl.Expr:
    return pl.col("messages").list.eval(pl.element().struct.field("content")).list.join("\n")


def _read_items(chosen: EvaluationSet, base: Path) -> Iterator[tuple[str, str]]:
    take = getter(chosen.text)
    for path in expand(chosen.path or [], base):
        for row in read_rows(path):
            try:
                if row.value is None:
                    raise row.error or RowError("broken_json", "the row cannot be read")
                text = take(row.value)
            except RowError as error:
                msg = f"evaluation set {chosen.name}: {path}, row {row.row}: {error.message}"
                raise InputError(msg) from None
            if text is not None and str(text).strip():
                yield f"{path.name}:{row.row}", str(text)


class _SetTable:
    """The hashes of one evaluation set, by kind of overlap."""

    def __init__(self, name: str, items: pl.DataFrame, n: int) -> None:
        self.name = name
        self.names = items.get_column("item")
        self.words = words_of(items.get_column("text").to_list())
        counts = self.words.counts
        filled = np.flatnonzero(counts)
        self.exact = _Lookup(_whole_hashes(self.words)[filled], filled)
        hashes, first = ngrams(self.words, n)
        self.runs = _Lookup(hashes, first)
        short = np.flatnonzero((counts >= WHOLE_WORDS) & (counts < n))
        starts = self.words.offsets[short]
        # Short items by their first words: one look-up, whatever their lengths.
        self.openings = _Lookup(runs(self.words, starts, np.full(len(short), WHOLE_WORDS)), starts)


class _Lookup:
    """A sorted table from hash to places, of which a hash may have several."""

    def __init__(self, hashes: U64, places: I64) -> None:
        order = np.lexsort((places, hashes))
        self.hashes, self._places = hashes[order], places[order]

    def find(self, hashes: U64) -> tuple[I64, I64]:
        """Return the first place of each hash that is in the table, as (which hash, place)."""
        low = np.searchsorted(self.hashes, hashes)
        hit = np.flatnonzero(low < len(self.hashes))
        hit = hit[self.hashes[low[hit]] == hashes[hit]]
        return hit, self._places[low[hit]]

    def find_all(self, hashes: U64) -> tuple[I64, I64]:
        """Return all places of each hash that is in the table."""
        low = np.searchsorted(self.hashes, hashes)
        count = np.searchsorted(self.hashes, hashes, side="right") - low
        ends = np.cumsum(count)
        total = int(ends[-1]) if len(ends) else 0
        at = np.arange(total) - np.repeat(ends - count, count) + np.repeat(low, count)
        return np.repeat(np.arange(len(hashes)), count), self._places[at]


@dataclass(frozen=True)
class _Hits:
    """Places where a prompt and an item agree: shape (H,) each."""

    overlap: str
    prompt: I64
    item: I64
    first: I64  # the first word, of the prompts' words
    item_first: I64  # and of the items'
    count: I64  # words in agreement


class _Index:
    """All evaluation sets. A filter over the hashes of all of them keeps most words from ever being looked up."""

    def __init__(self, tables: list[_SetTable], n: int) -> None:
        self._tables = tables
        self._n = n
        self._runs = _filter([t.runs.hashes for t in tables])
        self._openings = _filter([t.openings.hashes for t in tables])

    def search(self, prompt_ids: pl.Series, texts: list[str]) -> Iterator[pl.DataFrame]:
        """Yield the overlaps of some prompts with each set."""
        words = words_of(texts)
        whole = _whole_hashes(words)
        long = _candidates(words, self._n, self._runs)
        opening = _candidates(words, WHOLE_WORDS, self._openings)
        for table in self._tables:
            hits = [_exact(table, words, whole), _whole(table, words, opening), _ngram(table, words, long, self._n)]
            if any(len(h.prompt) for h in hits):
                yield _rows(table, words, prompt_ids, hits)


def _filter(hashes: list[U64]) -> NDArray[np.bool_] | None:
    known = np.concatenate([*hashes, np.empty(0, np.uint64)])
    if not len(known):
        return None
    found = np.zeros(1 << _FILTER_BITS, bool)
    found[_slot(known)] = True
    return found


def _candidates(words: Words, length: int, known: NDArray[np.bool_] | None) -> tuple[U64, I64]:
    if known is None:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    hashes, first = ngrams(words, length)
    chosen = np.flatnonzero(known[_slot(hashes)])
    return hashes[chosen], first[chosen]


def _exact(table: _SetTable, words: Words, whole: U64) -> _Hits:
    prompt, item = table.exact.find(whole)
    return _Hits("exact", prompt, item, words.offsets[prompt], table.words.offsets[item], words.counts[prompt])


def _ngram(table: _SetTable, words: Words, candidates: tuple[U64, I64], n: int) -> _Hits:
    hashes, first = candidates
    hit, item_first = table.runs.find(hashes)
    item = _text_of(table.words, item_first)
    return _Hits("ngram", _text_of(words, first[hit]), item, first[hit], item_first, np.full(len(hit), n))


def _whole(table: _SetTable, words: Words, candidates: tuple[U64, I64]) -> _Hits:
    hashes, first = candidates
    hit, item_first = table.openings.find_all(hashes)
    first = first[hit]
    item = _text_of(table.words, item_first)
    count = table.words.counts[item]
    prompt = _text_of(words, first)
    fits = np.flatnonzero(first + count <= words.offsets[prompt + 1])
    first, item_first, count = first[fits], item_first[fits], count[fits]
    same = fits[runs(words, first, count) == runs(table.words, item_first, count)]
    at = np.searchsorted(fits, same)
    return _Hits("whole", prompt[same], item[same], first[at], item_first[at], count[at])


def _rows(table: _SetTable, words: Words, prompt_ids: pl.Series, hits: list[_Hits]) -> pl.DataFrame:
    """Return one row a prompt: the strongest kind of overlap, and the item that shares most."""
    frame = pl.concat(
        [
            pl.DataFrame(
                {"prompt": h.prompt, "item": h.item, "first": h.first, "item_first": h.item_first, "count": h.count}
            ).with_columns(overlap=pl.lit(h.overlap), rank=pl.lit(_RANK[h.overlap]))
            for h in hits
        ]
    )
    by_item = frame.group_by("prompt", "rank", "overlap", "item").agg(pl.len(), pl.all().sort_by("first").first())
    best = by_item.sort("prompt", "rank", -pl.col("len").cast(pl.Int64), "item")
    rows: dict[int, tuple[str, str, str, str, str]] = {}
    for prompt, item, overlap, first, item_first, count in best.select(
        "prompt", "item", "overlap", "first", "item_first", "count"
    ).iter_rows():
        if prompt in rows:
            continue
        matched = words.spell(first, count)
        if matched == table.words.spell(item_first, count):  # else two texts with one hash
            rows[prompt] = (prompt_ids[prompt], table.name, table.names[item], overlap, matched)
    return pl.DataFrame(list(rows.values()), schema=CONTAMINATION.columns, orient="row")


def _whole_hashes(words: Words) -> U64:
    """Return one hash for all the words of each text, shape (N,)."""
    hashes = np.zeros(len(words.counts), np.uint64)
    position = np.arange(len(words.hashes), dtype=np.uint64) - np.repeat(words.offsets[:-1], words.counts).astype(
        np.uint64
    )
    terms = mix(words.hashes ^ mix(position + np.uint64(1)))
    filled = np.flatnonzero(words.counts)
    if len(filled):
        hashes[filled] = mix(np.add.reduceat(terms, words.offsets[filled]))
    return hashes


def _text_of(words: Words, first: I64) -> I64:
    """Return the number of the text that each word is in."""
    return np.searchsorted(words.offsets, first, side="right") - 1


def _slot(hashes: U64) -> U64:
    return hashes >> np.uint64(64 - _FILTER_BITS)
