"""Agreement of the maths verdicts with recorded labels, and the speed of the exact fast path.

    .venv/bin/python -m benchmarks.math_agreement [--data ../shared/data] [--tasks 1000000]

Writes into benchmarks/results/: math_agreement.json, math_agreement.md and math_agreement_disagreements.csv.
Who is right in a disagreement is read from math_agreement_adjudications.csv, which people write, keyed by row
locator and extracted answer; a disagreement that is not in it comes out as `unjudged`. Fails when GSM8K
agreement is below the target, or a prompt without disagreements has another pass rate than its labels give.
"""

import argparse
import csv
import gzip
import json
import platform
import sys
import time
from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from verifiers import Status, Task, Verdict, VerifierPool, available

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benchmarks" / "results"
ADJUDICATIONS = RESULTS / "math_agreement_adjudications.csv"
GSM8K_TARGET = 0.995
SETS = {
    "gsm8k": ("math", ("rollouts_gsm8k_test", "rollouts_gsm8k_robust")),
    "math_qwen_x8": ("math", ("rollouts_math_qwen_cot100x8",)),
    "mathgpt": ("choice", ("rollouts_mathgpt_abel70b",)),
}
COLUMNS = ("locator", "gold", "extracted", "label", "verdict", "detail", "who_is_right", "why", "excerpt")


class Row(NamedTuple):
    """A recorded response with its label. `locator` is `file:line`, lines counted from 0."""

    locator: str
    prompt: str
    gold: str
    response: str
    label: bool


def load(data: Path, name: str) -> tuple[list[Row], Counter[str]]:
    """Read the rows of one file which have a text answer and a label, and count those left out by reason."""
    rows, left_out = [], Counter[str]()
    with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            record = json.loads(line)
            if "_pot_" in record.get("model", ""):
                left_out["program, not executed"] += 1
            elif record["correct"] is None:
                left_out["no label of the answer"] += 1
            else:
                label = bool(record["correct"])
                rows.append(Row(f"{name}:{number}", record["question"], record["gold"], record["response"], label))
    return rows, left_out


def tasks_of(verifier: str, rows: list[Row]) -> list[Task]:
    return [Task(verifier, row.response, json.dumps(row.gold), row.prompt) for row in rows]


def adjudications() -> dict[tuple[str, str], tuple[str, str]]:
    """Return (who is right, why) by (locator, extracted answer)."""
    if not ADJUDICATIONS.exists():
        return {}
    with ADJUDICATIONS.open(encoding="utf-8", newline="") as file:
        return {(r["locator"], r["extracted"]): (r["who_is_right"], r["why"]) for r in csv.DictReader(file)}


def disagreements(rows: list[Row], verdicts: list[Verdict]) -> list[dict[str, str]]:
    judged = adjudications()
    found = []
    for row, verdict in zip(rows, verdicts, strict=True):
        if (verdict.status is Status.correct) == row.label:
            continue
        extracted = verdict.extracted or ""
        who, why = judged.get((row.locator, extracted), ("unjudged", ""))
        excerpt = " ".join(row.response.split())[-80:]
        label = "correct" if row.label else "incorrect"
        values = (row.locator, row.gold, extracted, label, verdict.status.value, verdict.detail, who, why, excerpt)
        found.append(dict(zip(COLUMNS, values, strict=True)))
    return found


def pass_rates_agree(rows: list[Row], verdicts: list[Verdict]) -> tuple[int, int]:
    """Return how many prompts have no disagreement and no null, and how many of these have equal pass rates."""
    by_prompt: dict[str, list[tuple[bool, Verdict]]] = defaultdict(list)
    for row, verdict in zip(rows, verdicts, strict=True):
        by_prompt[row.prompt].append((row.label, verdict))
    clean = equal = 0
    for pairs in by_prompt.values():
        if any(verdict.score is None or (verdict.score == 1) != label for label, verdict in pairs):
            continue
        clean += 1
        rate = Fraction(sum(int(verdict.score or 0) for _, verdict in pairs), len(pairs))
        equal += rate == Fraction(sum(label for label, _ in pairs), len(pairs))
    return clean, equal


def measure(name: str, data: Path, pool: VerifierPool) -> tuple[dict[str, Any], list[dict[str, str]]]:
    verifier, files = SETS[name]
    rows: list[Row] = []
    left_out: Counter[str] = Counter()
    for file in files:
        more, out = load(data, file)
        rows += more
        left_out += out
    tasks = tasks_of(verifier, rows)
    started = time.perf_counter()
    verdicts = pool.verify(tasks)
    seconds = time.perf_counter() - started
    apart = disagreements(rows, verdicts)
    clean, equal = pass_rates_agree(rows, verdicts)
    result = {
        "verifier": f"{verifier} {available()[verifier]}",
        "rows": len(rows),
        "left_out": dict(sorted(left_out.items())),
        "agree": len(rows) - len(apart),
        "agreement": round(1 - len(apart) / len(rows), 5),
        "who_is_right": dict(sorted(Counter(item["who_is_right"] for item in apart).items())),
        "statuses": dict(sorted(Counter(verdict.status.value for verdict in verdicts).items())),
        "unparsed_rate": round(sum(v.status is Status.unparsed for v in verdicts) / len(rows), 5),
        "found_by": dict(Counter(v.detail.partition(":")[0] for v in verdicts).most_common()),
        "sent_to_workers": sum("math-verify" in verdict.detail for verdict in verdicts),
        "prompts": len({row.prompt for row in rows}),
        "prompts_without_disagreement": clean,
        "of_these_equal_pass_rate": equal,
        "seconds": round(seconds, 2),
    }
    return result, apart


def throughput(data: Path, count: int) -> dict[str, Any]:
    """Time the fast path on `count` tasks: the recorded GSM8K responses, over and over, on one core."""
    rows = [row for file in SETS["gsm8k"][1] for row in load(data, file)[0]]
    with VerifierPool(1) as pool:
        once = tasks_of("math", rows)
        fast = [task for task, v in zip(once, pool.verify(once), strict=True) if "math-verify" not in v.detail]
        tasks = [fast[index % len(fast)] for index in range(count)]
        started = time.perf_counter()
        verdicts = pool.verify(tasks)
        seconds = time.perf_counter() - started
    return {
        "tasks": len(verdicts),
        "share_of_rows_on_fast_path": round(len(fast) / len(once), 5),
        "mean_response_characters": round(sum(len(task.response) for task in fast) / len(fast)),
        "seconds": round(seconds, 2),
        "tasks_per_second_one_core": round(len(verdicts) / seconds),
    }


def table(results: dict[str, Any], speed: dict[str, Any]) -> str:
    lines = [
        "# Agreement of rule verdicts with recorded labels",
        "",
        "Written by `python -m benchmarks.math_agreement`; each disagreement, with who is right and why, is in",
        "`math_agreement_disagreements.csv`. mathgpt has multiple-choice golds and goes through `choice`.",
        "",
        "| set | verifier | rows | left out | agree | agreement | unparsed | disagreements by who is right |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        left_out = ", ".join(f"{count} {reason}" for reason, count in result["left_out"].items()) or "0"
        right = ", ".join(f"{who} {count}" for who, count in result["who_is_right"].items()) or "none"
        lines.append(
            f"| {name} | {result['verifier']} | {result['rows']} | {left_out} | {result['agree']} "
            f"| {result['agreement']:.3%} | {result['unparsed_rate']:.2%} | {right} |"
        )
    lines += [
        "",
        f"Per-prompt pass rates equal those from the labels for all "
        f"{sum(r['of_these_equal_pass_rate'] for r in results.values())} prompts without a disagreement.",
        "",
        f"Fast path: {speed['tasks']:,} tasks in {speed['seconds']} s on one core, "
        f"{speed['tasks_per_second_one_core']:,} a second, responses of {speed['mean_response_characters']} characters "
        f"on average; it decides {speed['share_of_rows_on_fast_path']:.2%} of the GSM8K rows.",
        "",
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of recorded rollouts"
    )
    parser.add_argument("--tasks", type=int, default=1_000_000, help="tasks for the timing of the fast path")
    options = parser.parse_args(arguments)
    if not options.data.is_dir():
        parser.error(f"{options.data} is not a folder; give the folder of recorded rollouts with --data")
    results: dict[str, Any] = {}
    apart: list[dict[str, str]] = []
    with VerifierPool() as pool:
        for name in SETS:
            results[name], more = measure(name, options.data, pool)
            apart += more
    speed = throughput(options.data, options.tasks)
    RESULTS.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    report = {"sets": results, "fast_path": speed, "verifiers": available(), "environment": machine}
    (RESULTS / "math_agreement.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (RESULTS / "math_agreement.md").write_text(table(results, speed), encoding="utf-8")
    with (RESULTS / "math_agreement_disagreements.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            sorted(apart, key=lambda item: (item["locator"].split(":")[0], int(item["locator"].split(":")[1])))
        )
    print(table(results, speed))
    problems = [
        f"{name}: {r['prompts_without_disagreement'] - r['of_these_equal_pass_rate']} prompts have another pass rate"
        for name, r in results.items()
        if r["prompts_without_disagreement"] != r["of_these_equal_pass_rate"]
    ]
    if results["gsm8k"]["agreement"] < GSM8K_TARGET:
        problems.append(f"gsm8k: agreement {results['gsm8k']['agreement']} is below {GSM8K_TARGET}")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
