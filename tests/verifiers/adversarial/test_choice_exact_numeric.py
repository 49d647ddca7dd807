"""Attacks on choice, exact and numeric: each case has one status, and none of them is a false accept."""

import json
import time

import pytest

from verifiers.contract import Status
from verifiers.registry import REGISTRY

B = "B"
CITIES = {"answer": "A", "options": {"A": "London", "B": "Paris", "C": "The Hague"}}
CHOICE = {
    "empty": (B, "", "unparsed"),
    "blank": (B, " \n", "unparsed"),
    "every letter": (B, "B\nA\nC\nD", "unparsed"),
    "every letter on a line": (B, "B A C D", "unparsed"),
    "every letter in brackets": (B, "(B)(A)(C)(D)", "unparsed"),
    "every letter announced": (B, "The answer is (B), (A), (C), (D)", "unparsed"),
    "letters joined": (B, r"\boxed{BA}", "unparsed"),
    "two boxes": (B, r"\boxed{B} or \boxed{C}", "unparsed"),
    "echoed options": (CITIES, "A. London\nB. Paris\nC. The Hague", "unparsed"),
    "echoed options, announced": (CITIES, "The answer is (A) London (B) Paris (C) The Hague", "unparsed"),
    "echoed options on a line": (CITIES, "Options: (A) London (B) Paris", "unparsed"),
    "two letters": (B, "The answer is B or C", "unparsed"),
    "two letters with a slash": (B, "B/C", "unparsed"),
    "maybe another": (B, "The answer is B or maybe C", "unparsed"),
    "possibly another": (B, "The answer is B, possibly C", "unparsed"),
    "another in German": (B, "The answer is A oder B", "unparsed"),
    "unless another": (B, "The answer is B, unless it is C", "unparsed"),
    "a guess and another": (B, r"\boxed{B\text{ (guess), }C}", "unparsed"),
    "negated": (B, r"\boxed{\neg B}", "unparsed"),
    "questioned in a box": (B, r"\boxed{B}? Maybe C.", "unparsed"),
    "boxes beside each other": (B, r"\boxed{A} / \boxed{B}", "unparsed"),
    "hashes beside each other": (B, "#### A #### B", "unparsed"),
    "in another tag of reasoning": (B, "[THINK]B[/THINK] None.", "unparsed"),
    "another is possible too": (B, "The answer is B, but C is also possible", "unparsed"),
    "two letters with texts": (CITIES, "The answer is A) London or C) The Hague", "unparsed"),
    "letter with another's text": (CITIES, "The answer is A) Paris", "unparsed"),
    "another follows": (B, "Answer: B. Or C.", "unparsed"),
    "questioned": (B, "Answer: B? C?", "unparsed"),
    "a question": (B, "Is it (B)?", "unparsed"),
    "torn between": (B, "I'm torn between (B) and (C).", "unparsed"),
    "denied": (B, "The answer is not B.", "unparsed"),
    "denied in brackets": (B, "The answer is not (B).", "unparsed"),
    "denied, short form": (B, "The answer isn't (B).", "unparsed"),
    "denied option": (B, "It is not option B.", "unparsed"),
    "cannot be": (B, "It can't be (B)", "unparsed"),
    "anything but": (B, "The answer is anything but B.", "unparsed"),
    "is wrong": (B, "(B) is incorrect.", "unparsed"),
    "ruled out": (B, "I rule out (B)", "unparsed"),
    "neither": (B, "The answer is neither B nor C", "unparsed"),
    "all of them": (B, "All of the above", "unparsed"),
    "none of them": (B, "(B)? The answer is none of the above", "unparsed"),
    "only in the reasoning": (B, "<think>The answer is B</think>", "unparsed"),
    "article": ("A", "The answer is a dog", "unparsed"),
    "no such option": (CITIES, "The answer is D.", "unparsed"),
    "cyrillic letter": (B, "The answer is В", "unparsed"),
    "fullwidth letter": (B, "The answer is Ｂ", "unparsed"),
    "nul byte": (B, "B\0", "unparsed"),
    "lone surrogate": (B, "\ud800B", "unparsed"),
    "padding hides the rest": (B, "The answer is B" + " " * 400 + "or C", "unparsed"),
    "last one wins": (B, "The answer is B. The answer is C.", "incorrect"),
    "a megabyte of letters": (B, "B " * 500_000, "unparsed"),
    "a megabyte of announcements": (B, "The answer is B or C. " * 45_000, "unparsed"),
    "a megabyte in a box": (B, r"\boxed{" + "B " * 500_000 + "}", "unparsed"),
}

EXACT = {
    "empty": ("Paris", "", "unparsed"),
    "only punctuation": ("Paris", "...", "incorrect"),
    "two texts": ("Paris", "The answer is Paris or London", "incorrect"),
    "two boxes": ("Paris", r"\boxed{Paris}, \boxed{London}", "incorrect"),
    "another follows": ("Paris", "Answer: Paris. Or London.", "unparsed"),
    "questioned": ("Paris", "Answer: Paris? London?", "unparsed"),
    "denied": ("Paris", "The answer is not Paris", "incorrect"),
    "last line wins": ("Paris", "Paris\nLondon", "incorrect"),
    "with a comment": ("yes", "yes and no", "incorrect"),
    "only in the reasoning": ("Paris", "<think>Paris</think>", "unparsed"),
    "homoglyph": ("Paris", "Ρaris", "incorrect"),
    "fullwidth": ("42", "４２", "incorrect"),
    "zero-width space": ("Paris", "Pa\u200bris", "incorrect"),
    "nul byte": ("Paris", "Paris\0", "incorrect"),
    "lone surrogate": ("Paris", "Paris\ud800", "incorrect"),
    "brackets matter": ("] )", "] ) )", "incorrect"),
    "spelled out": ("Paris", "P a r i s", "incorrect"),
    "padding hides the rest": ("Paris", "Answer: Paris" + " " * 400 + "or London", "unparsed"),
    "a megabyte": ("Paris", "Paris " * 170_000, "incorrect"),
    "a megabyte of brackets": ("Paris", "(" * 1_000_000, "incorrect"),
    "a megabyte of commands": ("Paris", r"\text{" * 170_000, "incorrect"),
}

NUMERIC = {
    "empty": (3, "", "unparsed"),
    "two numbers": (3, "The answer is 3 or 4", "unparsed"),
    "two numbers, comma": (3, "The answer is 3, 4", "unparsed"),
    "two numbers, blank": (3, "The answer is 3 4", "unparsed"),
    "maybe another": (3, "Answer: 3, maybe 4", "unparsed"),
    "another follows": (3, "Answer: 3. Or 4.", "unparsed"),
    "questioned": (3, "Answer: 3? 4?", "unparsed"),
    "denied": (3, "The answer is not 3", "unparsed"),
    "denied, unannounced": (3, "It is not 3", "unparsed"),
    "bound": (3, "The answer is at least 3", "unparsed"),
    "bound, unannounced": (3, "x > 3", "unparsed"),
    "inequality": (3, r"\boxed{x \ge 3}", "unparsed"),
    "give or take": (3, r"\boxed{3 \pm 1}", "unparsed"),
    "factorial": (3, r"\boxed{3!}", "unparsed"),
    "power": (3, r"\boxed{3^2}", "unparsed"),
    "superscript": (3, "The answer is 3²", "unparsed"),
    "imaginary": (3, "3i", "unparsed"),
    "variable": (3, r"\boxed{3x}", "unparsed"),
    "sum": (3, r"\boxed{1 + 2}", "unparsed"),
    "exponent left out": (3, "it is 3e99999", "unparsed"),
    "underscore": (3, "3_000", "unparsed"),
    "thousands": (3, "3,000", "incorrect"),
    "foreign digit after it": (3, "The answer is 3٣", "unparsed"),
    "arabic digit": (3, "The answer is ٣", "unparsed"),
    "fullwidth digit": (3, "The answer is ３", "unparsed"),
    "division by zero": (3, "3/0", "unparsed"),
    "nan": (3, "nan", "unparsed"),
    "infinity": (3, r"\boxed{\infty}", "unparsed"),
    "just outside the tolerance": (3, "3.0000031", "incorrect"),
    "outside by a hair": ({"answer": 1, "rel_tol": 0, "abs_tol": 0}, "0." + "9" * 190, "incorrect"),
    "another sign": (3, "-3", "incorrect"),
    "padding hides the rest": (3, "The answer is 3" + " " * 400 + "or 4", "unparsed"),
    "only in the reasoning": (3, "<think>3</think>", "unparsed"),
    "a megabyte of digits": (3, "3" * 1_000_000, "incorrect"),
    "a megabyte in a box": (3, r"\boxed{" + "3" * 1_000_000 + "}", "unparsed"),
    "a megabyte of answers": (3, "The answer is 3 or 4. " * 45_000, "unparsed"),
}

CASES = [
    *((f"choice: {name}", "choice", *case) for name, case in CHOICE.items()),
    *((f"exact: {name}", "exact", *case) for name, case in EXACT.items()),
    *((f"numeric: {name}", "numeric", *case) for name, case in NUMERIC.items()),
]


@pytest.mark.parametrize(
    ("verifier", "gold", "response", "status"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_attack(verifier, gold, response, status):
    entry = REGISTRY[verifier]
    parsed = entry.parse_gold(json.loads(json.dumps(gold)))
    started = time.perf_counter()
    outcome = entry.check(response, parsed, "")
    assert time.perf_counter() - started < 2
    assert outcome.status == status, outcome
    assert outcome.status in (Status.correct, Status.incorrect, Status.unparsed)
    assert outcome == entry.check(response, parsed, "")
