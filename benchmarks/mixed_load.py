"""Ten thousand mixed tasks with 1% bombs: do the others get the verdicts that they get without, and what do bombs cost?

    .venv/bin/python -m benchmarks.mixed_load [--data ../shared/data] [--tasks 10000]

Real responses of seven verifiers in a fixed order, and bombs between them: expressions, patterns and programs that do
not end, and programs that take memory, processes and output. Verified once without the bombs and once with them, on two
workers. Writes benchmarks/results/mixed_load.{json,md}; fails when a verdict differs or a bomb is accepted.
"""

import argparse
import gzip
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Any

from verifiers import Status, Task, Verdict, VerifierPool

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benchmarks" / "results"
WORKERS = 2
BUDGET_S = 2.0

SHARES = {"math": 0.45, "code": 0.2, "instructions": 0.1, "countdown": 0.1, "exact": 0.1, "regex": 0.05}

_CODE = json.dumps({"kind": "asserts", "tests": ["assert f(3) == 9"]})
BOMBS: dict[str, tuple[str, str, str]] = {
    "a formula that does not simplify": (
        "math",
        r"\boxed{\sqrt{\sin(x^{31}+y^{29})^{17}+\cos(x^{31}+y^{29})^{23}+\sqrt{x^{41}+y^{43}}}}",
        json.dumps(r"\sqrt{\cos(x^{31}+y^{29})^{17}+\sin(x^{31}+y^{29})^{23}+\sqrt{y^{41}+x^{43}}}"),
    ),
    "a pattern that backtracks": (
        "regex",
        "a" * 60,
        json.dumps({"pattern": "(a|aa)+b|[0-9]c", "on": "response", "match": "search"}),
    ),
    "an endless loop": ("code", "def f(x):\n    while True:\n        pass", _CODE),
    "a long sleep": ("code", "import time\n\ndef f(x):\n    time.sleep(1000)", _CODE),
    "memory": ("code", "def f(x):\n    a = []\n    while True:\n        a.append(bytearray(1 << 20))", _CODE),
    "processes": ("code", "import os\n\ndef f(x):\n    while True:\n        os.fork()", _CODE),
    "output": (
        "code",
        "while True:\n    print('x' * 1000)",
        json.dumps({"kind": "stdio", "cases": [{"stdin": "", "stdout": "x"}]}),
    ),
    "a disk": (
        "code",
        "def f(x):\n    with open('/tmp/x', 'wb') as g:\n        while True:\n            g.write(b'x' * 65536)",
        _CODE,
    ),
}


def records(data: Path, name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def real_tasks(data: Path) -> dict[str, list[Task]]:
    """Return recorded responses by verifier."""
    golds = {
        r["task_id"]: json.dumps(
            {"kind": "check", "entry_point": r["entry_point"], "test": r["test"], "prefix": r["prompt"]}
        )
        for r in records(data, "humaneval_even")
    }
    own = {"timeout_or_crash"}  # those are bombs of their own
    instructed = {r["key"]: r for r in records(data, "ifeval_even")}
    return {
        "math": [
            Task("math", r["response"], json.dumps(r["gold"]))
            for name in ("rollouts_gsm8k_robust", "rollouts_math_qwen_cot100x8", "rollouts_gsm8k_test")
            for r in records(data, name)
            if "_pot_" not in r.get("model", "")
        ],
        "code": [
            Task("code", r["completion"], golds[r["task_id"]])
            for r in records(data, "rollouts_humaneval_codegen16b")
            if r["base_status"] not in own
        ],
        "instructions": [
            Task("instructions", r["response"], _instructions(instructed[r["key"]]))
            for r in records(data, "rollouts_ifeval_even")
            if r["key"] in instructed
        ],
        "countdown": [
            Task("countdown", r["response"], json.dumps({"numbers": list(map(int, r["puzzle"].split())), "target": 24}))
            for r in records(data, "rollouts_game24_gpt4")
        ],
        "exact": [Task("exact", r["response"], json.dumps(r["target"])) for r in records(data, "rollouts_bbh_codex")],
        "regex": [
            Task("regex", f"The code is {n}", json.dumps({"pattern": f"The code is {n % 97}[0-9]*", "on": "response"}))
            for n in range(2_000)
        ],
    }


def _instructions(row: dict[str, Any]) -> str:
    return json.dumps({"instruction_id_list": row["instruction_id_list"], "kwargs": row["kwargs"], "mode": "strict"})


def workload(data: Path, total: int) -> tuple[list[Task], list[tuple[int, str]]]:
    """Return `total` tasks in a shuffled, fixed order, and (place, kind) of the bombs among them."""
    random = Random(0)
    bombs = total // 100
    tasks: list[tuple[Task, str]] = []
    for name, pool in real_tasks(data).items():
        chosen = random.sample(range(len(pool)), min(len(pool), round((total - bombs) * SHARES[name])))
        tasks += [(pool[i], "") for i in chosen]
    for number, kind in islice(enumerate(cycle(BOMBS)), bombs):
        verifier, response, gold = BOMBS[kind]
        tasks.append((Task(verifier, _distinct(verifier, response, number), gold, budget_s=BUDGET_S), kind))
    random.shuffle(tasks)
    return [task for task, _ in tasks], [(at, kind) for at, (_, kind) in enumerate(tasks) if kind]


def _distinct(verifier: str, response: str, number: int) -> str:
    """Return a response that is not equal to the other bombs of its kind, which would be verified once."""
    if verifier == "code":
        return f"{response}\n# {number}"
    return response + "a" * number if verifier == "regex" else response.replace("x^", f"{number + 2}x^")


def decided(verdict: Verdict) -> tuple[Any, ...]:
    return (verdict.status, verdict.score, verdict.extracted, verdict.detail, verdict.parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--tasks", type=int, default=10_000)
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"{options.data} is missing: nothing measured")
        return 0
    tasks, bombs = workload(options.data, options.tasks)
    places = {at for at, _ in bombs}
    clean = [task for at, task in enumerate(tasks) if at not in places]
    with VerifierPool(WORKERS) as pool:
        pool.verify(clean[:200])  # start the workers and sandboxes
        started = time.perf_counter()
        without = pool.verify(clean)
        clean_s = time.perf_counter() - started
        started = time.perf_counter()
        verdicts = pool.verify(tasks)
        bombed_s = time.perf_counter() - started
    others = [verdict for at, verdict in enumerate(verdicts) if at not in places]
    differ = [(one, other) for one, other in zip(without, others, strict=True) if decided(one) != decided(other)]
    spent_s = sum(verdicts[at].elapsed_ms for at in places) / 1000
    accepted = [kind for at, kind in bombs if verdicts[at].score]
    over = [kind for at, kind in bombs if verdicts[at].elapsed_ms > BUDGET_S * 1000 + 500]
    kinds = Counter((kind, str(verdicts[at].status)) for at, kind in bombs)
    figures = {
        "tasks": len(tasks),
        "bombs": len(bombs),
        "other_verdicts_that_differ": len(differ),
        "bombs_accepted": len(accepted),
        "bombs_half_a_second_over_budget": len(over),
        "seconds_without": clean_s,
        "seconds_with": bombed_s,
        "seconds_spent_on_bombs": spent_s,
        "seconds_expected": clean_s + spent_s / WORKERS,
        "with_over_expected": bombed_s / (clean_s + spent_s / WORKERS),
        "tasks_per_second_without": len(clean) / clean_s,
        "statuses_of_bombs": {f"{kind}: {status}": n for (kind, status), n in sorted(kinds.items())},
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "mixed_load.json").write_text(json.dumps(figures, indent=2) + "\n")
    lines = ["# Mixed tasks with bombs", "", "Written by `python -m benchmarks.mixed_load`, two workers.", ""]
    lines += ["| what | measured |", "|---|---|"]
    lines += [f"| {k.replace('_', ' ')} | {v:.6g} |" for k, v in figures.items() if not isinstance(v, dict)]
    lines += [f"| bomb, {k} | {v} |" for k, v in figures["statuses_of_bombs"].items()]
    (RESULTS / "mixed_load.md").write_text("\n".join(lines) + "\n")
    print(json.dumps(figures, indent=2))
    for one, other in differ[:20]:
        print("differs:", decided(one), decided(other))
    unsound = [v for at, v in enumerate(verdicts) if at in places and v.status is Status.error]
    for verdict in unsound[:5]:
        print("error:", verdict)
    return int(bool(differ or accepted or over))


if __name__ == "__main__":
    sys.exit(main())
