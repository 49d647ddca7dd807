"""What the trainings of `reward_sources` come to: rises, gaps, departures and differences, with intervals over seeds.

A rise is against the policy before training, on held-out problems, the same samples' seeds each time. Rewards of
different sources have different scales, so a rise is also told in standard deviations over the responses before
training; the gap is the rise of the reward less that of the true score, both so standardised: what the source believes
was won and was not.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import StatisticsError, correlation, fmean
from typing import Any

from benchmarks._reward_models import interval
from benchmarks._reward_sources_train import SOURCES

Run = dict[str, Any]
Interval = dict[str, float]
ORDER = tuple(pairwise(SOURCES))  # that arXiv 2503.22230 reports, the better one first
ALSO = (("genrm_gold", "bt"), ("rtv", "bt"))
PLAIN = "brme_1.0"
COUNTED = ("last", "gap")


def part(run: Run, name: str) -> list[dict[str, Any]]:
    """Return the rows of one part, `train` or `heldout`, in order of steps."""
    return [row for row in run["rows"] if row["part"] == name]


def outcome(run: Run) -> dict[str, Any]:
    """Return what one training came to; `curve` has (step, reward, truth) of the held-out problems."""
    rows, steps = part(run, "heldout"), part(run, "train")
    first, last = rows[0], rows[-1]
    rises = {name: (last[name] - first[name]) / max(first[f"{name}_sd"], 1e-9) for name in ("reward", "truth")}
    return {
        "first": first["truth"], "last": last["truth"], "gain": last["truth"] - first["truth"],
        "best": max(row["truth"] for row in rows), "reward_first": first["reward"], "reward_last": last["reward"],
        "rise_of_reward": rises["reward"], "rise_of_truth": rises["truth"], "gap": rises["reward"] - rises["truth"],
        "correlation": _correlation(rows), "correlation_in_training": _correlation(steps),
        "ordered_first": first["ordered"], "ordered_last": last["ordered"], "kl": run["kl"][-1],
        "reward_sd": first["reward_sd"], "truth_sd": first["truth_sd"], "seconds": run["seconds"],
        "curve": [(row["step"], row["reward"], row["truth"]) for row in rows],
        "training": [(row["step"], row["reward"], row["truth"]) for row in steps],
    }  # fmt: skip


def _correlation(rows: Sequence[dict[str, Any]]) -> float | None:
    """Return Pearson's correlation of reward and truth over steps; None where either does not move."""
    try:
        return correlation([row["reward"] for row in rows], [row["truth"] for row in rows])
    except StatisticsError:
        return None


def departures(outcomes: Sequence[dict[str, Any]]) -> dict[str, int | None]:
    """Return when the reward departs from the truth, or None where it never does.

    Looked at is each evaluation against the earlier one at which the true score was highest (mean over seeds), by the
    95% interval over seeds of the change since then. `stalls`: the reward has risen, clear of zero, while the true
    score is lower on average. `falls`: the fall of the true score is clear of zero, too.
    """
    curves = [o["curve"] for o in outcomes]
    steps = [step for step, *_ in curves[0]]
    found: dict[str, int | None] = {"stalls": None, "falls": None}
    for now in range(1, len(steps)):
        peak = max(range(now), key=lambda n: fmean(c[n][2] for c in curves))
        reward, truth = (interval([c[now][i] - c[peak][i] for c in curves]) for i in (1, 2))
        if reward["low"] > 0 and truth["mean"] < 0:
            found["stalls"] = steps[now] if found["stalls"] is None else found["stalls"]
            if truth["high"] < 0:
                found["falls"] = steps[now] if found["falls"] is None else found["falls"]
    return found


def summary(outcomes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return means with intervals over the seeds of one arm, and its departures."""
    names = (
        "first", "last", "gain", "reward_first", "reward_last", "rise_of_reward", "rise_of_truth", "gap", "correlation",
        "correlation_in_training", "ordered_first", "ordered_last", "kl", "seconds",
    )  # fmt: skip
    known = {name: [o[name] for o in outcomes if o[name] is not None] for name in names}
    return {name: interval(values) if values else None for name, values in known.items()} | departures(outcomes)


def difference(arms: dict[str, list[dict[str, Any]]], better: str, worse: str, name: str) -> Interval:
    """Return the mean difference of a number between two arms, paired by seed."""
    return interval([a[name] - b[name] for a, b in zip(arms[better], arms[worse], strict=True)])


def differences(arms: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the differences between neighbours of the paper's order, and of robust arms from the plain one."""
    pairs = [(a, b, "order") for a, b in ORDER] + [(a, b, "also") for a, b in ALSO]
    pairs += [(arm, PLAIN, "robust") for arm in arms if arm.startswith("brme") and arm != PLAIN]
    return [
        {"better": a, "worse": b, "kind": kind, **{name: difference(arms, a, b, name) for name in COUNTED}}
        for a, b, kind in pairs
        if a in arms and b in arms
    ]
