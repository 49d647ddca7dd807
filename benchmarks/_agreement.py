"""What the agreement benchmarks share: disagreements with recorded labels, and who is right in each.

Who is right is read from `<name>_adjudications.csv`, which people write, keyed by row locator and extracted
answer; a disagreement that is not in it comes out as `unjudged`, and so does one whose extracted answer changed.
"""

import csv
import gzip
import json
import platform
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from verifiers import Status, Task, Verdict

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benchmarks" / "results"
COLUMNS = ("locator", "set", "gold", "extracted", "label", "verdict", "detail", "who_is_right", "why", "excerpt")
MAX_TEXT = 120


class Row(NamedTuple):
    """One labelled task. `locator` is `file:line`, lines counted from 0, with a suffix where a line gives several."""

    locator: str
    name: str
    task: Task
    label: bool


def records(data: Path, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, record) of one file."""
    with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            yield number, json.loads(line)


def adjudications(name: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Return (who is right, why) by (locator, extracted answer)."""
    path = RESULTS / f"{name}_adjudications.csv"
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {(row["locator"], row["extracted"]): (row["who_is_right"], row["why"]) for row in csv.DictReader(file)}


def disagreements(name: str, rows: list[Row], verdicts: list[Verdict]) -> list[dict[str, str]]:
    """Return a record for each verdict that differs from the label, or that decided nothing."""
    judged = adjudications(name)
    found = []
    for row, verdict in zip(rows, verdicts, strict=True):
        if verdict.score is not None and (verdict.status is Status.correct) == row.label:
            continue
        extracted = (verdict.extracted or "")[:MAX_TEXT]
        who, why = judged.get((row.locator, extracted), ("unjudged", ""))
        values = (
            row.locator,
            row.name,
            str(row.task.ground_truth)[:MAX_TEXT],
            extracted,
            "correct" if row.label else "incorrect",
            verdict.status.value,
            verdict.detail[:MAX_TEXT],
            who,
            why,
            " ".join(row.task.response.split())[-MAX_TEXT:],
        )
        found.append(dict(zip(COLUMNS, values, strict=True)))
    return found


def summary(rows: list[Row], verdicts: list[Verdict], apart: list[dict[str, str]], seconds: float) -> dict[str, Any]:
    """Return the figures of one set of rows."""
    right = Counter(item["who_is_right"] for item in apart)
    upheld = len(rows) - len(apart) + right["verdict"]
    return {
        "verifiers": sorted({f"{verdict.verifier} {verdict.version}" for verdict in verdicts}),
        "rows": len(rows),
        "agree": len(rows) - len(apart),
        "agreement": round(1 - len(apart) / len(rows), 5),
        "agreement_after_adjudication": round(upheld / len(rows), 5),
        "who_is_right": dict(sorted(right.items())),
        "statuses": dict(sorted(Counter(verdict.status.value for verdict in verdicts).items())),
        "seconds": round(seconds, 2),
        "tasks_per_second": round(len(rows) / seconds),
    }


def table(title: str, notes: list[str], results: dict[str, dict[str, Any]]) -> str:
    """Return the report in Markdown: a row for each set."""
    lines = [
        f"# {title}",
        "",
        *notes,
        "",
        "| set | verifiers | rows | agree | agreement | after adjudication | who is right elsewhere | tasks a second |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        right = ", ".join(f"{who} {count}" for who, count in result["who_is_right"].items()) or "none"
        lines.append(
            f"| {name} | {', '.join(result['verifiers'])} | {result['rows']} | {result['agree']} "
            f"| {result['agreement']:.3%} | {result['agreement_after_adjudication']:.3%} | {right} "
            f"| {result['tasks_per_second']:,} |"
        )
    return "\n".join([*lines, ""])


def write(name: str, report: dict[str, Any], text: str, apart: list[dict[str, str]]) -> None:
    """Write `<name>.json`, `<name>.md` and `<name>_disagreements.csv` into benchmarks/results."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    used = sorted({entry for result in report["sets"].values() for entry in result["verifiers"]})
    environment = {"python": platform.python_version(), "machine": platform.machine()}
    whole = {**report, "verifiers": used, "environment": environment}
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    with (RESULTS / f"{name}_disagreements.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(apart)
    print(text)
