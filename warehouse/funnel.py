"""The funnel: from rows read to rows released, and how the prompts that came through differ from the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from warehouse.queries import connect, select

if TYPE_CHECKING:
    from warehouse.store import Snapshot

STEPS = ("read", "ingest", "split", "score", "select", "order", "release")
_GOES_ON = {"rows read", "prompt", "candidate", "scored", "original, not scored", "train"}


def funnel(snapshot: Snapshot, arm: str | None = None) -> pl.DataFrame:
    """Return how many rows each step had, and what became of them.

    Args:
        snapshot: with all tables.
        arm: count the selection, curriculum and release of this arm; None: of every arm.

    Returns:
        step (number), stage, outcome, arm (null where it does not matter), rows, goes_on (whether these rows reach the
        next step), by step, largest outcome that goes on first. A step that has not happened has no rows.
    """
    sql = """
        SELECT step, stage, outcome, arm, CAST(sum("rows") AS BIGINT) AS rows
        FROM funnel
        WHERE $arm IS NULL OR arm IS NULL OR arm = $arm
        GROUP BY ALL
    """
    with connect(snapshot) as con:
        frame = select(con, sql, {"arm": arm})
    selected = pl.col("outcome").str.starts_with("selected: ")
    return frame.with_columns(
        goes_on=pl.col("outcome").is_in(_GOES_ON) | selected | (pl.col("stage") == "order"),
    ).sort("step", "arm", "goes_on", "rows", "outcome", descending=[False, False, True, True, False])


def main_path(frame: pl.DataFrame) -> list[tuple[str, int]]:
    """Return (label, rows) of the prompts that go on, a step each, for one arm."""
    labels = dict(
        zip(
            STEPS,
            (
                "rows read",
                "prompts",
                "candidates",
                "scored, or original",
                "selected",
                "rows in curriculum",
                "rows released",
            ),
            strict=True,
        )
    )
    kept = frame.filter("goes_on").group_by("stage").agg(pl.col("rows").sum())
    rows = dict(kept.iter_rows())
    seen = set(frame["stage"])
    return [(label, rows.get(stage, 0)) for stage, label in labels.items() if stage in seen]


def pass_rate_histogram(snapshot: Snapshot, by: str = "domain", bins: int = 20) -> pl.DataFrame:
    """Return how many prompts have a mean reward in each bin of [0, 1].

    Args:
        snapshot: with all tables.
        by: "domain" or "source".
        bins: equal in width; a mean of exactly 1 falls in the last.

    Returns:
        the `by` column, policy_id, bin (0-based), prompts; sorted. Prompts without a score are not counted.
    """
    if by not in ("domain", "source"):
        msg = f"a histogram is by domain or source, not by {by!r}"
        raise ValueError(msg)
    sql = f"""
        SELECT p.{by}, d.policy_id, CAST(least(floor(d.mean * $bins), $bins - 1) AS BIGINT) AS bin, count(*) AS prompts
        FROM difficulty AS d
        JOIN prompts AS p ON d.prompt_id = p.prompt_id
        WHERE d.mean BETWEEN 0 AND 1
        GROUP BY ALL
        ORDER BY ALL
    """
    with connect(snapshot) as con:
        return select(con, sql, {"bins": bins})
