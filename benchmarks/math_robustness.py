"""False accepts and false rejects of the maths verifier on real golds.

    .venv/bin/python -m benchmarks.math_robustness [--data ../shared/data] [--limit N]

Each gold is answered with itself in other typography (right), and with wrong variants of itself: another sign, a
digit, a term or an entry changed, dropped, swapped or added, another problem's answer, a difference of 10^-30.
Writes into benchmarks/results/: math_robustness.json, math_robustness.md and math_robustness_disagreements.csv. Every
accepted wrong variant and every refused right one is listed there with who is right, read from
math_robustness_adjudications.csv, which people write; one that is not in it comes out as `unjudged`. Fails when an
accepted wrong variant is unjudged or judged wrong to accept.
"""

import argparse
import csv
import gzip
import json
import platform
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from verifiers import Status, Task, Verdict, VerifierPool, available
from verifiers.numerals import parse_number, terminates, tidy

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benchmarks" / "results"
ADJUDICATIONS = RESULTS / "math_robustness_adjudications.csv"
SETS = {
    "math_train_rllm": "problem",
    "difficulty_deepscaler_levels": "prompt",
    "difficulty_dsr_sub_acc500": "prompt",
    "math_train_limr_scores": "prompt",
    "aime_1983_2023_rllm": "problem",
}
COLUMNS = ("gold", "answer", "variant", "expected", "verdict", "detail", "who_is_right", "why", "set")
_NUMERAL = re.compile(r"(?<![A-Za-z\\_])[0-9]+(?![0-9]*[}_]?_)")


class Case(NamedTuple):
    """A gold, an answer made from it, how it was made, and whether it is right."""

    gold: str
    answer: str
    variant: str
    right: bool
    response: str


def golds(data: Path, name: str, limit: int | None) -> list[str]:
    """Return the distinct golds of one file as text, in their order."""
    with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        found = dict.fromkeys(str(json.loads(line)["answer"]).strip() for line in lines)
    return list(found)[:limit]


Rewriting = Callable[[str], str | None]


def _only_if(pattern: str, change: Rewriting) -> Rewriting:
    return lambda gold: change(gold) if re.search(pattern, gold) else None


def _finite_decimal(gold: str) -> str | None:
    number = parse_number(tidy(gold))
    if number is None or number.value.denominator == 1 or not terminates(number.value):
        return None
    value = number.value
    places = next(k for k in range(80) if (value * 10**k).denominator == 1)
    digits = str(abs(value.numerator) * 10**places // value.denominator).zfill(places + 1)
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}" + ("%" if number.percent else "")


def _spread(gold: str) -> str | None:
    if re.search(r"[A-Za-z]{3}(?![A-Za-z{ (])|matrix|text|[0-9],[0-9]{3}", gold):
        return None
    return re.sub(r"(?<=[0-9A-Za-z})])([-+=])(?=[0-9A-Za-z\\({])", r" \1 ", gold)


def _slash(gold: str) -> str | None:
    match = re.fullmatch(r"(-?)\\frac\{([0-9]+)\}\{([0-9]+)\}", gold)
    return f"{match[1]}{match[2]}/{match[3]}" if match else None


def _display(gold: str) -> bool:
    return re.search(r"\\[\[(]", gold) is not None


RIGHT: dict[str, Rewriting] = {
    "itself": lambda gold: gold,
    "dfrac": _only_if(r"\\frac", lambda gold: gold.replace("\\frac", "\\dfrac")),
    "tfrac": _only_if(r"\\frac", lambda gold: gold.replace("\\frac", "\\tfrac")),
    "left right": _only_if(r"^\(.*\)$", lambda gold: f"\\left{gold[:-1]}\\right)"),
    "spread": _spread,
    "in dollars": _only_if(r"^[^$]*$", lambda gold: f"${gold}$"),
    "full stop": _only_if(r"[^.]$", lambda gold: f"{gold}."),
    "thin space before": _only_if(r"^[^$]*$", lambda gold: None if _display(gold) else f"\\,{gold}"),
    "display style": _only_if(r"^[^$]*$", lambda gold: None if _display(gold) else f"\\displaystyle {gold}"),
    "as a finite decimal": _finite_decimal,
    "with a slash": _slash,
    "no spaces after commas": _only_if(r", ", lambda gold: None if "text" in gold else gold.replace(", ", ",")),
    "leading plus": _only_if(r"^[0-9]+$", lambda gold: f"+{gold}"),
    "trailing zero": _only_if(r"^[0-9]+$", lambda gold: f"{gold}.0"),
    "with separators": _only_if(r"^[0-9]{4,}$", lambda gold: f"{int(gold):,}"),
    "doubled and halved": _only_if(r"^[-+0-9a-z^\\{} ]*$", lambda gold: _doubled(gold)),
    "named": _only_if(r"^-?[0-9]+$", lambda gold: f"x = {gold}"),
}


def _doubled(gold: str) -> str | None:
    if "\\{" in gold:
        return None
    commands = set(re.findall(r"\\[a-z]+", gold))
    if commands - {"\\frac", "\\sqrt", "\\pi"} or re.search(r"[a-z]{2}", re.sub(r"\\[a-z]+", "", gold)):
        return None
    return rf"\frac{{2 \cdot ({gold})}}{{2}}"


def _parts(gold: str) -> list[str] | None:
    """Return the parts of a plain list, tuple or interval, brackets excluded."""
    inner = re.fullmatch(r"(?:\\left)?[(\[](.*?)(?:\\right)?[)\]]", gold)
    text = inner[1] if inner else gold
    parts = re.split(r",\s*", text)
    flat = not re.search(r"[()\[\]]|text|[0-9],[0-9]{3}", text)
    return parts if len(parts) > 1 and flat and all(parts) else None


def _swapped(gold: str, generator: random.Random) -> str | None:
    parts = _parts(gold)
    if parts is None or not re.match(r"(?:\\left)?[(\[]", gold):
        return None
    first, second = generator.sample(range(len(parts)), 2)
    if tidy(parts[first]) == tidy(parts[second]):
        return None
    changed = list(parts)
    changed[first], changed[second] = changed[second], changed[first]
    return gold[: gold.index(parts[0])] + ", ".join(changed) + gold[gold.rindex(parts[-1]) + len(parts[-1]) :]


def _dropped_entry(gold: str, generator: random.Random) -> str | None:
    parts = _parts(gold)
    if parts is None:
        return None
    del parts[generator.randrange(len(parts))]
    return ", ".join(parts)


def _changed_numeral(gold: str, generator: random.Random) -> str | None:
    found = list(_NUMERAL.finditer(gold))
    if not found:
        return None
    match = generator.choice(found)
    value = int(match[0]) + generator.choice((1, -1, 2, 10))
    return f"{gold[: match.start()]}{abs(value)}{gold[match.end() :]}"


def _negated(gold: str, _: random.Random) -> str | None:
    if re.search(r"[,=<>|]|pm|text|matrix|le|ge|cup|^0$|mbox|or|and", gold):
        return None
    return gold[1:].strip() if gold.startswith("-") and not re.search(r"[-+]", gold[1:]) else f"-({gold})"


def _dropped_term(gold: str, _: random.Random) -> str | None:
    match = re.fullmatch(r"(.*[0-9A-Za-z})])\s*[-+]\s*[0-9A-Za-z\\^{}]+", gold)
    return match[1] if match and match[1].count("{") == match[1].count("}") else None


def _flipped_sign(gold: str, generator: random.Random) -> str | None:
    found = [match.start() for match in re.finditer(r"(?<=[0-9A-Za-z}) ])[-+](?=[ 0-9A-Za-z\\])", gold)]
    if not found or "text" in gold:
        return None
    at = generator.choice(found)
    return gold[:at] + ("-" if gold[at] == "+" else "+") + gold[at + 1 :]


def _nearly(gold: str, _: random.Random) -> str | None:
    return f"{gold} + 10^{{-30}}" if re.fullmatch(r"[-+0-9a-z^\\{} ()]+", gold) and "text" not in gold else None


def _other_brackets(gold: str, _: random.Random) -> str | None:
    if _parts(gold) is None or not re.match(r"[(\[]", gold):
        return None
    return ("[" if gold[0] == "(" else "(") + gold[1:]


def _as_set(gold: str, _: random.Random) -> str | None:
    return rf"\{{{gold[1:-1]}\}}" if _parts(gold) and re.match(r"[(\[].*[)\]]$", gold) else None


def _more(gold: str, _: random.Random) -> str | None:
    return f"{gold}, 12345" if not re.search(r"[()\[\]{}=]", gold) else None


def _renamed(gold: str, _: random.Random) -> str | None:
    plain = re.sub(r"\\[A-Za-z]+", "", gold)
    names = sorted(set(re.findall(r"(?<![A-Za-z])[a-z](?![A-Za-z])", plain)) - {"i", "e"})
    if len(names) != 1 or re.search(r"text|mbox|=|matrix|begin", gold):
        return None
    other = "y" if names[0] != "y" else "z"
    return re.sub(rf"(?<![A-Za-z\\]){names[0]}(?![A-Za-z])", other, gold)


Variant = Callable[[str, random.Random], str | None]
WRONG: dict[str, Variant] = {
    "a numeral changed": _changed_numeral,
    "another numeral changed": _changed_numeral,
    "the sign turned": _negated,
    "a sign inside turned": _flipped_sign,
    "the last term dropped": _dropped_term,
    "entries swapped": _swapped,
    "an entry dropped": _dropped_entry,
    "an entry added": _more,
    "another bracket": _other_brackets,
    "a set for a tuple": _as_set,
    "10^-30 more": _nearly,
    "a variable renamed": _renamed,
    "times 2": lambda gold, _: f"2({gold})" if re.fullmatch(r"[1-9][0-9]*", gold) else None,
    "the gold as a sum with a bound": lambda gold, _: (
        rf"\sum_{{i=1}}^{{{gold}}} 1" if re.fullmatch(r"[1-9][0-9]?", gold) else None
    ),
    "an inequality": lambda gold, _: f"x > {gold}" if re.fullmatch(r"-?[0-9]+", gold) else None,
    "both signs": lambda gold, _: rf"\pm {gold}" if re.fullmatch(r"[1-9][0-9]*", gold) else None,
    "hedged": lambda gold, _: f"{gold} or 12345" if re.fullmatch(r"-?[0-9]+", gold) else None,
}


def cases(found: list[str], name: str) -> Iterator[Case]:
    generator = random.Random(name)
    for gold in found:
        for variant, rewrite in RIGHT.items():
            answer = rewrite(gold)
            if answer is not None:
                yield Case(gold, answer, variant, True, rf"Therefore \boxed{{{answer}}}")
        yield Case(gold, gold, "announced", True, f"The final answer is ${gold.strip('$ ').strip()}$.")
        for variant, change in WRONG.items():
            answer = change(gold, generator)
            if answer is not None and tidy(answer) != tidy(gold):
                yield Case(gold, answer, variant, False, rf"Therefore \boxed{{{answer}}}")
        for _ in range(4):
            other = generator.choice(found)
            if tidy(other) != tidy(gold):
                yield Case(gold, other, "another problem's answer", False, rf"Therefore \boxed{{{other}}}")


def adjudications() -> dict[tuple[str, str], tuple[str, str]]:
    """Return (who is right, why) by (gold, answer)."""
    if not ADJUDICATIONS.exists():
        return {}
    with ADJUDICATIONS.open(encoding="utf-8", newline="") as file:
        return {(row["gold"], row["answer"]): (row["who_is_right"], row["why"]) for row in csv.DictReader(file)}


def _rate(count: int, total: int) -> float:
    return round(count / total, 6) if total else 0.0


def measure(
    name: str, data: Path, limit: int | None, pool: VerifierPool
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    found = golds(data, name, limit)
    made = list(cases(found, name))
    started = time.perf_counter()
    verdicts = pool.verify([Task("math", case.response, json.dumps(case.gold)) for case in made])
    seconds = time.perf_counter() - started
    judged = adjudications()
    apart: list[dict[str, str]] = []
    by_variant: dict[str, Counter[str]] = {}
    bad: set[str] = set()
    for case, verdict in zip(made, verdicts, strict=True):
        if verdict.status is Status.bad_gold:
            bad.add(case.gold)
            continue
        counts = by_variant.setdefault(case.variant, Counter())
        counts["right" if case.right else "wrong"] += 1
        counts["accepted"] += verdict.status is Status.correct
        counts[verdict.status.value] += 1
        if (verdict.status is Status.correct) != case.right:
            apart.append(_row(case, verdict, name, judged))
    right = Counter[str]()
    for counts in by_variant.values():
        kind = "right" if counts["right"] else "wrong"
        right[kind] += counts[kind]
        right[f"{kind} accepted"] += counts["accepted"]
        right["undecided"] += counts["timeout"] + counts["error"]
    wrongly = [row for row in apart if row["expected"] == "wrong" and row["who_is_right"] != "verdict"]
    itself = by_variant["itself"]
    result = {
        "golds": len(found),
        "bad_golds": sorted(bad),
        "right_pairs": right["right"],
        "self_accept_rate": _rate(itself["accepted"], itself["right"]),
        "right_accept_rate": _rate(right["right accepted"], right["right"]),
        "wrong_pairs": right["wrong"],
        "wrong_accepted": right["wrong accepted"],
        "wrong_accepted_after_judgement": len(wrongly),
        "false_accept_rate": _rate(len(wrongly), right["wrong"]),
        "undecided": right["undecided"],
        "sent_to_workers": sum("math-verify" in verdict.detail for verdict in verdicts),
        "seconds": round(seconds, 2),
        "by_variant": {variant: dict(sorted(counts.items())) for variant, counts in sorted(by_variant.items())},
    }
    return result, apart


def _row(case: Case, verdict: Verdict, name: str, judged: dict[tuple[str, str], tuple[str, str]]) -> dict[str, str]:
    who, why = judged.get((case.gold, case.answer), ("unjudged", ""))
    expected = "right" if case.right else "wrong"
    values = (case.gold, case.answer, case.variant, expected, verdict.status.value, verdict.detail, who, why, name)
    return dict(zip(COLUMNS, (value[:200] for value in values), strict=True))


def table(results: dict[str, Any]) -> str:
    lines = [
        "# False accepts and false rejects on real golds",
        "",
        "Written by `python -m benchmarks.math_robustness`. Each gold is answered with itself in other typography, and",
        "with wrong variants. Every accepted wrong variant and refused right one is in",
        "`math_robustness_disagreements.csv`, with who is right. A wrong variant that turned out to be equal to the",
        "gold (5/10 for 1/2) is judged right to accept and is not a false accept.",
        "",
        "| set | golds | bad golds | self accepted | right pairs | accepted | wrong pairs | accepted | of these false "
        "| false accept rate | undecided |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, r in results.items():
        lines.append(
            f"| {name} | {r['golds']:,} | {len(r['bad_golds'])} | {r['self_accept_rate']:.3%} | {r['right_pairs']:,} "
            f"| {r['right_accept_rate']:.3%} | {r['wrong_pairs']:,} | {r['wrong_accepted']} "
            f"| {r['wrong_accepted_after_judgement']} | {r['false_accept_rate']:.4%} | {r['undecided']} |"
        )
    return "\n".join([*lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure false accepts and false rejects of the maths verifier.")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--limit", type=int, default=None, help="golds per set (default: all)")
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"{options.data} is not a folder; give the folder of recorded data with --data")
    results: dict[str, Any] = {}
    apart: list[dict[str, str]] = []
    with VerifierPool(2) as pool:
        for name in SETS:
            results[name], more = measure(name, options.data, options.limit, pool)
            apart += more
    RESULTS.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    report = {"sets": results, "verifier": available()["math"], "environment": machine}
    (RESULTS / "math_robustness.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (RESULTS / "math_robustness.md").write_text(table(results), encoding="utf-8")
    with (RESULTS / "math_robustness_disagreements.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(apart, key=lambda row: (row["expected"], row["variant"], row["gold"], row["answer"])))
    print(table(results))
    false_accepts = sum(r["wrong_accepted_after_judgement"] for r in results.values())
    if false_accepts:
        print(f"{false_accepts} wrong variants are accepted and not judged right to accept", file=sys.stderr)
    return 1 if false_accepts else 0


if __name__ == "__main__":
    sys.exit(main())
