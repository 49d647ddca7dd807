"""The section and the plots of `reward_sources`."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib

from benchmarks._reward_models import interval
from benchmarks._reward_sources_numbers import ALSO, ORDER, PLAIN
from benchmarks._reward_sources_train import ROBUST, SOURCES
from benchmarks._reward_sources_world import ASKED, FLIPPED, HELD_OUT, SAMPLES, TRAINED_ON, WORDINGS

matplotlib.use("Agg")
import matplotlib.pyplot as plt

_WRONG = "references_wrong"
SAID = {
    "rtv": "rule verifier (RTV)",
    "genrm_gold": "GenRM with ground truth",
    "genrm_best_of_n": "GenRM with best-of-N",
    "bt": "Bradley-Terry alone",
    "brme_1.0": "nominal alone (a = 1)",
    "brme_0.5": "half nominal, half worst (a = 0.5)",
    "brme_0.0": "worst alone (a = 0)",
}


def report(found: dict[str, Any]) -> str:
    """Return the section, a heading of level 2 first."""
    arms = [arm for arm in SOURCES if arm in found["arms"]]
    robust = [arm for arm in ROBUST if arm in found["arms"]]
    lines = ["## Which reward source can be trained against", "", _head(found), "", _setting(), "", _fixed(found), ""]
    if arms:
        lines += [*_table(found, arms), "", *_order(found), "", _departures(found, arms), ""]
        lines += ["![true score and training reward by source](reward_sources.png)", ""]
    if robust:
        lines += ["### A robust objective under a noisy reward model", "", _robust_setting(found), ""]
        lines += [*_table(found, robust), "", *_robust(found), "", _departures(found, robust), ""]
        lines += ["![robust objective against plain](reward_sources_robust.png)", ""]
    return "\n".join([*lines, "### Limits", "", _limits()]) + "\n"


def _head(found: dict[str, Any]) -> str:
    return (
        f"Written by `python -m benchmarks.reward_sources`: {len(found['seeds'])} seeds, {found['steps']} steps of "
        f"{found['prompts']} prompts x {found['samples']} samples. {found['machine']}, {found['together']} trainings "
        f"at a time; {found['minutes']:.0f} minutes of training in all. Intervals are 95%, by t over seeds; "
        "differences are paired by seed. What stands in bold is clear of zero. No correction is made for looking at "
        "several."
    )


def _setting() -> str:
    return (
        "The nursery model learns word problems by one reward source at a time (arXiv 2503.22230, section 3.1); "
        "prompts, steps and settings are the same, those of the section above but for half the prompts a step and no "
        f"dynamic sampling. Each seed draws its own world: {ASKED} problems, of which the first {TRAINED_ON} are "
        f"trained on that the model solves in some of {SAMPLES} samples and not in all; {HELD_OUT} of them are held "
        f"out about other people and things; reward models learn from right and wrong answers to {WORDINGS} other "
        "wordings of each. The true score is what the rule verifier says of the very same responses, which the "
        "training never sees but for RTV."
    )


def _fixed(found: dict[str, Any]) -> str:
    pairs, accuracy, wrong = (fmean(w[name] for w in found["worlds"]) for name in ("pairs", "bt_accuracy", _WRONG))
    return (
        f"The Bradley-Terry model (recipe `bt`) learnt from {pairs:.0f} pairs and orders {accuracy:.0%} of held-out "
        f"ones rightly; of the best-of-N references that it chose, {wrong:.0%} are wrong. All sizes and settings, and "
        "what counts as a departure, were fixed with seed 900, which is not reported: its reward models first learnt "
        "from few pairs of other problems and ordered held-out ones by chance, so the pairs were changed. After its "
        "trainings had run, no size, setting or criterion was changed."
    )


def _robust_setting(found: dict[str, Any]) -> str:
    accuracy = fmean(world["brme_accuracy"] for world in found["worlds"])
    return (
        "The same problems, rewarded by a BRME model (recipe `brme`) that learnt from the same pairs with "
        f"{FLIPPED:.0%} of the labels turned round: it orders {accuracy:.0%} of held-out pairs rightly. The objective "
        "is a * nominal + (1 - a) * worst, over the heads (arXiv 2409.15360), `ppo.robust` = a; what is called "
        "reward here is that objective, of each arm its own."
    )


def _pm(value: dict[str, float] | None, digits: int = 3, sign: str = "") -> str:
    if value is None:
        return ""
    return f"{value['mean']:{sign}.{digits}f} ± {value['high'] - value['mean']:.{digits}f}"


def _table(found: dict[str, Any], arms: Sequence[str]) -> list[str]:
    lines = [
        "| source | true score before | after | rise of reward, SD | rise of true score, SD | gap, SD "
        "| correlation over evaluations | tells right from wrong, before | after | a training |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for arm in arms:
        one = found["arms"][arm]
        cells = [SAID[arm], _pm(one["first"]), _pm(one["last"])]
        cells += [_pm(one[name], 2, "+") for name in ("rise_of_reward", "rise_of_truth", "gap", "correlation")]
        cells += [_pm(one[name], 2) for name in ("ordered_first", "ordered_last")]
        seconds = one["seconds"]["mean"]
        lines.append(f"| {' | '.join(cells)} | {seconds:.0f} s |")
    return [
        *lines, "",
        "All of held-out problems. SD: standard deviations over the responses before training; gap: the rise of the "
        "reward less that of the true score. Tells right from wrong: how often, of a right and a wrong response to "
        "the "
        "same problem, the right one has the higher reward (ties count half).",
    ]  # fmt: skip


def _told(gap: dict[str, float], digits: int = 3) -> str:
    text = f"{gap['mean']:+.{digits}f} ({gap['low']:+.{digits}f} to {gap['high']:+.{digits}f})"
    return f"**{text}**" if gap["low"] > 0 or gap["high"] < 0 else text


def _rows(found: dict[str, Any], kinds: Sequence[str]) -> list[str]:
    lines = [
        "| difference | true score after | smallest effect seen | gap, SD | smallest effect seen |",
        "|---|---|---|---|---|",
    ]
    for one in found["differences"]:
        if one["kind"] in kinds:
            cells = [f"{SAID[one['better']]} less {SAID[one['worse']]}"]
            for name, digits in (("last", 3), ("gap", 2)):
                cells += [_told(one[name], digits), f"{one[name]['high'] - one[name]['mean']:.{digits}f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _verdict(gap: dict[str, float]) -> str:
    return "reproduced" if gap["low"] > 0 else "the other way round" if gap["high"] < 0 else "not shown"


def _order(found: dict[str, Any]) -> list[str]:
    known = {(one["better"], one["worse"]): one for one in found["differences"]}
    steps = [f"{SAID[a]} > {SAID[b]}: {_verdict(known[a, b]['last'])}" for a, b in ORDER]
    also = [f"{SAID[a]} > {SAID[b]}: {_verdict(known[a, b]['last'])}" for a, b in ALSO]
    means = sorted(SOURCES, key=lambda arm: -found["arms"][arm]["last"]["mean"])
    whole = all(_verdict(known[pair]["last"]) == "reproduced" for pair in ORDER)
    return [
        *_rows(found, ("order", "also")), "",
        "The paper's order, RTV > GenRM with ground truth > GenRM with best-of-N or a Bradley-Terry model, by the "
        "true score after training: "
        f"{'it reproduces, step by step' if whole else 'it does not reproduce as a whole'}. {'; '.join(steps)}. And "
        f"{'; '.join(also)}. The order of the means is {', '.join(SAID[m] for m in means)}. An "
        "effect below the half width of an interval could not have been seen.",
    ]  # fmt: skip


def _robust(found: dict[str, Any]) -> list[str]:
    said = [
        f"{SAID[one['better']]}: {_verdict(one['last'])}" for one in found["differences"] if one["kind"] == "robust"
    ]
    return [
        *_rows(found, ("robust",)), "",
        "The paper reports that some share of the worst case does better than none. By the true score after "
        "training, "
        f"better than {SAID[PLAIN]}: {'; '.join(said)}.",
    ]  # fmt: skip


def _departures(found: dict[str, Any], arms: Sequence[str]) -> str:
    told = []
    for arm in arms:
        stalls, falls = (found["arms"][arm][name] for name in ("stalls", "falls"))
        if stalls is None:
            told.append(f"{SAID[arm]}: never")
        else:
            told.append(f"{SAID[arm]}: step {stalls}" + ("" if falls is None else f", a clear fall at step {falls}"))
    return (
        "Where the reward departs from the true score: the first evaluation at which the reward has risen, clear of "
        "zero, since the evaluation with the highest true score, while the true score is lower than there on "
        f"average; a clear fall is one whose interval is below zero. {'. '.join(told)}."
    )


def _limits() -> str:
    return (
        "A policy of a million parameters that writes a sum and a box has little to hack with: no style, no length, "
        "no persuasion. The judge solves nothing: with the ground truth it is a rule verifier that errs in one of a "
        "hundred, and with best-of-N it is told the final answer of that response as if it were the truth, so it "
        "cannot prefer a right response to a wrong reference, as the paper's judge can; its reward is agreement with "
        "the reference. The reward models learnt from other wordings of the very problems, and know nothing of other "
        "numbers. Right is what the rule verifier says, for a response whose working is wrong, too."
    )


def plot_sources(found: dict[str, Any], file: Path) -> None:
    """Draw, by source, how reward and true score rise, and the true scores of all sources in one."""
    _plot(found, [arm for arm in SOURCES if arm in found["arms"]], file)


def plot_robust(found: dict[str, Any], file: Path) -> None:
    """Draw the same of the shares of the nominal reward."""
    _plot(found, [arm for arm in ROBUST if arm in found["arms"]], file)


def _plot(found: dict[str, Any], arms: Sequence[str], file: Path) -> None:
    if not arms:
        return
    figure, axes = plt.subplots(1, len(arms) + 1, figsize=(3.2 * (len(arms) + 1), 3.6), layout="constrained")
    for arm, axis in zip(arms, axes, strict=False):
        for index, name, style in ((1, "training reward", "--"), (2, "true score", "-")):
            steps, means, halves = _rise(found["runs"][arm], index)
            axis.plot(steps, means, style, marker="o", markersize=3, label=name)
            band = [[m + side * h for m, h in zip(means, halves, strict=True)] for side in (-1, 1)]
            axis.fill_between(steps, *band, alpha=0.15)
        axis.set(title=SAID[arm], xlabel="step")
        axis.title.set_fontsize(9)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("rise on held-out problems, SD")
    axes[0].legend(fontsize=8)
    low, high = min(a.get_ylim()[0] for a in axes[:-1]), max(a.get_ylim()[1] for a in axes[:-1])
    for axis in axes[:-1]:
        axis.set_ylim(low, high)
    for arm in arms:
        curves = [run["curve"] for run in found["runs"][arm]]
        means = [fmean(row[2] for row in rows) for rows in zip(*curves, strict=True)]
        axes[-1].plot([s for s, *_ in curves[0]], means, marker="o", markersize=3, label=SAID[arm])
    axes[-1].set(title="true score", xlabel="step")
    axes[-1].title.set_fontsize(9)
    axes[-1].legend(fontsize=7)
    axes[-1].grid(alpha=0.3)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _rise(runs: Sequence[dict[str, Any]], index: int) -> tuple[list[int], list[float], list[float]]:
    """Return steps, mean rise and half width of its interval over seeds; of a curve, 1 is the reward, 2 the truth."""
    spread = "reward_sd" if index == 1 else "truth_sd"
    curves = [[(row[index] - run["curve"][0][index]) / max(run[spread], 1e-9) for row in run["curve"]] for run in runs]
    found = [interval(values) for values in zip(*curves, strict=True)]
    return [s for s, *_ in runs[0]["curve"]], [f["mean"] for f in found], [f["high"] - f["mean"] for f in found]
