"""Instruction-following tasks: do something to words, exactly. Gold and verifier `exact`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from trainer.nursery.task import NurseryTask

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

WORDS = (
    "sun", "tree", "bird", "stone", "river", "house", "lamp", "green", "paper", "cloud", "horse", "bread", "chair",
    "night", "water", "light", "snow", "fish", "door", "wind", "gold", "ring", "ship", "hand", "leaf", "milk", "road",
    "star", "sand", "king",
)  # fmt: skip
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _task(level: int, prompt: str, answer: str) -> NurseryTask:
    return NurseryTask(prompt, json.dumps(answer), "exact", "instruction", level, answer)


def _repeat(rng: Random, level: int, most: int) -> NurseryTask:
    word, n = rng.choice(WORDS), rng.randint(2, most)
    return _task(level, f"Repeat the word {word} {n} times.", " ".join([word] * n))


def _separated(rng: Random, level: int) -> NurseryTask:
    words = rng.sample(WORDS, rng.randint(2, 4))
    name, mark = rng.choice((("commas", ", "), ("slashes", "/"), ("plus signs", " + ")))
    return _task(level, f"List these words separated by {name}: {' '.join(words)}", mark.join(words))


def _pick(rng: Random, level: int) -> NurseryTask:
    words = rng.sample(WORDS, rng.randint(3, 5))
    name, i = rng.choice((("first", 0), ("second", 1), ("third", 2), ("last", -1)))
    return _task(level, f"Write only the {name} of these words: {' '.join(words)}", words[i])


def _upper(rng: Random, level: int, count: int) -> NurseryTask:
    words = rng.sample(WORDS, count)
    return _task(level, f"Write in upper case, with a full stop: {' '.join(words)}", " ".join(words).upper() + ".")


def _reverse_words(rng: Random, level: int) -> NurseryTask:
    words = rng.sample(WORDS, rng.randint(3, 5))
    return _task(level, f"Write these words in reverse order: {' '.join(words)}", " ".join(reversed(words)))


def _spell(rng: Random, level: int) -> NurseryTask:
    word = rng.choice(WORDS)
    return _task(level, f"Spell the word {word} with hyphens.", "-".join(word))


def _sort(rng: Random, level: int) -> NurseryTask:
    words = rng.sample(WORDS, rng.randint(3, 5))
    return _task(level, f"Sort these words by the alphabet: {' '.join(words)}", " ".join(sorted(words)))


def _backwards(rng: Random, level: int) -> NurseryTask:
    word = rng.choice(WORDS)
    return _task(level, f"Write the word {word} backwards.", word[::-1])


def _letters(rng: Random, low: int, high: int) -> str:
    return "".join(rng.choice(_LETTERS) for _ in range(rng.randint(low, high)))


def _backwards_letters(rng: Random, level: int) -> NurseryTask:
    text = _letters(rng, 7, 12)
    return _task(level, f"Write these letters backwards: {text}", text[::-1])


def _every_second(rng: Random, level: int) -> NurseryTask:
    text = _letters(rng, 8, 14)
    return _task(level, f"Write every second letter, starting with the first: {text}", text[::2])


def _sort_letters(rng: Random, level: int) -> NurseryTask:
    text = _letters(rng, 6, 10)
    return _task(level, f"Sort these letters by the alphabet: {text}", "".join(sorted(text)))


LEVELS: dict[int, tuple[Callable[[Random], NurseryTask], ...]] = {
    1: (lambda rng: _repeat(rng, 1, 4), lambda rng: _upper(rng, 1, 1)),
    2: (lambda rng: _separated(rng, 2), lambda rng: _spell(rng, 2), lambda rng: _repeat(rng, 2, 9)),
    3: (lambda rng: _pick(rng, 3), lambda rng: _upper(rng, 3, 3), lambda rng: _backwards(rng, 3)),
    4: (lambda rng: _reverse_words(rng, 4), lambda rng: _sort(rng, 4)),
    5: (
        lambda rng: _backwards_letters(rng, 5),
        lambda rng: _every_second(rng, 5),
        lambda rng: _sort_letters(rng, 5),
    ),
}
