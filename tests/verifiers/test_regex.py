"""Regular expressions."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers import Status, Task, VerifierPool
from verifiers.contract import BadGold, Deferred
from verifiers.regex import check, parse_gold
from verifiers.regex_cost import TooComplex, may_match_empty
from verifiers.regex_worker import work


def decided(gold, response):
    """Return the outcome as the pool would join it."""
    outcome = check(response, parse_gold(gold), "")
    return work(json.loads(outcome.payload)) if isinstance(outcome, Deferred) else outcome


@pytest.mark.parametrize(
    ("gold", "response", "status"),
    [
        ({"pattern": r"\d{4}"}, "The answer is 2024.", "correct"),
        ({"pattern": r"\d{4}"}, r"\boxed{2024}", "correct"),
        ({"pattern": r"\d{4}"}, "Answer: 20245", "incorrect"),
        ({"pattern": r"\d{4}", "match": "search"}, "20245", "correct"),
        ({"pattern": "abc"}, "x\n\nabc\n", "correct"), ({"pattern": "abc"}, "**abc**", "correct"),
        ({"pattern": "abc"}, r"\boxed{\text{abc}}", "correct"), ({"pattern": "abc"}, "ABC", "incorrect"),
        ({"pattern": "abc", "flags": "i"}, "ABC", "correct"), ({"pattern": "a|ab"}, "ab", "correct"),
        ({"pattern": r"192\.168\.0\.1"}, "Answer: 192.168.0.1.", "correct"),
        ({"pattern": r"Dr\. No"}, "Answer: Dr. No", "correct"), ({"pattern": "a b", "flags": "x"}, "ab", "correct"),
        ({"pattern": r"\d+"}, "١٢", "incorrect"), ({"pattern": r"\d+", "flags": "u"}, "١٢", "correct"),
        ({"pattern": "a.b", "on": "response"}, "a\nb", "incorrect"),
        ({"pattern": "a.b", "on": "response", "flags": "s"}, "a\nb", "correct"),
        ({"pattern": "b$", "on": "response", "match": "search"}, "a\nb\n", "correct"),
        ({"pattern": "^b", "on": "response", "match": "search"}, "a\nb", "incorrect"),
        ({"pattern": "^b", "on": "response", "match": "search", "flags": "m"}, "a\nb", "correct"),
        ({"pattern": "abc", "on": "response"}, "<think>x</think> abc ", "correct"),
        ({"pattern": "(?=.*a)(?=.*b).*"}, "xbya", "correct"), ({"pattern": "(?=.*a)(?=.*b).*"}, "xb", "incorrect"),
        ({"pattern": "a"}, "", "unparsed"), ({"pattern": "a"}, " ** ", "unparsed"),
        ({"pattern": "Who\\?"}, "Answer: Who?", "correct"),
        ({"pattern": "Paris"}, "Answer: Paris? Rome?", "incorrect"),
    ],
)  # fmt: skip
def test_matching(gold, response, status):
    assert decided(gold, response).status == status


@pytest.mark.parametrize(
    ("gold", "problem"),
    [
        (None, "ground_truth"), ("abc", "ground_truth"), ({}, "ground_truth"),
        ({"pattern": "a", "x": 1}, "ground_truth"),
        ({"pattern": 1}, "texts"), ({"pattern": "a", "flags": 1}, "texts"), ({"pattern": "a" * 2001}, "2000"),
        ({"pattern": "a", "flags": "g"}, "unknown flags"), ({"pattern": "a", "on": "prompt"}, "on must be"),
        ({"pattern": "a", "match": "start"}, "match"), ({"pattern": "("}, "cannot be read"),
        ({"pattern": "(?u)a"}, "cannot be read"), ({"pattern": r"\p{L}"}, "cannot be read"),
        ({"pattern": "a{1001}"}, "too complex"), ({"pattern": "(a{0,5000})b"}, "too complex"),
        ({"pattern": ""}, "empty text"), ({"pattern": "a*"}, "empty text"), ({"pattern": "^$"}, "empty text"),
        ({"pattern": "a?|b"}, "empty text"), ({"pattern": "(?!a)"}, "empty text"),
        ({"pattern": r"\s*"}, "empty text"),
        ({"pattern": "(?=)", "match": "search"}, "empty text"), ({"pattern": "x|", "match": "search"}, "empty text"),
        ({"pattern": "(?:(?:){1000}){1000}"}, "too complex"), ({"pattern": "(?:a?|b?){40}c?"}, "too complex"),
    ],
)  # fmt: skip
def test_bad_golds(gold, problem):
    with pytest.raises(BadGold, match=problem):
        parse_gold(gold)


PATTERNS = st.recursive(
    st.sampled_from(["a", "b", ".", r"\d", "[ab]", "^", "$", r"\b", ""]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,3}", "*?",
        "{2,}"])).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
        inner.map(lambda one: f"({one})"),
        inner.map(lambda one: f"(?={one})"),
        inner.map(lambda one: f"(?!{one})"),
    ),
    max_leaves=6,
)  # fmt: skip


@given(PATTERNS, st.booleans())
def test_the_empty_text_is_judged_as_python_does(pattern, full):
    match = re.fullmatch if full else re.search
    try:
        judged = may_match_empty(pattern, int(re.ASCII), full=full)
    except TooComplex:
        return
    assert judged == (match(pattern, "", re.ASCII) is not None)


@given(PATTERNS, st.text(alphabet="ab1\n ", max_size=12))
def test_an_accepted_pattern_never_accepts_nothing(pattern, response):
    try:
        gold = parse_gold({"pattern": pattern, "on": "response"})
    except BadGold:
        return
    outcome = check(response, gold, "")
    if not response.strip():
        assert outcome.status is Status.unparsed
    else:
        found = work(json.loads(outcome.payload))
        assert (found.status is Status.correct) == (re.fullmatch(pattern, response.strip(), re.ASCII) is not None)


@given(st.text(max_size=120))
def test_any_text_gets_one_verdict(response):
    for gold in ({"pattern": "[A-Z]{3}"}, {"pattern": "x", "on": "response", "match": "search"}):
        for text in (response, f"Answer: {response}", rf"\boxed{{{response}}}"):
            outcome = decided(gold, text)
            assert outcome.status in (Status.correct, Status.incorrect, Status.unparsed)
            assert outcome == decided(gold, text)


def test_through_the_pool():
    tasks = [
        Task("regex", "The answer is 2024.", json.dumps({"pattern": r"\d{4}"})),
        Task("regex", "a" * 60 + "!", json.dumps({"pattern": "(a+)+"}), budget_s=0.5),
        Task("regex", "x", json.dumps({"pattern": "a*"})),
    ]
    with VerifierPool(1) as pool:
        verdicts = pool.verify(tasks)
    assert [verdict.status for verdict in verdicts] == ["correct", "timeout", "bad_gold"]
    assert verdicts[0].extracted == "2024"
