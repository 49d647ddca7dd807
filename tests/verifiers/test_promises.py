"""The promises of verifiers/README.md over all verifiers at once."""

import json
import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifiers import Status, Task, VerifierPool, available, isolation_problem, sandboxed

SQUARE = {"kind": "asserts", "tests": ["assert f(3) == 9", "assert f(-2) == 4"]}
GOLDS = {
    "all": [{"verifier": "math", "ground_truth": "7"}, {"verifier": "exact", "ground_truth": ["7", "the answer is 7"]}],
    "choice": {"answer": "B", "options": {"A": "red", "B": "blue"}},
    "code": SQUARE,
    "countdown": {"numbers": [4, 4, 6, 8], "target": 24},
    "exact": "Paris",
    "instructions": {
        "instruction_id_list": ["punctuation:no_comma", "language:response_language"],
        "kwargs": [{}, {"language": "en"}],
        "mode": "loose",
    },
    "json_schema": {"schema": {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}},
    "knights_and_knaves": {"names": ["Ava", "Ben"], "knights": [True, False]},
    "math": r"\frac{\sqrt{3}}{2}",
    "numeric": {"answer": 3.2, "rel_tol": 1e-6},
    "regex": {"pattern": "[a-z]+7", "on": "response", "match": "search"},
}
RIGHT = {
    "all": "The answer is 7",
    "choice": "The answer is (B).",
    "code": "def f(x):\n    return x * x",
    "countdown": "(6 - 4) * (4 + 8) = 24",
    "exact": "The answer is Paris.",
    "instructions": "This is a plain English sentence which holds no such mark at all.",
    "json_schema": '{"a": 3}',
    "knights_and_knaves": "Ava is a knight and Ben is a knave.",
    "math": r"\boxed{\sin(60^\circ) + \frac{\sqrt{3}}{2} - \sin(60^\circ)}",
    "numeric": "about 3.2",
    "regex": "abc7",
}
RIGHT["math"] = r"\boxed{\frac{3}{2\sqrt{3}}}"
NO_SANDBOX = isolation_problem("bubblewrap")
NAMES = [name for name in sorted(GOLDS) if NO_SANDBOX is None or name not in sandboxed()]
HOSTILE = [
    "",
    " ",
    "\x00",
    "\ud800",
    "7" * 5000,
    "(" * 5000,
    "```python\n",
    "\\boxed{",
    "<answer>",
    "{" * 3000,
    "a,b\n" * 900,
]


@pytest.fixture(scope="module")
def pool():
    with VerifierPool(2) as opened:
        yield opened


def task(name, response, **options):
    return Task(name, response, json.dumps(GOLDS[name]), **options)


def decided(verdict):
    return (verdict.status, verdict.score, verdict.extracted, verdict.detail, verdict.version, verdict.parts)


def test_every_verifier_is_covered_here():
    assert set(GOLDS) == set(RIGHT) == set(available()) - {"reasoning_gym"}


@pytest.mark.parametrize("name", NAMES)
def test_a_right_response_is_correct_and_nothing_is_not(pool, name):
    right, *nothing = pool.verify([task(name, RIGHT[name]), *(task(name, text) for text in HOSTILE)])
    assert (right.status, right.score) == (Status.correct, 1.0), right.detail
    assert not any(verdict.score for verdict in nothing)


@pytest.mark.parametrize("name", NAMES)
def test_what_could_not_be_decided_has_no_score(pool, name):
    cut, failed, odd = pool.verify(
        [
            task(name, RIGHT[name], finish_reason="length"),
            task(name, RIGHT[name], finish_reason="error"),
            Task(name, RIGHT[name], "not json"),
        ]
    )
    assert [v.status for v in (cut, failed, odd)] == [Status.truncated, Status.error, Status.bad_gold]
    assert [v.score for v in (cut, failed, odd)] == [None] * 3


def test_verdicts_do_not_depend_on_order_workers_or_repetition(pool):
    tasks = [task(name, text) for name in NAMES for text in (RIGHT[name], *HOSTILE[:6], RIGHT[name] + " or 5")]
    expected = list(map(decided, pool.verify(tasks)))
    assert list(map(decided, pool.verify(tasks))) == expected
    order = list(range(len(tasks)))
    random.Random(0).shuffle(order)
    for workers in (1, 3):
        with VerifierPool(workers) as other:
            found = other.verify([tasks[at] for at in order])
        assert [decided(v) for v in found] == [expected[at] for at in order]


ENDLESS = {
    "regex": ({"pattern": "(a|aa)+b|[0-9]c", "on": "response", "match": "search"}, "a" * 60),
    "code": (SQUARE, "def f(x):\n    while True:\n        pass"),
}


@pytest.mark.parametrize("name", [name for name in ENDLESS if name in NAMES])
def test_a_budget_holds_and_its_neighbours_do_not_notice(pool, name):
    gold, response = ENDLESS[name]
    neighbours = [task(other, RIGHT[other]) for other in NAMES]
    started = time.monotonic()
    bomb, *others = pool.verify([Task(name, response, json.dumps(gold), budget_s=1.0), *neighbours])
    assert time.monotonic() - started < 30
    assert bomb.elapsed_ms < 1_500
    assert bomb.score in (None, 0.0)
    assert [v.status for v in others] == [Status.correct] * len(others)


@settings(max_examples=150)
@given(st.sampled_from([name for name in NAMES if name not in sandboxed()]), st.text())
def test_any_text_gives_a_verdict(pool, name, text):
    first, second = (pool.verify([task(name, text)])[0] for _ in range(2))
    assert decided(first) == decided(second)
    assert first.status is not Status.bad_gold
    assert first.score is None or 0.0 <= first.score <= 1.0


@settings(max_examples=150)
@given(
    st.sampled_from(NAMES),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
        max_leaves=12,
    ),
)
def test_any_json_gold_is_read_or_refused(pool, name, gold):
    (verdict,) = pool.verify([Task(name, "", json.dumps(gold))])
    assert not verdict.score, "an empty response meets no gold"


def descendants(pid):
    """Return the start times of all processes below one, by process id."""
    children, started = {}, {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        child = int(status.parent.name)
        children.setdefault(int(fields[1]), []).append(child)
        started[child] = fields[19]
    todo, found = [pid], {}
    while todo:
        for child in children.get(todo.pop(), []):
            found[child] = started[child]
            todo.append(child)
    return found


def test_no_process_is_left_behind():
    before = descendants(os.getpid())
    with VerifierPool(2) as other:
        other.verify([task(name, RIGHT[name]) for name in NAMES])
        ours = descendants(os.getpid()).items() - before.items()
        assert len(ours) >= 3
    assert not ours & descendants(os.getpid()).items()
