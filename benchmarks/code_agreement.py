"""Agreement of the code verdicts with recorded labels, and reference solutions against their own tests.

    .venv/bin/python -m benchmarks.code_agreement [--data ../shared/data] [--sets humaneval,mbpp_gpt4]

Writes into benchmarks/results/: code_agreement.json, code_agreement.md and code_agreement_disagreements.csv. Who is
right in a disagreement is read from code_agreement_adjudications.csv, which people write, keyed by set, locator and
verdict; a disagreement that is not in it comes out as `unjudged`. Fails when a set with a target falls below it.
"""

import argparse
import csv
import gzip
import json
import platform
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from verifiers import Status, Task, VerifierPool, available

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benchmarks" / "results"
ADJUDICATIONS = RESULTS / "code_agreement_adjudications.csv"
TARGETS = {"humaneval": 0.995, "humaneval_plus": 0.995}
COLUMNS = ("set", "locator", "label", "verdict", "detail", "who_is_right", "why")

# CodeT's own stop sequences: a completion ends where the next top-level statement begins.
_STOP = re.compile(r"\n(?:class |def |#|if __name__|print|assert|from|import|@)")
_JUDGE_ONLY = re.compile(r"\b(?:ListNode|TreeNode|Node|sortedcontainers)\b")
_PLUS_TEST = """
import copy, math
_space = {{}}
exec({source!r}, _space)
_reference = _space[{entry_point!r}]
_inputs = {inputs}


def _floats(value):
    if isinstance(value, float):
        return True
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(isinstance(item, float) for item in value)


def _close(got, expected, atol):
    if isinstance(expected, (list, tuple)):
        return isinstance(got, (list, tuple)) and len(got) == len(expected) and all(
            _close(one, other, atol) for one, other in zip(got, expected))
    return abs(got - expected) <= atol + 1e-7 * abs(expected)


def check(candidate):
    for arguments in _inputs:
        expected = _reference(*copy.deepcopy(arguments))
        got = candidate(*copy.deepcopy(arguments))
        if {entry_point!r} == "find_zero":
            assert abs(_space["poly"](*copy.deepcopy(arguments), got)) <= 1e-4
        elif got != expected:
            atol = {atol} or (1e-6 if _floats(expected) else 0)
            assert atol and _close(got, expected, atol)
"""


class Row(NamedTuple):
    """A solution with its label and its gold. `locator` is `file:line`, lines counted from 0."""

    locator: str
    response: str
    gold: str
    label: bool


def records(data: Path, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            yield f"{name}:{number}", json.loads(line)


def humaneval(data: Path) -> Iterator[Row]:
    """CodeGen-16B, raw completions, official tests."""
    golds = _humaneval_golds(data)
    for locator, r in records(data, "rollouts_humaneval_codegen16b"):
        yield Row(locator, r["completion"], golds[r["task_id"]], bool(r["base_pass"]))


def humaneval_plus(data: Path) -> Iterator[Row]:
    """The same, cut at the stop sequences, with the tests of HumanEval+; labels exist where the official tests pass."""
    golds = {}
    for _, r in records(data, "humaneval_plus_even"):
        test = _PLUS_TEST.format(
            source=r["prompt"] + r["canonical_solution"],
            entry_point=r["entry_point"],
            inputs=repr([*_inputs(r["base_input"]), *_inputs(r["plus_input"])]),
            atol=r["atol"],
        )
        gold = {"kind": "check", "entry_point": r["entry_point"], "test": test, "prefix": r["prompt"]}
        golds[r["task_id"]] = json.dumps(gold)
    for locator, r in records(data, "rollouts_humaneval_codegen16b"):
        if r["trunc_plus_status"] is not None:
            yield Row(locator, cut(r["completion"]), golds[r["task_id"]], bool(r["trunc_plus_pass"]))


def humaneval_misc(data: Path) -> Iterator[Row]:
    """WizardCoder and Reflexion, whole functions, official tests."""
    golds = {
        r["task_id"]: json.dumps({"kind": "check", "entry_point": r["entry_point"], "test": r["test"]})
        for _, r in records(data, "humaneval_even")
    }
    prompts = {r["task_id"]: r["prompt"] for _, r in records(data, "humaneval_even")}
    for locator, r in records(data, "rollouts_humaneval_misc"):
        # The upstream runs put the prompt before the function.
        yield Row(locator, prompts[r["task_id"]] + "\n    pass\n" + r["completion"], golds[r["task_id"]], r["correct"])


def mbpp_gpt4(data: Path) -> Iterator[Row]:
    """GPT-4 with and without Reflexion on MBPP."""
    for locator, r in records(data, "rollouts_mbpp_gpt4"):
        gold = {"kind": "check", "entry_point": r["entry_point"], "test": r["test"]}
        yield Row(locator, r["completion"], json.dumps(gold), bool(r["correct"]))


def mbpp_reference(data: Path) -> Iterator[Row]:
    """The reference solutions of MBPP against its own asserts."""
    for locator, r in records(data, "mbpp_train_val_prompt"):
        gold = {"kind": "asserts", "tests": r["test_list"], "setup": r["test_setup_code"]}
        yield Row(locator, r["code"], json.dumps(gold), True)


def mbpp_plus_reference(data: Path) -> Iterator[Row]:
    """The reference solutions of MBPP+ against its asserts."""
    for locator, r in records(data, "mbppplus_nontest"):
        yield Row(locator, r["canonical_solution"], json.dumps({"kind": "asserts", "tests": [r["assertion"]]}), True)


def leetcode_reference(data: Path) -> Iterator[Row]:
    """Reference solutions of LeetCode problems, those aside that need the site's own classes."""
    names = "import collections, functools, heapq, itertools, math, random, re, string, bisect, operator\n"
    names += "".join(f"from {m} import *\n" for m in ("typing", "collections", "functools", "itertools", "heapq"))
    names += "from bisect import *\nfrom math import *\nfrom operator import *\nfrom string import *\nimport datetime\n"
    names += "inf = float('inf')\n"
    for locator, r in records(data, "leetcode_train_rllm"):
        test = r["tests"].get("functional")
        if test and not _JUDGE_ONLY.search(r["solutions"]):
            yield Row(locator, names + r["solutions"], json.dumps({"kind": "asserts", "tests": [test]}), True)


SETS: dict[str, Callable[[Path], Iterator[Row]]] = {
    function.__name__: function
    for function in (
        humaneval,
        humaneval_plus,
        humaneval_misc,
        mbpp_gpt4,
        mbpp_reference,
        mbpp_plus_reference,
        leetcode_reference,
    )
}


def _humaneval_golds(data: Path) -> dict[str, str]:
    return {
        r["task_id"]: json.dumps(
            {"kind": "check", "entry_point": r["entry_point"], "test": r["test"], "prefix": r["prompt"]}
        )
        for _, r in records(data, "humaneval_even")
    }


def _inputs(value: Any) -> list[Any]:
    return json.loads(value) if isinstance(value, str) else value


def cut(completion: str) -> str:
    match = _STOP.search(completion)
    return completion if match is None else completion[: match.start()]


def adjudications() -> dict[tuple[str, str, str], tuple[str, str]]:
    if not ADJUDICATIONS.exists():
        return {}
    with ADJUDICATIONS.open(encoding="utf-8", newline="") as file:
        return {(r["set"], r["locator"], r["verdict"]): (r["who_is_right"], r["why"]) for r in csv.DictReader(file)}


def measure(name: str, data: Path, pool: VerifierPool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    rows = list(SETS[name](data))
    started = time.perf_counter()
    verdicts = pool.verify([Task("code", row.response, row.gold) for row in rows])
    seconds = time.perf_counter() - started
    judged = adjudications()
    found = []
    for row, verdict in zip(rows, verdicts, strict=True):
        if (verdict.status is Status.correct) != row.label or verdict.score is None:
            who, why = judged.get((name, row.locator, str(verdict.status)), ("unjudged", ""))
            label = "pass" if row.label else "fail"
            values = (name, row.locator, label, str(verdict.status), verdict.detail[:160], who, why)
            found.append(dict(zip(COLUMNS, values, strict=True)))
    ours = sum(f["who_is_right"] != "label" for f in found)
    figures = {
        "set": name,
        "rows": len(rows),
        "agree": len(rows) - len(found),
        "agreement": (len(rows) - len(found)) / len(rows),
        "false_accepts_as_judged": sum(f["who_is_right"] == "label" and f["verdict"] == "correct" for f in found),
        "verdict_right_or_equal_as_judged": (len(rows) - len(found) + ours) / len(rows),
        "undecided": sum(v.score is None for v in verdicts),
        "statuses": dict(sorted(Counter(str(v.status) for v in verdicts).items())),
        "solutions_per_second": len(rows) / seconds,
    }
    return figures, found


def report(figures: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine(), "code": available()["code"]}
    (RESULTS / "code_agreement.json").write_text(json.dumps({"machine": machine, "sets": figures}, indent=2) + "\n")
    lines = [
        "# Code verdicts against labels",
        "",
        f"Written by `python -m benchmarks.code_agreement` with {machine['code']}, Python {machine['python']}.",
        "",
        "| set | rows | agree | agreement | undecided | what it is |",
        "|---|---|---|---|---|---|",
    ]
    for f in figures:
        what = (SETS[f["set"]].__doc__ or "").rstrip(".")
        row = f"| {f['set']} | {f['rows']} | {f['agree']} | {f['agreement']:.2%} | {f['undecided']} | {what} |"
        lines.append(row)
    judged = Counter((d["set"], d["who_is_right"]) for d in found)
    lines += ["", "Disagreements by who is right (each is in code_agreement_disagreements.csv):", ""]
    lines += [f"- {name}: {who} {count}" for (name, who), count in sorted(judged.items())]
    (RESULTS / "code_agreement.md").write_text("\n".join(lines) + "\n")
    with (RESULTS / "code_agreement_disagreements.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"{options.data} is missing: nothing measured")
        return 0
    figures, found = [], []
    with VerifierPool(options.workers) as pool:
        for name in options.sets.split(","):
            one, differing = measure(name, options.data, pool)
            figures.append(one)
            found += differing
            print(json.dumps(one))
    if set(options.sets.split(",")) == set(SETS):
        report(figures, found)
    else:
        for row in found:
            print(row)
    return int(any(f["agreement"] < TARGETS.get(f["set"], 0) for f in figures))


if __name__ == "__main__":
    sys.exit(main())
