"""What the measurements of `over_optimisation` say: sentences, tables and a picture, all made of the figures."""

import io
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.reward_models import interval
from trainer.reward_models.recipes import RECIPES

Found = dict[str, Any]
Interval = dict[str, float]
TITLES = {0.0: "labels as gold gives them", 0.25: "25% of the labels turned round"}
MAIN = (
    "bt", "bt-mlp", "ensemble mean", "ensemble minimum", "brme nominal", "brme robust", "brme-mse nominal",
    "brme-mse robust", "grm-sft", "grm-dpo", "grm-dpo-noref",
)  # fmt: skip
MIXES = {1.0: "brme nominal", 0.8: "mix 0.8", 0.6: "mix 0.6", 0.4: "mix 0.4", 0.2: "mix 0.2", 0.0: "brme robust"}
BLACK, GREY, BLUE, ORANGE, GREEN = "#000000", "#8c8c8c", "#0072B2", "#D55E00", "#009E73"  # of Okabe and Ito
DRAWN = {
    "bt": (BLACK, "-", "o"),
    "bt-mlp": (GREY, "--", "s"),
    "ensemble mean": (BLUE, "--", "^"),
    "ensemble minimum": (BLUE, "-", "v"),
    "brme nominal": (ORANGE, "--", "D"),
    "brme robust": (ORANGE, "-", "d"),
    "grm-sft": (GREEN, "-", "P"),
    "grm-dpo": (GREEN, "--", "X"),
    "grm-dpo-noref": (GREEN, ":", "*"),
}
LABELS = {"bt": "bt, 95% interval shaded"}


class Claim(NamedTuple):
    """That one proxy over-optimises less than another, and who says so."""

    proxy: str
    base: str
    source: str


CLAIMS = (
    Claim("ensemble mean", "bt", "arXiv 2310.02743"),
    Claim("ensemble minimum", "bt", "arXiv 2310.02743"),
    Claim("brme robust", "bt", "arXiv 2409.15360"),
    Claim("brme robust", "brme nominal", "arXiv 2409.15360"),
    Claim("grm-sft", "bt", "arXiv 2406.10216"),
    Claim("grm-dpo", "bt", "arXiv 2406.10216"),
    Claim("grm-dpo-noref", "bt", "arXiv 2406.10216"),
    Claim("grm-sft", "bt-mlp", "what its regulariser adds to its head alone"),
    Claim("grm-dpo", "bt-mlp", "what its regulariser adds to its head alone"),
    Claim("grm-dpo-noref", "bt-mlp", "what its regulariser adds to its head alone"),
)


def kl(n: int) -> float:
    return math.log(n) - (n - 1) / n


def curves(found: Found, proxy: str, noise: float) -> np.ndarray:
    """Return gold by seed and N, [seeds, N]."""
    return np.array([r["gold"] for r in found["rows"] if (r["proxy"], r["noise"]) == (proxy, noise)])


def drops(by_seed: np.ndarray) -> list[float]:
    """Return gold at the peak less gold at the end, by seed; where the peak is, the other seeds say.

    On a seed's own peak it could not be below 0, and noise alone would look like a drop.
    """
    found = []
    for s in range(len(by_seed)):
        peak = int(np.delete(by_seed, s, axis=0).mean(axis=0).argmax())
        found.append(float(by_seed[s, peak] - by_seed[s, -1]))
    return found


def compared(found: Found, proxy: str, base: str, noise: float) -> tuple[Interval, Interval]:
    """Return by how much gold at the last N, and the drop, of one proxy are above another's, by paired seeds."""
    ours, theirs = curves(found, proxy, noise), curves(found, base, noise)
    fall = [a - b for a, b in zip(drops(ours), drops(theirs), strict=True)]
    return interval([float(d) for d in ours[:, -1] - theirs[:, -1]]), interval(fall)


def said(d: Interval, *, sign: bool = True, digits: int = 2) -> str:
    form = f"{'+' if sign else ''}.{digits}f"
    return f"{d['mean']:{form}} ({d['low']:{form}} to {d['high']:{form}})"


def verdict(d: Interval, wanted: int) -> str:
    """Return what an interval says of a claim that the difference has a sign."""
    if d["low"] > 0 or d["high"] < 0:
        return "reproduces" if (d["mean"] > 0) == (wanted > 0) else "the opposite holds"
    return "not shown"


def listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def of_overall(found: Found) -> list[str]:
    """Return sentences on who over-optimises at all, and on label noise."""
    lines, end = [], found["best_of"][-1]
    for noise, title in TITLES.items():
        falls = {p: interval(drops(curves(found, p, noise))) for p in MAIN}
        some = [f"{p} {said(d, sign=False)}" for p, d in falls.items() if d["low"] > 0]
        others = [p for p, d in falls.items() if d["low"] <= 0]
        lines.append(
            f"- Gold falls from its peak to N = {end}, {title}: {listed(some)}. No such fall is shown for: "
            f"{listed(others)}."
        )
    clean, noisy = (curves(found, "bt", n) for n in TITLES)
    lost = interval([float(d) for d in noisy[:, -1] - clean[:, -1]])
    fall = interval([a - b for a, b in zip(drops(noisy), drops(clean), strict=True)])
    lines.append(
        f"- Wrong labels make bt worse: gold at N = {end} {said(lost)}, {verdict(lost, -1)}; drop {said(fall)}, "
        f"{verdict(fall, 1)}."
    )
    return lines


def of_claims(found: Found) -> list[str]:
    """Return a table of the claims, with a verdict on each of gold at the last N, and of the drop."""
    end = found["best_of"][-1]
    lines = [
        f"| claim | labels | gold at N = {end}, difference | higher? | drop, difference | smaller? |",
        "|---|---|---|---|---|---|",
    ]
    for claim in CLAIMS:
        for noise in TITLES:
            last, fall = compared(found, claim.proxy, claim.base, noise)
            lines.append(
                f"| {claim.proxy} against {claim.base} ({claim.source}) | {_short(noise)} "
                f"| {said(last, digits=3)} | {_bold(verdict(last, 1))} "
                f"| {said(fall, digits=3)} | {_bold(verdict(fall, -1))} |"
            )
    return lines


def _short(noise: float) -> str:
    return f"{noise:.0%} wrong" if noise else "clean"


def _bold(text: str) -> str:
    return text if text == "not shown" else f"**{text}**"


def summary(found: Found) -> list[str]:
    """Return a sentence for each claim, and what chance would make of as many."""
    lines, drawn = [], 0
    for claim in CLAIMS:
        parts = []
        for noise in TITLES:
            last, fall = compared(found, claim.proxy, claim.base, noise)
            parts.append(f"{_short(noise)}: smaller drop {verdict(fall, -1)}, higher end {verdict(last, 1)}")
            drawn += 2
        lines.append(
            f"- {claim.proxy} over-optimises less than {claim.base} ({claim.source}). {'; '.join(parts).capitalize()}."
        )
    size = max(
        abs(compared(found, c.proxy, c.base, noise)[0]["mean"])
        for c in CLAIMS if c.base == "bt-mlp" for noise in TITLES
    )  # fmt: skip
    return [
        *lines,
        f"- Of {drawn} such comparisons, many of them of the same figures, chance alone would have about "
        f"{0.025 * drawn:.0f} reproduce.",
        f"- At the paper's weight of {RECIPES['grm-sft'].text_weight}, GRM's regularisers move gold at the end by at "
        f"most {size:.2f} on average from what their head does without them. This is one tiny trunk, whose language "
        "model is the policy itself; larger weights and other trunks were not tried.",
    ]


def table(found: Found, names: Sequence[str], noise: float, labels: Sequence[str]) -> list[str]:
    """Return gold by N, the peak, the drop and the difference to bt, a row a proxy."""
    best_of = found["best_of"]
    lines = [
        f"| proxy | accuracy | {' | '.join(f'N = {n}' for n in best_of[1:])} | peak N | drop | "
        f"N = {best_of[-1]}, against bt | drop, against bt |",
        "|---|" + "---|" * (len(best_of) + 4),
    ]
    for name, label in zip(names, labels, strict=True):
        by_seed = curves(found, name, noise)
        right = [r["accuracy"] for r in found["rows"] if (r["proxy"], r["noise"]) == (name, noise)]
        means = [f"{v:.2f}" for v in by_seed.mean(axis=0)[1:-1]]
        last, fall = compared(found, name, "bt", noise)
        cells = [
            label, f"{100 * np.mean(right):.1f}", *means, f"**{said(interval(by_seed[:, -1].tolist()), sign=False)}**",
            str(best_of[int(by_seed.mean(axis=0).argmax())]), said(interval(drops(by_seed)), sign=False),
            "" if name == "bt" else said(last), "" if name == "bt" else said(fall),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def report(found: Found) -> str:
    """Return the report in Markdown."""
    best_of = found["best_of"]
    oracle = ", ".join(f"{v:.2f}" for v in found["oracle"][1:])
    lines = [
        "# Over-optimisation",
        "",
        f"Written by `python -m benchmarks.over_optimisation`: best-of-N for N = 1..{best_of[-1]} by proxies that were "
        f"trained on {found['pairs']} pairs which a known gold reward labelled, in a world of generated text with a "
        f"policy of 0.14M parameters (`benchmarks/_proxy_world.py`); {found['prompts']} prompts that no pair is of, "
        f"{found['samples']} samples each, exact means over subsets of N. Ensembles of {found['members']}, each member "
        "standardised on answers to the training prompts. All proxies train the whole trunk, "
        f"{found['epochs']} epochs. Gold is in standard deviations of the policy's answers, 0 their mean. "
        f"{found['seeds']} seeds, 95% intervals by t over them, differences paired by seed, not corrected for how many "
        f"there are; policy and samples are the same for all. {found['seconds'] / 60:.0f} minutes on one thread.",
        "",
        "The world is made so that over-optimisation can happen: doses of steps, compliments and hedges help at first "
        "and harm where they are rare. World and gold were written before any proxy was trained; rates, epochs and "
        "the number of pairs were chosen by trying bt alone on a seed that is not reported here.",
        "",
        "![Gold by KL](over_optimisation.png)",
        "",
        f"Best-of-N by gold itself, N = {', '.join(map(str, best_of[1:]))}: {oracle}.",
        "",
        "Peak: of the mean over seeds. Drop: gold at the peak less gold at the last N, on each seed with the peak that "
        "the other seeds have, so that chance alone makes no drop. Accuracy: of pairs of the policy's answers, in "
        "percent.",
        "",
        "## What reproduces at this size",
        "",
        "Reproduces: the paired interval excludes zero on the claimed side. Not shown: it holds zero.",
        "",
        *of_overall(found),
        *summary(found),
        "",
        *of_claims(found),
        "",
    ]
    for noise, title in TITLES.items():
        lines += [f"## Gold by N, {title}", "", *table(found, MAIN, noise, MAIN), ""]
    lines += [
        "## BRME: a on the nominal reward, 1 - a on the lowest head",
        "",
        "The source contradicts itself on which of the two a weighs; read upwards for the other reading.",
        "",
    ]
    for noise, title in TITLES.items():
        labels = [f"a = {a}" for a in MIXES]
        lines += [f"{title[0].upper()}{title[1:]}:", "", *table(found, list(MIXES.values()), noise, labels), ""]
    return "\n".join(lines).rstrip() + "\n"


def picture(found: Found) -> bytes:
    """Draw gold by KL, a panel for clean and one for wrong labels; beside each, the last N with its intervals."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    best_of = found["best_of"]
    x = [kl(n) for n in best_of]
    figure = Figure(figsize=(12.5, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(1, 4, width_ratios=(4, 1.7, 4, 1.7), sharey=True)
    for column, (noise, title) in enumerate(TITLES.items()):
        axes, strip = grid[2 * column], grid[2 * column + 1]
        for place, (name, (colour, dash, mark)) in enumerate(DRAWN.items()):
            by_seed = curves(found, name, noise)
            axes.plot(
                x,
                by_seed.mean(axis=0),
                dash,
                marker=mark,
                color=colour,
                ms=4.5,
                lw=1.5,
                zorder=4 if name == "bt-mlp" else 2,
                label=LABELS.get(name, name),
            )
            if name == "bt":
                around = [interval(by_seed[:, i].tolist()) for i in range(len(x))]
                axes.fill_between(x, [d["low"] for d in around], [d["high"] for d in around], color=colour, alpha=0.12)
            last = interval(by_seed[:, -1].tolist())
            strip.plot([place, place], [last["low"], last["high"]], color=colour, lw=1.8)
            strip.plot(place, last["mean"], mark, color=colour, ms=7)
        axes.set_title(title[0].upper() + title[1:], fontsize=10)
        axes.set_xlabel("KL from the policy in nats: log N - (N - 1) / N", fontsize=9)
        above = axes.secondary_xaxis("top")
        above.set_xticks(x[2:], [str(n) for n in best_of[2:]], fontsize=8)
        above.set_xlabel("N", fontsize=8)
        strip.set_title(f"N = {best_of[-1]}, 95% interval", fontsize=9)
        strip.set_xticks(range(len(DRAWN)), list(DRAWN), rotation=90, fontsize=8)
        strip.axhline(curves(found, "bt", noise)[:, -1].mean(), color=BLACK, lw=0.7, ls=":")
        for one in (axes, strip):
            one.tick_params(labelsize=8)
            one.grid(axis="y", lw=0.4, alpha=0.5)
            one.spines[["top", "right"]].set_visible(False)
    grid[0].set_ylabel("gold, in standard deviations of the policy's answers", fontsize=9)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=9, fontsize=8, frameon=False, handlelength=3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
