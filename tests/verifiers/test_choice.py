"""Multiple choice."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers import Status, Task, verify
from verifiers.choice import check, parse_gold
from verifiers.contract import BadGold

CITIES = {"answer": "B", "options": {"A": "London", "B": "Paris", "C": "The Hague"}}


@pytest.mark.parametrize(
    ("gold", "response", "status", "extracted"),
    [
        ("B", "The answer is B.", "correct", "B"), ("B", "The answer is (A).", "incorrect", "A"),
        ("B", "b", "correct", "B"),
        ("B", r"\boxed{\text{(B)}}", "correct", "B"), ("B", "**Answer: (b)**", "correct", "B"),
        ("B", "#### B ", "correct", "B"),
        ("B", "B) because it is", "correct", "B"), ("B", "B, because it is", "correct", "B"),
        ("(b)", "option B", "correct", "B"),
        ("B", "So it is A. Wait, the answer is B.", "correct", "B"),
        ("B", "The answer is A. No. The answer is B", "correct", "B"),
        ("B", "The answer is B or C", "unparsed", "B, C"), ("B", r"\boxed{A, B}", "unparsed", "A, B"),
        ("B", "the answer is option B, not a guess", "correct", "B"), ("A", "A dog", "unparsed", None),
        ("A", "The answer is a car", "unparsed", None),
        ("B", "(B)? The answer is (none of the above)", "unparsed", None),
        ("B", "If we look at (B), it says more. This was cut in the middle of", "unparsed", None),
        ("B", "", "unparsed", None),
        ("B", "<think>the answer is B</think>", "unparsed", None), ("B", "I chose option C.", "incorrect", "C"),
        (CITIES, "The answer is Paris.", "correct", "B"), (CITIES, "The answer is the hague", "incorrect", "C"),
        (CITIES, "The answer is B) Paris", "correct", "B"), (CITIES, "The answer is B) London.", "unparsed", "B, A"),
        ({**CITIES, "answer": "Paris"}, "The answer is (B).", "correct", "B"),
        ("B", "The answer is B, not C.", "correct", "B"), ("B", "B) because (A) is wrong", "correct", "B"),
        ("D", "The answer is (D) Both (A) and (B)", "correct", "D"), ("B", "Option B", "correct", "B"),
        ("B", "The answer is (B) Paris, option (A) is wrong", "correct", "B"),
        ("B", "So (A) and (C) fail. The choice is (B).", "correct", "B"),
        (CITIES, "paris", "correct", "B"), (CITIES, "The answer is D.", "unparsed", None),
    ],
)  # fmt: skip
def test_selection(gold, response, status, extracted):
    outcome = check(response, parse_gold(gold), "")
    assert (outcome.status.value, outcome.extracted) == (status, extracted), outcome.detail


@pytest.mark.parametrize(
    "gold",
    [None, 2, "", "AB", "Paris", ["A"], {}, {"options": {"A": "x"}}, {"answer": "D", "options": {"A": "x"}},
     {"answer": "Rome", "options": {"A": "x"}}, {"answer": "A", "options": {"A": 1}},
     {"answer": "A", "options": {"A": "x", "a": "y"}}, {"answer": "A", "other": 1}],
)  # fmt: skip
def test_bad_golds(gold):
    with pytest.raises(BadGold):
        parse_gold(gold)


@given(st.sampled_from("ABCDEFGH"), st.sampled_from("ABCDEFGH"))
def test_the_letter_decides(gold, answer):
    (verdict,) = verify([Task("choice", f"So the answer is ({answer}).", json.dumps(gold))])
    assert verdict.status is (Status.correct if gold == answer else Status.incorrect)


@given(st.text(max_size=150))
def test_no_text_makes_it_fail_or_score_a_failure(response):
    for gold in ("B", CITIES):
        for text in (response, "The answer is " + response):
            assert check(text, parse_gold(gold), "").status in (Status.correct, Status.incorrect, Status.unparsed)
