"""Attacks by words: what stands around a number, in a unit, between two answers. None may be accepted.

The gold is 5 where nothing else is said.
"""

import json

import pytest

from verifiers import Status
from verifiers.contract import Deferred
from verifiers.math import check, parse_gold
from verifiers.math_worker import work


def status(response, gold="5", prompt=""):
    """Return the status that the maths verifier gives, its worker's work done here."""
    outcome = check(response, parse_gold(gold), prompt)
    return work(json.loads(outcome.payload)).status if isinstance(outcome, Deferred) else outcome.status


BOXES_TOGETHER = [
    r"\boxed{4} / \boxed{5}", r"\boxed{4} vs \boxed{5}", r"\boxed{4} | \boxed{5}", r"\boxed{4} & \boxed{5}",
    r"Option 1: \boxed{4}. Option 2: \boxed{5}.", r"Guess A: \boxed{4}, guess B: \boxed{5}",
    r"Either \boxed{4} if you count the first, otherwise \boxed{5}.", r"\boxed{4} (if wrong, \boxed{5})",
    "- \\boxed{4}\n- \\boxed{5}", "1. \\boxed{4}\n2. \\boxed{5}", r"\boxed{4} oder \boxed{5}",
    r"\boxed{4} ou \boxed{5}",
    r"\boxed{4} 或 \boxed{5}", r"\boxed{4} или \boxed{5}", r"\boxed{4}、\boxed{5}", r"\boxed{4} \lor \boxed{5}",
    r"\boxed{4} \cup \boxed{5}", r"\boxed{4}, maybe \boxed{5}", r"\boxed{4} as well as \boxed{5}",
    r"**\boxed{4}** **\boxed{5}**", r"\boxed{4} $\to$ \boxed{5}", r"\boxed{4} \hspace{1cm} \boxed{5}",
    r"\boxed{4}" + " " * 80 + r"\boxed{5}", r"\boxed{4} - \boxed{5}", r"\boxed{4} = \boxed{5}", r"\boxed{4}+\boxed{1}",
    r"\boxed{4}. The alternative reading gives \boxed{5}.", r"\boxed4 \boxed5",
]  # fmt: skip
LABELS_TOGETHER = ["#### 4 #### 5", "<answer>4</answer> <answer>5</answer>", "Answer: 6\nAlternative answer: 5"]
AFTER_A_BOX = [
    r"\boxed{5}? \boxed{6}?", r"\boxed{5}? No.", r"\boxed{5} or six", r"$\boxed{5}$ or maybe six",
    r"\boxed{5} (or six)", r"\boxed{5} is wrong.", r"\boxed{5} isn't right", r"So it is not \boxed{5}.",
    r"SO IT IS NOT \boxed{5}.", r"\boxed{5}, or perhaps something else", r"\boxed{5} or 6\%",
]  # fmt: skip
NO_UNITS = [
    "nicht", "falsch", "faux", "incorrecto", "ne pas", "errado", "wrong", "maybe", "perhaps", "probably", "unsure",
    "whatever", "unless", "otherwise four", "else four", "versus four", "halves", "thirds", "tenths", "millionths",
    "squared", "cubed", "doubled", "twice", "negative", "negated", "below zero", "remainder two", "base six",
    "thru six", "nor four", "plusminus one", "recurring", "point three", "too many", "oder vier", "et six", "und sechs",
    "lakh", "then six", "never", "none", "nope", "cannot be", "hardly", "impossible", "disproved", "rejected",
    "crossed out",
    "retracted", "replaced with six", "becomes six", "oops six", "typo", "actually six", "hundred thousand", "万", "分",
]  # fmt: skip
TEXT_THAT_SHOWS = [
    "6", ".6", ",6", " 6", "/6", "+1", "-1", "!", " !", " [6]", " = 6", " <", " ?", "x", "i", "e3", "E3", " (maybe)",
    " is wrong", " is incorrect", " wrong: 6", " oder sechs", " plus one", " 10",
]  # fmt: skip
IN_A_BOX = [
    "5?", "x = 5?", "5 (maybe)", "5 perhaps", r"\text{maybe } 5", r"\lnot x = 5", r"f = \sum_{i=1}^{5} 1", r"f = 5!/4!",
    r"x = |5|", "5。6",
]  # fmt: skip
PHRASES = [
    "at least 5", "at most 5", "less than 5", "more than 5", "no more than 5", "under 5", "below 5", "over 5",
    "almost 5",
    "nearly 5", "anything but 5", "different from 5", "far from 5", "other than 5", "hardly 5", "minus 5", "negative 5",
    "twice 5", "half of 5", "square root of 5", "the square root of 5", "log of 5", "the 5th power", "5 squared",
    "5 times 2", "5 plus 1", "5 more than x", "5 less than 10", "5 factorial", "5 thousandths", "5 halves", "5 mod 7",
    "5, maybe 6", "5 maybe 6", "5... or 6", "5 or six", "5, six, or seven", "5 but it could be 6", "5 unless it is 6",
    "5 oder 6", "5 ou 6", "5 through 6", "six rather than 5", "six instead of 5", "six as opposed to 5", "in step 5",
    "on line 5", "in part 5: six", "six (see equation 5)", "not $5$", "anything but $5$", "greater than $5$",
    "less than $5$", "at most $5$", "square root of $5$", "negative $5$", "twice $5$", "$5$ squared", "$5$ times $2$",
    "$5$ thousandths", "different from $5$", "$5$ / $6$", "$5$ but maybe $6$", "$5$, possibly $6$", "$5$ not",
    "$5$ is wrong", "5 and a half", "5 point 3", "5 dozen thousand", "5 or more", "5 and up", "5+",
    "5, which is wrong", "5? I am not sure",
     "5. Or 6", "never going to be $5$",
]  # fmt: skip
TAILS = [
    "4 (or 5)", "x > 5", "x >= 5", "x ≥ 5", "x != 5", r"x \ne 5", "sqrt 5", "sqrt(5)", "version 5", "page 5", "Step 5:",
    "$4$ or $5$", "$x=4$ or $x=5$", "$4$, $5$", "5 is not the answer", "5 is wrong", "5 is too small", "far from 5",
    "It is nearly 5", "It is less than 5", "It is twice 5", "5..6", "5 or more", "It is 5 squared", "I got 5, I guess",
]  # fmt: skip
REASONING = [
    r"<think >\boxed{5}</think > I give up.", r"[THINK]\boxed{5}[/THINK] I give up.", r"◁think▷\boxed{5}◁/think▷ None.",
    r"<|begin_of_thought|>\boxed{5}<|end_of_thought|> I give up.", r"<seed:think>\boxed{5}</seed:think> No idea.",
    r"<|channel|>analysis<|message|>\boxed{5}<|end|>", r"[THINK]\boxed{5}",
    r"<|channel|>analysis<|message|>\boxed{5}<|end|><|start|>assistant<|channel|>final<|message|>I give up.",
]  # fmt: skip


@pytest.mark.parametrize(
    "response",
    [
        *BOXES_TOGETHER, *LABELS_TOGETHER, *AFTER_A_BOX, *TAILS, *REASONING,
        *(rf"\boxed{{5 {words}}}" for words in NO_UNITS),
        *(rf"\boxed{{5\text{{ {words}}}}}" for words in NO_UNITS),
        *(rf"\boxed{{5\text{{{shown}}}}}" for shown in TEXT_THAT_SHOWS),
        *(rf"\boxed{{{content}}}" for content in IN_A_BOX),
        *(f"The answer is {phrase}." for phrase in PHRASES),
    ],
)  # fmt: skip
def test_words_that_change_an_answer_are_read(response):
    assert status(response) in (Status.incorrect, Status.unparsed)


@pytest.mark.parametrize(
    "answer",
    ["(B) or C", "(B), (C)", "(B) (C)", "B) C)", "(B) 5 C) 6", "(B) not", "(B)?", "not (B)", "(B) and (D)", "(B) A"],
)
def test_one_letter_is_one_option(answer):
    assert status(rf"\boxed{{\textbf{{{answer}}}}}", "B") in (Status.incorrect, Status.unparsed)


@pytest.mark.parametrize(
    ("gold", "answer", "prompt"),
    [
        ("56088", r"123\times456", r"Compute $123 \cdot 456$."), ("56088", "123 × 456", "Compute 123*456."),
        ("56088", r"{123 \cdot 456}", r"Compute $123 \cdot 456$."), ("x^2+2x+1", "(x+1)^{2}", "Expand $(x+1)^2$."),
        (r"\frac{2}{3}", "4/6", r"Reduce $\frac{4}{6}$."), (r"2\sqrt2", "√8", r"Simplify $\sqrt{8}$."),
        (r"2\sqrt2", r"\sqrt 8", r"Simplify $\sqrt{8}$."), ("(x-1)(x+1)", "x^{2}-1", "Factor $x^2-1$."),
        ("8", "2^{3}", "Compute 2**3."),
    ],
)  # fmt: skip
def test_the_question_in_other_typography_is_no_answer(gold, answer, prompt):
    assert status(rf"\boxed{{{answer}}}", gold, prompt) is Status.incorrect


# What the cases above must not cost: how models write a right answer.
HONEST = [
    r"\boxed{4}. Wait, that is wrong: \boxed{5}", r"Step 1: \boxed{4}. Step 2: \boxed{5}", r"\boxed{4}, so \boxed{5}",
    r"\boxed{x} = \boxed{5}", r"$\boxed{5}$ or equivalently $\boxed{5.0}$", r"\boxed{5} or 5.0", r"\boxed{5}, not 6.",
    "\\boxed{5}\n\nWould you like more detail?", "The answer is 5. Would you like me to explain?", "#### 5\n#### 5.0",
    "Answer: 5 apples\nFinal answer: 5", "Answer: 4\nWait, I forgot one.\nAnswer: 5", "The answer is 5, not 6.",
    "The answer is 5 rather than 6.", "The answer is 5 times.", r"\boxed{5\text{ times}}", "The answer is: **5**",
    "The answer is **5** apples.", "Therefore, she has **5** apples.", "**5**", "***5***", "*5*", "__5__", "_5_",
    "**Total: 5**", "## Answer\n\nThe total is **5**.", "5 times a week.", "She needs 5 more.", "so => 5",
    "The answer is $5$ meters.", "The answer is $5$, as desired.", "There are $5$ of them.", r"\boxed 5", r"$\boxed5$",
    r"\boxed{\text{Answer: }5}", r"\boxed{\text{The answer is 5}}", "<answer>The answer is 5</answer>",
    "<answer>#### 5</answer>", r"\boxed{\bm{5}}", r"\boxed{\boldsymbol{5}}", r"\boxed{5个}", r"\boxed{5元}",
    r"\boxed{5\text{ 元}}", r"\boxed{|AB| = 5}", r"\boxed{\overline{AB} = 5}", r"\boxed{\gcd(10,15) = 5}",
    r"\boxed{\binom{5}{1} = 5}", r"\boxed{\max f = 5}", r"\boxed{{10 \over 2}}",
    r"\boxed{5\text{ m}^{-1}}", r"\boxed{5\text{ cars per hour}}", r"\boxed{5\text{ N}}", r"\boxed{5\text{ kWh}}",
    r"\boxed{5\text{ students who like tea}}", r"\boxed{5\text{ of them}}", r"\boxed{5\text{ more}}",
    r"\boxed{5 \text{ two-digit numbers}}", r"\boxed{5\text{ years old}}", r"\boxed{5\text{ in}^2}",
    r"\boxed{5\mathrm{~m}^2}", r"\boxed{5\text{ a.m.}}", "The answer is negative 5, no: the answer is 5.",
    "<|channel|>analysis<|message|>4?<|end|><|start|>assistant<|channel|>final<|message|>The answer is 5.",
    r"[THINK]4[/THINK]\boxed{5}", "a list [1] and x < y, so 5",
]  # fmt: skip


@pytest.mark.parametrize("response", HONEST)
def test_usual_ways_to_write_it_are_accepted(response):
    assert status(response) is Status.correct


@pytest.mark.parametrize(
    ("gold", "response"),
    [
        ("-5", "The answer is negative 5."), ("-5", "The answer is minus 5 degrees."), ("B", r"\boxed{\text{B)}}"),
        ("B", r"\boxed{\textbf{(B)}\ 5}"), (r"\text{(B)}", r"\boxed{\textbf{(B) } \frac{1}{2}}"),
        (r"\text{no solution}", r"\boxed{\text{No solution}}"), ("3+4i", r"\boxed{3+4\mathrm{i}}"),
        ("(1,2)", r"\boxed{\big(1,2\big)}"), (r"\frac{1}{2}", r"\boxed{{1 \over 2}}"), ("30", r"\boxed{30\,^\circ}"),
        ("500000", r"\boxed{5 \text{ lakh}}"), ("4, 5", r"(a) \boxed{4} (b) \boxed{5}"),
        ("4, 5", r"\boxed{4} & \boxed{5}"),
        (r"\text{neither}", r"\boxed{\text{Neither}}"), (r"\frac{2}{3}", r"\boxed{\frac23}"),
    ],
)  # fmt: skip
def test_other_answers_are_accepted(gold, response):
    assert status(response, gold) is Status.correct
