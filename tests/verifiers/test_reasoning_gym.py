"""reasoning_gym: every dataset of the package, what its scorers forget, and golds that cannot be used."""

import ast
import importlib.util
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifiers.reasoning_gym_entries import entries, entry, needs_reasoning_gym, python
from verifiers import Task, VerifierPool, check_gold
from verifiers import reasoning_gym_worker as worker
from verifiers.contract import BadGold, Deferred, Outcome, Status
from verifiers.reasoning_gym import answer_of, check, parse_gold
from verifiers.reasoning_gym_answers import EVALUATED, EXACT, RULES, SCORED, UNSUPPORTED, own_answer

pytestmark = needs_reasoning_gym()

SUPPORTED = tuple(sorted(EXACT | SCORED))
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pool():
    with VerifierPool(2) as opened:
        yield opened


def task(name, made, answer, **options):
    response = f"<think>Let me see.</think>\nSo:\n<answer>{answer}</answer>"
    return Task("reasoning_gym", response, json.dumps({"dataset": name, "entry": made, **options}))


def test_the_table_is_that_of_the_package():
    program = """
import json
from reasoning_gym.dataset import ProceduralDataset
from reasoning_gym.factory import DATASETS
print(json.dumps([[n, c.score_answer is ProceduralDataset.score_answer] for n, (c, _) in DATASETS.items()]))
"""
    default = dict(json.loads(python(program)))
    assert {name for name, plain in default.items() if plain} == EXACT
    assert {name for name, plain in default.items() if not plain} == SCORED | set(UNSUPPORTED)
    assert set(RULES) | EVALUATED <= SCORED
    assert set(RULES) >= EVALUATED


def test_no_other_code_of_the_package_evaluates():
    """A scorer that evaluates must have a form; these are all calls by which the package can evaluate anything."""
    evaluating = {"eval", "exec", "parse_expr", "sympify", "literal_eval", "S", "__import__", "system"}
    found = Counter()
    where = importlib.util.find_spec("reasoning_gym")
    for path in sorted(Path(where.origin).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                function = node.func
                name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
                if name in evaluating:
                    found[path.stem, name] += 1
    assert found == {
        ("binary_matrix", "eval"): 1,  # the answer
        ("n_queens", "eval"): 1,  # the answer
        ("spiral_matrix", "eval"): 1,  # the answer
        ("string_insertion", "eval"): 1,  # the answer
        ("countdown", "parse_expr"): 1,  # the answer
        ("puzzle24", "parse_expr"): 1,  # the answer
        ("intermediate_integration", "parse_expr"): 2,  # the answer, and the entry's integrand
        ("simple_integration", "parse_expr"): 2,  # the answer, and the entry's integrand
        ("polynomial_multiplication", "parse_expr"): 2,  # the answer, and the entry's
        ("number_sorting", "eval"): 1,  # the entry's answer
        ("bitwise_arithmetic", "eval"): 2,  # the entry's problem
        ("propositional_logic", "parse_expr"): 5,  # its own parser
        ("basic_arithmetic", "eval"): 1,  # while entries are made, as all below
        ("codeio", "exec"): 1,
        ("generators_00_49", "eval"): 1,
        ("generators_50_99", "eval"): 1,
    }


def test_the_own_answer_of_every_dataset_is_right(pool):
    made = entries(SUPPORTED, 2, 20)
    tasks = [task(name, one, own_answer(name, one)) for name in SUPPORTED for one in made[name]]
    verdicts = pool.verify(tasks)
    wrong = {
        (name, verdict.status, verdict.detail)
        for name, verdict in zip((name for name in SUPPORTED for _ in range(2)), verdicts, strict=True)
        if verdict.status != "correct"
    }
    assert not wrong
    assert len(verdicts) == 2 * (106 - len(UNSUPPORTED))


def test_other_answers_are_right_for_no_dataset(pool):
    tasks, names = [], []
    for name, (first, second) in entries(SUPPORTED, 2, 20).items():
        own = own_answer(name, first)
        others = {
            "",
            " \n",
            "0",
            "nan",
            "[NaN]",
            "True",
            "banana",
            "the answer",
            "()",
            first["question"],
            own + " or 7",
        }
        others.add(own[: len(own) // 2])
        if name != "graph_color":  # another graph's colours may do
            others.add(own_answer(name, second))
        for other in sorted(others):
            if other.strip().casefold() != own.strip().casefold():
                tasks.append(task(name, first, other))
                names.append((name, other[:40]))
    assert len(tasks) > 1100
    found = zip(names, pool.verify(tasks), strict=True)
    accepted = [name for name, verdict in found if verdict.status not in ("incorrect", "unparsed")]
    assert accepted == []


@pytest.mark.slow
def test_more_entries_survive_json(pool):
    """Only integrals that sympy could not do, and empty answers, are refused; everything else is right."""
    quick = tuple(name for name in SUPPORTED if name not in ("futoshiki", "knight_swap", "zebra_puzzles"))
    made = entries(quick, 100, 3)
    tasks = [task(name, one, own_answer(name, one)) for name in quick for one in made[name]]
    names = [name for name in quick for _ in range(100)]
    refused = Counter()
    for name, verdict in zip(names, pool.verify(tasks), strict=True):
        assert verdict.status in ("correct", "bad_gold"), (name, verdict)
        refused[name] += verdict.status == "bad_gold"
    assert +refused == Counter({"intermediate_integration": refused["intermediate_integration"], "ab": refused["ab"]})
    assert refused["intermediate_integration"] <= 15
    assert refused["ab"] <= 5


HOLES = {
    "game_of_life_halting": "banana",
    "complex_arithmetic": "nan",
    "coin_flip": "0",
    "game_of_life": "{longer}",
    "kakurasu": "I think\t{own}",
    "survo": "I think {own}",
    "knights_knaves": "It is false that {own}",
    "sokoban": "I think {own}",
    "gsm_symbolic": "-{own}",
    "intermediate_integration": "Integral({integrand}, {variable})",
    "simple_integration": "{own} or banana",
    "polynomial_multiplication": "{own} or banana",
    "countdown": "{own} or banana",
    "puzzle24": "1 + 2 * 8 + 7",
    "number_sorting": "{nan}",
    "decimal_arithmetic": "{own}0000000000000000000000000000000000000000000000000000000000000000",
    "quantum_lock": "I think {own}",
    "time_intervals": "{first} bananas",
}


@pytest.fixture(scope="module")
def scorer():
    """Return the package's own score, without any rule of ours."""

    def score(name, answer, one):
        assert worker._boxes.get("scorer").prepare(name, "") is None
        return worker.ask(name, answer, one, time.monotonic() + 20).get("score")

    yield score
    worker._close()


@pytest.mark.parametrize("name", sorted(HOLES))
def test_what_the_scorer_takes_and_we_do_not(name, scorer):
    """The package gives full marks for each of these; with a change of the package the list is to be read again."""
    made = entries(tuple(sorted(HOLES)), 6, 20)[name]
    one = next(one for one in made if name != "time_intervals" or one["metadata"]["task_type"] == "date")
    own = own_answer(name, one)
    answer = HOLES[name].format(
        own=own,
        first=own.split()[0],
        longer=own[:-1] + ",[1]]",
        nan=json.dumps([float("nan")] * (own.count(",") + 1)),
        integrand=one["metadata"].get("integrand"),
        variable=one["metadata"].get("variable"),
    )
    assert scorer(name, answer, one) == 1
    gold = parse_gold({"dataset": name, "entry": one})
    assert isinstance(check(f"<answer>{own}</answer>", gold, ""), Deferred)
    found = check(f"<answer>{answer}</answer>", gold, "")
    assert isinstance(found, Outcome)
    assert found.status is Status.incorrect


def test_part_of_the_credit(pool):
    one = entry("spell_backward")
    own = one["answer"]
    near = own[:-1] + ("x" if own[-1] != "x" else "y")
    verdicts = pool.verify(
        [
            task("spell_backward", one, near, partial=True),
            task("spell_backward", one, near),
            task("spell_backward", one, own, partial=True),
            task("spell_backward", one, own + "more", partial=True),
            task("gcd", entry("gcd"), entry("gcd")["answer"] + " maybe", partial=True),
            task("coin_flip", entry("coin_flip"), "banana", partial=True),
        ]
    )
    assert " ".join(verdict.status for verdict in verdicts) == "partial incorrect correct partial partial incorrect"
    assert verdicts[0].score == pytest.approx(1 - 1 / len(own))
    assert 0 < verdicts[4].score < 1


@pytest.mark.parametrize(
    ("response", "answer", "source"),
    [
        ("<answer>5</answer>", "5", "answer tag"),
        ("<ANSWER>\n5\n</Answer> done", "5", "answer tag"),
        ("<answer>4</answer> no: <answer>5</answer>", "5", "answer tag"),
        ("an <answer> is <answer>5</answer>", "5", "answer tag"),
        ("<answer>a < b\nc</answer>", "a < b\nc", "answer tag"),
        ("<answer>\n```json\n[1]\n```\n</answer>", "[1]", "answer tag"),
        ("</answer>5<answer>", "</answer>5<answer>", "whole response"),
        ("The answer is 5.", "5", "answer phrase"),
        ("So\nAnswer: **A → B**", "A → B", "labelled line"),
        (r"thus \boxed{5}", "5", "boxed"),
        ("1 2\n3 4\n", "1 2\n3 4", "whole response"),
        ("İ<answer>5</answer>", "5", "answer tag"),
        ("", "", "whole response"),
    ],
)
def test_where_the_answer_is(response, answer, source):
    assert answer_of(response) == (answer, source, "")


@pytest.mark.parametrize(
    ("gold", "problem"),
    [
        ("5", "a reasoning_gym ground_truth is JSON such as"),
        ({"dataset": "gcd"}, "a reasoning_gym ground_truth"),
        ({"dataset": "gcd", "entry": {}, "seed": 3}, "a reasoning_gym ground_truth"),
        ({"dataset": 3, "entry": {}}, "dataset must be a name"),
        ({"dataset": "nope", "entry": {}}, "has no dataset 'nope'"),
        ({"dataset": "gcd", "entry": []}, "entry.question must be text"),
        ({"dataset": "gcd", "entry": {"question": "", "answer": "5"}}, "entry.metadata must be an object"),
        ({"dataset": "gcd", "entry": {"question": "", "metadata": {}}}, "entry.answer must be text, not NoneType"),
        ({"dataset": "gcd", "entry": {"question": "", "answer": 5, "metadata": {}}}, "must be text, not int"),
        ({"dataset": "gcd", "entry": {"question": "", "answer": " ", "metadata": {}}}, "entry.answer is empty"),
        ({"dataset": "gcd", "entry": {"question": "", "answer": "5", "metadata": {}}, "partial": 1}, "true or false"),
        ({"dataset": "countdown", "entry": {"question": "", "answer": "1 + 1", "metadata": {}}}, "none of countdown"),
        ({"dataset": "puzzle24", "entry": {"question": "", "answer": "1", "metadata": {"numbers": [1]}}}, "not right"),
        ({"dataset": "composite", "entry": {}}, "name the dataset in the entry's metadata.source_dataset"),
        ({"dataset": "rush_hour", "entry": {}}, "cannot be verified: its entries have no answer"),
        ({"dataset": "gcd", "entry": {"question": "x" * 2_000_001, "answer": "5", "metadata": {}}}, "at most 2000000"),
        (
            {
                "dataset": "intermediate_integration",
                "entry": {"question": "", "answer": "Integral(x, x)", "metadata": {}},
            },
            "not right by the rules",
        ),
    ],
)
def test_bad_golds(gold, problem):
    found = check_gold(Task("reasoning_gym", "", json.dumps(gold)))
    assert found is not None
    assert problem in found


def test_an_entry_that_its_own_scorer_refuses_is_a_bad_gold(pool):
    one = entry("arc_agi")
    one = {**one, "metadata": {**one["metadata"], "output": [[1]]}}
    verdict = pool.verify([task("arc_agi", one, one["answer"])])[0]
    assert verdict.status is Status.bad_gold
    assert "another configuration" in verdict.detail
    broken = {**entry("rubiks_cube"), "metadata": {"example_correct_answer": "U"}}
    verdict = pool.verify([task("rubiks_cube", broken, "U")])[0]
    assert verdict.status is Status.bad_gold
    assert "KeyError" in verdict.detail


def test_a_scorer_that_raises_on_an_answer_refuses_it(pool):
    one = entry("prime_factorization")
    verdict = pool.verify([task("prime_factorization", one, "two times three")])[0]
    assert (verdict.status, verdict.score) == (Status.incorrect, 0.0)
    assert "ValueError" in verdict.detail


def test_a_scorer_that_does_not_end_decides_nothing(pool):
    one = entry("simple_integration")
    variable = one["metadata"]["variable"]
    slow = "*".join(f"sin({letter}*{variable}+y)**7*cos({variable}/{letter})**5" for letter in "abcdefgh")
    task_of_slow = task("simple_integration", one, slow)
    quick = [task("gcd", entry("gcd"), entry("gcd")["answer"])] * 3
    tasks = [Task(task_of_slow.verifier, task_of_slow.response, task_of_slow.ground_truth, budget_s=3.0), *quick]
    late, *others = pool.verify(tasks)
    assert (late.status, late.score) == (Status.timeout, None), late
    assert [verdict.status for verdict in others] == ["correct"] * 3


def test_verdicts_do_not_depend_on_order_or_workers(pool):
    names = ("countdown", "simple_integration", "rubiks_cube", "prime_factorization")
    tasks = [
        task(name, one, answer)
        for name in names
        for one in entries(names, 2, 20)[name]
        for answer in (own_answer(name, one), "1 + 1", "x")
    ]

    def told(verdicts):
        return [(verdict.status, verdict.score, verdict.extracted, verdict.detail) for verdict in verdicts]

    first = told(pool.verify(tasks))
    assert told(pool.verify(tasks[::-1]))[::-1] == first
    with VerifierPool(1) as single:
        assert told(single.verify(tasks)) == first


def test_nothing_of_the_package_is_imported_here():
    program = """
import json, sys
from verifiers import Task, verify
gold = {"dataset": "countdown", "entry": json.loads(sys.argv[1])}
task = Task("reasoning_gym", f"<answer>{gold['entry']['answer']}</answer>", json.dumps(gold))
print(verify([task], workers=1)[0].status)
print([name for name in ("reasoning_gym", "sympy", "numpy") if name in sys.modules])
"""
    assert python(program, json.dumps(entry("countdown"))).split() == ["correct", "[]"]


def test_without_the_package_there_is_no_such_verifier():
    program = """
import importlib.metadata as metadata
version = metadata.version
def missing(name):
    if name == "reasoning_gym":
        raise metadata.PackageNotFoundError(name)
    return version(name)
metadata.version = missing
import verifiers
print("reasoning_gym" in verifiers.available())
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["False"], run.stderr


def test_without_isolation_no_scorer_is_run(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    one, exact = entry("countdown"), entry("gcd")
    with VerifierPool(1) as alone:
        refused, decided = alone.verify([task("countdown", one, one["answer"]), task("gcd", exact, exact["answer"])])
    assert (refused.status, refused.score) == (Status.error, None)
    assert "bubblewrap is missing" in refused.detail
    assert decided.status is Status.correct


_SOME = ("countdown", "simple_integration", "n_queens", "number_sorting", "game_of_life", "gcd", "time_intervals")
_GOLDS = st.sampled_from(_SOME)
_FORMULAS = st.text(alphabet="x12.()+-*/^ eC_[]'\",sincoexplgI\n", max_size=60)


@given(_GOLDS, st.one_of(st.text(max_size=200), _FORMULAS))
def test_any_text_in_a_verdict_out(name, text):
    gold = parse_gold({"dataset": name, "entry": entries(_SOME, 1, 20)[name][0]})
    for response in (text, f"<answer>{text}</answer>"):
        found = check(response, gold, "")
        assert found == check(response, gold, "")
        assert isinstance(found, Deferred | Outcome)
        if isinstance(found, Outcome):
            assert found.status in (Status.correct, Status.incorrect, Status.unparsed)
        else:
            json.loads(found.payload)


_NODES = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.Constant, ast.Name, ast.Call, ast.operator, ast.unaryop, ast.Load)


@given(st.one_of(_FORMULAS, st.text(max_size=80)))
def test_what_is_evaluated_can_call_nothing(text):
    for name in ("simple_integration", "countdown", "puzzle24"):
        read = RULES[name].form(text)
        for node in ast.walk(ast.parse(read, mode="eval")) if read is not None else ():
            assert isinstance(node, _NODES)
            if isinstance(node, ast.Call):
                assert isinstance(node.func, ast.Name)
                assert node.func.id in {"sin", "cos", "exp", "log"}
    for name in ("binary_matrix", "spiral_matrix", "n_queens", "string_insertion"):
        read = RULES[name].form(text)
        assert read is None or not set(read) & set("().=:*@%{}`$#!\\")


def test_unusable_answers_of_metadata_are_bad_golds():
    with pytest.raises(BadGold, match="must be text, not NoneType"):
        parse_gold({"dataset": "graph_color", "entry": {"question": "", "answer": None, "metadata": {}}})
