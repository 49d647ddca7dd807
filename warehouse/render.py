"""Stories and differences as text for a terminal."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from warehouse.diff import Diff
    from warehouse.explain import Story

_SHOWN = 20


def render_story(story: Story) -> RenderableType:
    """Return what `preppo explain` prints."""
    parts: list[RenderableType] = [*_head(story), *_rejected(story), *_selected(story)]
    story = _with_policy_names(story)
    parts += _section("Measured", story.difficulty, {
        "policy_id": "policy", "source": "reward", "samples": "samples", "scored": "scored", "truncated": "cut",
        "mean": "mean", "variance": "variance", "pass_rate": "pass rate", "pass_rate_low": "low",
        "pass_rate_high": "high", "suspect_gold": "suspect gold",
    })  # fmt: skip
    parts += _section(
        "References", story.references, {"policy_id": "policy", "kind": "kind", "score": "score", "text": "text"}
    )
    parts += _section("Contained in evaluation sets", story.contamination, {
        "eval_set": "set", "item": "item", "overlap": "overlap", "matched": "matched",
    })  # fmt: skip
    parts += _section("Rollouts", [_rollout(r) for r in story.rollouts], {
        "policy_id": "policy", "role": "role", "sample": "sample", "reward": "reward", "status": "status",
        "verifier": "scored by", "extracted": "answer", "finish_reason": "finish", "response": "response",
    })  # fmt: skip
    decisions = [
        d
        | {"when": f"{d['committed_at']:%m-%d %H:%M:%S}", "run_id": (d["run_id"] or "")[:8]}
        | ({"detail": "as above"} if d["stage"] == "selection" and d["current"] else {})
        for d in story.decisions
    ]
    alike = ("stage", "arm", "rule", "outcome", "value", "run_id", "current")
    parts += _section("Decisions, in the order they were made", _first_of(decisions, alike, "detail"), {
        "when": "when (UTC)", "stage": "stage", "arm": "arm", "rule": "rule", "outcome": "outcome", "value": "value",
        "threshold": "threshold", "detail": "detail", "policy_hash": "settings", "run_id": "run", "current": "current",
    })  # fmt: skip
    return Group(*parts)


def render_diff(diff: Diff, most: int = _SHOWN) -> RenderableType:
    """Return what `preppo diff` prints: the counts, and up to `most` prompts of each kind."""
    parts: list[RenderableType] = [
        _line("From", f"{diff.before} (arm {diff.before_arm})"),
        _line("To", f"{diff.after} (arm {diff.after_arm})"),
        _line("Entered, left, moved, stayed", " ".join(f"{n:,}" for n in diff.totals.values())),
    ]
    parts += _section("Why", diff.counts.to_dicts(), {
        "change": "change", "domain": "domain", "reason_before": "reason before", "reason_after": "reason now",
        "prompts": "prompts",
    })  # fmt: skip
    for change in ("entered", "left", "moved"):
        rows = diff.of(change).head(most).to_dicts()
        more = diff.totals[change] - len(rows)
        title = f"{change.capitalize()}" + (f" (the first {len(rows)}; {more:,} more with --json)" if more > 0 else "")
        parts += _section(title, rows, {
            "prompt_id": "prompt", "domain": "domain", "reason_before": "before", "value_before": "value",
            "phases_before": "phases", "reason_after": "now", "value_after": "value now", "threshold_after": "cut now",
            "phases_after": "phases now",
        })  # fmt: skip
    return Group(*parts)


def _head(story: Story) -> Iterable[RenderableType]:
    yield _line("Prompt", story.prompt_id or "(never became a prompt)")
    if story.prompt is None:
        return
    row = story.prompt
    for message in row["messages"] or []:
        yield _line(f"  {message['role']}", message["content"])
    if row["raw_text"] is not None:
        yield _line("  raw text", row["raw_text"])
    yield _line(
        "From", f"{row['source']} ({row['source_row']}), batch {row['batch']}, read {row['ingested_at']:%Y-%m-%d}"
    )
    facts = ("pool", "split", "domain", "verifier", "ground_truth", "licence", "key")
    yield _line("Facts", ", ".join(f"{c.replace('_', ' ')} {row[c]}" for c in facts if row[c] is not None))
    if row["gold_conflict"]:
        yield _line("Warning", "two different ground truths are known for this prompt")


def _rejected(story: Story) -> Iterable[RenderableType]:
    own = [r | {"place": f"{r['source']} {r['source_row']}"} for r in story.rejected]
    if story.prompt:
        copies = _first_of(own, ("source", "reason_code"), "place")
        yield from _section(
            "Copies that were dropped", copies, {"place": "row", "outcome": "outcome", "reason": "reason"}
        )
        return
    yield from _section("Rejected", own, {
        "place": "row", "outcome": "outcome", "reason_code": "code", "reason": "reason",
        "matched_prompt_id": "same as", "raw": "as it came",
    })  # fmt: skip


def _first_of(rows: Sequence[dict[str, Any]], alike: Sequence[str], told: str) -> list[dict[str, Any]]:
    """Return one row for those that agree in some columns, with their number in the column `told`."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[c] for c in alike), []).append(row)
    more = {k: f" and {len(g) - 1} more like it" if len(g) > 1 else "" for k, g in groups.items()}
    return [g[0] | {told: f"{g[0][told]}{more[k]}"} for k, g in groups.items()]


def _with_policy_names(story: Story) -> Story:
    def named(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [r | {"policy_id": story.policies.get(r["policy_id"], r["policy_id"])} for r in rows]

    return replace(
        story, difficulty=named(story.difficulty), references=named(story.references), rollouts=named(story.rollouts)
    )


def _selected(story: Story) -> Iterable[RenderableType]:
    places: dict[str, list[str]] = {}
    for row in story.curriculum:
        places.setdefault(row["arm"], []).append(f"{row['position']} ({row['phase']})")
    rows = [r | {"places": ", ".join(places.get(r["arm"], []))} for r in story.selection]
    yield from _section("Selection", rows, {
        "arm": "arm", "selected": "selected", "reason": "reason", "value": "value", "threshold": "threshold",
        "percentile": "percentile", "group": "group", "places": "positions (phase)", "detail": "detail",
    })  # fmt: skip
    releases = [
        r | {"places": ", ".join(f"{p['position']} ({p['phase']})" for p in r["places"]), **_then(r["selection"])}
        for r in story.releases
    ]
    yield from _section("Releases", releases, {
        "release_id": "release", "arm": "arm", "part": "part", "places": "positions (phase)", "reason": "reason",
        "value": "value", "threshold": "threshold",
    })  # fmt: skip


def _then(choice: dict[str, Any] | None) -> dict[str, Any]:
    return {c: (choice or {}).get(c) for c in ("reason", "value", "threshold")}


def _rollout(row: dict[str, Any]) -> dict[str, Any]:
    verdicts, rewards, judged = row["verdicts"], row["rewards"], row["judgements"]
    scored = rewards[0] if rewards else {}
    first = (verdicts or judged or [{}])[0]
    return row | {
        "reward": scored.get("reward", first.get("score")),
        "status": scored.get("status", first.get("status")),
        "verifier": first.get("verifier") or first.get("judge") or scored.get("reward_id"),
        "extracted": first.get("extracted"),
    }


def _section(title: str, rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> list[RenderableType]:
    """Return a titled table of the columns that say anything, or nothing where there are no rows."""
    if not rows:
        return []
    kept = {c: name for c, name in columns.items() if any(r.get(c) not in (None, "") for r in rows)}
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, show_edge=False)
    for column, name in kept.items():
        number = all(isinstance(r.get(column), (int, float, type(None))) for r in rows)
        table.add_column(name, justify="right" if number else "left", overflow="fold", header_style="dim")
    for row in rows:
        table.add_row(*(Text(_cell(row.get(c))) for c in kept))
    return [Text(""), table]


def _line(name: str, value: str) -> Text:
    return Text.assemble((f"{name}: ", "bold"), value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    text = re.sub(r"\s+", " ", str(value))
    return text[:12] if re.fullmatch(r"[0-9a-f]{32}", text) else text if len(text) <= 160 else text[:159] + "…"
