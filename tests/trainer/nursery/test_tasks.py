"""Golds of generated tasks, re-derived from the prompt by other means than the generator's."""

import contextlib
import io
import itertools
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.nursery.knowledge import CATEGORIES, OPPOSITES
from trainer.nursery.tasks import DOMAINS, generate_tasks
from verifiers import Status, Task, verify

SEEDS = st.integers(0, 10**6)
few = settings(max_examples=25, deadline=None)


def gold(task):
    return json.loads(task.ground_truth)


@few
@given(SEEDS)
def test_the_same_seed_gives_the_same_distinct_tasks(seed):
    tasks = generate_tasks(40, seed)
    assert tasks == generate_tasks(40, seed)
    assert tasks[:10] == generate_tasks(10, seed)
    assert len({t.prompt for t in tasks}) == 40
    assert {t.level for t in tasks} <= {1, 2, 3, 4, 5}


@few
@given(SEEDS)
def test_maths(seed):
    for task in generate_tasks(40, seed, {"math": 1.0}):
        assert task.verifier == "math"
        value = int(gold(task))
        assert task.answer.endswith(f"\\boxed{{{value}}}")
        bare = re.search(r"(\d+) ([-+*]) (\d+)", task.prompt)
        if bare:
            a, sign, b = int(bare[1]), bare[2], int(bare[3])
            assert value == {"+": a + b, "-": a - b, "*": a * b}[sign]
            continue
        for a, sign, b, result in re.findall(r"(\d+) ([-+*]) (\d+) = (?:\\boxed\{)?(\d+)", task.answer):
            assert int(result) == {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign]
        numbers = [int(n) for n in re.findall(r"\d+", task.prompt)]
        used = {int(n) for n in re.findall(r"\d+", task.answer)}
        assert set(numbers) <= used, "the work uses every number of the problem"


@few
@given(SEEDS)
def test_code_answers_pass_their_asserts_and_programs_print_their_gold(seed):
    """The answers are our own templates, not a model's text: they may be executed here."""
    for task in generate_tasks(40, seed, {"code": 1.0}):
        if task.verifier == "code":
            found = gold(task)
            assert found["kind"] == "asserts"
            assert len(found["tests"]) >= 4
            space = {}
            exec(task.answer, space)
            for test in found["tests"]:
                exec(test, space)
            constant = re.sub(r"return .*", "return 0", task.answer)
            wrong = {}
            exec(constant, wrong)
            with pytest.raises(AssertionError):
                for test in found["tests"]:
                    exec(test, wrong)
        else:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(task.prompt.split("\n", 1)[1], {})
            assert printed.getvalue() == gold(task) + "\n"
            assert task.answer == gold(task)


@few
@given(SEEDS)
def test_instructions(seed):
    for task in generate_tasks(40, seed, {"instruction": 1.0}):
        prompt, answer = task.prompt, gold(task)
        assert task.verifier == "exact"
        assert answer == task.answer
        tail = prompt.rpartition(": ")[2]
        if prompt.startswith("Repeat"):
            word, n = re.fullmatch(r"Repeat the word (\w+) (\d+) times\.", prompt).groups()
            assert answer.split() == [word] * int(n)
        elif prompt.startswith("Sort these words"):
            assert answer.split() == sorted(tail.split())
        elif prompt.startswith("Sort these letters"):
            assert list(answer) == sorted(tail)
        elif "reverse order" in prompt:
            assert answer.split()[::-1] == tail.split()
        elif prompt.startswith("Write these letters backwards"):
            assert answer[::-1] == tail
        elif "every second" in prompt:
            assert answer == "".join(c for i, c in enumerate(tail) if i % 2 == 0)
        elif prompt.startswith("Spell"):
            assert answer.replace("-", "") == prompt.split()[3]
        elif "upper case" in prompt:
            assert answer.lower() == tail + "."
            assert answer.isupper()
        elif prompt.startswith("Write only"):
            place = {"first": 0, "second": 1, "third": 2, "last": -1}[prompt.split()[3]]
            assert answer == tail.split()[place]
        elif prompt.startswith("List these words"):
            assert re.findall(r"\w+", answer) == tail.split()
        else:
            assert answer[::-1] == re.fullmatch(r"Write the word (\w+) backwards\.", prompt)[1]


@few
@given(SEEDS)
def test_general_choices_have_one_right_option(seed):
    opposite = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])}
    legs = {"hen": 2, "dog": 4, "ant": 6, "spider": 8, "crab": 10, "horse": 4, "duck": 2, "bee": 6}
    for task in generate_tasks(40, seed, {"general": 1.0}):
        if task.verifier is None:
            assert task.ground_truth is None
            assert task.answer
            continue
        assert task.verifier == "choice"
        answer, options = gold(task)["answer"], gold(task)["options"]
        right = options[answer]
        assert task.answer == right
        assert len(set(options.values())) == len(options)
        assert all(f"{k}) {v}" in task.prompt.split("\n") for k, v in options.items())
        question = task.prompt.split("\n")[0]
        if "opposite" in question:
            assert right == opposite[re.search(r"of (\w+)\?", question)[1]]
        elif question.startswith("Which of these is"):
            members = CATEGORIES[re.search(r"is (.*)\?", question)[1]]
            assert [v for v in options.values() if v in members] == [right]
        elif "does not belong" in question:
            kinds = {v: c for c, words in CATEGORIES.items() for v in words}
            assert [v for v in options.values() if [kinds[x] for x in options.values()].count(kinds[v]) == 1] == [right]
        else:
            pairs = re.findall(r"an? (\w+) comes (\d+) times", question)
            assert int(right) == sum(legs[a] * int(n) for a, n in pairs)


def test_every_level_of_every_domain_generates():
    for domain, levels in DOMAINS.items():
        assert set(levels) == {1, 2, 3, 4, 5}
        for level in levels:
            assert {t.level for t in generate_tasks(5, 0, {domain: 1.0}, {level: 1.0})} == {level}


def test_the_same_prompt_always_has_the_same_gold():
    golds = {}
    for seed in range(60):
        for task in generate_tasks(50, seed):
            assert golds.setdefault(task.prompt, task.ground_truth) == task.ground_truth


def test_asking_for_more_than_there_is_says_so():
    with pytest.raises(ValueError, match="distinct prompts for mix"):
        generate_tasks(200, 0, {"instruction": 1.0}, {1: 1.0})


def test_right_answers_are_correct_by_their_own_verifier_and_wrong_ones_are_not():
    """Text-only verifiers; code answers are held to their asserts above."""
    tasks = [t for t in generate_tasks(300, 8) if t.verifier in ("math", "exact", "choice")]
    right = verify([Task(t.verifier, t.answer, t.ground_truth, t.prompt) for t in tasks], workers=1)
    assert {v.status for v in right} == {Status.correct}
    others = {}
    for t in tasks:  # the answer of another task of the same verifier, with another gold
        others.setdefault(t.verifier, []).append(t)
    swapped = [
        Task(t.verifier, u.answer, t.ground_truth, t.prompt)
        for group in others.values()
        for t, u in itertools.pairwise(group)
        if t.answer != u.answer and t.ground_truth != u.ground_truth
    ]
    wrong = verify(swapped, workers=1)
    assert len(wrong) > 100
    assert {v.score for v in wrong} == {0.0}
