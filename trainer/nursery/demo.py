"""The demo's inputs: prompts of five domains with deliberate dirt, and an evaluation set. Plain Python, no torch.

Word problems are the domain `free_form`: they have a gold and no verifier, as tasks whose answers no rule can check, so
that a judge compares responses with their gold. There are more of them than `stream_tasks` gives.

`write_demo` writes three JSONL files with the columns question, answer (gold as JSON text, or null), verifier (or
null), domain, level:

- `original.jsonl`, pool original: `ORIGINAL_PROMPTS` clean prompts.
- `new.jsonl`, pool new: `NEW_PROMPTS` clean prompts, and beside them
  - `EXACT_DUPLICATES` rows whose prompt is there already, with the same gold: `DUPLICATES_OF_NEW` of prompts of this
    file (every second one with white space around it) and `DUPLICATES_OF_ORIGINAL` of prompts of the original pool;
  - `GOLD_CONFLICTS` rows whose prompt is there already, with another gold;
  - `NEAR_DUPLICATES` rows that repeat a long prompt with one word more, with the same gold;
  - `CONTAMINATED` prompts that wrap an item of the evaluation set in other words;
  - `BROKEN_LINES` lines of broken JSON, `EMPTY_PROMPTS` and `NULL_PROMPTS` rows without a prompt.
- `eval.jsonl`, pool eval: `EVAL_PROMPTS` tasks that share no run of `DISTINCT_RUN` words with any clean prompt.

Whatever else looks alike is not: no two clean prompts with the same gold share more than `DISTINCT_OVERLAP` of
their three-word shingles.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from trainer.nursery.arithmetic import is_word_problem
from trainer.nursery.tasks import EVEN, NurseryTask, stream_tasks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FREE_FORM = "free_form"
ORIGINAL_PROMPTS = 80
NEW_PROMPTS = 160
DUPLICATES_OF_NEW = 5
DUPLICATES_OF_ORIGINAL = 2
EXACT_DUPLICATES = DUPLICATES_OF_NEW + DUPLICATES_OF_ORIGINAL
GOLD_CONFLICTS = 1
NEAR_DUPLICATES = 4
CONTAMINATED = 2
BROKEN_LINES = 1
EMPTY_PROMPTS = 1
NULL_PROMPTS = 1
EVAL_PROMPTS = 24
NEW_ROWS = (
    NEW_PROMPTS + EXACT_DUPLICATES + GOLD_CONFLICTS + NEAR_DUPLICATES + CONTAMINATED
    + BROKEN_LINES + EMPTY_PROMPTS + NULL_PROMPTS
)  # fmt: skip

DISTINCT_OVERLAP = 0.5
DISTINCT_RUN = 11
_EVAL_WORDS = 14  # a short evaluation item would be found inside many a prompt
_LEVELS = {1: 3.0, 2: 3.0, 3: 3.0, 4: 2.0, 5: 1.5}
_MORE_EVERY = 16  # tasks
_LONG = 16  # words of a prompt that stays alike when one word is added
_WRAP = "A friend wrote this puzzle on the back of an old postcard: {} Please think about it and answer it for us."


def write_demo(folder: Path, seed: int = 0) -> None:
    """Write `original.jsonl`, `new.jsonl` and `eval.jsonl` into `folder`; the same seed writes the same bytes."""
    rng = Random(f"demo {seed}")
    clean = _distinct(_tasks(seed + 1000), ORIGINAL_PROMPTS + NEW_PROMPTS)
    evaluation = _apart(stream_tasks(seed + 2000, {"math": 2.0, "general": 1.0}, {1: 1.0, 3: 1.0, 5: 2.0}), clean)
    original, new = clean[:ORIGINAL_PROMPTS], clean[ORIGINAL_PROMPTS:]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "original.jsonl", [_line(_row(t)) for t in original])
    _write(folder / "new.jsonl", _new_lines(original, new, evaluation, rng))
    _write(folder / "eval.jsonl", [_line(_row(t)) for t in evaluation])


def _tasks(seed: int) -> Iterator[NurseryTask]:
    """Yield tasks without end, the word problems as free-form ones, and one of these more after every `_MORE_EVERY`."""
    more = (t for t in stream_tasks(seed, {"math": 1.0}, {1: 2.0, 3: 1.0}) if is_word_problem(t))
    for number, task in enumerate(stream_tasks(seed, EVEN, _LEVELS), start=1):
        yield _free_form(task)
        if number % _MORE_EVERY == 0:
            yield _free_form(next(more))


def _free_form(task: NurseryTask) -> NurseryTask:
    return replace(task, verifier=None, domain=FREE_FORM) if is_word_problem(task) else task


def _new_lines(
    original: list[NurseryTask], new: list[NurseryTask], evaluation: list[NurseryTask], rng: Random
) -> list[str]:
    graded = rng.sample([t for t in new if t.ground_truth is not None], len(new) // 2)  # no prompt is used twice
    long = [t for t in graded if t.domain in ("math", "code", FREE_FORM) and len(_words(t.prompt)) >= _LONG][
        :NEAR_DUPLICATES
    ]
    sums = [t for t in graded if t.domain == "math" and t not in long][:GOLD_CONFLICTS]
    again = [t for t in graded if t not in long and t not in sums][:DUPLICATES_OF_NEW]
    copies = [_row(t) for t in again + [t for t in original if t.ground_truth is not None][:DUPLICATES_OF_ORIGINAL]]
    for row in copies[:DUPLICATES_OF_NEW:2]:
        row["question"] = f"  {row['question']}\n"
    conflicts = [_row(t) | {"answer": json.dumps(str(int(json.loads(t.ground_truth or "")) + 1))} for t in sums]
    near = [_row(t) | {"question": f"{t.prompt} Please."} for t in long]
    wordy = [t for t in evaluation if t.prompt.endswith("get?")]
    wrapped = [_row(t) | {"question": _WRAP.format(t.prompt)} for t in rng.sample(wordy, CONTAMINATED)]
    empty = [_row(new[0]) | {"question": "   "}] * EMPTY_PROMPTS
    null = [_row(new[1]) | {"question": None}] * NULL_PROMPTS
    lines = [_line(r) for r in [*map(_row, new), *copies, *conflicts, *near, *wrapped, *empty, *null]]
    lines += [_line(_row(new[2]))[:-20]] * BROKEN_LINES
    rng.shuffle(lines)
    return lines


def _row(task: NurseryTask) -> dict[str, Any]:
    return {
        "question": task.prompt,
        "answer": task.ground_truth,
        "verifier": task.verifier,
        "domain": task.domain,
        "level": task.level,
    }


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _runs(text: str, length: int) -> set[tuple[str, ...]]:
    """Return the word runs of a text; a shorter text is one run."""
    words = _words(text)
    return {tuple(words[i : i + length]) for i in range(max(1, len(words) - length + 1))}


def _distinct(tasks: Iterable[NurseryTask], count: int) -> list[NurseryTask]:
    """Return the first `count` tasks none of which looks like an earlier one with the same gold."""
    taken: list[tuple[NurseryTask, set[tuple[str, ...]]]] = []
    for task in tasks:
        if len(taken) == count:
            break
        own = _runs(task.prompt, 3)
        alike = (
            t.prompt == task.prompt
            or (t.ground_truth == task.ground_truth and len(own & other) > DISTINCT_OVERLAP * len(own | other))
            for t, other in taken
        )
        if not any(alike):
            taken.append((task, own))
    return [t for t, _ in taken]


def _apart(tasks: Iterable[NurseryTask], clean: list[NurseryTask]) -> list[NurseryTask]:
    """Return evaluation tasks that share no run of words with the clean prompts nor with one another."""
    seen = {run for t in clean for run in _runs(t.prompt, DISTINCT_RUN)}
    taken: list[NurseryTask] = []
    for task in tasks:
        if len(taken) == EVAL_PROMPTS:
            break
        own = _runs(task.prompt, DISTINCT_RUN)
        if len(_words(task.prompt)) >= _EVAL_WORDS and task.ground_truth is not None and not own & seen:
            taken.append(task)
            seen |= own
    return taken
