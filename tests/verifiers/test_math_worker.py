"""The symbolic comparison, and that no text is ever run as code on the way to it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

HOSTILE = [
    "__import__('os').system('touch PWNED')",
    "eval('PWNED')",
    "exec('PWNED = 1')",
    "(lambda: PWNED)()",
    "[].__class__.__base__.__subclasses__()",
    "open('PWNED', 'w')",
    "x.__class__",
    r"\text{__import__('os')}",
    r"\operatorname{exec}(PWNED)",
    "Symbol('x')",
    "sympify('PWNED')",
    "parse_expr('2+2')",
    r"\mathrm{print}(1)",
    "os.system(1)",
    "f'{PWNED}'",
    "2 if 1 else PWNED",
    "x = __import__('os')",
    "{PWNED: 1}",
    "lambda x: x",
    "1;import os",
    r"\frac{__import__}{os}",
    "_sage_const_1",
    "Integer(5)",
    "S('PWNED')",
    "N(pi, 10**9)",
    "Function('f')(x)",
]

AUDIT = r"""
import json, re, sys
from verifiers import math_worker
from verifiers.contract import BadGold, Outcome
from verifiers.math import check, parse_gold

texts = json.load(sys.stdin)
golds = ["5", "x+1", r"\sin x", "(1,2)", "2^n", "yes", r"\ln 2"]
math_worker.warm_up()
math_worker.work([golds, r"\sin^2 x + x^{y}", [None, None, None]])
seen = []

def watch(event, arguments):
    if event == "compile":
        source, name = arguments
        # sympy writes the product of two monomials as a function of the number of variables alone.
        words = set(re.findall(rb"[A-Za-z_]+", source)) if isinstance(source, bytes) else set()
        generated = isinstance(source, bytes) and source.startswith(b"def monomial_")
        name_of = source[13:].split(b"(")[0] if generated else b"?"
        known = b"def A B a b c k return r if else None and or min max".split()
        template = words <= {b"monomial_" + name_of, *known}
        template = template and name_of != b"?"
        if source is not None and name in (b"<string>", "<string>", None) and not template:
            seen.append([event, repr(source)[:200]])
    elif event.split(".")[0] in ("subprocess", "socket", "ctypes", "shutil") or event in ("os.system", "os.exec"):
        seen.append([event, repr(arguments)[:80]])
    elif event == "open" and "PWNED" in repr(arguments):
        seen.append([event, repr(arguments)[:80]])

sys.addaudithook(watch)
decided = 0
for text in texts:
    math_worker.work([golds, text, [None, None, None]])
    for gold in golds:
        math_worker.equal(gold, text)
        check("the answer is " + text, parse_gold(gold), text)
        outcome = check(r"\boxed{" + text + "}", parse_gold(gold), text)
        decided += isinstance(outcome, Outcome)
    try:
        parse_gold(text)
    except BadGold:
        pass
sys.stdout.write(json.dumps({"seen": seen, "decided": decided}))
eval("1 + 1")
assert seen[-1][0] == "compile", "the hook sees nothing"
"""


def run(program, texts, directory):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        cwd=directory,
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_no_text_of_a_response_is_compiled_or_run(tmp_path):
    found = run(AUDIT, HOSTILE, tmp_path)
    assert found["seen"] == []
    assert found["decided"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def worker():
    from verifiers import math_worker  # here, so that collecting the tests does not import sympy

    return math_worker


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        (r"\ln 4", r"2\ln 2", True),
        (r"\ln 2", r"\ln 2 + 10^{-300}", False),
        (r"\ln 2", r"0.693147", True),
        (r"\ln 2", "0.6931", False),
        (r"\ln 2", r"\ln 2 + \pi^{-2000}", False),
        ("e^2", "7.389056", True),
        ("e^2", "7.389057", False),
        (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}", True),
        (r"\sin x", r"\sin x + 10^{-400}", False),
        (r"\sin^2 x", r"1-\cos^2 x", True),
        ("2^n", r"2\cdot 2^{n-1}", True),
        ("2^n", "2^{n+1}", False),
        (r"\sin 30°", r"\frac12", True),
        (r"\sin 30", r"\frac12", False),
        ("60° + 30°", "90", False),
        ("R - r", "0", False),
        ("5m", "5", False),
        ("(10)_{2}", "90", False),
        ("S'", "S", False),
        ("8\\pi 1", "8\\pi", False),
        (r"1 + \ldots + 3", r"1 + 3", False),
        ("0.75", ".0.75", False),
        (r"\frac102", r"\frac12", False),
        ("1/0", "1/0 + 1", False),
        (r"\infty - \infty", "0", False),
        ("x", "", False),
        (r"\{1\}", "1", False),
        ("a<b", "a<b", False),
        (r"\binom{n}{2}", r"\frac{n(n-1)}{2}", True),
        ("n!", r"n\cdot (n-1)!", True),
        (r"\sum_{i=1}^{n} i", r"\frac{n(n+1)}{2}", True),
        ("e", "2.718281828459045", True),
        ("i^2", "-1", True),
    ],
)
def test_two_values(worker, gold, answer, expected):
    assert worker.equal(gold, answer) is expected


def test_the_points_of_a_comparison_follow_from_both_formulas(worker):
    # A polynomial that vanishes at the points of one pair is compared at others.
    assert worker.equal("x y", r"x y + (x - \frac{1000}{997})(x - \frac{999}{997})(x-1)\sin y \cdot 10^{-20}") is False


def test_work_answers_for_any_of_the_golds(worker):
    assert worker.work([["5", r"\ln 4"], r"2 \ln 2", [None, None, None]]).status.value == "correct"
    assert worker.work([["5", "7"], r"2 \ln 2", [None, None, None]]).status.value == "incorrect"
