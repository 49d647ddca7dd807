"""What the Dagster UI shows of a stage: counts, schema, a small sample, a plot."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import dagster as dg

from warehouse.curation.budget import cost
from warehouse.funnel import funnel, main_path, pass_rate_histogram
from warehouse.plots import funnel_png, histogram_png, strength_png
from warehouse.schemas import TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import polars as pl

    from assets.project import Project
    from assets.stages import Outcome, Stage
    from trainer.ppo.training import Trained

SAMPLE_ROWS = 5
SAMPLE_CHARS = 200


def outcome_metadata(stage: Stage, outcomes: list[Outcome], project: Project) -> dict[str, Any]:
    """Return the metadata of one materialisation: plain numbers are drawn over time by the UI."""
    table = TABLES[stage.table]
    view = project.store.snapshot()
    live = [view.live[o.build.key] for o in outcomes if o.build.key in view.live]
    rows = view.scan_builds(stage.table, live)
    metadata: dict[str, Any] = {
        "dagster/row_count": sum(o.commit.tables.get(stage.table, 0) for o in outcomes),
        "dagster/column_schema": _column_schema(table.schema),
        "carried": all(o.carried for o in outcomes),
        "seconds": round(sum(o.seconds for o in outcomes), 3),
        "builds": dg.MetadataValue.json({f"{o.build.variant or o.build.batch}": o.build.build_id for o in outcomes}),
    }
    totals = _totals(outcomes)
    for name, value in totals.items():
        metadata[f"count/{name}"] = value
    metadata |= _generated(totals, project)
    sample = rows.head(SAMPLE_ROWS).collect()
    if sample.height:
        metadata["sample"] = _sample(sample)
    plot = _plot(stage.name, project) if sample.height else None
    if plot is not None:
        metadata["plot"] = picture(plot)
    return metadata


def policy_metadata(done: Trained, plots: Sequence[Path]) -> dict[str, Any]:
    """Return the metadata of a trained policy: where it is, what it scores on held-out prompts, its curves."""
    scores = {"heldout_first": done.first, "heldout_last": done.last, "heldout_best": done.best}
    metadata: dict[str, Any] = {"folder": dg.MetadataValue.path(str(done.folder)), "steps": done.steps}
    metadata |= {name: round(score, 4) for name, score in scores.items() if score is not None}
    if done.stopped:
        metadata["ended_early"] = done.stopped
    for plot in plots:
        metadata[plot.stem] = picture(plot.read_bytes())
    return metadata


def _generated(totals: Mapping[str, int], project: Project) -> dict[str, float]:
    """Return how fast tokens were generated, and what they cost where prices are given."""
    if not totals.get("generation_ms"):
        return {}
    budget = project.settings.budget
    found = {"tokens_per_second": round(1000 * totals["response_tokens"] / totals["generation_ms"], 1)}
    if budget.price_prompt or budget.price_response:
        found["cost"] = round(cost(budget, totals["prompt_tokens"], totals["response_tokens"]), 6)
    return found


def _plot(stage: str, project: Project) -> bytes | None:
    """Return the picture of a stage: pass rates by domain, strength of labels, or the funnel of the main arm."""
    if stage not in ("difficulty", "preference_strength", "selection", "release"):
        return None
    view = project.store.snapshot()
    if stage == "preference_strength":
        return strength_png(view.scan("preference_strength").collect())
    if stage == "difficulty":
        return histogram_png(pass_rate_histogram(view))
    return funnel_png(main_path(funnel(view, project.settings.selection.name)))


def picture(png: bytes) -> dg.MarkdownMetadataValue:
    """Return a PNG as metadata that the UI shows in place."""
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(png).decode()})")


def _totals(outcomes: list[Outcome]) -> Mapping[str, int]:
    totals: dict[str, int] = {}
    for outcome in outcomes:
        for name, value in outcome.commit.counts.items():
            totals[name] = totals.get(name, 0) + value
    return totals


def _column_schema(schema: pl.Schema) -> dg.TableSchema:
    return dg.TableSchema([dg.TableColumn(name, str(kind)) for name, kind in schema.items()])


def _sample(frame: pl.DataFrame) -> dg.TableMetadataValue:
    records = [
        dg.TableRecord({name: _plain(value) for name, value in row.items()}) for row in frame.iter_rows(named=True)
    ]
    schema = dg.TableSchema([dg.TableColumn(name, "string") for name in frame.columns])
    return dg.MetadataValue.table(records, schema)


def _plain(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= SAMPLE_CHARS else text[: SAMPLE_CHARS - 1] + "…"
