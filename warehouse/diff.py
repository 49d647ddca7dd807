"""What changed from one release to another, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from warehouse.output import dump_json

if TYPE_CHECKING:
    from warehouse.releases import Release

CHANGES = ("entered", "left", "moved", "stayed")
_UNKNOWN = "no decision"  # the prompt was not among its candidates


@dataclass(frozen=True)
class Diff:
    """The prompts in which two releases differ.

    Attributes:
        before, after: release ids.
        before_arm, after_arm: their arms.
        totals: change -> number of prompts: entered, left, moved (to other phases), stayed.
        prompts: a row a prompt that entered, left or moved: change, prompt_id, domain, source, pool, and for each side
            (`_before`, `_after`) phases (list, in order), position (the first), reason, rule, value, threshold, detail.
            Where a side has no selection decision about the prompt, its reason is "no decision".
        counts: change, domain, reason_before, reason_after, prompts.
    """

    before: str
    after: str
    before_arm: str
    after_arm: str
    totals: dict[str, int]
    prompts: pl.DataFrame
    counts: pl.DataFrame

    def of(self, change: str) -> pl.DataFrame:
        """Return the prompts that "entered", "left" or "moved"."""
        return self.prompts.filter(pl.col("change") == change)


def diff(before: Release, after: Release) -> Diff:
    """Compare two releases, prompt by prompt. Held-out prompts are not compared: they are never trained on."""
    both = _placed(before, "before").join(_placed(after, "after"), on="prompt_id", how="full", coalesce=True)
    gone, new = pl.col("phases_after").is_null(), pl.col("phases_before").is_null()
    moved = pl.col("phases_before") != pl.col("phases_after")
    change = pl.when(new).then(pl.lit("entered")).when(gone).then(pl.lit("left")).when(moved).then(pl.lit("moved"))
    both = both.with_columns(change=change.otherwise(pl.lit("stayed")))
    counted = dict(both.group_by("change").agg(pl.len()).iter_rows())
    changed = both.filter(pl.col("change") != "stayed")
    for side, release in (("before", before), ("after", after)):
        changed = changed.join(_decided(release, side, changed.get_column("prompt_id")), on="prompt_id", how="left")
    facts = [pl.coalesce(f"{c}_after", f"{c}_before").alias(c) for c in ("domain", "source", "pool")]
    reasons = [pl.col(f"reason_{s}").fill_null(_UNKNOWN) for s in ("before", "after")]
    per_side = [f"{c}_{s}" for s in ("before", "after") for c in (
        "phases", "position", "reason", "rule", "value", "threshold", "detail",
    )]  # fmt: skip
    prompts = changed.with_columns(*facts, *reasons).select(
        "change", "prompt_id", "domain", "source", "pool", *per_side
    )
    keys = ["change", "domain", "reason_before", "reason_after"]
    counts = prompts.group_by(keys).agg(prompts=pl.len().cast(pl.Int64))
    return Diff(
        before=before.release_id,
        after=after.release_id,
        before_arm=before.arm,
        after_arm=after.arm,
        totals={c: int(counted.get(c, 0)) for c in CHANGES},
        prompts=prompts.sort("change", "position_after", "position_before", "prompt_id"),
        counts=counts.sort("change", "prompts", *keys[1:], descending=[False, True, False, False, False]),
    )


def as_json(result: Diff) -> str:
    """Return a difference as JSON text, with every prompt that changed."""
    return dump_json(
        {
            "before": result.before,
            "after": result.after,
            "totals": result.totals,
            "counts": result.counts.to_dicts(),
            "prompts": result.prompts.to_dicts(),
        },
        indent=1,
    ) + "\n"  # fmt: skip


def _placed(release: Release, side: str) -> pl.DataFrame:
    """Return each prompt of the training rows once, with its phases and its first position."""
    rows = release.train().select("prompt_id", "position", "phase", "domain", "source", "pool").collect()
    placed = rows.sort("position").group_by("prompt_id", maintain_order=True).agg(
        phases=pl.col("phase").unique(maintain_order=True),
        position=pl.col("position").first(),
        domain=pl.col("domain").first(),
        source=pl.col("source").first(),
        pool=pl.col("pool").first(),
    )  # fmt: skip
    return placed.rename({c: f"{c}_{side}" for c in placed.columns if c != "prompt_id"})


def _decided(release: Release, side: str, ids: pl.Series) -> pl.DataFrame:
    """Return the selection's decision of a release about some prompts."""
    rows = (
        release.decisions()
        .filter(pl.col("stage") == "selection", pl.col("arm") == release.arm)
        .join(pl.LazyFrame({"prompt_id": ids}), on="prompt_id", how="semi")
        .select("prompt_id", "reason", "rule", "value", "threshold", "detail")
        .collect()
        .sort("prompt_id", "rule")
        .unique("prompt_id", keep="first")
    )
    return rows.rename({c: f"{c}_{side}" for c in rows.columns if c != "prompt_id"})
