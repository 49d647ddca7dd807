"""Attacks on countdown and knights_and_knaves: each case has one status, and none of them is a false accept."""

import json
import time

import pytest

from verifiers.contract import Status
from verifiers.registry import REGISTRY

FOUR = {"numbers": [4, 4, 6, 8], "target": 24}
SOME = {"numbers": [25, 3, 7, 100], "target": 75, "use": "subset"}
RIGHT = "(6 - 4) * (4 + 8)"

COUNTDOWN = {
    "empty": (FOUR, "", "unparsed"),
    "blank": (FOUR, " \n\t", "unparsed"),
    "only the target": (FOUR, r"\boxed{24}", "unparsed"),
    "target equals itself": (FOUR, "Answer: 24 = 24", "unparsed"),
    "echoed question": (FOUR, "Use 4, 4, 6, 8 to make 24.", "unparsed"),
    "list of the numbers": (FOUR, "Answer: 4 4 6 8", "unparsed"),
    "only in the reasoning": (FOUR, f"<think>Answer: {RIGHT}</think>", "unparsed"),
    "number left out": (FOUR, "Answer: 4 * 6 = 24", "incorrect"),
    "number used twice": (FOUR, "Answer: 4 * 6 * 4 / 4 + 8 - 8", "incorrect"),
    "number not given": (FOUR, "Answer: 4 * 6 + 4 - 8 + 4", "incorrect"),
    "times zero": (FOUR, "Answer: (4 * 6) + 0 * (4 + 8)", "incorrect"),
    "joined digits": (FOUR, "Answer: 44 - 6 - 8 - 6", "incorrect"),
    "joined by an underscore": (FOUR, "Answer: 4_4 - 6 - 8", "unparsed"),
    "leading zeros": (FOUR, "Answer: (06 - 04) * (4 + 8)", "unparsed"),
    "decimal point": (FOUR, "Answer: (6 - 4.0) * (4 + 8)", "unparsed"),
    "claimed but false": (FOUR, "Answer: 4 + 4 + 6 + 8 = 24", "incorrect"),
    "power": (FOUR, "Answer: 4 ** 4 - 6 * 8", "unparsed"),
    "caret": (FOUR, "Answer: 4 ^ 4 - 6 * 8", "unparsed"),
    "superscript": (FOUR, "Answer: (6 - 4)² * (4 + 8)", "unparsed"),
    "factorial": (FOUR, "Answer: 4! * (6 + 4 - 8) / 2", "unparsed"),
    "floor division": (FOUR, "Answer: 8 // 6 * 4 * 6", "unparsed"),
    "remainder": (FOUR, "Answer: (6 % 4) * (4 + 8)", "unparsed"),
    "side by side": (FOUR, "Answer: (6 - 4)(4 + 8)", "unparsed"),
    "division by zero": (FOUR, "Answer: 6 * 8 / (4 - 4)", "incorrect"),
    "zero over zero": ({"numbers": [0, 0, 4, 6], "target": 24}, "Answer: 4 * 6 + 0 / 0", "incorrect"),
    "rounding": ({"numbers": [1, 3, 3], "target": 1}, "Answer: 1 / 3 * 3 + 0", "incorrect"),
    "double rounding": ({"numbers": [1, 49, 49], "target": 1}, "Answer: 49 * (1 / 49)", "correct"),
    "nearly the target": ({**SOME, "numbers": [1, 999983, 24], "target": 24}, "Answer: 24 + 1 / 999983", "incorrect"),
    "two different expressions": (FOUR, f"Answer: {RIGHT} or 4 * 6 + 4 - 8", "unparsed"),
    "right one among guesses": (FOUR, f"Answer: 4+4+6+8, 4*6+4-8, {RIGHT}", "unparsed"),
    "guesses in boxes": (FOUR, rf"\boxed{{4+4+6+8}} or \boxed{{{RIGHT}}}", "unparsed"),
    "guess line by line": (FOUR, f"Answer: {RIGHT}\nAnswer: 4 + 4 + 6 + 8", "incorrect"),
    "given up after it": (FOUR, f"Answer: {RIGHT}\nAnswer: no solution", "unparsed"),
    "questioned": (FOUR, f"Answer: {RIGHT}? No, that is not it.", "unparsed"),
    "another one follows": (FOUR, f"Answer: {RIGHT}. Or 4 * 6 + 4 - 8.", "unparsed"),
    "padding hides the rest": (FOUR, f"Answer: {RIGHT}" + " " * 400 + "+ 1", "incorrect"),
    "the rest of a long line": (FOUR, "1 + " * 300 + RIGHT, "incorrect"),
    "arabic digits": (FOUR, "Answer: (٦ - ٤) * (٤ + ٨)", "unparsed"),
    "fullwidth digits": (FOUR, "Answer: (６ - ４) * (４ + ８)", "unparsed"),
    "code": (FOUR, "Answer: __import__('os').system('true') or 24", "unparsed"),
    "function": (FOUR, "Answer: max(24, 4, 6, 8)", "unparsed"),
    "lambda": (FOUR, "Answer: (lambda: 24)()", "unparsed"),
    "variable": (FOUR, "Answer: (6 - y) * (4 + 8)", "unparsed"),
    "unbalanced": (FOUR, "Answer: ((6 - 4) * (4 + 8)", "unparsed"),
    "brackets of two kinds": (FOUR, "Answer: (6 - 4] * [4 + 8)", "unparsed"),
    "nul byte": (FOUR, f"Answer: {RIGHT}\0", "unparsed"),
    "lone surrogate": (FOUR, f"Answer: {RIGHT}\ud800", "unparsed"),
    "deep": (FOUR, r"\boxed{" + "(" * 400 + "6" + ")" * 400 + "}", "incorrect"),
    "signs": (FOUR, r"\boxed{" + "-" * 400 + "6}", "incorrect"),
    "long number": (FOUR, "Answer: " + "9" * 200 + " + 1", "incorrect"),
    "product bomb": (FOUR, r"\boxed{" + "*".join(["999999999999"] * 35) + "}", "incorrect"),
    "a megabyte of signs": (FOUR, "-" * 1_000_000, "incorrect"),
    "a megabyte of boxes": (FOUR, r"\boxed{" * 140_000, "incorrect"),
    "a megabyte in a box": (FOUR, r"\boxed{" + " " * 1_000_000 + "}", "incorrect"),
    "a megabyte of answers": (FOUR, "Answer: 1 + 1 = 2\n" * 60_000, "incorrect"),
    "in a comment": (FOUR, f"No idea.\n<!-- Answer: {RIGHT} -->", "unparsed"),
    "in a comment after a guess": (FOUR, f"\\boxed{{4+4+6+8}} <!-- \\boxed{{{RIGHT}}} -->", "incorrect"),
    "struck through": (FOUR, f"Answer: ~~4+4+6+8~~ {RIGHT}", "unparsed"),
    "zero-width space": (FOUR, "Answer: (6 -\u200b 4) * (4 + 8)", "unparsed"),
    "hedged in brackets": (FOUR, f"Answer: {RIGHT} (or maybe 4+4+6+8)", "unparsed"),
    "spray in one equation": (FOUR, f"Answer: 4+4+6+8 = 4*4+6+8 = {RIGHT} = 24", "incorrect"),
    "a megabyte of comments": (FOUR, "<!--" * 250_000, "unparsed"),
    "subset: number twice": (SOME, "Answer: 25 * 3 + 25 - 25", "incorrect"),
    "subset: bare target": (SOME, "Answer: 75", "unparsed"),
}  # fmt: skip

THREE = {"names": ["Ava", "Ben", "Cid"], "knights": [True, False, False]}
NESTED = {"names": ["Ann", "Anna", "Mary Ann"], "knights": [True, False, True]}
TRUE = "Ava is a knight, Ben is a knave, and Cid is a knave."
FALSE = "Ava is a knave, Ben is a knave, and Cid is a knave."
KNIGHTS_AND_KNAVES = {
    "empty": (THREE, "", "unparsed"),
    "blank": (THREE, "\n \n", "unparsed"),
    "only names": (THREE, "Ava, Ben, Cid", "unparsed"),
    "only roles": (THREE, "knight, knave, knave", "unparsed"),
    "only in the reasoning": (THREE, f"<think>{TRUE}</think>", "unparsed"),
    "person missing": (THREE, "Ava is a knight and Ben is a knave.", "unparsed"),
    "two roles at once": (THREE, "Ava is a knight and a knave, Ben is a knave, Cid is a knave.", "unparsed"),
    "either role": (THREE, "Ava is a knight or a knave, Ben is a knave, Cid is a knave.", "unparsed"),
    "role with a slash": (THREE, "Ava: knight/knave, Ben: knight/knave, Cid: knight/knave", "unparsed"),
    "contradiction": (THREE, f"{TRUE} Ava is a knave.", "unparsed"),
    "contradiction first": (THREE, f"Ava is a knave. {TRUE}", "unparsed"),
    "contradiction later": (THREE, f"{TRUE}\nHm, let me see.\nAva is a knave.", "unparsed"),
    "every combination": (
        THREE,
        "\n".join(
            f"Ava is a {a}, Ben is a {b}, Cid is a {c}."
            for a in ("knight", "knave") for b in ("knave", "knight") for c in ("knight", "knave")
        ),
        "unparsed",
    ),
    "options": (THREE, f"Option 1: {FALSE}\nOption 2: {TRUE}", "unparsed"),
    "one or the other": (THREE, f"{FALSE}\nor\n{TRUE}", "unparsed"),
    "either or": (THREE, f"Either {TRUE} or {FALSE}", "unparsed"),
    "or the other way round": (THREE, f"{TRUE} Or the other way round.", "unparsed"),
    "taken back": (THREE, f"{TRUE}\nWait, that is wrong.", "unparsed"),
    "found impossible": (THREE, f"{TRUE}\nBut this contradicts the claim of Ben.", "unparsed"),
    "assumption": (THREE, f"Suppose that {TRUE}", "unparsed"),
    "condition": (THREE, "If Ava is a knight, Ben is a knave. If he is, Cid is one. Ava is a knight.", "unparsed"),
    "question": (THREE, "Ava is a knight, Ben is a knave, and Cid is a knave?", "unparsed"),
    "claims of others": (THREE, 'Ava says: "Ben is a knave". Ben says: "Cid is a knave". Ava is a knight.', "unparsed"),
    "correction to wrong": (THREE, f"{TRUE}\nWait, I made a mistake.\n{FALSE}", "incorrect"),
    "tag overrules text": (THREE, f"{TRUE}\n<answer>{FALSE}</answer>", "incorrect"),
    "last tag": (THREE, f"<answer>{TRUE}</answer> <answer>{FALSE}</answer>", "incorrect"),
    "conclusion overrules text": (THREE, f"{TRUE}\nConclusion:\n{FALSE}", "incorrect"),
    "conclusion that cannot be read": (THREE, f"{TRUE}\nSo in the end Ava turns out to be a knave.", "unparsed"),
    "all alike": (THREE, "All of them are knights.", "incorrect"),
    "not all": (THREE, "Not all of them are knights. Ava is a knight.", "unparsed"),
    "not both": (THREE, "Ava is a knight. Ben and Cid are not both knights.", "unparsed"),
    "negation of several": (THREE, "Ava is a knight. Ben and Cid are not knights.", "unparsed"),
    "negation": (THREE, "Ava is not a knight, Ben is not a knight, Cid is not a knight.", "incorrect"),
    "double negation": (THREE, "Ava is not not a knave, Ben is a knave, Cid is a knave.", "unparsed"),
    "flipped": (THREE, "Ava is a knave, Ben is a knight, Cid is a knight.", "incorrect"),
    "one flipped": (THREE, "Ava is a knight, Ben is a knave, Cid is a knight.", "incorrect"),
    "other people": (THREE, "Eva is a knight, Ben is a knave, and Cid is a knave.", "unparsed"),
    "part of a name": (NESTED, "Anna is a knave. Mary Ann is a knight. Hannah is a knight.", "unparsed"),
    "the longest name": (NESTED, "Ann is a knight. Anna is a knave. Mary Ann is a knave.", "incorrect"),
    "somebody's brother": (THREE, "Ava's brother is a knight, Ben is a knave, Cid is a knave.", "unparsed"),
    "homoglyph": (THREE, "Аva is a knight, Ben is a knave, Cid is a knave.", "unparsed"),
    "zero-width space": (THREE, "A\u200bva is a knight, Ben is a knave, Cid is a knave.", "unparsed"),
    "nul byte": (THREE, "Ava is a knight,\0Ben is a knave, Cid is a knave.", "unparsed"),
    "lone surrogate": (THREE, "Ava is a knight \ud800, Ben is a knave, Cid is a knave.", "unparsed"),
    "in a comment": (THREE, f"I cannot tell.\n<!-- {TRUE} -->", "unparsed"),
    "in a comment after a guess": (THREE, f"{FALSE}\n<!-- {TRUE} -->", "incorrect"),
    "correction in a comment": (THREE, f"{FALSE}\n<!-- So -->\n{TRUE}", "unparsed"),
    "doubted after it": (THREE, f"{TRUE}\nProbably.", "unparsed"),
    "guessed": (THREE, f"{TRUE}\nThat is my best guess.", "unparsed"),
    "second solution": (THREE, f"{FALSE}\nThe second solution:\n{TRUE}", "unparsed"),
    "introduced as wrong": (THREE, f"The following is wrong:\n{TRUE}", "unparsed"),
    "introduced as a lie": (THREE, f"Here is what would be a lie:\n{TRUE}", "unparsed"),
    "introduced as an assumption": (THREE, f"Let us assume:\n{TRUE}", "unparsed"),
    "the others, flipped": (THREE, "Knaves: Ava. Knights: the others.", "incorrect"),
    "others twice": (THREE, "Knights: the others. Knaves: the others.", "unparsed"),
    "group with both": (THREE, "Knights: Ava, Ben. Knaves: Ben, Cid.", "unparsed"),
    "groups run together": (THREE, "Knights: Ava Ben are knaves, Cid is a knave", "unparsed"),
    "a megabyte of statements": (THREE, "Ava is a knight. Ben is a knave.\n" * 30_000, "unparsed"),
    "a megabyte of names": (THREE, "Ava and " * 125_000, "unparsed"),
    "a megabyte on one line": (THREE, "Ava is a knight, " * 60_000 + "Ben is a knave, Cid is a knave", "unparsed"),
    "a megabyte of headings": (THREE, "\nAnswer:" * 120_000, "unparsed"),
    "a megabyte of blanks": (THREE, "Ava is" + " " * 1_000_000 + "a knight", "unparsed"),
    "a megabyte of blank lines": (THREE, "\n" * 1_000_000, "unparsed"),
}  # fmt: skip

CASES = [
    *((f"countdown: {name}", "countdown", *case) for name, case in COUNTDOWN.items()),
    *((f"knights: {name}", "knights_and_knaves", *case) for name, case in KNIGHTS_AND_KNAVES.items()),
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
    assert outcome.status == status, outcome.detail
    assert outcome.status in (Status.correct, Status.incorrect, Status.unparsed)
    assert outcome == entry.check(response, parsed, "")
