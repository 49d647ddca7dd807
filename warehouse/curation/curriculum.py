"""In which order the selected prompts are trained on: phases of domains (arXiv 2503.22230, section 4).

The paper starts with code, then adds mathematics, then everything, and leaves the exact steps open; phases, weights and
lengths are settings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from warehouse.curation.apportion import apportion_within, exact, round_half_up
from warehouse.curation.draws import draw
from warehouse.schemas import CURRICULUM, DECISIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.settings.model import CurriculumSettings, PhaseSettings

    Indices = NDArray[np.int64]


@dataclass
class _Domain:
    """The prompts of one domain in training order, as row numbers, and how far the phases have come."""

    rows: Indices
    cursor: int = 0


@dataclass
class _Plan:
    """What was laid out so far."""

    phases: list[tuple[str, Indices, Indices]] = field(default_factory=list)  # name, rows, occurrences
    flags: list[dict[str, object]] = field(default_factory=list)


def curriculum(
    selected: pl.DataFrame, settings: CurriculumSettings, arm: str, policy_hash: str = ""
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the columns of `curriculum`, in order, and decisions that flag where a phase fell short.

    Args:
        selected: prompt_id, domain, and mean (of the rewards; or else score): the higher, the easier. One row a prompt.
        settings: the phases, the order within a domain, the seed.
        arm: the name of the arm.
        policy_hash: of the settings that decided; copied into the decisions.

    Each domain has one order (`easy_first`, `hard_first`, or `shuffled` by id and seed; ties by prompt_id; prompts
    without a score come last). A phase takes the next prompts of each of its domains where the phase before stopped,
    and begins anew at the end, so a prompt recurs across phases but not within one, unless the phase may repeat. A
    "natural" phase without a length takes every prompt once.

    A phase is `rows` long, or `share` of the selected prompts rounded half up; without either, it has all prompts of
    its domains. Its length is spread over the domains by weight, with largest remainders. A domain that runs out is
    flagged and the others of the phase fill in for it by weight; when all run out the phase is shorter, and flagged.
    Domains are interleaved by stride scheduling: the k-th of n prompts of a domain stands at (k + 1/2) / n, ties by
    name; so in any window of a phase a domain with share p is within 1 + p x (domains) prompts of its share.
    Positions count from 0, occurrences from 1.

    Raises:
        ValueError: a prompt is selected twice, or an id is not hexadecimal.
    """
    prompts, domains = _ordered(selected, settings)
    plan = _Plan()
    seen = np.zeros(prompts.height, dtype=np.int64)
    for phase in settings.phases:
        counts = _lengths(phase, domains, prompts.height, plan)
        rows, again = _interleave(domains, counts)
        plan.phases.append((phase.name, rows, seen[rows] + again + 1))
        seen += np.bincount(rows, minlength=len(seen))
    for name in sorted(domains):
        never = int((seen[domains[name].rows] == 0).sum())
        if never:
            text = f"{never} selected prompts of {name} are in no phase"
            plan.flags.append(_flag(f"unplaced:{name}", never, 0, text))
    return _laid_out(prompts["prompt_id"], plan, arm), _decisions(plan.flags, arm, policy_hash)


def _laid_out(prompt_ids: pl.Series, plan: _Plan, arm: str) -> pl.DataFrame:
    phases = [
        pl.DataFrame({"prompt_id": prompt_ids.gather(rows), "occurrence": occurrence}).with_columns(phase=pl.lit(name))
        for name, rows, occurrence in plan.phases
    ]
    empty = pl.DataFrame(schema={"prompt_id": pl.String, "occurrence": pl.Int64, "phase": pl.String})
    return (
        pl.concat([empty, *phases])
        .with_row_index("position")
        .with_columns(pl.col.position.cast(pl.Int64), arm=pl.lit(arm))
        .select(list(CURRICULUM.columns))
    )


def _ordered(selected: pl.DataFrame, settings: CurriculumSettings) -> tuple[pl.DataFrame, dict[str, _Domain]]:
    prompts = selected.with_columns(pl.col.domain.fill_null("unknown"))
    if settings.order == "shuffled":
        key = draw(prompts["prompt_id"], "curriculum", settings.seed)
    else:
        score = prompts["mean"] if "mean" in prompts.columns else prompts["score"]
        key = -score if settings.order == "easy_first" else score
    prompts = prompts.select("prompt_id", "domain", key=key).sort("domain", "key", "prompt_id", nulls_last=True)
    if prompts["prompt_id"].n_unique() != prompts.height:
        msg = "a curriculum is made of distinct prompts; the selection lists one of them more than once"
        raise ValueError(msg)
    sizes = prompts["domain"].rle().struct.unnest()
    ends = sizes["len"].cum_sum().to_list()
    starts = [0, *ends][: len(ends)]
    domains = zip(sizes["value"], starts, ends, strict=True)
    return prompts, {name: _Domain(np.arange(a, b, dtype=np.int64)) for name, a, b in domains}


def _lengths(phase: PhaseSettings, domains: dict[str, _Domain], total: int, plan: _Plan) -> dict[str, int]:
    """Return how many rows each domain gives to a phase, and flag what falls short."""
    size = {name: len(d.rows) for name, d in domains.items()}
    natural = phase.domains == "natural"
    weights: dict[str, float] = dict(size) if phase.domains == "natural" else dict(sorted(phase.domains.items()))
    for name in sorted(set(weights) - set(size)):
        text = f"phase {phase.name} asks for {name}, of which no prompt is selected; its other domains fill in"
        plan.flags.append(_flag(f"{phase.name}:{name}", 0, None, text))
    room = {name: size.get(name, 0) for name in weights}
    if phase.rows is not None:
        length = phase.rows
    elif phase.share is not None:
        length = round_half_up(exact(phase.share) * total)
    else:
        length = sum(room.values())
        if natural:
            for d in domains.values():
                d.cursor = 0
    endless = {name: length for name in weights if room[name]}
    counts = apportion_within(length, weights, endless if phase.repeat else room)
    asked = apportion_within(length, weights, endless)
    bounded = phase.rows is not None or phase.share is not None
    for name in sorted(counts):
        if bounded and room[name] and counts[name] < asked[name]:
            text = f"phase {phase.name} asks for {asked[name]} of {name}, which has {room[name]}; others fill in"
            plan.flags.append(_flag(f"{phase.name}:{name}", room[name], asked[name], text))
    if sum(counts.values()) < length:
        short = sum(counts.values())
        text = f"phase {phase.name} has {short} rows instead of {length}: its domains have no more prompts"
        plan.flags.append(_flag(phase.name, short, length, text))
    return counts


def _interleave(domains: dict[str, _Domain], counts: dict[str, int]) -> tuple[Indices, Indices]:
    """Return the rows of a phase in order, and how often each has come before within the phase."""
    rows, again, keys = [], [], []
    for name in sorted(n for n, count in counts.items() if count):
        domain, count = domains[name], counts[name]
        k = np.arange(count, dtype=np.int64)
        rows.append(domain.rows[(domain.cursor + k) % len(domain.rows)])
        again.append(k // len(domain.rows))
        keys.append((2 * k + 1) / (2 * count))
        domain.cursor = (domain.cursor + count) % len(domain.rows)
    if not rows:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    order = np.argsort(np.concatenate(keys), kind="stable")  # stable: ties stay in the order of the names
    return np.concatenate(rows)[order], np.concatenate(again)[order]


def _flag(rule: str, value: float, threshold: float | None, detail: str) -> dict[str, object]:
    return {"rule": rule, "value": value, "threshold": threshold, "detail": detail}


def _decisions(flags: list[dict[str, object]], arm: str, policy_hash: str) -> pl.DataFrame:
    columns = {"rule": pl.String, "value": pl.Float64, "threshold": pl.Float64, "detail": pl.String}
    return (
        pl.DataFrame(flags, schema=columns)
        .with_columns(
            stage=pl.lit("curriculum"),
            arm=pl.lit(arm),
            prompt_id=pl.lit(None, pl.String),
            outcome=pl.lit("flag"),
            policy_hash=pl.lit(policy_hash),
        )
        .select(list(DECISIONS.columns))
        .sort("rule")
    )
