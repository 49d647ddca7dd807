"""REPRODUCTION.md: what the trainings of `reproduce_pre_ppo` and `reward_sources` show, and what they do not."""

from __future__ import annotations

import json
from statistics import fmean
from typing import TYPE_CHECKING, Any

import matplotlib

from benchmarks._reproduction_world import ARMS
from benchmarks._reward_models import interval
from warehouse.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BASE = "random"
THEIRS = "pre_ppo_priority"  # what the paper proposes
SAID = {
    "original": "original only",
    "all": "original + all new",
    "random": "original + random 10%",
    "pre_ppo": "original + Pre-PPO 10%",
    "pre_ppo_priority": "original + Pre-PPO 10%, domain priority",
    "pre_ppo_20": "original + Pre-PPO 20%",
    "pre_ppo_50": "original + Pre-PPO 50%",
    "pre_ppo_50_priority": "original + Pre-PPO 50%, domain priority",
    "random_50": "original + random 50%",
    "variance": "original + variance 10%",
    "learnability": "original + learnability 10%",
}
_COLUMNS = (
    "arm", "prompts", "new", "wrong golds", "open", "mean of new", "never solved", "held out", "against random",
    "against the paper's", "learnable", "against random", "against the paper's",
)  # fmt: skip
_HEAD = """# Which prompts are worth training on

Written by `python -m benchmarks.reproduce_pre_ppo` and `python -m benchmarks.reward_sources`.
Every number is of held-out prompts by exact rules; differences are by seed, intervals 95% by t over seeds, and their
half width is the smallest effect that the run could have seen. What stands in bold is clear of zero at this size;
nothing else is shown, either way. "never solved": new prompts whose curation samples all had reward 0, from which a
group-relative trainer learns nothing.
"""
_WORLDS = {
    "sums": "What can be learnt is sums of which the nursery model passes one in eight, so the lowest mean rewards are "
    "mostly 0; the paper's policies are far stronger, and its prompts of low reward seldom hopeless. Held-out sums are "
    "other wordings of sums that may be trained on: they are learnt in every arm, while easy prompts are forgotten.",
    "mixed": "What can be learnt is tasks of four domains of which the nursery model passes about half. Held-out tasks "
    "are other tasks, and so small a model learns nothing that carries over to them: every arm loses, and this world "
    "says which harms least.",
}

_RULE = """## What follows for the defaults

The rule, fixed before any of these trainings was looked at (an earlier run without a sandbox was known): the
defaults stay Pre-PPO 10% with domain priority, as the paper proposes, unless another arm is above it in every
world, over all held-out prompts, with an interval clear of zero; that two worlds agree on an arm by chance is
less likely than one in a thousand, so {others} comparisons are borne. Of several such arms it is the one with
the fewest prompts that none of them beats so. Changed afterwards: arms of one share count as equally small, for
learnability 10% has fewer prompts than variance 10% only because it leaves open questions out, which have no
pass rate. Of equally small arms, those come first that can rank open questions, then the one with the highest
mean over the worlds.
"""
_LIMITS = """What this does not say: a policy of a million parameters is trained on worlds of some thousand prompts, by
group advantages with dynamic sampling, which learn nothing from a prompt that is never solved; the lowest rewards of so
weak a policy are mostly such, of a strong one they need not be. Small arms are repeated until known by heart. Who
trains a strong policy with a critic, as the paper does, may well want `rule = "pre_ppo"`: name both as arms, compare.
"""


def write_report(results: Path) -> str:
    """Write REPRODUCTION.md of all results that are there, and return it."""
    found = json.loads((results / "reproduce_pre_ppo.json").read_text())
    parts = [_HEAD, *(_section(name, one) for name, one in found.items())]
    others = max(len(one["arms"]) for one in found.values()) - 1
    parts += [_RULE.format(others=others), verdict(found), _LIMITS]
    sources = results / "reward_sources.md"
    if sources.is_file():
        parts.append(sources.read_text().replace("](", "](results/"))
    text = "\n".join(parts)
    (results.parent / "REPRODUCTION.md").write_text(text)
    return text


def _section(name: str, found: dict[str, Any]) -> str:
    lines = [
        f"## The world `{name}`",
        "",
        _WORLDS[name],
        "",
        f"{found['seeds']} seeds, {found['steps']} steps of {found['prompts']} prompts x {found['samples']} samples; "
        f"{found['counted']} of {found['held']} held-out prompts, those with a score at every "
        f"evaluation; {found['minutes']:.0f} minutes of one core ({found['machine']}) in all. "
        f"{_before(found)}",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        f"|{'---|' * len(_COLUMNS)}",
        *(_row(arm, found) for arm in found["arms"]),
        "",
        f"![held-out score over steps](results/reproduce_pre_ppo_{name}.png)",
    ]
    return "\n".join(lines) + "\n"


def wins(found: dict[str, Any], arm: str, other: str) -> bool:
    """Say whether an arm is above another in every world that has both, with an interval clear of zero."""
    return all(interval(_gaps(one, arm, other, "last"))["low"] > 0 for one in found.values())


def replacement(found: dict[str, Any]) -> tuple[list[str], str]:
    """Return the arms that beat the paper's, and the arm that the rule makes the default."""
    arms = [a for a in SAID if all(a in one["arms"] for one in found.values())]
    better = [a for a in arms if a != THEIRS and wins(found, a, THEIRS)]
    unbeaten = [a for a in better if not any(wins(found, b, a) for b in better if b != a)]

    def place(arm: str) -> tuple[float, bool, float]:
        leaves_open_out = any(not one["releases"][arm]["open"] for one in found.values())
        return _share(arm), leaves_open_out, -fmean(fmean(_gaps(one, arm, THEIRS, "last")) for one in found.values())

    return better, min(unbeaten, key=place, default=THEIRS)


def verdict(found: dict[str, Any]) -> str:
    """Return what the rule says of the defaults, and what they are."""
    missing = sorted({a for one in found.values() for a in SAID if a not in one["arms"]})
    if THEIRS in missing or len(found) < len(_WORLDS):
        return "Not to be said from these trainings: the paper's arm, or a world, is missing.\n"
    better, chosen = replacement(found)
    left = "" if not missing else f" (not trained everywhere: {', '.join(missing)})"
    same = [a for a in SAID if a not in missing and _share(a) == _share(BASE) and a != BASE and wins(found, a, BASE)]
    now, phases = Settings().selection, ", ".join(p.name for p in Settings().curriculum.phases)
    return (
        f"Above the paper's arm in every world{left}: {_named(better)}.\n"
        f"Above as many random prompts ({SAID[BASE]}): {_named(same)}.\n"
        f'By the rule the default is "{SAID[chosen]}". In force: `selection.rule = "{now.rule}"`, '
        f"`selection.fraction = {now.fraction:g}`, phases of the curriculum: {phases}.\n"
    )


def _share(arm: str) -> float:
    return ARMS.get(arm.removesuffix("_priority"), ("", 0.1))[1]  # "pre_ppo" is the main arm of a world


def _named(arms: list[str]) -> str:
    return ", ".join(f'"{SAID[a]}"' for a in arms) or "none"


def _gaps(found: dict[str, Any], arm: str, other: str, name: str) -> list[float]:
    """Return by how much an arm is above another, by seed."""
    return [a[name] - b[name] for a, b in zip(found["runs"][arm], found["runs"].get(other, []), strict=False)]


def _before(found: dict[str, Any]) -> str:
    first, hard = (fmean(r[n] for runs in found["runs"].values() for r in runs) for n in ("first", "hard_first"))
    return f"Before training: {first:.3f}, of what can be learnt {hard:.3f}."


def _row(arm: str, found: dict[str, Any]) -> str:
    about, runs = found["releases"][arm], found["runs"][arm]
    mean = "" if about["mean_reward_of_new"] is None else f"{about['mean_reward_of_new']:.2f}"
    cells = [SAID[arm], *(about[n] for n in ("prompts", "new", "wrong_golds", "open")), mean, about["hopeless"]]
    for name in ("last", "hard_last"):
        last = interval([r[name] for r in runs])
        cells.append(f"{last['mean']:.3f} ± {last['high'] - last['mean']:.3f}")
        for other in (BASE, THEIRS):
            gaps = _gaps(found, arm, other, name)
            cells.append("" if arm == other or not gaps else _told(interval(gaps)))
    return f"| {' | '.join(map(str, cells))} |"


def _told(gap: dict[str, float]) -> str:
    text = f"{gap['mean']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f})"
    return f"**{text}**" if gap["low"] > 0 or gap["high"] < 0 else text


def plot(found: dict[str, Any], file: Path) -> None:
    """Draw held-out score and training reward over steps, a line an arm, the mean over seeds."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4))
    colours = plt.get_cmap("tab20")  # there are more arms than a cycle of colours has
    for number, arm in enumerate(found["arms"]):
        runs = found["runs"][arm]
        steps = [s for s, *_ in runs[0]["curve"]]
        means = [fmean(r["curve"][i][2] for r in runs) for i in range(len(steps))]
        left.plot(steps, means, marker="o", label=SAID[arm], color=colours(number))
        rewards = [fmean(r["reward"][i] for r in runs) for i in range(len(runs[0]["reward"]))]
        right.plot(rewards, label=SAID[arm], color=colours(number))
    left.set(xlabel="step", ylabel="held-out score", title="Held-out prompts that can be learnt, by exact rules")
    right.set(xlabel="step", ylabel="training reward", title="What the training saw")
    right.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)
