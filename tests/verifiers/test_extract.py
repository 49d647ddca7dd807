"""Finding the final answer."""

import random
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from verifiers.endings import plain_ending
from verifiers.extract import candidates, strip_reasoning
from verifiers.prose import alternatives, maths_answer, tail_answer


def found(response):
    """Return (answer, rule) as the maths verifier would find them."""
    text = strip_reasoning(response)
    for candidate in candidates(text):
        answer = maths_answer(candidate)
        if answer is not None:
            return answer, candidate.source
    return tail_answer(text), "tail"


@pytest.mark.parametrize(
    ("response", "kept"),
    [
        ("<think>a</think> b", " b"), ("<think>a", ""), ("a</think> b", " b"), ("a <THINK>x</Think>b", "a b"),
        ("<think>a<think>b</think>c</think>d", "d"), ("1 < 2", "1 < 2"),
        ("a <reasoning>b</reasoning> c <think>d", "a  c "),
    ],
)  # fmt: skip
def test_reasoning_is_removed(response, kept):
    assert strip_reasoning(response) == kept


@pytest.mark.parametrize(
    ("response", "answer", "rule"),
    [
        (r"So $\boxed{5}$.", "5", "boxed"),
        (r"\boxed{\frac{1}{2}} then \boxed{3", r"\frac{1}{2}", "boxed"),
        (r"\boxed{5} Wait, no: \boxed{6}", "6", "boxed"),
        (r"\boxed{5}. Correction: the answer is 7.", "7", "answer phrase"),
        (r"The answer is \boxed{5!}.", "5!", "boxed"),
        (r"\boxed{\boxed{30}}", "30", "boxed"),
        (r"\boxed{5} or \boxed{6}", "5 or 6", "boxed"),
        (r"\boxed{5}, $\boxed{6}$", "5, 6", "boxed"),
        (r"\boxed{5} \boxed{5}", "5", "boxed"),
        ("x\nA: 1,000 ", "1,000", "labelled line"),
        ("#### -7", "-7", "####"),
        ("####7", "7", "####"),
        (r"#### 7 = \boxed{7} m. #### 8", "8", "####"),
        ("**Answer:**\n\n5", "5", "labelled line"),
        ("**Final Answer:** 12 feet", "12 feet", "labelled line"),
        ("<answer> 42 </answer>", "42", "answer tag"),
        ("The answer is 3.5. I hope it is correct.", "3.5", "answer phrase"),
        ("The answer is 10. I made a mistake. The answer is 12.", "12", "answer phrase"),
        ("The answer to the question is **18**.", "18", "answer phrase"),
        ("the final answer is: $x = 5$", "x = 5", "answer phrase"),
        ("The answer is $5!$.", "5!", "answer phrase"),
        ("The answer is 5!", "5", "answer phrase"),
        ("The answer is 2022! - 1.", "2022! - 1", "answer phrase"),
        ("The answer is 20% of 50 = 10", "10", "answer phrase"),
        ("The answer is $18 per day.", "$18 per day", "answer phrase"),
        ("The answer is 5 because 2 + 3 = 5.", "5", "answer phrase"),
        ("the answer is $5$ or $6$", "5 or 6", "answer phrase"),
        ("the answer is (3, 4).", "(3, 4)", "answer phrase"),
        ("the answer is 0, 1/2, 3", "0, 1/2, 3", "answer phrase"),
        ("the answer is x + y - 1 = 0.", "x + y - 1 = 0", "answer phrase"),
        ("the answer is a + b", "a + b", "answer phrase"),
        ("the answer is Janet", "Janet", "answer phrase"),
        ("It is 12. I am sure this answer is correct.", "12", "tail"),
        ("He pays $5 and gets $10.", "$10", "tail"),
        ("so 10-5", None, "tail"),
        ("so x - 5", None, "tail"),
        (r"so 5\sqrt{2}", None, "tail"),
        (r"so \ln 5", None, "tail"),
        ("so 5x", None, "tail"),
        ("so x + 3 = 8", "8", "tail"),
        ("I got 5!", "5", "tail"),
        ("so it is not 5", None, "tail"),
        ("so it is not $5$.", None, "tail"),
        ("is it $5$?", None, "tail"),
        ("that is -5", "-5", "tail"),
        ("5 or 6", "5 or 6", "tail"),
        (r"so \(\frac{1}{2}\).", r"\frac{1}{2}", "tail"),
        (r"\[ x = 12 \]", "12", "tail"),
        ("<think>\\boxed{3}</think> so 4", "4", "tail"),
        ("5, 6 or 7", "5, 6 or 7", "tail"),
        ("He has 1,600 and 5", "1,600 and 5", "tail"),
        ("maybe 5, maybe 6", "5, maybe 6", "tail"),
        (r"\boxed{5}. Alternatively, \boxed{6}.", "5 or 6", "boxed"),
        (r"\boxed{5} or it could be \boxed{6}", "5 or 6", "boxed"),
        ("The answer is 5. Or maybe the answer is 6.", "5 or 6", "answer phrase"),
        (r"\boxed{5}. Alternatively we check: wait, that is wrong. \boxed{6}.", "6", "boxed"),
        (r"\boxed{\[ x = \boxed{2, 3} \]}", "x = 2, 3", "boxed"),
        (r"\boxed{5} or maybe 6", "5 or 6", "boxed"),
        (r"\boxed{5} (or 6).", "5 or 6", "boxed"),
        (r"\boxed{12", None, "tail"),
        ("", None, "tail"),
        ("no number", None, "tail"),
        ("7 dogs" + " and so on" * 30, None, "tail"),
    ],
)  # fmt: skip
def test_the_rule(response, answer, rule):
    assert found(response) == (answer, rule)


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        ("5", ["5"]), ("5 or 6", ["5", "6"]), ("x = 1 and x = 2", ["x = 1", "x = 2"]), ("1,000", ["1,000"]),
        ("1, 2", ["1", "2"]), ("1,2", ["1", "2"]), ("(1, 2)", ["(1, 2)"]), ("(1,2) or (3,4)", ["(1,2)", "(3,4)"]),
        ("floor", ["floor"]), ("either 5 or 6", ["5", "6"]),
    ],
)  # fmt: skip
def test_alternatives(answer, parts):
    assert alternatives(answer) == parts


ATOMS = [
    "<think>", "</think>", "<answer>", r"\boxed{", r"\boxed{5}", "####", "answer is ", "answer" + " " * 50, "\nA: ",
    "\n", "$", "$$", r"\[", "(", "{", "}", r"\text{", "5,", "answer to ", "A or ", "=", "**", '"', " ", "9^", "5 ", "a",
    "1,", "1 or ", "1 maybe ", r"\boxed{5} or ", r"or else \boxed{5}", "answer is 5 alternatively ",
]  # fmt: skip


@pytest.mark.parametrize("atom", ATOMS)
def test_a_degenerate_response_costs_linear_time(atom):
    response = atom * (100_000 // len(atom)) + "the answer is 5 " + "a" * 60 + "!"
    started = time.perf_counter()
    found(response)
    assert time.perf_counter() - started < 3


@given(st.text(alphabet=st.sampled_from("ab5,.$\\{}()[]=|<>#:\n *!%/-or"), max_size=120))
def test_any_text_is_searched_without_failing(text):
    found(text)
    found("the answer is " + text)
    found(r"\boxed{" + text + "}")


PIECES = [
    "\n", "####", "#### ", "A:", "\nA: ", "5", "6", "12.5", "1,600", "-7", r"\boxed{5}", r"\boxed{6}", r"\boxed{", "}",
    " or ", " or else ", "Alternatively", "If not, ", "The answer is ", "Answer: ", "answer", "ans: ", "a = ", "  A = ",
    "$", ".", " ", "wait, ", "so ", "box", "boxes", "<answer>5</answer>", "x" * 90, "**", "\n**A**: ",
    r"\boxed{50\%}", " is wrong", "it is NOT ", "?", " dollars", " or maybe", "####5", " = ",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@example("The answer is 6. Or maybe\n#### 5")
@example(r"\boxed{6} or else \boxed{5}")
def test_the_shortcut_finds_what_the_rule_finds(text):
    ending = plain_ending(text)
    if ending is not None:
        assert found(text) == ending


def test_the_shortcut_finds_what_the_rule_finds_in_many_texts():
    generator, used = random.Random(1), 0
    for _ in range(30_000):
        text = "".join(generator.choices(PIECES, k=generator.randrange(1, 9)))
        ending = plain_ending(text)
        used += ending is not None
        if ending is not None:
            assert found(text) == ending, text
    assert used > 500
