"""Mathematical verdicts."""

import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from verifiers import Status, Task, VerifierPool
from verifiers.contract import BadGold, Deferred, Outcome
from verifiers.math import check, parse_gold


@pytest.fixture(scope="module")
def pool():
    with VerifierPool(2) as opened:
        yield opened


def task(gold, response, **options):
    return Task("math", response, json.dumps(gold), **options)


def boxed(gold, answer):
    return task(gold, rf"so \boxed{{{answer}}}")


def here(gold, response):
    """Decide in this process; fails the test when a worker would be needed."""
    outcome = check(response, parse_gold(gold), "")
    assert isinstance(outcome, Outcome), f"deferred: {outcome}"
    return outcome


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("7", "7.0"),
        ("1,600", r"\$1600"),
        ("0.5", r"\frac{1}{2}"),
        ("x=5", "5"),
        ("5", "x = 5"),
        ("5", "2 + 3 = 5"),
        ("5", r"5 \text{ cm}"),
        (["1/2", "b"], "0.5"),
        (r"\text{Janet}", "janet"),
        ("3,250", "3250"),
        (r"(-\infty, 3]", r"\left( -\infty,3 \right]"),
        ("20", r"20\%"),
        (72, "72"),
        (2.5, "2.5"),
        ("5", r"5 \text{ or } 5.0"),
        (r"\boxed{7}", "7"),
    ],
)
def test_equal_without_a_worker(gold, answer):
    assert here(gold, rf"\boxed{{{answer}}}").status is Status.correct


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("7", "8"),
        ("5", "-5"),
        ("5", "5.0000001"),
        ("x=5", "y=5"),
        ("even", "neve"),
        ("7", "seven"),
        ("10", "2x = 10"),
        ("7", "٧"),
        ("2", "2 million"),
        ("5", "2 3"),
        ("12345678901234567890", "12345678901234567891"),
    ],
)
def test_unequal_without_a_worker(gold, answer):
    assert here(gold, rf"\boxed{{{answer}}}").status is Status.incorrect


@pytest.mark.parametrize(
    "response", ["It is 5 or 6.", r"\boxed{5} or \boxed{6}", r"\boxed{5, 6}", "The answer is 5 and 6."]
)
def test_several_answers_at_once_are_no_answer(response):
    outcome = here("5", response)
    assert outcome.status is Status.unparsed
    assert "several" in outcome.detail


@pytest.mark.parametrize(
    ("answer", "limit"),
    [("9^{9^{9^9}}", "exponent"), ("100000!", "factorial"), ("(" * 99, "deep"), ("9" * 9000, "characters")],
)
def test_an_answer_over_a_limit_is_incorrect_and_says_which(answer, limit):
    outcome = here("5", rf"\boxed{{{answer}}}")
    assert outcome.status is Status.incorrect
    assert limit in outcome.detail


@pytest.mark.parametrize(
    "gold", [None, True, {}, {"answer": 5}, [], [None], "", "  ", "?", r"\frac{1}{2", "9" * 300, "9^{9^9}", [["7"]]]
)
def test_bad_golds(gold):
    with pytest.raises(BadGold):
        parse_gold(gold)


def test_extracted_answers_are_canonical():
    texts = [r"\boxed{1,600}", "#### 1600", r"The answer is \$1600.00.", "A: 1600 dollars"]
    assert {here("1", text).extracted for text in texts} == {"1600"}


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("x^2+2x+1", "(x+1)^2", True),
        ("x^2+2x+1", "(x-1)^2", False),
        (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt2}", True),
        ("2^{-98}", "4^{-49}", True),
        ("2^{-98}", "2^{-99}", False),
        ("10^{20}", "10^{20}+1", False),
        (r"\pi", "3.141593", True),
        (r"\pi", "3.14", False),
        (r"\sqrt{2}", "1.41421356239", False),
        ("(1,2)", "(1, 2.0)", True),
        ("(1,2)", "(2,1)", False),
        ("(1,2)", "[1,2]", False),
        ("(1,2)", r"\{1,2\}", False),
        ("(5,3)", "(7,2)", False),
        ("1,2", "2, 1", True),
        (r"\{1,2\}", r"\{2,1\}", True),
        (r"\{1,2\}", "(1,2)", False),
        ("-2,3", r"x = -2 \text{ or } x = 3", True),
        ("(1,2)", "x=1, y=2", True),
        ("(1,2)", r"1 < x < 2", False),
        (r"[1,2)", r"x \in [1,2)", True),
        ("2+3i", "3i+2", True),
        ("2+3i", "2-3i", False),
        (r"\frac{\pi}{2}", r"0.5\pi", True),
        ("120", "5!", False),
        ("y=2x+1", "2x+1", True),
        ("5", r"\frac{10}{2}", True),
        ("5", "x+5", False),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix} 1 \\ 2.0 \end{bmatrix}", True),
        ("5", r"\frac{5}{}", False),
        ("5", r"\pm 5", False),
        (r"\pm 5", "5, -5", True),
        ("x+1", "y+1", False),
        ("4", "2+2", True),
        ("2^{1000}", "2^{1000}+1", False),
        ("2^{1000}", "4^{500}", True),
        ("-1", "i^2", True),
        ("2i", "(1+i)^2", True),
        ("6", "2(3)", True),
        ("5", "2(3)", False),
        ("3", r"\log_2 8", False),
        ("235", "1 234 x", False),
        (r"2\sqrt{3}", "3.4641016151377544", True),
        (r"2\sqrt{3}", "3.46410161513", False),
        (r"\sin^2 x", r"1-\cos^2 x", True),
        ("x", r"\sqrt{x^2}", False),
        ("(1,2),(3,4)", "(1,2),(4,3)", False),
        (r"(-1,2)\cup(3,4)", r"(3,4)\cup(-1,2)", True),
        (r"(-1,2)\cup(3,4)", r"(3,5)\cup(-1,2)", False),
        ("x^3", "x^{3.0000001}", False),
        ("0", "10^{-50}", False),
        ("0", r"\sqrt{2}-\sqrt{2}", True),
    ],
)
def test_symbolic(pool, gold, answer, expected):
    (verdict,) = pool.verify([boxed(gold, answer)])
    assert verdict.status is (Status.correct if expected else Status.incorrect), verdict


def test_an_endless_simplification_times_out_and_costs_the_others_nothing(pool):
    endless = task(r"\prod_{i=1}^{n} \sin(i x)", r"\boxed{\prod_{i=1}^{n} \sin (i x) + 1}", budget_s=1.0)
    verdicts = pool.verify([boxed("x^2", "x x"), endless, boxed("x^2", "x+x"), boxed("7", "7")])
    assert [verdict.status.value for verdict in verdicts] == ["correct", "timeout", "incorrect", "correct"]
    assert verdicts[1].score is None


BATCH = [
    boxed("x^2+2x+1", "(x+1)^2"),
    boxed("x^2-1", "(x+1)(x-1)"),
    boxed("x^2-1", "x^2"),
    boxed(r"\sqrt{8}", r"2\sqrt{2}"),
    boxed(r"\sqrt{8}", "2.828427"),
    boxed("(1,2)", "(1,2.0)"),
    boxed("1,2", "2,1"),
    boxed("5", "2+3"),
    boxed("5", "7"),
    boxed("2^{-98}", "2^{-99}"),
    task("5", "nothing"),
    task("?", "5"),
    Task("math", "5", None),
    boxed("2x", "x+x"),
]


def essence(verdicts):
    return [(v.status, v.score, v.extracted, v.detail) for v in verdicts]


def test_verdicts_do_not_depend_on_order_workers_or_repetition(pool):
    expected = essence(pool.verify(BATCH))
    with VerifierPool(1) as single:
        for seed in range(3):
            order = list(range(len(BATCH))) * 2
            random.Random(seed).shuffle(order)
            verdicts = essence((single if seed else pool).verify([BATCH[index] for index in order]))
            assert verdicts == [expected[index] for index in order]


@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
def test_integers(gold, answer):
    expected = Status.correct if gold == answer else Status.incorrect
    assert here(str(gold), f"#### {answer:,}").status is expected


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=80), st.text(max_size=80))
def test_no_text_makes_the_fast_path_fail(gold, response):
    try:
        parsed = parse_gold(gold)
    except BadGold:
        return
    for text in (response, "the answer is " + response, rf"\boxed{{{response}}}"):
        outcome = check(text, parsed, "")
        assert isinstance(outcome, Outcome | Deferred)


PIECES = [
    *"0123456789xyie+-*/^_(){}[]|!=<>,.;:%$&' \\\n",
    "\x00",
    "\ud800",
    "\u200b",
    "٣",
    "é",
    "π",
    "√",
    "≤",
    r"\frac",
    r"\sqrt{",
    r"\frac{1}{2}",
    r"\pi",
    r"\infty",
    r"\pm",
    r"\cup",
    r"\{",
    r"\}",
    r"\left(",
    r"\right]",
    r"\text{ or }",
    r"\text{cm}",
    r"\sum_{i=1}^{9}",
    r"\ln ",
    r"\sin ",
    r"\begin{pmatrix}",
    r"\end{pmatrix}",
    r"\\",
    r"\boxed{",
    "x^2",
    "####",
    "the answer is ",
    "^{9^9}",
    "10^{99}",
    r"\circ",
    r"\binom{5}{2}",
    "and",
]
GOLDS = [
    "5",
    "-1/2",
    "x^2+1",
    r"\ln 2",
    "(1, 2]",
    r"\{1, 2\}",
    "1, 2",
    "x < 5",
    r"\begin{pmatrix}1\\2\end{pmatrix}",
    "even",
    r"50\%",
    r"\sqrt{2}",
]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join), st.sampled_from(GOLDS), st.text(max_size=30))
def test_any_text_in_a_verdict_out_and_the_same_one_again(pool, text, gold, prompt):
    tasks = [
        task(gold, response, prompt=prompt) for response in (text, rf"\boxed{{{text}}}", f"The answer is ${text}$.")
    ]
    first, again = pool.verify(tasks), pool.verify(tasks[::-1])[::-1]
    assert essence(first) == essence(again)
    assert all(verdict.status in (Status.correct, Status.incorrect, Status.unparsed) for verdict in first), first


@given(st.text(alphabet=st.sampled_from("0123456789abxyz+-*/^(){}=., "), min_size=1, max_size=30))
def test_a_gold_is_equal_to_itself(gold):
    try:
        parsed = parse_gold(gold)
    except BadGold:
        return
    assert here(gold, rf"\boxed{{{gold}}}").status is Status.correct, parsed
