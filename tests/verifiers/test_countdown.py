"""Countdown and the arithmetic under it."""

import gzip
import itertools
import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers import Status
from verifiers.arithmetic import MAX_DEPTH, Node, NotArithmetic, OverLimit, evaluate, numbers, parse, render
from verifiers.contract import BadGold
from verifiers.countdown import Gold, check, parse_gold, solvable

FOUR = {"numbers": [4, 4, 6, 8], "target": 24}
STEPS = "Steps:\n4 + 8 = 12 (left: 4 6 12)\n6 - 4 = 2 (left: 2 12)\n2 * 12 = 24 (left: 24)\n"


@pytest.mark.parametrize(
    ("text", "value", "rendered"),
    [
        ("1+2*3", 7, "1 + 2 * 3"), ("(1+2)*3", 9, "(1 + 2) * 3"), ("10-4-3", 3, "10 - 4 - 3"),
        ("10-(4-3)", 9, "10 - (4 - 3)"), ("12/4/3", 1, "12 / 4 / 3"), ("12/(4/3)", 9, "12 / (4 / 3)"),
        ("((7))", 7, "7"), ("-3+5", 2, "-3 + 5"), ("2*-3", -6, "2 * (-3)"), ("--3", 3, "-(-3)"),
        ("[1+{2}]*(3)", 9, "(1 + 2) * 3"), ("4 × 6", 24, "4 * 6"), ("4 x 6", 24, "4 * 6"), ("48÷2", 24, "48 / 2"),
        ("30 − 6", 24, "30 - 6"), ("4·6", 24, "4 * 6"), (r"4 \times 6", 24, "4 * 6"), (r"4\cdot6", 24, "4 * 6"),
        (r"\frac{1}{3}", Fraction(1, 3), "1 / 3"), (r"\left(8-\dfrac{8}{4}\right)\div 2", 3, "(8 - 8 / 4) / 2"),
        ("8/(3-8/3)", 24, "8 / (3 - 8 / 3)"), ("0", 0, "0"),
    ],
)  # fmt: skip
def test_arithmetic(text, value, rendered):
    node = parse(text)
    assert evaluate(node) == value
    assert render(node) == rendered
    assert parse(rendered) == node


@pytest.mark.parametrize(
    "text",
    ["", "+", "1+", "*1", "+1", "()", "1 2", "2(3)", "(1)(2)", "1**2", "7//2", "2^3", "3!", "1.5", ".5", "1,000", "05",
     "x", "1e3", "٣", "３", "1_0", "5%", "(1]", "(1", "1)", r"\frac12", r"\sqrt{4}", "a+1", "1\0", "²"],
)  # fmt: skip
def test_what_is_not_arithmetic(text):
    with pytest.raises(NotArithmetic):
        parse(text)


@pytest.mark.parametrize("text", ["1+" * 300 + "1", "(" * MAX_DEPTH + "1" + ")" * MAX_DEPTH + "+" + "-" * 50, "9" * 13])
def test_limits(text):
    with pytest.raises(OverLimit):
        parse(text)


NODES = st.recursive(
    st.integers(0, 99).map(lambda number: Node("", (), number)),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from("+-*/"), inner, inner).map(lambda parts: Node(parts[0], parts[1:])),
        inner.map(lambda part: Node("neg", (part,))),
    ),
    max_leaves=8,
)


@given(NODES)
def test_what_is_rendered_reads_back_as_the_same_tree(node):
    assert parse(render(node)) == node


@given(NODES)
def test_values_agree_with_python(node):
    # An own value, by Python's precedence, of text that hypothesis wrote and this test rendered.
    text = "".join(f"Fraction({token})" if token.isdigit() else token for token in _tokens(render(node)))
    try:
        expected = eval(text, {"Fraction": Fraction})
    except ZeroDivisionError:
        with pytest.raises(ZeroDivisionError):
            evaluate(node)
        return
    assert evaluate(node) == expected


def _tokens(text):
    return ["".join(group) for _, group in itertools.groupby(text, str.isdigit)]


@pytest.mark.parametrize(
    ("response", "status", "extracted"),
    [
        (STEPS + "Answer: (6 - 4) * (4 + 8) = 24", "correct", "(6 - 4) * (4 + 8)"), (STEPS, "unparsed", None),
        ("(6 - 4) * (4 + 8)", "correct", "(6 - 4) * (4 + 8)"), ("(6-4)×(4+8)=24", "correct", "(6 - 4) * (4 + 8)"),
        (r"\boxed{(6-4)\times(4+8)}", "correct", "(6 - 4) * (4 + 8)"),
        (r"\boxed{(6-4)\times(4+8) = 24}", "correct", "(6 - 4) * (4 + 8)"),
        (r"So $(6-4) \times (4+8) = \boxed{24}$", "unparsed", None),
        (r"$(6-4) \times (4+8) = \boxed{24}$", "correct", "(6 - 4) * (4 + 8)"),
        ("<think>4 + 4</think><answer>(6 - 4) * (4 + 8)</answer>", "correct", "(6 - 4) * (4 + 8)"),
        ("The answer is (6 - 4) * (4 + 8), which equals 24.", "correct", "(6 - 4) * (4 + 8)"),
        ("The answer is (6 - 4) * (4 + 8) = 2 * 12 = 24.", "correct", "(6 - 4) * (4 + 8)"),
        ("24 = (6 - 4) * (4 + 8)", "correct", "(6 - 4) * (4 + 8)"),
        ("**Answer:** (6 - 4) * (4 + 8)", "correct", "(6 - 4) * (4 + 8)"),
        ("Final answer: The expression is (6 - 4) * (4 + 8)", "correct", "(6 - 4) * (4 + 8)"),
        ("Answer: (6 - 4) * (4 + 8) = 48", "correct", "(6 - 4) * (4 + 8)"),
        ("Answer: 4 + 4 + 6 + 8 = 24", "incorrect", "4 + 4 + 6 + 8"),
        ("Answer: (4 + 8) * (6 - 4) or (4 + 8) * (6 - 4)", "correct", "(4 + 8) * (6 - 4)"),
        ("Answer: 4+4+6+8\nAnswer: (6-4)*(4+8)", "correct", "(6 - 4) * (4 + 8)"),
        ("Answer: (6 - 4) * (4 + 8)\nThat answer is correct.", "correct", "(6 - 4) * (4 + 8)"),
        ("Answer: -4 + 8 * 6 / 4 + 16", "incorrect", "-4 + 8 * 6 / 4 + 16"),
        ("Answer: -4 - 4 + 6 * 8 - 16", "incorrect", "-4 - 4 + 6 * 8 - 16"),
    ],
)  # fmt: skip
def test_answers(response, status, extracted):
    outcome = check(response, parse_gold(FOUR), "")
    assert (outcome.status, outcome.extracted) == (status, extracted), outcome.detail


def test_a_false_claim_is_noted_and_does_not_decide():
    outcome = check("Answer: (6 - 4) * (4 + 8) = 48", parse_gold(FOUR), "")
    assert outcome.status is Status.correct
    assert "false" in outcome.detail


def test_subset():
    gold = parse_gold({"numbers": [25, 3, 7, 100], "target": 75, "use": "subset"})
    assert check("Answer: 25 * 3", gold, "").status is Status.correct
    assert check("Answer: 100 - 25 * 3 / 3", gold, "").status is Status.incorrect
    alone = parse_gold({"numbers": [24, 3], "target": 24, "use": "subset"})
    assert check("Answer: 24", alone, "").status is Status.correct


@pytest.mark.parametrize(
    ("gold", "problem"),
    [
        (None, "ground_truth"), ({}, "ground_truth"), ({"numbers": [1], "target": 1, "x": 1}, "ground_truth"),
        ({"numbers": [], "target": 1}, "1 to"), ({"numbers": [1] * 13, "target": 13}, "1 to"),
        ({"numbers": "1 2", "target": 3}, "list"), ({"numbers": [1.5], "target": 1}, "1.5"),
        ({"numbers": [True], "target": 1}, "True"), ({"numbers": [-1], "target": 1}, "-1"),
        ({"numbers": [10**7], "target": 1}, "10000000"), ({"numbers": [1], "target": "1"}, "target"),
        ({"numbers": [1], "target": True}, "target"), ({"numbers": [1], "target": 1, "use": "any"}, "use"),
        ({"numbers": [1, 1, 1, 1], "target": 24}, "no expression"),
        ({"numbers": [2, 4], "target": 7, "use": "subset"}, "no expression"),
    ],
)  # fmt: skip
def test_bad_golds(gold, problem):
    with pytest.raises(BadGold, match=problem):
        parse_gold(gold)


def _reachable(values):
    """Return every size that some expression over exactly these values has, by joining any two of them."""
    if len(values) == 1:
        return {abs(values[0])}
    found = set()
    for left, right in itertools.combinations(range(len(values)), 2):
        rest = [value for index, value in enumerate(values) if index not in (left, right)]
        a, b = values[left], values[right]
        joined = {a + b, a - b, a * b} | ({a / b} if b else set()) | ({b / a} if a else set())
        for value in joined:
            found |= _reachable([*rest, value])
    return found


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(-30, 60))
def test_solvable_agrees_with_joining_every_pair(given_numbers, target):
    every = _reachable([Fraction(number) for number in given_numbers])
    assert solvable(Gold(tuple(sorted(given_numbers)), target, use_all=True)) == (abs(target) in every)


@given(st.integers(2, 6).flatmap(lambda size: st.lists(st.integers(0, 20), min_size=size, max_size=size)), st.data())
def test_an_expression_over_the_numbers_is_correct_for_its_value(given_numbers, data):
    nodes = [Node("", (), number) for number in data.draw(st.permutations(given_numbers))]
    while len(nodes) > 1:
        place = data.draw(st.integers(0, len(nodes) - 2))
        nodes[place : place + 2] = [Node(data.draw(st.sampled_from("+-*")), (nodes[place], nodes[place + 1]))]
    value = evaluate(nodes[0])
    if value.denominator != 1 or abs(value) > 10**6:
        return
    gold = parse_gold({"numbers": given_numbers, "target": int(value)})
    assert sorted(numbers(nodes[0])) == sorted(given_numbers)
    assert check(f"Answer: {render(nodes[0])} = {value}", gold, "").status is Status.correct
    other = gold._replace(target=gold.target + 1)
    assert check(f"Answer: {render(nodes[0])} = {value}", other, "").status is Status.incorrect


@given(st.text(max_size=120) | st.text(alphabet="0123456789+-*/() =.,or\\{}x×÷Answer:boxed\n", max_size=120))
def test_any_text_gets_one_verdict(response):
    gold = parse_gold(FOUR)
    for text in (response, f"Answer: {response}", rf"\boxed{{{response}}}"):
        outcome = check(text, gold, "")
        assert outcome.status in (Status.correct, Status.incorrect, Status.unparsed)
        assert outcome == check(text, gold, "")
        if outcome.status is Status.correct:
            node = parse(outcome.extracted)
            assert sorted(numbers(node)) == FOUR["numbers"]
            assert evaluate(node) == 24


def test_recorded_game_of_24(shared_data):
    with gzip.open(shared_data / "rollouts_game24_gpt4.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    golds = {row["puzzle"]: parse_gold({"numbers": [*map(int, row["puzzle"].split())], "target": 24}) for row in rows}
    apart = [
        row["response"]
        for row in rows
        if (check(row["response"], golds[row["puzzle"]], "").status is Status.correct) != bool(row["reward"])
    ]
    assert len(rows) == 4600
    assert not apart
