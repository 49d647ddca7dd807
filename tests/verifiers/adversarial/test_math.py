"""Answers that try to be accepted without being right. None may be, and each within its budget.

What was accepted by an earlier version of this verifier, or is by its symbolic library alone, is among the cases.
"""

import json
import time

import pytest

from verifiers import Status, Task, VerifierPool
from verifiers.math import VERIFIER

BOX = r"so \boxed{%s}"
WRONG, NONE = Status.incorrect, Status.unparsed
LONG = 1_000_000


@pytest.fixture(scope="module")
def pool():
    with VerifierPool(1) as opened:
        opened.verify([Task("math", r"\boxed{x^y}", '"y^x"')])  # workers start here and not within a case
        yield opened


def boxed(name, gold, answer, expected=WRONG, prompt=""):
    return pytest.param(gold, BOX % answer, prompt, expected, id=name)


def said(name, gold, response, expected=NONE, prompt=""):
    return pytest.param(gold, response, prompt, expected, id=name)


def prompted(name, gold, answer, prompt):
    return boxed(name, gold, answer, WRONG, prompt)


SPRAYING = [
    said("several boxes in a row", "5", r"\boxed{4} \boxed{5} \boxed{6}"),
    said("boxes joined by or", "5", r"\boxed{4} or \boxed{5}"),
    said("boxes offered as alternatives", "6", r"\boxed{5}. Alternatively, \boxed{6}."),
    said("boxes offered as possibilities", "6", r"\boxed{5} or maybe \boxed{6}"),
    said("or in a box", "5", r"\boxed{5 \text{ or } 6}"),
    said("a list in a box", "5", r"\boxed{4, 5, 6}"),
    said("a range of numbers", "5", "The answer is " + ", ".join(map(str, range(100)))),
    said("a list at the end", "7", "It may be 5, 6 or 7"),
    said("a list with maybe", "7", "maybe 5, maybe 6, maybe 7"),
    said("and", "5", "The answer is 5 and 6."),
    said("a slash of answers is one fraction", "5", "The answer is 5/6.", WRONG),
    said("two announcements as alternatives", "6", "The answer is 5. Or maybe the answer is 6."),
    said("every number to a million", "77", " ".join(map(str, range(100_000))), WRONG),
    said("semicolons", "5", r"\boxed{4; 5; 6}"),
    said("a plus-minus for one value", "5", r"\boxed{\pm 5}", WRONG),
    said("a set around the gold", "5", r"\boxed{\{4, 5, 6\}}", WRONG),
    said("all values of a variable", "5", r"\boxed{x = 4, x = 5, x = 6}"),
    said("an interval around the gold", "5", r"\boxed{(-\infty, \infty)}", WRONG),
    said("the reals", "5", r"\boxed{\mathbb{R}}", WRONG),
    said("a union around the gold", "5", r"\boxed{(-\infty, 5] \cup [5, \infty)}", WRONG),
    said("the gold's list and more", "2, 3", r"\boxed{2, 3, 4}", WRONG),
    said("the gold's list twice", "2, 3", r"\boxed{2, 2, 3, 3}", WRONG),
]
HEDGING = [
    boxed("at least", "5", "at least 5"),
    boxed("not", "5", "not 5"),
    boxed("or more", "5", "5 or more", NONE),
    boxed("greater", "5", "> 5"),
    boxed("a variable is greater", "5", "x > 5"),
    boxed("at most", "5", r"x \le 5"),
    boxed("unequal", "5", r"x \neq 5"),
    boxed("between", "5", "between 4 and 6", NONE),
    boxed("about another", "5", "5 or so", NONE),
    boxed("tends to", "5", r"x \to 5"),
    boxed("implies", "5", r"x^2 = 25 \Rightarrow x = 5"),
    boxed("implied by", "5", r"5 \Leftarrow x"),
    boxed("a question mark and more", "5", "5? 6?"),
    boxed("crossed out", "5", r"\cancel{5}"),
    boxed("a comment hides it", "5", "6 % 5"),
    said("the answer is not", "5", "The answer is not 5.", WRONG),
    said("the answer is wrong", "5", "The answer is 5 is wrong.", WRONG),
    said("a question", "5", "Is the answer 5? Is the answer is 5?", NONE),
    said("a denial at the end", "5", "I would say that it is not 5."),
    said("a bound at the end", "5", "There are at least 5"),
    said("in reasoning only", "5", r"<think>\boxed{5}</think> I do not know."),
    said("in reasoning that never ends", "5", r"<think> it is \boxed{5}"),
    said("before a lone closing tag", "5", r"\boxed{5} </think> The answer is unknown.", WRONG),
]
NO_ANSWERS = [
    boxed("empty box", "5", "", NONE),
    boxed("white-space box", "5", " \t~ ", NONE),
    boxed("nested empty boxes", "5", r"\boxed{\boxed{}}", NONE),
    said("empty", "5", ""),
    said("white space", "5", " \n\t\u00a0\u2003 "),
    said("only dollars", "5", "$$ $$ $ $"),
    said("a box that never closes", "5", r"\boxed{5"),
    said("closed before it opens", "5", r"}\boxed{ 5"),
    boxed("the answer", "5", r"\text{the answer}"),
    boxed("the answer is the answer", "5", r"\text{the answer is the answer}"),
    boxed("a bare variable", "x = 5", "x"),
    boxed("x where x is the answer", "5", r"x \text{ where } x \text{ is the answer}"),
    boxed("identity of zeros", "x = 5", "0 = 0"),
    boxed("identity of the gold", "0", "0 = 0"),
    boxed("x is x", "5", "x = x"),
    boxed("identity in disguise", "x = 5", "x + 1 = 1 + x"),
    boxed("a true equation without value", "5", "5 = 5"),
    boxed("a contradiction", "6", "5 = 6"),
    boxed("a chain that contradicts itself", "5", "x = 4 = 5"),
    boxed("an unsolved equation", "5", "2x = 10"),
    boxed("another unsolved equation", "x = 5", "2x = 10"),
    boxed("a value of something else", "8", "x + 3 = 8"),
    boxed("a quotient's value", "5", r"\frac{x}{2} = 5"),
    boxed("another name", "x = 5", "y = 5"),
    boxed("pi renamed", "3", r"\pi = 3"),
    boxed("half a relation", "5", "= 5 ="),
    boxed("undefined", "0", "1/0"),
    boxed("nan", "5", "nan"),
    boxed("zoo", "0", "zoo"),
    boxed("nan of two", "5", r"\infty - \infty"),
    boxed("indeterminate", "5", r"5 + 0 \cdot \infty"),
    boxed("infinity for a large number", "10^{100}", r"\infty"),
    boxed("empty set", "0", r"\emptyset"),
    boxed("empty set for a set", r"\{1, 2\}", r"\{\}"),
    boxed("a repeated element", r"\{1, 2\}", r"\{1, 1, 2\}"),
    boxed("elements lost", "2, 2, 3", "2, 3"),
    boxed("a set for a tuple", "(1, 2)", r"\{1, 2\}"),
    boxed("a tuple for a set", r"\{1, 2\}", "(1, 2)"),
    boxed("a tuple for a list", "1, 2", "(1, 2)"),
    boxed("a tuple turned", "(1, 2)", "(2, 1)"),
    boxed("closed for open", "(1, 2)", "[1, 2]"),
    boxed("half open", "[1, 2)", "[1, 2]"),
    boxed("a list for an interval", "[1, 2)", "1, 2"),
    boxed("an inequality for a point", "(1, 2)", "1 < x < 2"),
    boxed("an interval for a value", "2", "[2, 2]"),
    boxed("infinite ends swapped", r"(-\infty, 1) \cup (2, \infty)", r"(+\infty, 1) \cup (2, \infty)"),
    boxed("names swapped", "x = 1, y = 2", "x = 2, y = 1"),
    boxed("names in another order", "(1, 2)", "y = 1, x = 2"),
    boxed("matrix transposed", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&3\\2&4\end{pmatrix}"),
    boxed("row for column", r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}"),
    boxed("a word's letters", r"\text{no}", "on"),
    boxed("an anagram", r"\text{even}", "neve"),
    boxed("a word and a digit", r"\text{May}", "May1"),
    boxed("true for one", "1", r"\text{true}"),
    boxed("one for true", r"\text{true}", "1"),
    boxed("yes for no", r"\text{No}", "Yes"),
    boxed("case of a variable", "R - r", "0"),
    boxed("case turned", "R - r", "r - R"),
    boxed("case alone", "n", "N"),
    boxed("a variable as a unit", "5m", "5"),
    boxed("one variable for another", "5c", "5d"),
    boxed("a primed letter", "S - S'", "0"),
    boxed("j for i", "2 + 3i", "2 + 3j"),
    boxed("a real root's sign", r"\sqrt{x^2}", "x"),
    boxed("empty solution sets", "x^2 + 1 = 0", "x^4 + 7 = 0"),
    boxed("phantom", "5", r"6\phantom{5}"),
    boxed("a definition", "5", r"\def\x{5}\x"),
]
UNEVALUATED = [
    boxed("sum", "55", r"\sum_{i=1}^{10} i"),
    boxed("product", "24", r"\prod_{i=1}^{4} i"),
    boxed("integral", "1", r"\int_0^1 2x\,dx"),
    boxed("limit", "0", r"\lim_{x\to\infty} \frac1x"),
    boxed("determinant", "-2", r"\begin{vmatrix}1&2\\3&4\end{vmatrix}"),
    boxed("determinant by name", "-2", r"\det\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    boxed("gcd", "12", r"\gcd(24, 36)"),
    boxed("gcd in text", "12", r"\text{gcd}(24, 36)"),
    boxed("lcm", "72", r"\operatorname{lcm}(24, 36)"),
    boxed("binomial", "10", r"\binom{5}{2}"),
    boxed("choose", "10", r"{5 \choose 2}"),
    boxed("C of two", "10", "C(5, 2)"),
    boxed("factorial", "120", "5!"),
    boxed("remainder", "2", r"17 \bmod 5"),
    boxed("floor", "2", r"\lfloor 2.5 \rfloor"),
    boxed("ceiling", "3", r"\lceil 2.5 \rceil"),
    boxed("maximum", "5", r"\max(3, 5)"),
    boxed("absolute value", "5", "|-5|"),
    boxed("logarithm", "3", r"\log_2 8"),
    boxed("natural logarithm", "1", r"\ln e"),
    boxed("sine", r"\frac12", r"\sin 30^\circ"),
    boxed("arc tangent", r"\frac{\pi}{4}", r"\arctan 1"),
    boxed("derivative", "2", r"\frac{d}{dx} 2x"),
    boxed("real part", "3", r"\Re(3+4i)"),
    boxed("dots", "55", r"1 + 2 + \cdots + 10"),
    boxed("permutation", "90", "(10)_{2}"),
    boxed("another base", "101", "101_2"),
    boxed("base ignored", "5", "5_6"),
    boxed("a sum in a tuple", "(1, 55)", r"(1, \sum_{i=1}^{10} i)"),
    boxed("a gcd for one's binomial", r"\binom{9}{2}", r"\gcd(36, 72)"),
]
ECHOES = [
    prompted("arithmetic of the question", "56088", "123 \\cdot 456", r"Compute $123 \cdot 456$."),
    prompted("a sum of the question", "5", "2+3", "What is 2 + 3?"),
    prompted("a fraction to reduce", r"\frac{2}{3}", r"\frac{4}{6}", r"Reduce $\dfrac{4}{6}$ to lowest terms."),
    prompted("a product to expand", "x^2+2x+1", "(x+1)^2", "Expand $(x+1)^2$."),
    prompted("a polynomial to factor", "(x-1)(x+1)", "x^2-1", "Factor $x^2 - 1$ completely."),
    prompted("a root to simplify", r"2\sqrt{2}", r"\sqrt{8}", r"Simplify $\sqrt{8}$."),
    prompted("an equation to rewrite", "y = 2x + 1", "2x - y + 1 = 0", "Solve $2x - y + 1 = 0$ for $y$."),
    said(
        "the whole question",
        "5",
        "The answer is 5 or 6. Which one is the answer?",
        NONE,
        "The answer is 5 or 6. Which one is the answer?",
    ),
    said(
        "a box in the question",
        "5",
        r"Write \boxed{5} if there are 5 apples.",
        NONE,
        r"Write \boxed{5} if there are 5 apples.",
    ),
    prompted("percent of a probability", "0.5", r"0.5\%", "What is the probability of heads?"),
    prompted("an interval for a point", "(1, 2)", "1 < x < 2", "Find the coordinates of the vertex."),
]
PRECISION = [
    boxed("tiny powers", "2^{-98}", "2^{-99}"),
    boxed("tiny powers in a set", r"\{2^{-98}\}", r"\{2^{-99}\}"),
    boxed("tiny powers in a tuple", "(2^{-98}, 1)", "(2^{-99}, 1)"),
    boxed("tiny powers in an interval", "(-1, 2^{-98}]", "(-1, 2^{-99}]"),
    boxed("tiny powers in an inequality", "x < 2^{-98}", "x < 2^{-99}"),
    boxed("tiny powers in an equation", "y = 2^{-98}x", "y = 2^{-99}x"),
    boxed(
        "tiny powers in a matrix", r"\begin{pmatrix}2^{-98}\\1\end{pmatrix}", r"\begin{pmatrix}2^{-99}\\1\end{pmatrix}"
    ),
    boxed("a tiny term in a polynomial", "x^2 + 2^{-98}", "x^2 + 2^{-99}"),
    boxed("a tiny coefficient", "0.1x", "(0.1 + 10^{-12})x"),
    boxed("a tiny constant beside x", "0.1x", "0.1x + 10^{-20}"),
    boxed("a tiny end of a union", r"(1,2)\cup(3,4)", r"(1,2)\cup(3,4.0000000001)"),
    boxed("a tiny term beside a sine", r"\sin x", r"\sin x + 10^{-30}"),
    boxed("a tiny term beside a power", "2^n", "2^n + 10^{-400}"),
    boxed("a tiny term beside a logarithm", r"\ln 2", r"\ln 2 + 10^{-300}"),
    boxed("a tiny term far down", r"\ln 2", r"\ln 2 + 10^{-9000}"),
    boxed("a tiny power of pi", r"\ln 2", r"\ln 2 + \pi^{-5000}"),
    boxed("large and one", "10^{20}", "10^{20} + 1"),
    boxed("a huge power and one", "2^{1000}", "2^{1000} + 1"),
    boxed("rounded too short", "1/3", "0.33333"),
    boxed("rounded wrongly", r"\frac{2}{3}", "0.666666"),
    boxed("a rounded root", r"\sqrt{2}x", "1.41421356237x"),
    boxed("almost an integer", "5", "4.9999999999999"),
    boxed("Ramanujan's constant", "262537412640768744", r"e^{\pi\sqrt{163}}"),
    boxed("an exponent nearly right", "x^3", "x^{3.0000001}"),
    boxed("nearly zero", "0", "10^{-50}"),
    boxed("degrees as radians", r"\sin 30", r"\sin 30^\circ"),
    boxed("an approximation that is none", r"\frac23", r"\frac23 \approx 0.68"),
]
UNITS = [
    boxed("metres for centimetres", r"5 \text{ cm}", r"5 \text{ m}"),
    boxed("percent for dollars", r"\$5", r"5\%"),
    boxed("dollars for percent", r"5\%", r"\$5"),
    boxed("euros for dollars", r"\$5", "€5"),
    boxed("cents for dollars", r"\$5", r"5 \text{ cents}"),
    boxed("area for length", r"5 \text{ cm}", r"5 \text{ cm}^2"),
    boxed("radians for degrees", r"30^\circ", r"30 \text{ radians}"),
    boxed("a power as a unit", r"5 \text{ m}", r"5 \text{ m}^2"),
    boxed("per cent of per cent", r"0.5\%", r"0.005\%"),
    boxed("a time as a ratio", "4.5", "4:30"),
    boxed("a million", "2", "2 million"),
    boxed("thousand for millions", "2 million", "2 thousand"),
]
LOOKALIKES = [
    boxed("Arabic-Indic digit", "7", "٧"),
    boxed("full-width digit", "7", "７"),
    boxed("superscript digit", "7", "⁷"),
    boxed("mathematical bold digit", "7", "𝟕"),
    boxed("circled digit", "5", "⑤"),
    boxed("Roman numeral", "5", "Ⅴ"),
    boxed("a letter for one", "11", "1l"),
    boxed("a letter for zero", "10", "1O"),
    boxed("Cyrillic x", "x", "х"),
    boxed("Cyrillic name", "x = 5", "х = 6"),
    boxed("Greek capital", "A", "Α"),
    boxed("zero-width space", "15", "1\u200b5"),
    boxed("soft hyphen", "15", "1\u00ad5"),
    boxed("right-to-left override", "51", "\u202e15"),
    boxed("byte-order mark inside", "15", "1\ufeff5"),
    boxed("combining stroke", "5", "5\u0338"),
    boxed("tag characters", "5", "6\U000e0035"),
    boxed("NUL", "15", "1\x005"),
    boxed("NUL at the end", "5", "6\x005"),
    boxed("lone surrogate", "5", "\ud8005"),
    boxed("Arabic thousands", "1000", "1٬000"),
    boxed("fraction slash", r"\frac{1}{2}", "1⁄3"),
    boxed("minus lookalike", "5", "ー5"),
    boxed("number word", "7", "seven"),
    boxed("braille", "5", "⠑"),
    boxed("variation selector", "5", "6\ufe0f5"),
]
BOMBS = [
    boxed("tower", "5", "9^{9^{9^9}}"),
    boxed("tower without braces", "5", "9^9^9"),
    boxed("tower in a fraction", "5", r"\frac{9^{9^9}}{9^{9^9}}"),
    boxed("factorials of factorials", "5", "((9!)!)!"),
    boxed("double factorials", "5", "9!!!!!!"),
    boxed("large factorial", "5", "99999!"),
    boxed("huge exponent", "5", "2^{999999999}"),
    boxed("negative huge exponent", "0", "2^{-999999999}"),
    boxed("product of powers", "5", r"\cdot".join(["9^{9999}"] * 40)),
    boxed("huge polynomial", "x^2", "(x+1)^{9999}"),
    boxed("polynomial of many variables", "x^2", "(a+b+c+d+f+g+h+k)^{40}"),
    boxed("polynomials multiplied", "x^2", "(x+y+z+1)^{23}" * 12),
    boxed("nested fractions", "5", r"\frac{1}{1+" * 40 + "1" + "}" * 40),
    boxed("nested roots", "5", r"\sqrt{2+" * 40 + "2" + "}" * 40),
    boxed("nested roots within limits", "2", r"\sqrt{2+" * 20 + "3" + "}" * 20),
    boxed("nested brackets", "5", "(" * 5000 + "5" + ")" * 5000),
    boxed("many digits", "5", "9" * 100_000),
    boxed("many decimals", "5", "5." + "0" * 100_000 + "1"),
    boxed("large matrix", "5", r"\begin{pmatrix}" + r"1&2&3\\" * 300 + r"\end{pmatrix}"),
    boxed("long list", r"\{1, 2\}", r"\{" + ", ".join(map(str, range(90))) + r"\}"),
    boxed("long sum", "5", "+".join("1" * 240)),
    boxed("variables as exponents", "300", "300^{a^{b^c}}"),
    boxed("product of letters", "120", "120^{icircirc}"),
    boxed("trigonometric tower", r"\sin x", r"\sin(" * 20 + "x" + ")" * 20),
    boxed("long product of sums", "x", "(x+1)" * 45),
    boxed("hexadecimal exponent", "5", "1e999999999"),
    boxed("recurring for long", "5", r"0.\overline{" + "9" * 180 + "}"),
    boxed("many plus-minus signs", "5", r"\pm" * 50 + "5"),
    boxed("large radicand", "5", r"\sqrt{99999999999999999999999999999977}"),
    boxed("large root", "5", r"\sqrt[999]{2}^{999} + 1"),
    boxed("many radicals", "5", "+".join(rf"\sqrt{{{p}}}" for p in (2, 3, 5, 7, 11, 13, 17, 19))),
    boxed(
        "a product of many radicals", "5", "".join(rf"(1+\sqrt{{{p}}})" for p in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29))
    ),
    boxed("repeating unions", "5", r"\cup".join(["(1,2)"] * 60)),
    boxed("chain of equations", "5", "=".join("x" * 200)),
]
SIZES = [
    said("a megabyte of blanks", "5", " " * LONG),
    said("a megabyte of a letter", "5", "a" * LONG),
    said("a megabyte of opening boxes", "5", r"\boxed{" * (LONG // 7)),
    said("a megabyte in a box", "5", BOX % ("5" * LONG), WRONG),
    said("a megabyte of dollars", "5", "$" * LONG),
    said("a megabyte of announcements", "5", "the answer is " * (LONG // 14), NONE),
    said("a megabyte of commas", "5", BOX % ("5," * (LONG // 2)), WRONG),
    said("a megabyte of or", "5", "5 or " * (LONG // 5) + "6"),
    said("a megabyte of minus signs", "5", BOX % ("-" * LONG), WRONG),
    said("a megabyte of think tags", "5", "<think>" * (LONG // 7)),
    said("a megabyte of NUL", "5", "\x00" * LONG),
    said("a megabyte of surrogates", "5", "\ud800" * LONG),
    said("a megabyte of backslashes", "5", "\\" * LONG),
    said("a megabyte of boxes", "7", r"\boxed{5} " * (LONG // 10), WRONG),
]
SLACK = 4  # tests run side by side, and a busy machine is slow, not wrong
CASES = [*SPRAYING, *HEDGING, *NO_ANSWERS, *UNEVALUATED, *ECHOES, *PRECISION, *UNITS, *LOOKALIKES, *BOMBS, *SIZES]


@pytest.mark.parametrize(("gold", "response", "prompt", "expected"), CASES)
def test_no_false_accept_within_the_budget(pool, gold, response, prompt, expected):
    budget = SLACK * VERIFIER.budget_s
    started = time.perf_counter()
    (verdict,) = pool.verify([Task("math", response, json.dumps(gold), prompt, budget_s=budget)])
    assert verdict.status is expected, verdict
    assert verdict.score == 0
    assert time.perf_counter() - started < budget


# What the cases above must not cost: the same answers given honestly.
HONEST = [
    ("5", r"\boxed{4} Wait, that is wrong. \boxed{5}", ""),
    ("5", "The answer is 4. No, the answer is 5.", ""),
    ("5", r"<think>\boxed{4}</think> \boxed{5}", ""),
    ("5", r"\boxed{5} \boxed{5}", ""),
    ("5", r"\boxed{5 \text{ or } 5.0}", ""),
    ("5", r"\boxed{2 + 3 = 5}", ""),
    ("x = 5", r"\boxed{5 = x}", ""),
    ("5", r"\boxed{x + y = 5}", "What is $x+y$ if ...?"),
    (r"\frac{10}{3}", r"\boxed{\frac{10}{3} \approx 3.33}", ""),
    (r"\sum_{i=1}^{n} i", r"\boxed{\sum_{k=1}^{n} k}", ""),
    (r"\binom{9}{2}", r"\boxed{36}", ""),
    (r"\ln 4", r"\boxed{2 \ln 2}", ""),
    ("5!", r"\boxed{120}", ""),
    (r"5 \text{ cm}", r"\boxed{50 \text{ mm}}", ""),
    (r"5 \text{ cm}", r"\boxed{5}", ""),
    ("5", r"\boxed{5 \text{ cm}}", ""),
    (r"\$0.50", r"\boxed{50 \text{ cents}}", ""),
    (r"30^\circ", r"\boxed{\frac{\pi}{6}}", ""),
    (r"\frac{\pi}{6}", r"\boxed{30^\circ}", ""),
    (r"60 \text{ miles per hour}", r"\boxed{60 \text{ mph}}", ""),
    ("0.5", r"\boxed{50\%}", ""),
    ("50", r"\boxed{50\%}", "What percentage is it?"),
    ("0.5", r"\boxed{0.5\%}", "By how many percent did it change?"),
    ("101", r"\boxed{101_2}", "Write 5 in base 2."),
    ("101_2", r"\boxed{101}", ""),
    ("(1, 2)", r"\boxed{1 < x < 2}", "Give the answer as an interval."),
    ("[1, 2)", r"\boxed{1 \le x < 2}", ""),
    (r"(-\infty, 1) \cup (2, \infty)", r"\boxed{x < 1 \text{ or } x > 2}", ""),
    (r"(-\infty, \infty)", r"\boxed{\mathbb{R}}", ""),
    ("(1, 3)", r"\boxed{(1, 2] \cup (2, 3)}", "On which interval?"),
    ("x = 1, y = 2", r"\boxed{(1, 2)}", ""),
    (r"[2, \infty)", r"\boxed{\{x \mid x \ge 2\}}", ""),
    (r"(-\infty, 0) \cup (0, \infty)", r"\boxed{x \ne 0}", ""),
    (r"\sin x", r"\boxed{sin(x)}", ""),
    ("x = 1, y = 2", r"\boxed{y = 2, x = 1}", ""),
    ("y = 2x + 1", r"\boxed{2x - y + 1 = 0}", ""),
    ("x < 2", r"\boxed{2 > x}", ""),
    ("-2, 2", r"\boxed{x = \pm 2}", ""),
    (r"\{5\}", r"\boxed{5}", ""),
    ("1,000,000", r"\boxed{1\,000\,000}", ""),
    (r"0.\overline{3}", r"\boxed{\frac13}", ""),
    ("1 : 5", r"\boxed{1:5}", ""),
    (r"\sin^2 x", r"\boxed{1 - \cos^2 x}", ""),
    ("x^2-1", r"\boxed{(x-1)(x+1)}", ""),
    ("2^n", r"\boxed{2 \cdot 2^{n-1}}", ""),
    ("4", r"\boxed{4}", "What is 2 + 2, 3 or 4?"),
    (r"\frac{2}{3}", r"\boxed{\frac{2}{3}}", r"Which is larger, $\frac{2}{3}$ or $\frac{1}{2}$?"),
]


@pytest.mark.parametrize(("gold", "response", "prompt"), HONEST)
def test_honest_answers_are_accepted(pool, gold, response, prompt):
    (verdict,) = pool.verify([Task("math", response, json.dumps(gold), prompt)])
    assert verdict.status is Status.correct, verdict


@pytest.mark.parametrize("gold", ["5", "6"])
@pytest.mark.parametrize(
    "response",
    ["The answer is 5\nor 6", "The answer is 5.\nOr 6.", "#### 5\nor 6", "Answer: 5\nor 6", "Answer: 5. Or 6."],
)
def test_another_answer_on_the_next_line_is_offered_with_it(pool, response, gold):
    (verdict,) = pool.verify([Task("math", response, json.dumps(gold))])
    assert verdict.status is Status.unparsed, verdict
