"""General tasks: opposites and categories as multiple choice (`choice`), and open questions without a verifier."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from trainer.nursery.task import NurseryTask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

OPPOSITES = (
    ("hot", "cold"), ("big", "small"), ("fast", "slow"), ("old", "young"), ("day", "night"), ("up", "down"),
    ("open", "closed"), ("wet", "dry"), ("rich", "poor"), ("early", "late"), ("hard", "soft"), ("full", "empty"),
    ("loud", "quiet"), ("high", "low"), ("light", "dark"), ("strong", "weak"), ("happy", "sad"), ("near", "far"),
)  # fmt: skip
CATEGORIES = {
    "an animal": ("dog", "cow", "lion", "goat", "wolf", "bear"),
    "a fruit": ("plum", "pear", "fig", "lemon", "grape", "mango"),
    "a colour": ("red", "blue", "green", "white", "brown", "pink"),
    "a tool": ("saw", "hammer", "drill", "axe", "spade", "rake"),
    "a number": ("two", "seven", "nine", "ten", "six", "five"),
    "a part of the body": ("knee", "ear", "nose", "thumb", "chin", "toe"),
}
_LEGS = {"a hen": 2, "a dog": 4, "an ant": 6, "a spider": 8, "a crab": 10, "a horse": 4, "a duck": 2, "a bee": 6}


def _choice(level: int, question: str, right: str, wrong: list[str], rng: Random) -> NurseryTask:
    """The answer is the option's text: so small a model cannot look up its letter."""
    items = [right, *wrong]
    rng.shuffle(items)
    options = dict(zip("ABCDEF", items, strict=False))
    letter = next(k for k, v in options.items() if v == right)
    lines = "\n".join(f"{k}) {v}" for k, v in options.items())
    gold = json.dumps({"answer": letter, "options": options})
    return NurseryTask(f"{question}\n{lines}", gold, "choice", "general", level, right)


def _opposite(rng: Random, level: int, options: int) -> NurseryTask:
    pair = rng.choice(OPPOSITES)
    word, right = pair if rng.random() < 0.5 else pair[::-1]
    others = [w for p in OPPOSITES if p != pair for w in p]
    return _choice(level, f"Which word means the opposite of {word}?", right, rng.sample(others, options - 1), rng)


def _member(rng: Random, level: int, options: int) -> NurseryTask:
    category = rng.choice(tuple(CATEGORIES))
    others = [w for c, words in CATEGORIES.items() if c != category for w in words]
    wrong = rng.sample(others, options - 1)
    return _choice(level, f"Which of these is {category}?", rng.choice(CATEGORIES[category]), wrong, rng)


def _odd_one_out(rng: Random, level: int, options: int) -> NurseryTask:
    common, odd = rng.sample(tuple(CATEGORIES), 2)
    wrong = rng.sample(CATEGORIES[common], options - 1)
    return _choice(level, "Which word does not belong with the others?", rng.choice(CATEGORIES[odd]), wrong, rng)


def _most_legs(rng: Random, level: int) -> NurseryTask:
    """The total of legs of several animals: two facts and a sum behind a choice."""
    (a, la), (b, lb) = rng.sample(sorted(_LEGS.items()), 2)
    m, n = rng.randint(2, 9), rng.randint(2, 9)
    right = m * la + n * lb
    wrong = rng.sample([right + d for d in (-6, -4, -2, 2, 4, 6) if right + d > 0], 3)
    question = f"If {a} comes {m} times and {b} comes {n} times, how many legs come in all?"
    return _choice(level, question, str(right), [str(w) for w in wrong], rng)


ABOUT = {
    "the sun": ("is a star", "gives us light", "is very hot", "rises in the east"),
    "a cat": ("is a small animal", "likes milk", "sleeps a lot", "catches mice"),
    "rain": ("falls from clouds", "makes the fields green", "is water", "fills the rivers"),
    "a book": ("has many pages", "tells a story", "is made of paper", "can teach us much"),
    "the sea": ("is full of salt water", "is home to many fish", "is deep and wide", "carries ships"),
    "a tree": ("has roots and leaves", "gives us shade", "grows for many years", "is made of wood"),
    "winter": ("is the cold season", "brings snow", "has short days", "comes after autumn"),
    "music": ("is made of sounds", "can make us happy", "has rhythm", "is older than writing"),
}
COUNTS = {1: "one sentence", 2: "two sentences", 3: "three sentences"}


def capitalised(subject: str) -> str:
    """Return a subject as a sentence begins with it."""
    return subject[0].upper() + subject[1:]


def open_prompts(subject: str, count: int) -> tuple[str, str]:
    """Return both wordings of the open question for so many sentences about a subject."""
    many = COUNTS[count]
    return f"Tell me about {subject} in {many}.", f"Write {many} about {subject}."


def open_answer(subject: str, facts: Sequence[str]) -> str:
    """Return the answer that tells these facts, a sentence each."""
    return f"{capitalised(subject)} {facts[0]}." + "".join(f" It {fact}." for fact in facts[1:])


def _open(rng: Random, level: int) -> NurseryTask:
    subject = rng.choice(tuple(ABOUT))
    count = rng.randint(1, 3)
    facts = rng.sample(ABOUT[subject], count)
    prompt = rng.choice(open_prompts(subject, count))
    return NurseryTask(prompt, None, None, "general", level, open_answer(subject, facts))


LEVELS: dict[int, tuple[Callable[[Random], NurseryTask], ...]] = {
    1: (lambda rng: _member(rng, 1, 2), lambda rng: _opposite(rng, 1, 2)),
    2: (lambda rng: _member(rng, 2, 4), lambda rng: _open(rng, 2)),
    3: (lambda rng: _opposite(rng, 3, 4), lambda rng: _open(rng, 3)),
    4: (lambda rng: _odd_one_out(rng, 4, 4), lambda rng: _odd_one_out(rng, 4, 6)),
    5: (lambda rng: _most_legs(rng, 5),),
}
