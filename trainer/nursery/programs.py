"""Code tasks: say what a few lines of Python print (`exact`), or write a function that passes asserts (`code`)."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any

from trainer.nursery.task import NurseryTask

if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = ("cat", "banana", "tree", "python", "moon", "river", "apple", "stone", "cloud", "garden")


def _prints(level: int, program: str, printed: object) -> NurseryTask:
    prompt = f"What does this Python code print?\n{program}"
    return NurseryTask(prompt, json.dumps(str(printed)), "exact", "code", level, str(printed))


def _print_sum(rng: Random, level: int) -> NurseryTask:
    a, b = rng.randint(0, 9), rng.randint(0, 9)
    return _prints(level, f"print({a} + {b})", a + b)


def _print_len(rng: Random, level: int) -> NurseryTask:
    word = rng.choice(WORDS)
    return _prints(level, f'print(len("{word}"))', len(word))


def _print_repeat(rng: Random, level: int) -> NurseryTask:
    word, n = rng.choice(("ab", "no", "xy", "ha", "go")), rng.randint(2, 5)
    return _prints(level, f'print("{word}" * {n})', word * n)


def _print_index(rng: Random, level: int) -> NurseryTask:
    items = [rng.randint(0, 9) for _ in range(rng.randint(3, 5))]
    i = rng.randrange(len(items))
    return _prints(level, f"print({items}[{i}])", items[i])


def _print_fold(rng: Random, level: int) -> NurseryTask:
    items = [rng.randint(0, 9) for _ in range(rng.randint(3, 5))]
    name, fold = rng.choice((("max", max), ("min", min), ("sum", sum)))
    return _prints(level, f"print({name}({items}))", fold(items))


def _print_slice(rng: Random, level: int) -> NurseryTask:
    word = rng.choice(WORDS)
    start = rng.randrange(len(word) - 1)
    stop = rng.randint(start + 1, len(word))
    return _prints(level, f'print("{word}"[{start}:{stop}])', word[start:stop])


def _print_sorted(rng: Random, level: int) -> NurseryTask:
    items = [rng.randint(0, 9) for _ in range(rng.randint(3, 5))]
    return _prints(level, f"print(sorted({items}))", sorted(items))


def _print_two_steps(rng: Random, level: int) -> NurseryTask:
    a, b, c = rng.randint(2, 9), rng.randint(2, 9), rng.randint(1, 9)
    return _prints(level, f"x = {a}\nx = x * {b} + {c}\nprint(x)", a * b + c)


def _print_comprehension(rng: Random, level: int) -> NurseryTask:
    items = [rng.randint(2, 12) for _ in range(rng.randint(4, 6))]
    limit = rng.randint(3, 8)
    value = sum(x * x for x in items if x > limit)
    return _prints(level, f"print(sum(x * x for x in {items} if x > {limit}))", value)


def _print_loop(rng: Random, level: int) -> NurseryTask:
    start, factor, n = rng.randint(1, 9), rng.randint(2, 4), rng.randint(3, 6)
    x = start
    for i in range(n):
        x = x * factor + i
    return _prints(level, f"x = {start}\nfor i in range({n}):\n    x = x * {factor} + i\nprint(x)", x)


def _function(
    level: int, name: str, parameter: str, what: str, body: str, meaning: Callable[[Any], Any]
) -> NurseryTask:
    """A one-line function; the expected values come from `meaning`, which is written independently of `body`."""
    prompt = f"Write a Python function {name}({parameter}) that returns {what}."
    inputs = _inputs(prompt, _ints if parameter == "x" else _lists, meaning)
    tests = [f"assert {name}({x!r}) == {meaning(x)!r}" for x in inputs]
    gold = json.dumps({"kind": "asserts", "tests": tests, "setup": ""})
    return NurseryTask(prompt, gold, "code", "code", level, f"def {name}({parameter}):\n    return {body}")


_ONE: tuple[tuple[str, str, str, Callable[[int, int], int]], ...] = (
    ("add", "x plus {}", "x + {}", lambda x, n: x + n),
    ("sub", "x minus {}", "x - {}", lambda x, n: x - n),
    ("mul", "x times {}", "x * {}", lambda x, n: x * n),
)


_LIST_ITEMS = range(-9, 31)


def _ints(rng: Random) -> list[int]:
    return [0, 1, *rng.sample(range(2, 60), 3), -rng.randint(1, 20)]


def _lists(rng: Random) -> list[list[int]]:
    return [[1], *(rng.choices(_LIST_ITEMS, k=n) for n in (3, 5, 9, 12))]


def _inputs(prompt: str, draw: Callable[[Random], list[Any]], meaning: Callable[[Any], Any]) -> list[Any]:
    """Draw inputs on which no constant passes; they follow from the prompt, so that it always has the same gold."""
    rng = Random(prompt)
    while True:
        inputs = draw(rng)
        if len({repr(meaning(x)) for x in inputs}) >= 3:
            return inputs


def _write_one(rng: Random, level: int) -> NurseryTask:
    name, what, body, meaning = rng.choice(_ONE)
    n = rng.randint(2, 20)
    return _function(level, f"{name}{n}", "x", what.format(n), body.format(n), lambda x: meaning(x, n))


def _write_two(rng: Random, level: int) -> NurseryTask:
    a, b = rng.randint(2, 20), rng.randint(1, 20)
    if rng.random() < 0.5:
        return _function(level, "f", "x", f"x times {a} plus {b}", f"x * {a} + {b}", lambda x: b + a * x)
    return _function(level, "f", "x", f"{a} times the sum of x and {b}", f"{a} * (x + {b})", lambda x: a * x + a * b)


_FOLDS: tuple[tuple[str, str, Callable[[list[int]], Any]], ...] = (
    ("the sum of xs", "sum(xs)", lambda xs: sum(xs)),
    ("the largest item of xs", "max(xs)", lambda xs: sorted(xs)[-1]),
    ("the smallest item of xs", "min(xs)", lambda xs: sorted(xs)[0]),
    ("how many items xs has", "len(xs)", lambda xs: sum(1 for _ in xs)),
    ("xs in reverse order", "xs[::-1]", lambda xs: list(reversed(xs))),
    ("xs sorted", "sorted(xs)", lambda xs: sorted(xs)),
    ("the first item of xs", "xs[0]", lambda xs: next(iter(xs))),
    ("the last item of xs", "xs[-1]", lambda xs: next(reversed(xs))),
)


def _write_fold(rng: Random, level: int) -> NurseryTask:
    what, body, meaning = rng.choice(_FOLDS)
    return _function(level, "f", "xs", what, body, meaning)


_MAPS: tuple[tuple[str, str, Callable[[int], int]], ...] = (
    ("the items", "x", lambda x: x),
    ("the squares of the items", "x * x", lambda x: x**2),
    ("the doubles of the items", "2 * x", lambda x: x + x),
)
_FILTERS: tuple[tuple[str, str, Callable[[int, int], bool]], ...] = (
    ("greater than {}", "x > {}", lambda x, n: x > n),
    ("less than {}", "x < {}", lambda x, n: x < n),
    ("divisible by {}", "x % {} == 0", lambda x, n: x % n == 0),
    ("not equal to {}", "x != {}", lambda x, n: x != n),
)


def _write_pipeline(rng: Random, level: int) -> NurseryTask:
    """Map, filter and fold in one expression; level 5 filters twice and is rare in training."""
    map_what, map_body, mapped = rng.choice(_MAPS)
    chosen = rng.sample(_FILTERS, 2 if level >= 5 else 1)

    def kept(x: int) -> bool:
        return all(holds(x, n) for (_, _, holds), n in zip(chosen, limits, strict=True))

    while True:
        limits = [rng.randint(2, 9) for _ in chosen]
        if sum(map(kept, _LIST_ITEMS)) >= 2:  # neither impossible together, nor next to it
            break
    fold_what, fold_body = rng.choice((("a list of {}", "[{}]"), ("the sum of {}", "sum({})")))
    what = " and ".join(f.format(n) for (f, _, _), n in zip(chosen, limits, strict=True))
    condition = " and ".join(f.format(n) for (_, f, _), n in zip(chosen, limits, strict=True))

    def meaning(xs: list[int]) -> list[int] | int:
        values = [mapped(x) for x in xs if kept(x)]
        return values if fold_body == "[{}]" else sum(values)

    return _function(
        level,
        "f",
        "xs",
        f"{fold_what.format(map_what)} of xs that are {what}",
        fold_body.format(f"{map_body} for x in xs if {condition}"),
        meaning,
    )


LEVELS: dict[int, tuple[Callable[[Random], NurseryTask], ...]] = {
    1: (
        lambda rng: _print_sum(rng, 1),
        lambda rng: _print_len(rng, 1),
        lambda rng: _write_one(rng, 1),
        lambda rng: _write_one(rng, 1),
    ),
    2: (lambda rng: _print_repeat(rng, 2), lambda rng: _write_fold(rng, 2), lambda rng: _write_two(rng, 2)),
    3: (
        lambda rng: _print_index(rng, 3),
        lambda rng: _print_fold(rng, 3),
        lambda rng: _write_pipeline(rng, 3),
        lambda rng: _write_pipeline(rng, 3),
    ),
    4: (
        lambda rng: _print_slice(rng, 4),
        lambda rng: _print_sorted(rng, 4),
        lambda rng: _print_two_steps(rng, 4),
    ),
    5: (
        lambda rng: _print_comprehension(rng, 5),
        lambda rng: _print_loop(rng, 5),
        lambda rng: _write_pipeline(rng, 5),
    ),
}
