"""`preppo export`, `preppo push`, `preppo signals import`: what they say of what they did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from warehouse.signal_lines import summary

if TYPE_CHECKING:
    from collections.abc import Collection

    from trainer.exports.export import Exported
    from warehouse.signal_lines import Signals


def render_export(done: Exported) -> str:
    """Return what was written, what stayed behind and what to read."""
    told: dict[str, Any] = done.manifest
    lines = [f"release {told['release_id'][:12]} for {told['format']}: {done.folder}"]
    lines += [f"  {name}  {file['rows']:,} rows" for name, file in told["files"].items()]
    left = told["rows_left_out"]
    lines += [f"left out: {n:,} rows that are {_WHY[why]}" for why, n in left.items() if n]
    kept = {k: v for k, v in told["rows_without_reward"].items() if isinstance(v, dict)}
    if kept and told["rows_without_reward"]["what_became_of_them"] == "keep":
        lines.append(f"kept without a reward: {sum(sum(v.values()) for v in kept.values()):,} rows")
    if told["rows_with_tools"]:
        lines.append(f"{told['rows_with_tools']:,} rows name tools: see README.md for how this trainer is given them")
    if told["null_reward"] is not None:
        lines.append(f"a response that cannot be decided counts {told['null_reward']} there")
    lines.append(f"how to train on it: {done.folder / 'README.md'}")
    return escape("\n".join(lines))


_WHY = {
    "unscored": "rewarded by no source that the export can call",
    "raw": "exact prefixes for completion",
}


def render_import(signals: Signals, counts: dict[str, int], releases: Collection[str]) -> str:
    """Return what was imported and what was not; `releases` are the ids of those of this home."""
    of = dict(signals.frame.select("training_run_id", "release_id").unique().iter_rows())
    lines = []
    for run, rows in counts.items():
        away = "" if of[run] in releases else f"; its release {of[run][:12]} is none of this home"
        lines.append(f"training {run}: {rows:,} rows{away}")
    if signals.rejected:
        lines.append(f"rejected: {summary(signals.rejected)}")
        lines += [f"  {example}" for example in signals.examples]
    return escape("\n".join(lines))
