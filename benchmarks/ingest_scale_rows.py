"""The rows of `ingest_scale.py`: synthetic, seeded, with known copies, broken lines and contaminations in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from pathlib import Path

CHUNK = 20_000
FILES = 8
SHARES = {"exact": 0.03, "near": 0.05, "broken": 0.001, "quote": 0.0005, "whole": 0.0005, "item": 0.0005}
MIN_NEAR_WORDS = 40  # in shorter texts one changed word is a change of meaning
EVALUATION = {"algebra": 500, "trivia": 400, "short": 300}
WORDS = 13
PLANTED = {
    "row": pl.Int64,
    "kind": pl.String,
    "of": pl.Int64,
    "jaccard": pl.Float64,
    "eval_set": pl.String,
    "item": pl.String,
}


class Language:
    """Words of a Zipf vocabulary."""

    def __init__(self, seed: int, size: int = 100_000) -> None:
        self.rng = np.random.default_rng(seed)
        syllables = [a + b for a in "bcdfghjklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er", "in")]
        lengths = self.rng.choice([1, 2, 3, 4], p=[0.2, 0.45, 0.25, 0.1], size=3 * size)
        words = dict.fromkeys("".join(self.rng.choice(syllables, size=n)) for n in lengths)
        self.vocabulary = np.array(list(words)[:size], dtype=object)
        weights = 1.0 / np.arange(1, len(self.vocabulary) + 1)
        self._cumulative = np.cumsum(weights) / weights.sum()

    def words(self, count: int) -> list[str]:
        return list(self.vocabulary[np.searchsorted(self._cumulative, self.rng.random(count))])

    def texts(self, count: int, median: float = 130, sigma: float = 0.8) -> list[list[str]]:
        lengths = np.clip(self.rng.lognormal(np.log(median), sigma, count), 6, 4000).astype(int)
        flat = self.words(int(lengths.sum()))
        ends = np.cumsum(lengths)
        return [flat[e - n : e] for e, n in zip(ends, lengths, strict=True)]


def generate(folder: Path, rows: int, seed: int = 1) -> pl.DataFrame:
    """Write the rows and the evaluation sets; return what was planted, a row each."""
    language = Language(seed)
    rng = language.rng
    sets = _evaluation_sets(folder, language)
    kinds = rng.choice([*SHARES, "base"], p=[*SHARES.values(), 1 - sum(SHARES.values())], size=rows)
    kinds[:1000] = "base"
    pool: list[tuple[int, list[str]]] = []
    planted: list[tuple[int, str, int | None, float | None, str | None, str | None]] = []
    per_file = -(-rows // FILES)
    files = [(folder / f"rows-{i}.jsonl").open("w", encoding="utf-8") for i in range(FILES)]
    for start in range(0, rows, CHUNK):
        texts = language.texts(min(CHUNK, rows - start))
        for row, words in enumerate(texts, start):
            kind = str(kinds[row])
            text = ""
            of, jaccard, name, item = None, None, None, None
            if kind == "base":
                text = " ".join(words)
                if row % 10 == 0:
                    pool.append((row, words))
            elif kind == "exact":
                of, words = pool[rng.integers(len(pool))]
                text = f"  {' '.join(words)}\n"
            elif kind == "near":
                of, words, jaccard = _near(pool, language)
                text = " ".join(words)
            elif kind != "broken":
                name, item, text = _contaminated(kind, words, sets, rng)
            answer = str(row if of is None else of)
            line = json.dumps({"prompt": text, "answer": answer, "id": f"row{row}"})
            files[row // per_file].write((line if kind != "broken" else '{"prompt": "cut off') + "\n")
            if kind != "base":
                planted.append((row, kind, of, jaccard, name, item))
    for file in files:
        file.close()
    with (folder / "next.jsonl").open("w", encoding="utf-8") as file:
        for row, words in enumerate(language.texts(rows // 100), rows):
            text = " ".join(words if row % 10 else _near(pool, language)[1])
            file.write(json.dumps({"prompt": text, "answer": None, "id": f"row{row}"}) + "\n")
    schema = {
        "row": pl.Int64,
        "kind": pl.String,
        "of": pl.Int64,
        "jaccard": pl.Float64,
        "eval_set": pl.String,
        "item": pl.String,
    }
    return pl.DataFrame(planted, schema=schema, orient="row")


def _evaluation_sets(folder: Path, language: Language) -> dict[str, list[list[str]]]:
    sets = {
        name: language.texts(count, *((9, 0.15) if name == "short" else (60, 0.5)))
        for name, count in EVALUATION.items()
    }
    sets["short"] = [words[:12] for words in sets["short"]]
    for name, items in sets.items():
        (folder / f"{name}.eval.jsonl").write_text("".join(json.dumps({"question": " ".join(w)}) + "\n" for w in items))
    return sets


def _near(pool: list[tuple[int, list[str]]], language: Language) -> tuple[int, list[str], float]:
    rng = language.rng
    while len(pool[at := int(rng.integers(len(pool)))][1]) < MIN_NEAR_WORDS:
        pass
    of, words = pool[at]
    changed = list(words)
    edits = int(rng.integers(1, max(2, len(words) * 0.03)))
    for place, word in zip(rng.integers(len(words), size=edits), language.words(edits), strict=True):
        changed[place] = word
    one, two = ({tuple(w[i : i + 3]) for i in range(len(w) - 2)} for w in (words, changed))
    return of, changed, len(one & two) / len(one | two)


def _contaminated(
    kind: str, words: list[str], sets: dict[str, list[list[str]]], rng: np.random.Generator
) -> tuple[str, str, str]:
    name = "short" if kind == "whole" else str(rng.choice(["algebra", "trivia"]))
    number = int(rng.integers(len(sets[name])))
    item = sets[name][number]
    while kind == "quote" and len(item) < WORDS + 1:
        number = int(rng.integers(len(sets[name])))
        item = sets[name][number]
    if kind == "quote":
        length = int(rng.integers(WORDS, min(len(item), 2 * WORDS) + 1))
        first = int(rng.integers(len(item) - length + 1))
        item = item[first : first + length]
    noisy = [w.upper() if rng.random() < 0.3 else w + ("," if rng.random() < 0.3 else "") for w in item]
    cut = int(rng.integers(len(words)))
    text = " ".join(noisy) if kind == "item" else " ".join([*words[:cut], *noisy, *words[cut:]])
    return name, f"{name}.eval.jsonl:{number}", text
