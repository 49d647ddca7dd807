"""`all`: every part must hold, and the parts are kept."""

import json
import random

import pytest

from verifiers import Status, Task, VerifierPool, check_gold, verify
from verifiers.composite import MAX_PARTS


def gold(*parts):
    return json.dumps([{"verifier": name, "ground_truth": truth} for name, truth in parts])


SEVEN = ("math", "7")
WORD = ("exact", ["7", "the answer is 7"])
PATTERN = ("regex", {"pattern": "[0-9]+", "on": "response", "match": "search"})


def one(response, truth, **options):
    (verdict,) = verify([Task("all", response, truth, **options)])
    return verdict


def test_every_part_must_hold():
    verdict = one("The answer is 7", gold(SEVEN, WORD))
    assert (verdict.status, verdict.score) == (Status.correct, 1.0)
    assert [(p.name, p.status, p.score) for p in verdict.parts] == [("math", "correct", 1.0), ("exact", "correct", 1.0)]


def test_one_part_that_fails_decides():
    verdict = one("The answer is 7", gold(SEVEN, ("exact", "Paris")))
    assert (verdict.status, verdict.score) == (Status.incorrect, 0.0)
    assert "1 of 2 parts hold; exact" in verdict.detail
    assert [p.score for p in verdict.parts] == [1.0, 0.0]


def test_a_part_that_fails_decides_even_beside_an_undecided_one(monkeypatch):
    slow = ("math", "x^{37}+y^{41}+z")
    verdict = one(r"\boxed{(x^{99}+1)/(y+2)}", gold(("exact", "Paris"), slow), budget_s=0.001)
    assert verdict.status is Status.incorrect


def test_an_undecided_part_leaves_the_whole_undecided():
    endless = ("regex", {"pattern": "(a|aa)+b|[0-9]c", "on": "response", "match": "search"})
    verdict = one("a" * 60, gold(endless, ("exact", "a" * 60)), budget_s=0.3)
    assert (verdict.status, verdict.score) == (Status.timeout, None)
    assert verdict.parts[0].score is None and verdict.parts[1].score == 1.0


def test_a_cut_response_is_truncated_and_has_no_parts():
    verdict = one("The answer is 7", gold(SEVEN, WORD), finish_reason="length")
    assert (verdict.status, verdict.score, verdict.parts) == (Status.truncated, None, ())


@pytest.mark.parametrize(
    ("truth", "says"),
    [
        ("[]", "no list"),
        ("{}", "no list"),
        (json.dumps([1]), "part 1"),
        (gold(SEVEN, ("math", "")), r"part 2 (math)"),
        (gold(("nope", "7")), "no verifier 'nope'"),
        (gold(("all", [])), "no verifier 'all'"),
        (gold(*[SEVEN] * (MAX_PARTS + 1)), "no list"),
        ('[{"verifier": "math"}]', "part 1"),
    ],
)
def test_bad_golds_say_which_part(truth, says):
    verdict = one("7", truth)
    assert verdict.status is Status.bad_gold
    assert says in verdict.detail
    assert check_gold(Task("all", "", truth)) == verdict.detail


def test_parts_are_verified_among_other_tasks_in_any_order():
    tasks = [
        Task("math", "5", '"5"'),
        Task("all", "The answer is 7", gold(SEVEN, WORD)),
        Task("all", "7", "[]"),
        Task("all", "The answer is 8", gold(SEVEN, WORD)),
        Task("math", "6", '"5"'),
    ]
    expected = ["correct", "correct", "bad_gold", "incorrect", "incorrect"]
    order = list(range(len(tasks)))
    with VerifierPool(1) as pool:
        for seed in range(5):
            random.Random(seed).shuffle(order)
            found = pool.verify([tasks[at] for at in order])
            assert [v.status for v in found] == [expected[at] for at in order]


def test_check_gold_needs_no_response_and_runs_nothing():
    assert check_gold(Task("math", "", '"7"')) is None
    assert "no ground_truth" in check_gold(Task("math", "", None))
    assert "no verifier" in check_gold(Task("nope", "", '"7"'))
    assert "JSON text" in check_gold(Task("math", "", 7))
    bad = json.dumps({"kind": "asserts", "tests": ["assert f(3) =="]})
    assert "test 1 is no Python" in check_gold(Task("code", "", bad))
