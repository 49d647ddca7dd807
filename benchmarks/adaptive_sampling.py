"""Adaptive sampling on recorded rollouts: how much of the full-sample selection a part of the samples finds.

    .venv/bin/python -m benchmarks.adaptive_sampling [--data ../shared/data] [--reorderings 200] [--workers 2]

Each reordering shuffles the recorded samples of every prompt, and which prompt has which id, because ids decide ties;
then `warehouse.curation.adaptive` draws from the front until it stops or the budget is spent. Beside it, with the same
budget: as many samples for every prompt, judged by the same beliefs ("even") and by raw means ("even, raw"), and a
naive posterior sampler ("Thompson": Beta(1, 1) for every prompt; each round draws a pass rate for each and samples
those that these draws would select; posterior means select).

"Same" is 1 - max(wrongly in, wrongly out) / selected, against the selection from all samples, where prompts whose score
is within .02 of the last one selected (for a band that is not filled: of its edge) may be in or out. "Off" is the mean
full-sample score of the selected prompts minus that of the full-sample selection; a score is what the rule ranks by.
Two lower 95% bounds are given: of the mean over the R reorderings, which is
mean - 1.645 sd / sqrt(R), and of a single reordering, the 5th percentile over them. The settings are the defaults, with
rounds of equal size for all budgets.

Writes adaptive_sampling.json, .md and .png into benchmarks/results/. Fails where rule pre_ppo misses its targets at
20%, or adaptive sampling is significantly behind the even spread although it spent as much.
"""

import argparse
import gzip
import hashlib
import json
import math
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy.stats import t as student

from warehouse.curation.adaptive import Adaptive
from warehouse.curation.apportion import exact, round_half_up
from warehouse.curation.evidence import Evidence
from warehouse.curation.quantise import UNITS

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benchmarks" / "results"
BUDGETS, SHARES, RULES = (0.1, 0.2, 0.4), (0.1, 0.2, 0.5), ("pre_ppo", "learnability", "band")
METHODS = ("adaptive", "even", "even, raw", "Thompson")
TIE, OFF, SAME = 0.02, 0.01, 0.95
BAND = (0.2, 0.8)
ROUND = 160  # rounds = 160 x budget share: a 32nd of a 20% budget each, so that smaller budgets are prefixes of larger
CHUNK = 20  # reorderings a task
MAIN = ("HumanEval", "Game of 24", "DSR-sub")
EXTRA = {"DSR-sub, 32 samples": ("pre_ppo",), "DSR-sub, scores": ("pre_ppo", "variance")}
NOTES = {
    "HumanEval": "82 tasks x 100 samples of CodeGen-16B, base_pass",
    "Game of 24": "46 puzzles x 100 samples of GPT-4, chain of thought, the only prompting style that is recorded; "
    "27 puzzles were never solved, and 2 are in the band",
    "DSR-sub": "626 problems x 104 outcomes of Qwen2.5-Math-1.5B: the last 13 entries of acc_by_step, over which the "
    "policy moves least; each is the share of 8 samples that were right, hence 8 outcomes (all entries are eighths). "
    "Their order within an entry is not recorded, and shuffling makes it irrelevant",
    "DSR-sub, 32 samples": "the last 4 entries only: a number of samples that people use",
    "DSR-sub, scores": "the last 46 entries (all problems have as many), each as one reward from 0 to 1: stands for "
    "scores of a model, known by mean and variance",
}


class Pool(NamedTuple):
    """Ids of prompts, sorted, and their recorded rewards, one row a prompt."""

    ids: list[str]
    rewards: np.ndarray

    @property
    def binary(self) -> bool:
        return bool(np.isin(self.rewards, (0, 1)).all())


class Outcome(NamedTuple):
    """One selection against the full-sample one, and the share of the samples that it took."""

    same: float
    off: float
    spent: float
    selected: int


def records(data: Path, name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def load(data: Path) -> dict[str, Pool]:
    """Return the sets by name, prompts in the order of their ids."""
    found: dict[str, dict[str, dict[int, float]]] = {name: defaultdict(dict) for name in NOTES}
    for row in records(data, "rollouts_humaneval_codegen16b"):
        found["HumanEval"][row["task_id"]][row["sample"]] = float(row["base_pass"])
    for row in records(data, "rollouts_game24_gpt4"):
        found["Game of 24"][f"{row['prompting']} {row['puzzle_idx']}"][row["sample"]] = float(row["reward"])
    for row in records(data, "difficulty_dsr_sub_acc500"):
        eighths = [round(8 * share) for share in row["acc_by_step"]]
        outcomes = [float(i < k) for k in eighths for i in range(8)]
        name = str(row["index"])
        found["DSR-sub"][name] = dict(enumerate(outcomes[-104:]))
        found["DSR-sub, 32 samples"][name] = dict(enumerate(outcomes[-32:]))
        found["DSR-sub, scores"][name] = dict(enumerate(row["acc_by_step"][-46:]))
    return {name: _pool(prompts) for name, prompts in found.items()}


def _pool(prompts: dict[str, dict[int, float]]) -> Pool:
    named = sorted((hashlib.blake2b(n.encode(), digest_size=16).hexdigest(), samples) for n, samples in prompts.items())
    rewards = np.array([[samples[i] for i in range(len(samples))] for _, samples in named])
    return Pool([i for i, _ in named], rewards)


def measure_of(rule: str, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return what the rule ranks by, the lowest first."""
    if rule == "band":
        return np.round(np.abs(mean - sum(BAND) / 2), 9)
    return np.round(mean if rule == "pre_ppo" else -variance, 9)


def lowest(score: np.ndarray, rule: str, k: int) -> np.ndarray:
    """Return the selection by known scores, as a mask; rows are in the order of the ids."""
    chosen = np.zeros(len(score), bool)
    chosen[np.argsort(score, kind="stable")[:k]] = True
    return chosen & (score <= (BAND[1] - BAND[0]) / 2 + 1e-9) if rule == "band" else chosen


def compare(chosen: np.ndarray, score: np.ndarray, rule: str, k: int, spent: float) -> Outcome:
    whole = lowest(score, rule, k)
    last = score[whole].max() if whole.sum() == k else (BAND[1] - BAND[0]) / 2
    clear = np.abs(score - last) > TIE + 1e-9
    wrong = max((chosen & ~whole & clear).sum(), (whole & ~chosen & clear).sum())
    off = score[chosen].mean() - score[whole].mean() if chosen.any() else math.nan
    return Outcome(max(0.0, 1 - float(wrong) / float(whole.sum())), float(off), spent, int(whole.sum()))


class Front:
    """One reordering: what the first n samples of each prompt say."""

    def __init__(self, pool: Pool, seed: list[int]) -> None:
        random = np.random.default_rng(seed)
        self.rewards = random.permuted(random.permutation(pool.rewards), axis=1)
        units = np.rint(self.rewards * UNITS).astype(np.int64)
        zero = np.zeros((len(units), 1), np.int64)
        self.pool, self._rows = pool, np.arange(len(units))
        self._total = np.concatenate([zero, np.cumsum(units, axis=1)], axis=1)
        self._squares = np.concatenate([zero, np.cumsum(units**2, axis=1)], axis=1)
        self._base = pl.DataFrame({"prompt_id": pool.ids, "group": "all", "full": pool.rewards.shape[1]})

    def evidence(self, n: np.ndarray) -> Evidence:
        mean, variance = self.moments(n)
        known = {"drawn": n, "scored": n, "mean": mean, "variance": variance}
        columns = [pl.Series(name, values) for name, values in known.items()]
        return Evidence(self._base.with_columns(*columns, binary=pl.lit(self.pool.binary)))

    def moments(self, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        counted = np.maximum(n, 1)
        mean = self._total[self._rows, n] / (counted * UNITS)
        return mean, self._squares[self._rows, n] / (counted * float(UNITS) ** 2) - mean**2

    def score(self, n: np.ndarray, rule: str) -> np.ndarray:
        return measure_of(rule, *self.moments(n))

    def passes(self, n: np.ndarray) -> np.ndarray:
        return self._total[self._rows, n] // UNITS

    def even(self, budget: int) -> np.ndarray:
        n = len(self._rows)
        return np.full(n, budget // n) + (self._rows < budget % n)


def adaptive(front: Front, rule: str, share: float) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
    """Yield budget, the selection and the samples of each prompt. A plan is a function of the evidence, so what a
    smaller budget would have done is the way of the largest up to it, and one last, shorter round."""
    n_prompts = len(front.pool.ids)
    settings = [Adaptive(rule, share, BAND, budget_share=b, rounds=round(ROUND * b), tolerance=TIE) for b in BUDGETS]
    drawn = np.zeros(n_prompts, np.int64)
    for budget, now in zip(BUDGETS, settings, strict=True):
        ways, budgeted = [drawn], now.budget(n_prompts, front.pool.rewards.size)
        while (extra := _extra(now, front.evidence(ways[-1]))).any():
            ways.append(ways[-1] + extra)
            if ways[-1].sum() >= budgeted:
                break
        yield budget, by_expectation(now, front, ways[-1]), ways[-1]
        drawn = ways[-2] if len(ways) > 1 and ways[-1].sum() >= budgeted else ways[-1]  # its last is short


def by_expectation(settings: Adaptive, front: Front, n: np.ndarray) -> np.ndarray:
    """Return what `selection` would take: the lowest expected full-sample scores."""
    judged = settings.judge(front.evidence(n))
    k = round_half_up(exact(settings.fraction) * judged.height)
    chosen, inside = np.zeros(judged.height, bool), judged["inside"].to_numpy()
    chosen[np.lexsort((judged["score"].to_numpy(), ~inside))[:k]] = True
    return chosen & inside


def _extra(settings: Adaptive, evidence: Evidence) -> np.ndarray:
    plan, ids = settings.plan(evidence), evidence.frame["prompt_id"].to_numpy()
    extra = np.zeros(len(ids), np.int64)
    extra[np.searchsorted(ids, plan["prompt_id"].to_numpy())] = plan["extra"].to_numpy()
    return extra


def thompson(front: Front, rule: str, share: float, seed: list[int]) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
    n_prompts, full = front.pool.rewards.shape
    k, random = round_half_up(exact(share) * n_prompts), np.random.default_rng(seed)
    n = np.full(n_prompts, Adaptive.first)

    def score(rate: np.ndarray) -> np.ndarray:
        return measure_of(rule, rate, rate * (1 - rate))

    for budget in BUDGETS:
        limit = int(exact(budget) * n_prompts * full)
        while (left := limit - n.sum()) > 0:
            rate = random.beta(front.passes(n) + 1, n - front.passes(n) + 1)
            turn = np.argsort(np.where(n < full, score(rate), np.inf), kind="stable")[:k]
            wish = np.minimum(Adaptive.step, full - n[turn])
            n[turn] += np.clip(left - (np.cumsum(wish) - wish), 0, wish)
        yield budget, lowest(score((front.passes(n) + 1) / (n + 2)), rule, k), n.copy()


def task(pools: dict[str, Pool], job: tuple[str, str, float, int, int]) -> tuple[Any, ...]:
    """Return (set, rule, share, {method: {budget: outcomes}}) for some reorderings."""
    name, rule, share, start, stop = job
    pool, found = pools[name], {m: {b: [] for b in BUDGETS} for m in METHODS}
    n_prompts = len(pool.ids)
    k = round_half_up(exact(share) * n_prompts)
    for seed in range(start, stop):
        front = Front(pool, [seed, list(NOTES).index(name)])
        whole = measure_of(rule, front.rewards.mean(axis=1), front.rewards.var(axis=1))
        ways: dict[str, Iterator[tuple[float, np.ndarray, np.ndarray]]] = {"adaptive": adaptive(front, rule, share)}
        if pool.binary:
            ways["Thompson"] = thompson(front, rule, share, [seed, 1])
        for method, way in ways.items():
            for budget, chosen, n in way:
                found[method][budget].append(compare(chosen, whole, rule, k, n.sum() / pool.rewards.size))
        for budget in BUDGETS:
            n = front.even(int(exact(budget) * pool.rewards.size))
            judge = by_expectation(Adaptive(rule, share, BAND, tolerance=TIE), front, n)
            for method, chosen in (("even", judge), ("even, raw", lowest(front.score(n, rule), rule, k))):
                found[method][budget].append(compare(chosen, whole, rule, k, n.sum() / pool.rewards.size))
    return name, rule, share, found


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """Return means and bounds over reorderings. Where nothing was selected there is no score, and that is counted."""
    same, off = np.array([o.same for o in outcomes]), np.array([o.off for o in outcomes])
    off = off[~np.isnan(off)]
    size = np.abs(off)
    return {
        "spent": round(float(np.mean([o.spent for o in outcomes])), 4),
        "same": round(float(same.mean()), 5),
        "same_bound_of_mean": round(_bound(same, -1), 5),
        "same_5th_percentile": round(float(np.quantile(same, 0.05)), 5),
        "off": round(float(off.mean()), 5),
        "off_size": round(float(size.mean()), 5),
        "off_size_bound_of_mean": round(_bound(size, 1), 5),
        "off_size_95th_percentile": round(float(np.quantile(size, 0.95)), 5),
        "nothing_selected": len(outcomes) - len(off),
    }


def _bound(values: np.ndarray, sign: int) -> float:
    return float(values.mean() + sign * 1.645 * values.std(ddof=1) / math.sqrt(len(values)))


def paired(ours: list[Outcome], theirs: list[Outcome], of: Callable[[Outcome], float]) -> dict[str, float]:
    """Return the mean paired difference with its two-sided 95% interval and p (paired t)."""
    difference = np.array([of(a) - of(b) for a, b in zip(ours, theirs, strict=True)])
    difference = difference[~np.isnan(difference)]
    mean, error = float(difference.mean()), float(difference.std(ddof=1)) / math.sqrt(len(difference))
    reach = float(student.ppf(0.975, len(difference) - 1)) * error
    p = 2 * float(student.sf(abs(mean) / error, len(difference) - 1)) if error > 0 else float(mean == 0)
    return {"mean": round(mean, 5), "low": round(mean - reach, 5), "high": round(mean + reach, 5), "p": p}


def measure(pools: dict[str, Pool], reorderings: int, workers: int) -> list[dict[str, Any]]:
    settings = [
        *product(MAIN, RULES, SHARES),
        *((n, r, s) for n, rules in EXTRA.items() for r in rules for s in SHARES),
    ]
    jobs = [
        (*setting, start, min(start + CHUNK, reorderings))
        for setting in settings
        for start in range(0, reorderings, CHUNK)
    ]
    everything: dict[tuple[str, str, float], dict[str, dict[float, list[Outcome]]]] = {}
    with ProcessPoolExecutor(workers) as pool:
        for name, rule, share, found in pool.map(partial(task, pools), jobs):
            kept = everything.setdefault((name, rule, share), {m: {b: [] for b in BUDGETS} for m in METHODS})
            for method, budget in product(METHODS, BUDGETS):
                kept[method][budget] += found[method][budget]
    rows = []
    for (name, rule, share), found in everything.items():
        for budget in BUDGETS:
            ours = found["adaptive"][budget]
            row: dict[str, Any] = {"set": name, "rule": rule, "share": share, "budget": budget}
            row |= {"selected": ours[0].selected, "prompts": len(pools[name].ids)}
            row["methods"] = {m: summary(found[m][budget]) for m in METHODS if found[m][budget]}
            others = [m for m in METHODS[1:] if found[m][budget]]
            row["same_ahead_of"] = {m: paired(ours, found[m][budget], lambda o: o.same) for m in others}
            row["off_size_ahead_of"] = {m: paired(found[m][budget], ours, lambda o: abs(o.off)) for m in others}
            rows.append(row)
    return rows


def behind(rows: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any], str, dict[str, float]]]:
    """Return where adaptive is behind an even spread with the paired 95% interval on one side of 0."""
    return [
        (kind, row, m, row[kind][m])
        for row in rows
        for kind in ("same_ahead_of", "off_size_ahead_of")
        for m in ("even", "even, raw")
        if row[kind][m]["high"] < 0
    ]


def verdict(row: dict[str, Any]) -> dict[str, bool]:
    ours = row["methods"]["adaptive"]
    return {
        "mean": ours["same_bound_of_mean"] >= SAME and ours["off_size_bound_of_mean"] <= OFF,
        "each": ours["same_5th_percentile"] >= SAME and ours["off_size_95th_percentile"] <= OFF,
    }


def table(rows: list[dict[str, Any]]) -> list[str]:
    out = [
        "| set | share | selected | budget | spent | same | bound of mean | 5th percentile | off, mean size "
        "| 95th percentile | even | even, raw | Thompson | ahead of even (95%) | ahead of raw (95%) |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours = row["methods"]["adaptive"]
        others = [f"{100 * row['methods'][m]['same']:.1f}" if m in row["methods"] else "-" for m in METHODS[1:]]
        ahead = [
            f"{100 * d['mean']:+.1f} ({100 * d['low']:+.1f} to {100 * d['high']:+.1f})"
            for d in (row["same_ahead_of"][m] for m in ("even", "even, raw"))
        ]
        cells = [
            row["set"], f"{row['share']:.0%}", str(row["selected"]), f"{row['budget']:.0%}", f"{ours['spent']:.1%}",
            f"**{100 * ours['same']:.1f}**", f"{100 * ours['same_bound_of_mean']:.1f}",
            f"{100 * ours['same_5th_percentile']:.1f}", f"{ours['off_size']:.4f}",
            f"{ours['off_size_95th_percentile']:.4f}", *others, *ahead,
        ]  # fmt: skip
        out.append(f"| {' | '.join(cells)} |")
    return out


def write(result: dict[str, Any], out: Path) -> None:
    rows = result["rows"]
    main = [r for r in rows if r["set"] in MAIN]
    text = [
        "# Adaptive sampling",
        "",
        f"Written by `python -m benchmarks.adaptive_sampling`. {result['reorderings']} reorderings of the samples. "
        "Same: the share of the full-sample selection that is found, in percent; scores within .02 of the last one "
        "selected count as ties, and of those wrongly in and wrongly out the larger number counts. Off: how far the "
        "mean full-sample score of the selected prompts is from that of the full-sample selection. Bound of mean: "
        "lower 95% bound of the mean over reorderings. 5th and 95th percentile: over reorderings, so of a single one. "
        "Ahead: paired difference in points. Adaptive sampling stops where all is certain; others spend the budget.",
        "",
        "Sets: " + "; ".join(f"{name}: {note}" for name, note in NOTES.items() if name in MAIN) + ".",
        "",
        "![Same selection by budget and method](adaptive_sampling.png)",
        "",
        "## Targets at a budget of 20%",
        "",
        f"At least {SAME:.0%} the same and at most {OFF} off, by the bounds of the means (mean) and for a single "
        "reordering (each).",
        "",
        "| rule | set | share | same, bound of mean | off, bound of mean | mean | each |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in (r for r in main if r["budget"] == 0.2):
        ours, reached = row["methods"]["adaptive"], verdict(row)
        marks = ["reached" if reached[c] else "**missed**" for c in ("mean", "each")]
        text.append(
            f"| {row['rule']} | {row['set']} | {row['share']:.0%} | {100 * ours['same_bound_of_mean']:.1f} "
            f"| {ours['off_size_bound_of_mean']:.4f} | {marks[0]} | {marks[1]} |"
        )
    text += ["", "## Against the even spread", "", *result["against"], ""]
    for rule in RULES:
        also = ", and variance, which is the same for rewards of 0 and 1" if rule == "learnability" else ""
        text += [f"## Rule {rule}{also}", "", *table([r for r in main if r["rule"] == rule]), ""]
    text += ["## Further sets", "", *(f"- {name}: {NOTES[name]}." for name in EXTRA), ""]
    for rule in ("pre_ppo", "variance"):
        text += [f"Rule {rule}:", "", *table([r for r in rows if r["set"] in EXTRA and r["rule"] == rule]), ""]
    (out / "adaptive_sampling.md").write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")
    (out / "adaptive_sampling.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (out / "adaptive_sampling.png").write_bytes(picture(main))


def against(rows: list[dict[str, Any]]) -> list[str]:
    """Return sentences on how adaptive compares with the even spread over all rules, sets, shares and budgets."""
    lines = []
    for method in METHODS[1:]:
        some = [r["same_ahead_of"][method] for r in rows if method in r["same_ahead_of"]]
        ahead, back = sum(d["low"] > 0 for d in some), sum(d["high"] < 0 for d in some)
        mean = 100 * float(np.mean([d["mean"] for d in some]))
        lines.append(
            f"- {method}: {mean:+.1f} points on average over {len(some)} comparisons of rule, set, share and budget; "
            f"significantly ahead in {ahead}, behind in {back}."
        )
    for kind, row, method, d in behind(rows):
        what, spent = "same" if kind == "same_ahead_of" else "off", row["methods"]["adaptive"]["spent"]
        lines.append(
            f"- Behind {method} in {what}: {row['rule']}, {row['set']}, share {row['share']:.0%}, budget "
            f"{row['budget']:.0%}: {d['mean']:+.4f} ({d['low']:+.4f} to {d['high']:+.4f}), p = {d['p']:.1g}; "
            f"adaptive sampling had stopped at {spent:.1%}."
        )
    return lines


def picture(rows: list[dict[str, Any]]) -> bytes:
    """Draw, for each rule: above, same by budget, averaged over sets and shares; below, each of these at 20%."""
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    colours = dict(zip(METHODS, ("#c44e52", "#4c72b0", "#9aa7b8", "#dd8452"), strict=True))
    figure = Figure(figsize=(11, 7.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, len(RULES), height_ratios=(1, 1.5))
    for column, rule in enumerate(RULES):
        own = [r for r in rows if r["rule"] == rule]
        axes = grid[0][column]
        for method in METHODS:
            means = [np.mean([r["methods"][method]["same"] for r in own if r["budget"] == b]) for b in BUDGETS]
            axes.plot(BUDGETS, 100 * np.array(means), "o-", color=colours[method], label=method, ms=4)
        axes.axhline(100 * SAME, color="k", lw=0.7, ls=":")
        axes.set(title=rule, ylim=(45, 101), xticks=BUDGETS, xticklabels=[f"{b:.0%}" for b in BUDGETS])
        axes.set_xlabel("budget, share of all samples", fontsize=8)
        axes = grid[1][column]
        places = [r for r in own if r["budget"] == 0.2]
        for y, row in enumerate(places):
            for i, method in enumerate(METHODS):
                at, found = y + 0.17 * (i - 1.5), row["methods"][method]
                low, mean = 100 * found["same_5th_percentile"], 100 * found["same"]
                axes.plot([low, mean], [at, at], color=colours[method], lw=1.2)
                axes.plot(mean, at, "o", color=colours[method], ms=4)
        axes.axvline(100 * SAME, color="k", lw=0.7, ls=":")
        labels = [f"{r['set']}, {r['share']:.0%}" for r in places] if column == 0 else [""] * len(places)
        axes.set_yticks(range(len(places)), labels, fontsize=8)
        axes.set(xlim=(-2, 102) if rule == "band" else (35, 101))
        axes.invert_yaxis()
        axes.set_xlabel("same selection at a budget of 20%, in %\n(mean, line to the 5th percentile)", fontsize=8)
    grid[0][0].set_ylabel("same selection, in %\n(mean over sets and shares)", fontsize=8)
    grid[0][0].legend(fontsize=8, loc="lower right")
    for axes in grid.flat:
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--reorderings", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    started = time.perf_counter()
    rows = measure(load(options.data), options.reorderings, options.workers)
    mains = [r for r in rows if r["set"] in MAIN]
    result = {
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "reorderings": options.reorderings,
        "seconds": round(time.perf_counter() - started, 1),
        "against": against(mains),
        "rows": rows,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    write(result, options.out)
    sys.stdout.write("\n".join(result["against"]) + "\n")
    equal = [r for r in mains if r["methods"]["adaptive"]["spent"] > 0.95 * r["budget"]]
    missed = [r for r in mains if r["rule"] == "pre_ppo" and r["budget"] == 0.2 and not verdict(r)["mean"]]
    for row in missed:
        sys.stdout.write(f"missed: {row['set']}, share {row['share']:.0%}\n")
    return 1 if missed or behind(equal) else 0


if __name__ == "__main__":
    sys.exit(main())
