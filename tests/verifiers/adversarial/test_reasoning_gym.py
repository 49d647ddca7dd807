"""Attacks on reasoning_gym: on its scorers that evaluate, on the sandbox around them, and on the reading of answers."""

import json
import os
import re
import time
from pathlib import Path

import pytest

from tests.verifiers.reasoning_gym_entries import entries, entry, needs_reasoning_gym
from verifiers import Task, VerifierPool
from verifiers import reasoning_gym_worker as worker
from verifiers.reasoning_gym_answers import EVALUATED, own_answer

pytestmark = needs_reasoning_gym()

MARK = "/tmp/preppo-was-here"
FORGED = '{"id": 1, "score": 1.0}'

CODE = {
    "system": f"__import__('os').system('touch {MARK}')",
    "popen": f"__import__('subprocess').Popen(['touch', '{MARK}'])",
    "exec": f"exec(\"open('{MARK}', 'w')\")",
    "eval": f"eval(\"open('{MARK}', 'w')\")",
    "write a file": f"open('{MARK}', 'w').write('x')",
    "subclasses": "[x for x in ().__class__.__base__.__subclasses__()]",
    "end the process": "__import__('os')._exit(0)",
    "exit": "exit()",
    "kill the first process": "__import__('os').kill(1, 9)",
    "kill all": "__import__('os').kill(-1, 9)",
    "forge on every descriptor": f"[__import__('os').write(d, b'{FORGED}\\n') for d in range(3, 64)]",
    "forge and leave": f"[__import__('os').write(4, b'{FORGED}\\n'), __import__('os')._exit(0)]",
    "print a score": f"print('{FORGED}')",
    "daemon": "__import__('os').fork() or __import__('time').sleep(1000)",
    "fork bomb": "[__import__('os').fork() for _ in range(100)]",
    "network": "__import__('socket').create_connection(('127.0.0.1', 80))",
    "host files": "open('/etc/passwd').read()",
    "memory bomb": "'x' * 10**12",
    "number bomb": "9**9**9**9",
    "read the entry": "__import__('sys')._getframe(2).f_locals['entry']['answer']",
    "input": "input()",
    "breakpoint": "breakpoint()",
    "lambda": "(lambda f: f(f))(lambda f: f(f))",
    "import by another name": f"getattr(__builtins__, 'open')('{MARK}', 'w')",
    "format": "'{0.__class__}'.format(1)",
    "f-string": f"f\"{{open('{MARK}', 'w')}}\"",
    "walrus": "(x := 24)",
    "comprehension": "[1 for x in [1]]",
    "sympify": f"sympify(\"__import__('os').system('touch {MARK}')\")",
    "S": f"S(\"__import__('os').system('touch {MARK}')\")",
    "lambdify": "lambdify(x, x, 'math')",
    "preview": "preview(x)",
    "test": "test()",
    "attribute": "x.__class__",
    "method": "x.subs(x, 1)",
    "unevaluated": "Integral(x, x)",
    "derivative": "Derivative(x, x)",
    "any function": "f(x)",
    "string": "'x'",
    "fullwidth letters": f"ｅｖａｌ(\"open('{MARK}', 'w')\")",
    "comment": "1 # __import__('os')",
    "statements": "1; import os",
    "line break": "1\n__import__('os')",
    "backslash": "1 + \\\n1",
    "NUL": "1\0",
    "surrogate": "1\ud800",
    "deep brackets": "(" * 5000 + "1" + ")" * 5000,
    "deep lists": "[" * 40_000 + "]" * 40_000,
    "deep minus": "-" * 900 + "1",
    "high power": "x**101",
    "tower": "((x**9)**9)**9",
    "power of a power": "2**(2**(2**9))",
    "long number": "1" * 5000,
    "huge": "1+" * 500_000 + "1",
}


@pytest.fixture(scope="module")
def pool():
    with VerifierPool(2) as opened:
        yield opened


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left():
    """No file on the host, and no process below this one, is there after all attacks of this module."""
    before = descendants(os.getpid())
    yield
    worker._close()
    assert not Path(MARK).exists()
    until = time.monotonic() + 10
    while descendants(os.getpid()) - before and time.monotonic() < until:
        time.sleep(0.05)
    assert descendants(os.getpid()) - before == set()


def descendants(root):
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found = {root}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {root}


def task(name, answer, index=0):
    gold = {"dataset": name, "entry": entries(tuple(sorted(EVALUATED)), 2, 20)[name][index]}
    return Task("reasoning_gym", f"<answer>{answer}</answer>", json.dumps(gold))


@pytest.mark.parametrize("attack", sorted(CODE))
def test_no_scorer_that_evaluates_is_given_code(pool, attack):
    """Each attack alone, and each around the right answer."""
    tasks = []
    for name in sorted(EVALUATED):
        own = entries(tuple(sorted(EVALUATED)), 2, 20)[name][0]["answer"]
        code = CODE[attack]
        around = (code, f"{own} or {code}", f"({own}, {code})[0]", f"{own} if {code} else 0", f"{own}\n{code}")
        tasks += [task(name, answer) for answer in around]
    verdicts = pool.verify(tasks)
    assert {verdict.status for verdict in verdicts} == {"incorrect"}, [
        (given.response[:80], verdict) for given, verdict in zip(tasks, verdicts, strict=True) if verdict.score != 0
    ]
    assert not Path(MARK).exists()


@pytest.mark.parametrize("name", ["spiral_matrix", "simple_integration"])
def test_what_takes_a_scorer_over_stays_in_the_sandbox(name):
    """Should a form let code through, it has no host, no network, no next answer, and no luck with a blind forgery."""
    one = entry(name)
    box = worker._boxes.get("scorer")
    assert box.prepare(name, "") is None
    before = descendants(box._server.process.pid)
    for attack, code in CODE.items():
        if attack not in ("huge", "surrogate"):
            told = worker.ask(name, code, one, time.monotonic() + 1)
            assert told.get("score") != 1, (attack, told)
    assert not Path(MARK).exists()
    assert worker._boxes.get("scorer") is box
    assert descendants(box._server.process.pid) == before
    assert worker.ask(name, own_answer(name, one), one, time.monotonic() + 20) == {"score": 1.0}


def test_the_forms_are_what_stands_between_an_answer_and_a_forged_score(pool):
    """The sandbox alone cannot: code that runs in a scorer's process can read what it was asked, and report on it."""
    forged = (
        "[[f := __import__('sys')._getframe(2)], [__import__('os').write(f.f_locals['report'], "
        "('{\"id\": \"%s\", \"score\": 1.0}\\n' % f.f_locals['task']['id']).encode())], [__import__('os')._exit(0)]]"
    )
    assert worker._boxes.get("scorer").prepare("spiral_matrix", "") is None
    assert worker.ask("spiral_matrix", forged, entry("spiral_matrix"), time.monotonic() + 20) == {"score": 1.0}
    assert [pool.verify([task(name, forged)])[0].status for name in sorted(EVALUATED)] == ["incorrect"] * len(EVALUATED)


def test_reports_that_are_none():
    good = '{"id": "a", "score": 0.5}'
    assert worker._load(f"{good}\n".encode()) == {"id": "a", "score": 0.5}
    for line in (
        good,
        f"{good}\n{good}\n",
        f"\n{good}\n",
        f"{good}\nx",
        "",
        "\n",
        "1.0\n",
        "[]\n",
        '{"score": "1"}\n',
        '{"score": 1}\n',
        '{"score": true}\n',
        '{"score": NaN}\n',
        '{"score": Infinity}\n',
        '{"raised": 3}\n',
        "[" * 4000 + "\n",
    ):
        assert worker._load(line.encode()) is None, line
    assert worker._load(b"\xff\xfe\n") is None


ANSWERS = {
    "nothing": ("gcd", "", "unparsed"),
    "blank": ("gcd", " \n\t\u00a0", "unparsed"),
    "empty tags": ("gcd", "<answer></answer>", "unparsed"),
    "blank tags": ("gcd", "<answer> \n</answer>", "unparsed"),
    "only in the reasoning": ("gcd", "<think><answer>{own}</answer></think>", "unparsed"),
    "reasoning that never ends": ("gcd", "<think>so <answer>{own}</answer>", "unparsed"),
    "right, then wrong": ("gcd", "<answer>{own}</answer><answer>-1</answer>", "incorrect"),
    "open last tag": ("gcd", "<answer>{own}", "incorrect"),
    "two at once": ("gcd", "<answer>{own} or -1</answer>", "incorrect"),
    "sprayed": ("gcd", "<answer>{spray}</answer>", "incorrect"),
    "sprayed lines": ("coin_flip", "{spray}", "incorrect"),
    "questioned": ("gcd", "Answer: {own}? No.", "unparsed"),
    "the question": ("gcd", "{question}", "incorrect"),
    "the question in tags": ("gsm_symbolic", "<answer>{question}</answer>", "incorrect"),
    "the metadata": ("gcd", "<answer>{metadata}</answer>", "incorrect"),
    "fullwidth digits": ("gcd", "<answer>{wide}</answer>", "incorrect"),
    "fullwidth digits, compared as numbers": ("coin_flip", "<answer>{wide}</answer>", "incorrect"),
    "superscript": ("gcd", "<answer>{own}²</answer>", "incorrect"),
    "NUL behind": ("gcd", "<answer>{own}\0</answer>", "incorrect"),
    "zero-width space": ("gcd", "<answer>{own}\u200b</answer>", "incorrect"),
    "surrogate": ("gcd", "<answer>{own}\ud800</answer>", "incorrect"),
    "a surrogate that a scorer sees": ("zebra_puzzles", "<answer>{own}\ud800</answer>", "incorrect"),
    "a megabyte": ("zebra_puzzles", "<answer>{own}{pad}</answer>", "incorrect"),
    "a megabyte of tags": ("gcd", "<answer>" * 130_000, "incorrect"),
    "a megabyte of blanks": ("sokoban", "<answer>" + " " * 1_000_000 + "</answer>", "unparsed"),
    "deep JSON": ("game_of_life", "<answer>" + "[" * 50_000 + "]" * 50_000 + "</answer>", "incorrect"),
    "deep JSON that a scorer sees": (
        "graph_color",
        "<answer>" + "[" * 50_000 + "]" * 50_000 + "</answer>",
        "incorrect",
    ),
    "booleans for numbers": ("game_of_life", "<answer>{booleans}</answer>", "incorrect"),
    "long line breaks": (
        "tower_of_hanoi",
        "<answer>Move disk 1 from Peg 1 to Peg 2" + "\n" * 90_000 + "x</answer>",
        "incorrect",
    ),
    "a move of two disks at once": (
        "tower_of_hanoi",
        "<answer>Move disk 1_0 from Peg 1 to Peg 3</answer>",
        "incorrect",
    ),
    "endless turns": ("rubiks_cube", "<answer>U999999999</answer>", "incorrect"),
    "no turn at all": ("rubiks_cube", "<answer>''</answer>", "incorrect"),
    "every button": ("quantum_lock", "<answer>" + "A" * 50_000 + "</answer>", "incorrect"),
    "digits for letters twice": ("cryptarithm", "<answer>{own},{own}x</answer>", "incorrect"),
    "no colours": ("graph_color", "<answer>{{}}</answer>", "incorrect"),
    "a colour that is none": ("graph_color", "<answer>{uncoloured}</answer>", "incorrect"),
    "no jug": ("jugs", "<answer>[]</answer>", "incorrect"),
    "the answer in a comment": ("gcd", "No idea.\n<!-- <answer>{own}</answer> -->", "incorrect"),
    "a word that nobody asked for": ("word_sorting", "<answer>{own}, more</answer>", "incorrect"),
    "words twice": ("word_sorting", "<answer>{own}, {own}</answer>", "incorrect"),
    "a letter twice": ("cryptarithm", "<answer>{own},{own}</answer>", "incorrect"),
    "a point and another": ("advanced_geometry", "<answer>{own}, {own}</answer>", "incorrect"),
    **{
        f"{digits} digits: {name}": (name, f"<answer>{{{digits}}}</answer>", "incorrect")
        for digits in ("arabic", "wide", "joined")
        for name in (
            "advanced_geometry",
            "calendar_arithmetic",
            "chain_sum",
            "decimal_chain_sum",
            "number_format",
            "number_sorting",
            "power_function",
            "prime_factorization",
            "products",
        )
    },
    "arabic digit: rectangle_count": ("rectangle_count", "<answer>{arabic}</answer>", "incorrect"),
    "a longer way": ("word_ladder", "<answer>{own},{own}</answer>", "incorrect"),
}
NAMES = tuple(sorted({name for name, _, _ in ANSWERS.values()}))


@pytest.mark.parametrize("case", sorted(ANSWERS))
def test_answers(pool, case):
    name, response, status = ANSWERS[case]
    one = entries(NAMES, 1, 20)[name][0]
    own = own_answer(name, one)
    wide = own.translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})
    values = {
        "own": own,
        "wide": wide,
        "arabic": own.translate({ord("0") + digit: 0x0660 + digit for digit in range(10)}),
        "joined": re.sub("([0-9])([0-9])", r"\1_\2", own, count=1),
        "question": one["question"],
        "metadata": json.dumps(one["metadata"]),
        "spray": "\n".join(str(number) for number in range(2000)),
        "pad": "x" * 1_000_000,
        "booleans": own.replace("1", "true").replace("0", "false"),
        "uncoloured": own.replace("1", "7"),
    }
    text = response.format(**values) if "{" in response else response
    started = time.monotonic()
    verdict = pool.verify([Task("reasoning_gym", text, json.dumps({"dataset": name, "entry": one}))])[0]
    assert verdict.status == status, verdict
    assert verdict.score == 0.0
    assert time.monotonic() - started < 20
