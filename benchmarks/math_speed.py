"""Speed of the maths verifier next to math-verify in a pool of its own, both with two processes, in one run.

    .venv/bin/python -m benchmarks.math_speed [--data ../shared/data] [--repeat 3]

Sets: recorded GSM8K responses, several for a prompt; recorded MATH responses; MATH-like answers made from real golds
(half right, half wrong, four for a gold, in one short sentence, which favours the slower reader); and of these the
ones whose gold is no number. math-verify runs as its users run it: `parse` of gold and response and `verify`, with
its default timeouts, for every row, with the `map` of a `ProcessPoolExecutor` of two; where no row needs a worker of
ours also in chunks of 16, at which it is fastest. Imports and the start of processes are
excluded on both sides: each measurement warms up on a few hundred rows that are not measured. Caches of earlier rows
are emptied before each measurement. The two take turns, so that other load on the machine falls on both: a round is
half of ours, math-verify's, the other half of ours. A measurement of ours takes milliseconds where no row needs a
worker, so that one alone says little; there a round has as many of them as fit into a second, at least 10, and its
ratio is that of math-verify's time to their median. Where math-verify is done in seconds, too, there are three times
as many rounds. All times are in the JSON file; the ratio is the median of the rounds.

Writes math_speed.json and math_speed.md into benchmarks/results/. Fails below the targets.
"""

import argparse
import functools
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import math_agreement, math_robustness
from verifiers import Status, Task, VerifierPool, available
from verifiers.numerals import parse_number, tidy

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benchmarks" / "results"
PROCESSES = 2
TARGETS = {"gsm8k": 50.0, "math": 5.0, "math_synthetic": 5.0}
SIZES = (1_000, 5_000)
WARM_UP = 600
CHUNK = 16
ROUND_S, LEAST, MOST = 1.0, 10, 100  # seconds of ours in a round, and how many measurements these are
SHORT_S = 10.0  # of math-verify


class Row(NamedTuple):
    """One response with its gold, and whether it is right as far as a label or its making tells."""

    gold: str
    response: str
    right: bool


def recorded(data: Path, name: str) -> list[Row]:
    """Return the recorded responses of a set of math_agreement, those of one prompt together."""
    rows = [row for file in math_agreement.SETS[name][1] for row in math_agreement.load(data, file)[0]]
    rows.sort(key=lambda row: (row.prompt, row.locator))
    return [Row(row.gold, row.response, row.label) for row in rows]


def synthetic(data: Path, names: Sequence[str]) -> list[Row]:
    """Return four answers to each gold of some sets, right and wrong by turns."""
    rows = []
    for name in names:
        by_gold: dict[str, list[math_robustness.Case]] = {}
        for case in math_robustness.cases(math_robustness.golds(data, name, None), name):
            by_gold.setdefault(case.gold, []).append(case)
        for gold, made in by_gold.items():
            right = [*[case for case in made if case.right and case.answer != gold][:1], made[0]]
            wrong = [case for case in made if not case.right][-2:]
            rows += [
                Row(gold, rf"Therefore, the answer is $\boxed{{{case.answer}}}$.", case.right)
                for pair in zip(right, wrong, strict=False)
                for case in pair
            ]
    return rows


def spread(rows: list[Row], count: int) -> list[Row]:
    """Return `count` rows from the whole length of a list, in runs of four: one prompt's responses stay together."""
    runs = [rows[at : at + 4] for at in range(0, len(rows), 4)]
    step = max(1.0, len(runs) * 4 / count)
    chosen = [runs[int(index * step)] for index in range(min(len(runs), count // 4))]
    return [row for run in chosen for row in run][:count]


def _math_verify(row: tuple[str, str]) -> tuple[bool, float]:
    from math_verify import parse, verify

    started = time.process_time()
    gold, response = row
    found = bool(verify(parse(f"${gold}$"), parse(response)))
    return found, time.process_time() - started


def time_math_verify(rows: list[Row], warm_up: list[Row], chunk: int = 1) -> tuple[float, float, list[bool]]:
    """Return seconds, processor seconds of the two workers, and whether each row was accepted."""
    with ProcessPoolExecutor(PROCESSES) as pool:
        list(pool.map(_math_verify, [(row.gold, row.response) for row in warm_up]))
        started = time.perf_counter()
        found = list(pool.map(_math_verify, [(row.gold, row.response) for row in rows], chunksize=chunk))
        seconds = time.perf_counter() - started
    return seconds, sum(used for _, used in found), [accepted for accepted, _ in found]


class Run(NamedTuple):
    """One measurement of preppo: seconds, processor seconds of this process, accepted rows, rows decided in workers."""

    seconds: float
    processor: float
    accepted: list[bool]
    in_workers: int
    undecided: int


def time_preppo(rows: list[Row], warm_up: list[Row]) -> list[Run]:
    """Measure once; where no row needed a worker again, for half of `ROUND_S`. A worker would remember what it read."""
    tasks, first = ([Task("math", r.response, json.dumps(r.gold)) for r in some] for some in (rows, warm_up))
    runs: list[Run] = []
    with VerifierPool(PROCESSES) as pool:
        pool.verify(first)
        while not runs or (not runs[0].in_workers and len(runs) < _times(runs[0].seconds)):
            empty_caches()
            started, processor = time.perf_counter(), time.process_time()
            verdicts = pool.verify(tasks)
            seconds, processor = time.perf_counter() - started, time.process_time() - processor
            in_workers = sum("math-verify" in verdict.detail for verdict in verdicts)
            undecided = sum(verdict.score is None and verdict.status is not Status.bad_gold for verdict in verdicts)
            accepted = [verdict.status is Status.correct for verdict in verdicts]
            runs.append(Run(seconds, processor, accepted, in_workers, undecided))
    return runs


def _times(seconds: float) -> int:
    return min(MOST, max(LEAST, int(ROUND_S / seconds))) // 2


def empty_caches() -> None:
    """Empty every cache of this process's verifier functions."""
    for name, module in list(sys.modules.items()):
        if name.startswith("verifiers."):
            for function in vars(module).values():
                if isinstance(function, functools._lru_cache_wrapper):
                    function.cache_clear()


def measure(rows: list[Row], others: list[Row], repeat: int) -> dict[str, Any]:
    measured = set(rows)
    warm_up = [row for row in others if row not in measured][:WARM_UP]
    rounds: list[list[float]] = []  # ours
    theirs: list[float] = []
    chunked: list[float] = []
    by_processor: list[float] = []
    while len(rounds) < repeat or (theirs[0] < SHORT_S and len(rounds) < 3 * repeat):
        runs = time_preppo(rows, warm_up)
        baseline, processor, theirs_accepted = time_math_verify(rows, warm_up)
        in_chunks = None if runs[0].in_workers else time_math_verify(rows, warm_up, CHUNK)[0]
        runs += [] if in_chunks is None else time_preppo(rows, warm_up)
        rounds.append([run.seconds for run in runs])
        theirs.append(baseline)
        by_processor.append(processor / PROCESSES / statistics.median(run.processor for run in runs))
        if in_chunks is not None:
            chunked.append(in_chunks / statistics.median(rounds[-1]))
    run, ours = runs[0], [statistics.median(seconds) for seconds in rounds]
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    accepted = run.accepted
    return {
        "rows": len(rows),
        "distinct_golds": len({row.gold for row in rows}),
        "preppo_seconds": [[round(seconds, 4) for seconds in round_] for round_ in rounds],
        "math_verify_seconds": [round(seconds, 3) for seconds in theirs],
        "ratios": [round(ratio, 1) for ratio in ratios],
        "ratio": round(statistics.median(ratios), 1),
        "ratio_in_chunks": round(statistics.median(chunked), 1) if chunked else None,
        # What is left of the ratio without other load, where all is decided in this process.
        "ratio_by_processor_time": None if run.in_workers else round(statistics.median(by_processor), 1),
        "preppo_rows_per_second_each": [round(len(rows) / seconds) for seconds in ours],
        "math_verify_rows_per_second_each": [round(len(rows) / seconds) for seconds in theirs],
        "preppo_rows_per_second": round(len(rows) / statistics.median(ours)),
        "math_verify_rows_per_second": round(len(rows) / statistics.median(theirs)),
        "decided_in_workers": run.in_workers,
        "undecided": run.undecided,
        "preppo_as_labelled": _agreement(rows, accepted),
        "math_verify_as_labelled": _agreement(rows, theirs_accepted),
        "preppo_accepts_wrong": sum(a and not row.right for a, row in zip(accepted, rows, strict=True)),
        "math_verify_accepts_wrong": sum(a and not row.right for a, row in zip(theirs_accepted, rows, strict=True)),
    }


def _agreement(rows: list[Row], accepted: list[bool]) -> float:
    return round(sum(a == row.right for a, row in zip(accepted, rows, strict=True)) / len(rows), 5)


def table(results: list[tuple[str, dict[str, Any]]], repeat: int) -> str:
    lines = [
        "# Speed of the maths verifier",
        "",
        "Written by `python -m benchmarks.math_speed`. Two processes on each side, measurements taken in turns on a",
        f"machine with two cores that other work shares; the ratio is the median of {repeat} rounds, and of",
        f"{3 * repeat} where math-verify is done in seconds. Rows a second: the median, and the slowest to the fastest",
        "round; where no row needs a worker, a round of ours is the median of up to 100 measurements. Imports and",
        "process starts are excluded on both sides. As labelled: the recorded label, or how the answer was made.",
        "math-verify gets row after row, as from `map`; in chunks of 16: the ratio when it gets 16 at a time.",
        "",
        "| set | rows | math-verify, rows/s | preppo, rows/s | ratio (all) | in chunks of 16 | in workers "
        "| math-verify as labelled "
        "| preppo as labelled | wrong accepted, math-verify | wrong accepted, preppo |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, r in results:
        every = ", ".join(f"{ratio:,.0f}" for ratio in r["ratios"])
        lines.append(
            f"| {name} | {r['rows']:,} | {_spread(r, 'math_verify')} | {_spread(r, 'preppo')} "
            f"| **{r['ratio']:,.0f}** ({every}) | {r['ratio_in_chunks'] or '-'} "
            f"| {r['decided_in_workers']:,} | {r['math_verify_as_labelled']:.2%} "
            f"| {r['preppo_as_labelled']:.2%} | {r['math_verify_accepts_wrong']:,} | {r['preppo_accepts_wrong']:,} |"
        )
    return "\n".join([*lines, ""])


def _spread(result: dict[str, Any], side: str) -> str:
    each = result[f"{side}_rows_per_second_each"]
    return f"{result[f'{side}_rows_per_second']:,} ({min(each):,} to {max(each):,})"


def sets(data: Path) -> list[tuple[str, Callable[[], list[Row]]]]:
    """Return each set's name and how to make its rows."""
    gsm8k, made = recorded(data, "gsm8k"), synthetic(data, ("math_train_rllm", "difficulty_deepscaler_levels"))
    symbolic = [row for row in made if parse_number(tidy(row.gold)) is None]
    found: list[tuple[str, Callable[[], list[Row]]]] = [("math", lambda: recorded(data, "math_qwen_x8"))]
    for size in SIZES:
        found.append((f"gsm8k {size}", functools.partial(spread, gsm8k, size)))
        found.append((f"math_synthetic {size}", functools.partial(spread, made, size)))
        found.append((f"math_synthetic, gold no number {size}", functools.partial(spread, symbolic, size)))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the speed of the maths verifier with math-verify's.")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"{options.data} is not a folder; give the folder of recorded data with --data")
    # These need workers, which start here.
    others = [Row(rf"\ln {n}", rf"so \boxed{{\ln {n} + 1}}", right=False) for n in range(2, 42)]
    others += spread(recorded(options.data, "gsm8k")[2:], 4 * WARM_UP)[: WARM_UP // 2]
    others += spread(synthetic(options.data, ("difficulty_dsr_sub_acc500",)), WARM_UP // 2)
    results = []
    for name, make in sets(options.data):
        results.append((name, measure(make(), others, options.repeat)))
        print(table(results[-1:], options.repeat).splitlines()[-1], flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    report = {"sets": dict(results), "processes": PROCESSES, "verifier": available()["math"], "environment": machine}
    (RESULTS / "math_speed.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (RESULTS / "math_speed.md").write_text(table(results, options.repeat), encoding="utf-8")
    slow = [
        f"{name}: {result['ratio']} times math-verify, at least {target} expected"
        for name, result in results
        for prefix, target in TARGETS.items()
        if name.partition(" ")[0].rstrip(",") == prefix and result["ratio"] < target
    ]
    for problem in slow:
        print(problem, file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
