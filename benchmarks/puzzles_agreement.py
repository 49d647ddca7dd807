"""Agreement of the puzzle verdicts with recorded labels (Game of 24) and with known solutions (knights and knaves).

    .venv/bin/python -m benchmarks.puzzles_agreement [--data ../shared/data]

Game of 24 rows carry a binary reward. Of knights and knaves there are puzzles with their one solution: each is
verified as sentences, as a numbered list, in an answer tag and in a box (label: correct), with each single role
flipped in turn, with the question echoed, and with the assumptions of a worked solution (label: incorrect).
Writes benchmarks/results/puzzles_agreement{.json,.md,_disagreements.csv}; see _agreement.py. Fails when a Game of
24 verdict differs from its label without the adjudication on its side, or a knights-and-knaves one at all.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks._agreement import DATA, Row, disagreements, records, summary, table, write
from verifiers import Task, VerifierPool

NAME = "puzzles_agreement"
NOTES = [
    "Written by `python -m benchmarks.puzzles_agreement`. Game of 24: recorded responses with their rewards. Knights",
    "and knaves: every known solution in four forms, every single flip of a role, the question echoed, and the",
    "assumptions of the worked solution; only the first four may pass. One core, no workers are needed.",
]


def game24(data: Path) -> Iterator[Row]:
    for number, record in records(data, "rollouts_game24_gpt4"):
        gold = {"numbers": [int(numeral) for numeral in record["puzzle"].split()], "target": 24}
        task = Task("countdown", record["response"], json.dumps(gold))
        yield Row(f"rollouts_game24_gpt4:{number}", "game24", task, bool(record["reward"]))


def knights_and_knaves(data: Path) -> Iterator[Row]:
    for number, record in records(data, "kk_logic_train"):
        names, solution = record["names"], record["solution"]
        gold = json.dumps({"names": names, "knights": solution})
        listed = record["solution_text_format"]
        forms = {
            "sentences": record["solution_text"],
            "list": listed,
            "tag": f"<think>{record['cot_head']}</think><answer>{listed}</answer>",
            "box": rf"So \boxed{{\text{{{record['solution_text']}}}}}",
        }
        others = {"question": record["quiz"], "assumptions": "\n".join(record["cot_repeat_steps"])}
        for position in range(len(names)):
            flipped = [role != (index == position) for index, role in enumerate(solution)]
            others[f"flip{position}"] = "\n".join(
                f"({index}) {name} is a {'knight' if knight else 'knave'}"
                for index, (name, knight) in enumerate(zip(names, flipped, strict=True), start=1)
            )
        for label, texts in ((True, forms), (False, others)):
            for form, text in texts.items():
                kind = form.rstrip("0123456789")
                task = Task("knights_and_knaves", text, gold)
                yield Row(f"kk_logic_train:{number}:{form}", f"knights_and_knaves {kind}", task, label)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of recorded rollouts")
    options = parser.parse_args(arguments)
    if not options.data.is_dir():
        parser.error(f"{options.data} is not a folder; give the folder of recorded rollouts with --data")
    results: dict[str, Any] = {}
    apart: list[dict[str, str]] = []
    problems: list[str] = []
    with VerifierPool(1) as pool:
        for name, load in (("game24", game24), ("knights_and_knaves", knights_and_knaves)):
            rows = list(load(options.data))
            started = time.perf_counter()
            verdicts = pool.verify([row.task for row in rows])
            seconds = time.perf_counter() - started
            found = disagreements(NAME, rows, verdicts)
            results[name] = summary(rows, verdicts, found, seconds)
            apart += found
            problems += [f"{item['locator']}: {item['verdict']}" for item in found if item["who_is_right"] != "verdict"]
    write(NAME, {"sets": results}, table("Agreement of puzzle verdicts", NOTES, results), apart)
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
