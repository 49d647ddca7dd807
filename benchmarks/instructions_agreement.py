"""Agreement of the instruction verdicts with recorded IFEval labels, per constraint and per prompt, and their speed.

    .venv/bin/python -m benchmarks.instructions_agreement [--data ../shared/data]

Writes into benchmarks/results/: instructions_agreement.json, instructions_agreement.md and
instructions_agreement_disagreements.csv. Who is right in a disagreement is read from
instructions_agreement_adjudications.csv, which people write, keyed by row locator, mode and verdict; one that is not
in it comes out as `unjudged`. Fails when the agreement with labels, those judged wrong corrected, is below the
target in either mode, or something is unjudged.
"""

import argparse
import csv
import gzip
import json
import platform
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from verifiers import Status, Task, Verdict, VerifierPool, available

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
ADJUDICATIONS = RESULTS / "instructions_agreement_adjudications.csv"
ROLLOUTS, PROMPTS = "rollouts_ifeval_even", "ifeval_even"
MODES = ("strict", "loose")
TARGET = 0.995
COLUMNS = ("locator", "mode", "constraint", "label", "verdict", "detail", "who_is_right", "why", "excerpt")
DECIDED = {Status.correct: "holds", Status.incorrect: "fails"}


class Row(NamedTuple):
    """One recorded response. `locator` is `file:line`, lines counted from 0; `labels` are per mode and constraint."""

    locator: str
    key: int
    response: str
    labels: dict[str, list[bool]]


class Decision(NamedTuple):
    """One constraint of one response in one mode: its label beside its verdict (holds, fails, undecided)."""

    locator: str
    mode: str
    constraint: str
    label: str
    verdict: str
    detail: str
    excerpt: str

    @property
    def agrees(self) -> bool:
        return self.label == self.verdict


def load(data: Path) -> tuple[list[Row], dict[int, dict[str, Any]], Counter[str]]:
    """Read the responses, the golds by key, and count the responses left out by reason."""
    golds = {record["key"]: record for record in _records(data / f"{PROMPTS}.jsonl.gz")}
    rows, left_out = [], Counter[str]()
    for number, record in enumerate(_records(data / f"{ROLLOUTS}.jsonl.gz")):
        if record["response"] is None:
            left_out["no response recorded"] += 1
            continue
        labels = {mode: record[f"{mode}_list"] for mode in MODES}
        rows.append(Row(f"{ROLLOUTS}:{number}", record["key"], record["response"], labels))
    return rows, golds, left_out


def _records(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def tasks_of(rows: list[Row], golds: dict[int, dict[str, Any]], mode: str) -> list[Task]:
    texts = {
        key: json.dumps({"instruction_id_list": gold["instruction_id_list"], "kwargs": gold["kwargs"], "mode": mode})
        for key, gold in golds.items()
    }
    return [Task("instructions", row.response, texts[row.key]) for row in rows]


def decisions(rows: list[Row], verdicts: list[Verdict], mode: str) -> list[Decision]:
    found = []
    for row, verdict in zip(rows, verdicts, strict=True):
        if verdict.status is Status.bad_gold:
            continue
        for index, (part, label) in enumerate(zip(verdict.parts, row.labels[mode], strict=True)):
            decided = DECIDED.get(part.status, "undecided")
            excerpt = " ".join(row.response.split())[:120]
            shown = "holds" if label else "fails"
            found.append(Decision(f"{row.locator}:{index}", mode, part.name, shown, decided, part.detail, excerpt))
    return found


def adjudications() -> dict[tuple[str, str, str], tuple[str, str]]:
    """Return (who is right, why) by (locator, mode, verdict)."""
    if not ADJUDICATIONS.exists():
        return {}
    with ADJUDICATIONS.open(encoding="utf-8", newline="") as file:
        return {(r["locator"], r["mode"], r["verdict"]): (r["who_is_right"], r["why"]) for r in csv.DictReader(file)}


def rates(found: list[Decision], judged: dict[tuple[str, str, str], tuple[str, str]]) -> dict[str, Any]:
    """Return counts and agreement: as labelled, and with the labels that are judged wrong corrected."""
    decided = [item for item in found if item.verdict != "undecided"]
    apart = [item for item in decided if not item.agrees]
    who = Counter(judged.get((item.locator, item.mode, item.verdict), ("unjudged", ""))[0] for item in apart)
    agree = len(decided) - len(apart)
    return {
        "constraints": len(found),
        "undecided": len(found) - len(decided),
        "agree": agree,
        "agreement_as_labelled": round(agree / len(decided), 5),
        "agreement_labels_corrected": round((agree + who["verdict"]) / len(decided), 5),
        "false_accepts": sum(item.verdict == "holds" and _right(item, judged) == "label" for item in apart),
        "who_is_right": dict(sorted(who.items())),
    }


def _right(item: Decision, judged: dict[tuple[str, str, str], tuple[str, str]]) -> str:
    return judged.get((item.locator, item.mode, item.verdict), ("unjudged", ""))[0]


def prompt_rates(
    rows: list[Row], verdicts: list[Verdict], mode: str, judged: dict[tuple[str, str, str], tuple[str, str]]
) -> dict[str, Any]:
    """Return how often all constraints of a prompt hold or not as labelled, where that could be decided."""
    statuses = Counter(verdict.status.value for verdict in verdicts)
    corrected = [
        (verdict.status is Status.correct, all(_corrected(row, verdict, mode, judged)))
        for row, verdict in zip(rows, verdicts, strict=True)
        if verdict.score is not None
    ]
    decided = [
        (verdict.status is Status.correct, all(row.labels[mode]))
        for row, verdict in zip(rows, verdicts, strict=True)
        if verdict.score is not None
    ]
    agree = sum(verdict == label for verdict, label in decided)
    accepted = sum(verdict for verdict, _ in decided)
    return {
        "responses": len(rows),
        "decided": len(decided),
        "agree": agree,
        "agreement_as_labelled": round(agree / len(decided), 5),
        "agreement_labels_corrected": round(sum(verdict == label for verdict, label in corrected) / len(decided), 5),
        "accepted": accepted,
        "accepted_by_label": sum(label for _, label in decided),
        "statuses": dict(sorted(statuses.items())),
    }


def _corrected(
    row: Row, verdict: Verdict, mode: str, judged: dict[tuple[str, str, str], tuple[str, str]]
) -> list[bool]:
    """Return the labels of one response, those that are judged wrong turned round."""
    labels = []
    for index, (part, label) in enumerate(zip(verdict.parts, row.labels[mode], strict=True)):
        found = judged.get((f"{row.locator}:{index}", mode, DECIDED.get(part.status, "undecided")), ("", ""))
        labels.append(not label if found[0] == "verdict" else label)
    return labels


def measure(data: Path) -> tuple[dict[str, Any], list[Decision]]:
    rows, golds, left_out = load(data)
    judged = adjudications()
    result: dict[str, Any] = {"responses": len(rows), "left_out": dict(left_out), "modes": {}}
    everything: list[Decision] = []
    with VerifierPool(1) as pool:
        pool.verify(tasks_of(rows[:200], golds, "strict"))  # starts the worker and loads what it needs
        for mode in MODES:
            tasks = tasks_of(rows, golds, mode)
            started = time.perf_counter()
            verdicts = pool.verify(tasks)
            seconds = time.perf_counter() - started
            found = decisions(rows, verdicts, mode)
            everything += found
            kinds: dict[str, list[Decision]] = defaultdict(list)
            for item in found:
                kinds[item.constraint].append(item)
            in_worker = sum("detected" in part.detail for verdict in verdicts for part in verdict.parts)
            result["modes"][mode] = {
                "per_constraint": rates(found, judged),
                "per_prompt": prompt_rates(rows, verdicts, mode, judged),
                "kinds": {kind: rates(items, judged) for kind, items in sorted(kinds.items())},
                "bad_golds": sorted({verdict.detail for verdict in verdicts if verdict.status is Status.bad_gold}),
                "languages_detected": in_worker,
                "seconds": round(seconds, 2),
                "responses_per_second_one_worker": round(len(tasks) / seconds),
            }
        result["without_language"] = _without_language(rows, golds, pool)
    return result, everything


def _without_language(rows: list[Row], golds: dict[int, dict[str, Any]], pool: VerifierPool) -> dict[str, Any]:
    """Time the responses whose prompts need no language detection: these never leave it. Processor time, so that a
    busy machine does not matter."""
    keys = {
        key
        for key, gold in golds.items()
        if not any("english" in name or "language" in name for name in gold["instruction_id_list"])
    }
    result: dict[str, Any] = {}
    kept = [row for row in rows if row.key in keys]
    for mode in MODES:
        tasks = tasks_of(kept, golds, mode)
        started = time.process_time()
        pool.verify(tasks)
        result[mode] = round(len(tasks) / (time.process_time() - started))
    mean = round(sum(len(row.response) for row in kept) / len(kept))
    return {"responses": len(kept), "mean_characters": mean, "responses_per_second_one_core": result}


def table(result: dict[str, Any]) -> str:
    strict, loose = (result["modes"][mode] for mode in MODES)
    lines = [
        "# Agreement of instruction verdicts with recorded IFEval labels",
        "",
        "Written by `python -m benchmarks.instructions_agreement`; each disagreement, with who is right and why, is in",
        "`instructions_agreement_disagreements.csv`. Undecided constraints are in neither rate.",
        "",
        "| mode | constraints | undecided | agree | as labelled | labels judged wrong corrected | false accepts "
        "| disagreements by who is right | prompts as labelled | corrected |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for mode, measured in result["modes"].items():
        rate, prompts = measured["per_constraint"], measured["per_prompt"]
        right = ", ".join(f"{who} {count}" for who, count in rate["who_is_right"].items()) or "none"
        of_prompts = f"{prompts['agree']}/{prompts['decided']} ({prompts['agreement_as_labelled']:.2%})"
        lines.append(
            f"| {mode} | {rate['constraints']} | {rate['undecided']} | {rate['agree']} "
            f"| {rate['agreement_as_labelled']:.2%} | {rate['agreement_labels_corrected']:.2%} "
            f"| {rate['false_accepts']} | {right} | {of_prompts} "
            f"| {prompts['agreement_labels_corrected']:.2%} |"
        )
    lines += [
        "",
        "| constraint | rows | strict as labelled | corrected | undecided "
        "| loose as labelled | corrected | undecided |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind in sorted(set(strict["kinds"]) | set(loose["kinds"])):
        cells = [str(loose["kinds"][kind]["constraints"])]
        for mode in (strict, loose):
            rate = mode["kinds"][kind]
            cells += [f"{rate['agreement_as_labelled']:.2%}", f"{rate['agreement_labels_corrected']:.2%}"]
            cells.append(str(rate["undecided"]))
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    alone = result["without_language"]
    lines += [
        "",
        f"{result['responses']} responses; left out: "
        + ", ".join(f"{count} {reason}" for reason, count in result["left_out"].items())
        + f". Golds that no strict response can meet: {len(strict['bad_golds'])} prompts, "
        f"{strict['per_prompt']['statuses'].get('bad_gold', 0)} responses.",
        "",
        f"Speed, one worker beside the calling process: {strict['responses_per_second_one_worker']:,} responses a "
        f"second strict, {loose['responses_per_second_one_worker']:,} loose, "
        f"{strict['languages_detected']} and {loose['languages_detected']} of them with a language to detect. "
        "Prompts without a language, a second of processor time in the calling process "
        f"({alone['mean_characters']} characters on average): "
        f"{alone['responses_per_second_one_core']['strict']:,} strict, "
        f"{alone['responses_per_second_one_core']['loose']:,} loose.",
        "",
    ]
    return "\n".join(lines)


def write_disagreements(everything: list[Decision]) -> int:
    """Write each disagreement and each undecided constraint, and return how many are unjudged."""
    judged = adjudications()
    unjudged = 0
    with (RESULTS / "instructions_agreement_disagreements.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        apart = [item for item in everything if not item.agrees]
        for item in sorted(
            apart, key=lambda item: (item.constraint, *map(int, item.locator.split(":")[1:]), item.mode)
        ):
            who, why = judged.get((item.locator, item.mode, item.verdict), ("unjudged", ""))
            unjudged += who == "unjudged"
            detail, excerpt = item.detail[:120], item.excerpt
            writer.writerow(
                (item.locator, item.mode, item.constraint, item.label, item.verdict, detail, who, why, excerpt)
            )
    return unjudged


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of recorded rollouts"
    )
    options = parser.parse_args(arguments)
    if not options.data.is_dir():
        parser.error(f"{options.data} is not a folder; give the folder of recorded rollouts with --data")
    result, everything = measure(options.data)
    RESULTS.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    report = {**result, "verifier": available()["instructions"], "environment": machine}
    (RESULTS / "instructions_agreement.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (RESULTS / "instructions_agreement.md").write_text(table(result), encoding="utf-8")
    unjudged = write_disagreements(everything)
    print(table(result))
    problems = [
        f"{mode}: agreement {measured['per_constraint']['agreement_labels_corrected']} is below {TARGET}"
        for mode, measured in result["modes"].items()
        if measured["per_constraint"]["agreement_labels_corrected"] < TARGET
    ]
    if unjudged:
        problems.append(f"{unjudged} disagreements are unjudged: add them to {ADJUDICATIONS.name}")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
