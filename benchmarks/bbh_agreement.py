"""Agreement of choice, exact and numeric verdicts with recorded labels on BIG-Bench Hard.

    .venv/bin/python -m benchmarks.bbh_agreement [--data ../shared/data]

Tasks with lettered options go through `choice` with the options of their question, counts and sums through
`numeric`, all others through `exact`. The labels are string comparisons made upstream. Writes
benchmarks/results/bbh_agreement{.json,.md,_disagreements.csv}; see _agreement.py. Fails when a disagreement is
unjudged or decided against the verdict, or agreement is below the target.
"""

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks._agreement import DATA, Row, disagreements, records, summary, table, write
from verifiers import Task, VerifierPool

NAME = "bbh_agreement"
TARGET = 0.995
NUMERIC = ("multistep_arithmetic_two", "object_counting")
EXACT = (
    "boolean_expressions",
    "causal_judgement",
    "dyck_languages",
    "formal_fallacies",
    "navigate",
    "sports_understanding",
    "web_of_lies",
    "word_sorting",
)
NOTES = [
    "Written by `python -m benchmarks.bbh_agreement`; each disagreement, with who is right and why, is in",
    "`bbh_agreement_disagreements.csv`, as is each task that could not be decided.",
    f"`numeric`: {', '.join(NUMERIC)}.",
    f"`exact`: {', '.join(EXACT)}.",
    "`choice`, with the options of the question: all others.",
]
_OPTION = re.compile(r"^\(([A-Z])\) (.*)$", re.MULTILINE)


def row_of(number: int, record: dict[str, Any]) -> Row:
    task, target = record["task"], record["target"]
    verifier = "numeric" if task in NUMERIC else "exact" if task in EXACT else "choice"
    gold: Any = target
    if verifier == "choice":
        options = dict(_OPTION.findall(record["question"]))
        gold = {"answer": target, "options": options} if options else target
    made = Task(verifier, record["response"], json.dumps(gold))
    return Row(f"rollouts_bbh_codex:{number}", f"{task} {record['mode']}", made, bool(record["correct"]))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of recorded rollouts")
    options = parser.parse_args(arguments)
    if not options.data.is_dir():
        parser.error(f"{options.data} is not a folder; give the folder of recorded rollouts with --data")
    every = [row_of(number, record) for number, record in records(options.data, "rollouts_bbh_codex")]
    results: dict[str, Any] = {}
    apart: list[dict[str, str]] = []
    with VerifierPool(1) as pool:
        for verifier in ("choice", "exact", "numeric"):
            rows = [row for row in every if row.task.verifier == verifier]
            started = time.perf_counter()
            verdicts = pool.verify([row.task for row in rows])
            seconds = time.perf_counter() - started
            found = disagreements(NAME, rows, verdicts)
            results[f"BBH through {verifier}"] = summary(rows, verdicts, found, seconds)
            apart += found
    agreement = 1 - len(apart) / len(every)
    total = {"rows": len(every), "disagreements_and_undecided": len(apart), "agreement": round(agreement, 5)}
    notes = [*NOTES, f"All together: {len(every) - len(apart)} of {len(every)} rows agree, {agreement:.3%}."]
    write(NAME, {"total": total, "sets": results}, table("Agreement on BIG-Bench Hard", notes, results), apart)
    problems = [f"{item['locator']}: {item['who_is_right']}" for item in apart if item["who_is_right"] != "verdict"]
    if agreement < TARGET:
        problems.append(f"agreement {agreement:.5f} is below {TARGET}")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
