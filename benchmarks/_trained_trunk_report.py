"""The report of `benchmarks.reward_models_trained`: tables, and sentences that are computed from their figures."""

from collections.abc import Iterator
from typing import Any

ID, OOD = "in distribution", "out of distribution"
# What is claimed, by which paper; recipes, the share of labels turned round, the tests.
CLAIMS = (
    ("GRM's regulariser helps out of distribution (arXiv 2406.10216)",
     ("grm-sft", "grm-dpo", "grm-dpo-noref"), None, OOD),
    ("flips, margins and smoothing help where labels are wrong (arXiv 2401.06080)",
     ("flip", "margin", "flip+margin", "smoothing"), 0.25, ID),
    ("BRME's nominal reward is at least as accurate as Bradley-Terry's (arXiv 2409.15360)", ("brme",), None, ID),
    ("MetaRM helps out of distribution (arXiv 2401.06080)", ("metarm",), None, OOD),
    ("a contrastive loss helps (arXiv 2401.06080)", ("simcse", "swav"), None, ID),
)  # fmt: skip


def row_of(found: dict[str, Any], recipe: str, noise: float, test: str) -> dict[str, Any]:
    (row,) = (r for r in found["table"] if (r["recipe"], r["noise"], r["test"]) == (recipe, noise, test))
    return dict(row)


def noises(found: dict[str, Any]) -> list[float]:
    return list(dict.fromkeys(r["noise"] for r in found["table"]))


def points(told: dict[str, float], sign: str = "+") -> str:
    return f"{100 * told['mean']:{sign}.1f} ({100 * told['low']:{sign}.1f} to {100 * told['high']:{sign}.1f})"


def verdict(told: dict[str, float]) -> str:
    if told["low"] > 0:
        return "**reproduces**"
    return "**the opposite**" if told["high"] < 0 else "not shown"


def claims(found: dict[str, Any]) -> Iterator[str]:
    for claim, recipes, noise, test in CLAIMS:
        parts, counts = [], {"**reproduces**": 0, "**the opposite**": 0, "not shown": 0}
        for recipe in recipes:
            for n in noises(found) if noise is None else (noise,):
                row = row_of(found, recipe, n, test)
                said = verdict(row["difference"])
                counts[said] += 1
                parts.append(f"{recipe}, {n:.0%} noise: {points(row['difference'])}, {said}")
        told = sum(counts.values())
        head = f"reproduces in {counts['**reproduces**']} of {told} comparisons"
        if counts["**the opposite**"]:
            head += f", and the opposite is found in {counts['**the opposite**']}"
        yield f"- That {claim}, measured {test}: {head}. {'; '.join(parts)}."


def summary(found: dict[str, Any]) -> str:
    sets = [r for r in found["table"] if "difference" in r and r["test"] not in (ID, OOD)]
    beyond = [r for r in sets if r["difference"]["low"] > 0 or r["difference"]["high"] < 0]
    plain = {(n, t): row_of(found, "bt", n, t)["accuracy"] for n in noises(found) for t in (ID, OOD)}
    learnt = [f"{n:.0%} noise, {t}: {points(a, '')}" for (n, t), a in plain.items()]
    above = [f"{n:.0%} noise, {t}" for (n, t), a in plain.items() if a["low"] > 0.5]
    return (
        f"Plain Bradley-Terry reaches, in percent, {'; '.join(learnt)}. Above chance beyond its interval: "
        f"{'; '.join(above) or 'nowhere'}. Where next to nothing is learnt, next to nothing can be seen to help: what "
        f"is not shown here is not refuted. Of {len(sets)} paired differences on single sets, {len(beyond)} exclude "
        f"zero; by chance alone {0.05 * len(sets):.0f} would."
    )


def accuracy_table(found: dict[str, Any], noise: float) -> Iterator[str]:
    tests = list(dict.fromkeys(r["test"] for r in found["table"]))
    yield f"| recipe | {' | '.join(tests)} |"
    yield "|---|" + "---|" * len(tests)
    for recipe in dict.fromkeys(r["recipe"] for r in found["table"]):
        told = [row_of(found, recipe, noise, test)["accuracy"] for test in tests]
        cells = [f"{100 * a['mean']:.1f} ± {100 * (a['high'] - a['mean']):.1f}" for a in told]
        yield f"| {recipe} | {' | '.join(cells)} |"


def difference_table(found: dict[str, Any], noise: float) -> Iterator[str]:
    tests = [ID, OOD, *(t for t in dict.fromkeys(r["test"] for r in found["table"]) if t not in (ID, OOD))]
    yield f"| recipe | less | {' | '.join(tests)} |"
    yield "|---|---|" + "---|" * len(tests)
    for recipe in dict.fromkeys(r["recipe"] for r in found["table"] if "difference" in r):
        rows = [row_of(found, recipe, noise, test) for test in tests]
        cells = [
            f"{100 * d['mean']:+.1f} ± {100 * (d['high'] - d['mean']):.1f}" for d in (r["difference"] for r in rows)
        ]
        bold = [
            f"**{c}**" if r["difference"]["low"] > 0 or r["difference"]["high"] < 0 else c
            for c, r in zip(cells, rows, strict=True)
        ]
        yield f"| {recipe} | {rows[0]['baseline']} | {' | '.join(bold)} |"


def report(found: dict[str, Any]) -> str:
    seeds, trunk, settings = found["seeds"], found["trunk"], found["settings"]
    sizes = ", ".join(f"{name} {n}" for name, n in seeds[0]["tests"].items())
    nats = sum(s["pretraining"]["nats_a_token"] for s in seeds) / len(seeds)
    lines = [
        "# Reward models on a trunk that is trained",
        "",
        f"Written by `python -m benchmarks.reward_models_trained` in {sum(s['seconds'] for s in seeds) / 60:.0f} "
        f"minutes of one thread. The trunk is a Llama of {trunk['layers']} layers and {trunk['hidden']} features with "
        f"{trunk['vocabulary']} tokens, from nothing: {trunk['steps']} steps of language modelling on the training "
        f"pairs' own conversations, chosen and rejected (no other text), to {nats:.2f} nats a token. Then "
        f"{settings['epochs']} epochs over {seeds[0]['pairs']} pairs of HH helpful and PandaLM of at most "
        f"{found['longest']} characters, all weights trained. Tests of the first seed: {sizes}. A seed decides fold "
        "(each of five tests on a fifth of the prompts of its own sets), trunk, labels turned round, order and head; "
        f"there are {len(seeds)}. Strengths are votes of {found['members']} plain reward models on the labels that are "
        f"trained on. MetaRM's unlabelled responses ({seeds[0]['unlabelled_groups']} groups) are those of the four "
        "other sets, to prompts that are not tested on.",
        "",
        "Intervals are 95%, by t over seeds, of differences paired by seed. The baseline is the recipe that differs in "
        "nothing else: bt-mlp, with GRM's head and dropout, for GRM and the contrastive losses, bt for the others.",
        "",
        "## What reproduces at this size",
        "",
        "A claim reproduces where the paired interval lies above zero, in points of accuracy.",
        "",
        *claims(found),
        "",
        summary(found),
    ]
    for noise in noises(found):
        lines += ["", f"## Differences in points, {noise:.0%} of the training labels turned round", ""]
        lines += ["Bold: the interval excludes zero.", "", *difference_table(found, noise)]
        lines += ["", f"## Accuracy in percent, {noise:.0%} of the training labels turned round", ""]
        lines += accuracy_table(found, noise)
    return "\n".join(lines) + "\n"
