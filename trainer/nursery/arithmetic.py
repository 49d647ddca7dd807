"""Maths tasks: sums, differences and products of graded digits, and word problems of one to three steps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from trainer.nursery.task import NurseryTask

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

NAMES = ("Tom", "Ana", "Ben", "Mia", "Sam", "Eva")
THINGS = ("apples", "books", "coins", "eggs", "pens", "cards")
_ASK = ("What is {}?", "Compute {}.", "{} = ?")


def is_word_problem(task: NurseryTask) -> bool:
    """Tell whether a task is one of the sums that are told in words."""
    return task.domain == "math" and "How many" in task.prompt


def _task(level: int, prompt: str, work: str, value: int) -> NurseryTask:
    """`work` is the answer's text up to the boxed value."""
    return NurseryTask(prompt, json.dumps(str(value)), "math", "math", level, f"{work}\\boxed{{{value}}}")


def _expression(level: int, rng: Random, text: str, value: int) -> NurseryTask:
    return _task(level, rng.choice(_ASK).format(text), "", value)


def _number(rng: Random, digits: int) -> int:
    return rng.randint(0 if digits == 1 else 10 ** (digits - 1), 10**digits - 1)


def _sum(rng: Random, level: int, left: int, right: int) -> NurseryTask:
    a, b = _number(rng, left), _number(rng, right)
    return _expression(level, rng, f"{a} + {b}", a + b)


def _difference(rng: Random, level: int, left: int, right: int) -> NurseryTask:
    a, b = _number(rng, left), _number(rng, right)
    a, b = max(a, b), min(a, b)
    return _expression(level, rng, f"{a} - {b}", a - b)


def _product(rng: Random, level: int, left: int, right: int) -> NurseryTask:
    a, b = _number(rng, left), _number(rng, right)
    return _expression(level, rng, f"{a} * {b}", a * b)


def _one_step(rng: Random, level: int) -> NurseryTask:
    name, things = rng.choice(NAMES), rng.choice(THINGS)
    a, b = rng.randint(2, 9), rng.randint(1, 9)
    if rng.random() < 0.5:
        question = f"{name} has {a} {things} and gets {b} more. How many {things} does {name} have now?"
        return _task(level, question, f"{a} + {b} = ", a + b)
    a, b = max(a, b), min(a, b)
    question = f"{name} has {a} {things} and loses {b}. How many {things} are left?"
    return _task(level, question, f"{a} - {b} = ", a - b)


def _two_steps(rng: Random, level: int) -> NurseryTask:
    name, things = rng.choice(NAMES), rng.choice(THINGS)
    a, b = rng.randint(2, 9), rng.randint(2, 9)
    c = rng.randint(1, 9)
    if rng.random() < 0.5:
        question = f"{name} has {a} boxes with {b} {things} each and gets {c} more. How many {things} in all?"
        return _task(level, question, f"{a} * {b} = {a * b}. {a * b} + {c} = ", a * b + c)
    c = rng.randint(1, a + b - 1)
    question = f"{name} has {a} {things}, gets {b} more and loses {c}. How many {things} are left?"
    return _task(level, question, f"{a} + {b} = {a + b}. {a + b} - {c} = ", a + b - c)


def _three_steps(rng: Random, level: int) -> NurseryTask:
    name, things = rng.choice(NAMES), rng.choice(THINGS)
    a, b, price = rng.randint(11, 49), rng.randint(11, 49), rng.randint(3, 9)
    sold = rng.randint(5, a + b - 2)
    left = a + b - sold
    question = (
        f"{name} has {a} {things}, buys {b} more, gives away {sold}, and sells the rest for {price} coins each. "
        f"How many coins does {name} get?"
    )
    work = f"{a} + {b} = {a + b}. {a + b} - {sold} = {left}. {left} * {price} = "
    return _task(level, question, work, left * price)


LEVELS: dict[int, tuple[Callable[[Random], NurseryTask], ...]] = {
    1: (
        lambda rng: _sum(rng, 1, 1, 1),
        lambda rng: _difference(rng, 1, 1, 1),
        lambda rng: _one_step(rng, 1),
    ),
    2: (lambda rng: _product(rng, 2, 1, 1), lambda rng: _sum(rng, 2, 2, 1), lambda rng: _difference(rng, 2, 2, 1)),
    3: (lambda rng: _sum(rng, 3, 2, 2), lambda rng: _difference(rng, 3, 2, 2), lambda rng: _two_steps(rng, 3)),
    4: (lambda rng: _sum(rng, 4, 3, 3), lambda rng: _product(rng, 4, 2, 1), lambda rng: _difference(rng, 4, 3, 3)),
    5: (lambda rng: _product(rng, 5, 2, 2), lambda rng: _product(rng, 5, 3, 2), lambda rng: _three_steps(rng, 5)),
}
