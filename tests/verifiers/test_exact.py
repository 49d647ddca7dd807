"""Exact text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers import Status
from verifiers.contract import BadGold
from verifiers.exact import check, normalise, parse_gold


@pytest.mark.parametrize(
    ("gold", "response", "correct"),
    [
        ("Paris", "The answer is paris.", True), ("Paris", "PARIS", True),
        ("Paris", "I love it.\n\n**Paris**!\n", True),
        (["a", "b"], r"\boxed{\text{B}}", True), ("yes", "So the answer is yes.", True),
        ("(A)", "the answer is (A).", True),
        ("A", "the answer is (A).", True), ("Paris", "London or Paris", False), ("new  york", "New\tYork", True),
        ("café", "café", True), ("Straße", "STRASSE", True), ("Dr. Smith", "The answer is Dr. Smith.", True),
        ("} ) )", "So the answer is } ) ).", True), (") )", ") )", True), ("...", "...", True),
        ("no", "The answer is yes", False), ("Who?", "Answer: Who?", True),
        ("Paris", "The answer is London. No: the answer is Paris.", True),
    ],
)  # fmt: skip
def test_texts(gold, response, correct):
    assert check(response, parse_gold(gold), "").status is (Status.correct if correct else Status.incorrect)


@pytest.mark.parametrize("response", ["", " \n ", "<think>Paris"])
def test_nothing_to_compare(response):
    assert check(response, parse_gold("Paris"), "").status is Status.unparsed


@pytest.mark.parametrize("gold", [None, 5, "", " ", [], ["a", ""], {"answer": "a"}, [1]])
def test_bad_golds(gold):
    with pytest.raises(BadGold):
        parse_gold(gold)


@given(st.text(max_size=80))
def test_normalisation_settles(text):
    assert normalise(normalise(text)) == normalise(text)
