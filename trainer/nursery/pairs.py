"""Pairs of answers to open nursery questions, the better one first: to learn from, and to measure with."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, NamedTuple

from trainer.nursery.answers import PROMPTS, asked, draw_answer, right_answer
from trainer.nursery.quality import quality
from trainer.reward_models.pairs import Pair

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HELD_OUT, HELD_OUT_SAMPLES = 1_000_003, 32  # a seed that no training uses, and samples a prompt


class Share(NamedTuple):
    """A share of so many."""

    number: int
    share: float


def share_of(right: Sequence[bool]) -> Share:
    """Return how many there are, and which share is true."""
    return Share(len(right), sum(right) / max(1, len(right)))


def conversation(prompt: str) -> tuple[tuple[str, str], ...]:
    """Return an open question as turns."""
    return (("user", prompt),)


def training_pairs(own: Mapping[str, Sequence[str]], count: int, seed: int) -> list[Pair]:
    """Return so many pairs of answers of different quality, the better one chosen."""
    rng = Random(f"pairs {seed}")
    found: list[Pair] = []
    while len(found) < count:
        prompt = rng.choice(PROMPTS)
        one, other = draw_answer(rng, prompt, own[prompt]), draw_answer(rng, prompt, own[prompt])
        better = quality(prompt, one) - quality(prompt, other)
        if better and one.strip() and other.strip():
            chosen, rejected = (one, other) if better > 0 else (other, one)
            found.append(Pair(f"open-{len(found)}", conversation(prompt), chosen, rejected))
    return found


def held_out_pairs(own: Mapping[str, Sequence[str]]) -> list[Pair]:
    """Return every pair of different texts and different quality among a policy's samples."""
    found: list[Pair] = []
    for prompt, texts in own.items():
        ranked = sorted({(quality(prompt, text), text) for text in texts})
        for n, (low, rejected) in enumerate(ranked):
            better = [text for high, text in ranked[n + 1 :] if high > low]
            found += [
                Pair(f"{prompt} {len(found) + i}", conversation(prompt), c, rejected) for i, c in enumerate(better)
            ]
    return found


def corrupted_pairs(count: int, seed: int) -> list[Pair]:
    """Return so many pairs of a right answer and a spoilt one, to random questions."""
    rng = Random(f"corrupted {seed}")
    found: list[Pair] = []
    while len(found) < count:
        prompt = rng.choice(PROMPTS)
        text = draw_answer(rng, prompt, ())
        if text.strip() and quality(prompt, text) < 1:
            right = right_answer(rng, asked(prompt))
            found.append(Pair(f"corrupted-{len(found)}", conversation(prompt), right, text))
    return found
