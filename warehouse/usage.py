"""What generating has taken so far: samples, tokens and seconds of every policy, those without any use included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.ledger import Commit

SUMS = ("samples", "prompt_tokens", "response_tokens", "seconds")
_SCHEMA = {
    "policy_id": pl.String,
    "stage": pl.String,
    "state": pl.String,
    **dict.fromkeys(SUMS[:3], pl.Int64),
    "seconds": pl.Float64,
}


def usage(commits: Sequence[Commit], live: Sequence[Commit], account: pl.LazyFrame) -> pl.DataFrame:
    """Return what was generated, by policy and by what became of it.

    Args:
        commits: the whole ledger. What a finished build took stays in its commit, also where its rows have gone.
        live: the commits that count now.
        account: every row of `generation` on disk, with `build_id`: it knows of builds that no commit names. Those of
            killed runs go after `storage.keep_hours`, and what they took is forgotten then.

    Returns:
        policy_id, stage (rollouts, or judgements of them), state (live; replaced: by a newer build, retired or
        abandoned; unfinished: no commit yet), samples, prompt_tokens, response_tokens, seconds; sorted by the first
        three.
    """
    seqs = {c.seq for c in live}
    rows = [
        (
            c.variant,
            c.stage if c.stage == "judgements" else "rollouts",
            "live" if c.seq in seqs else "replaced",
            c.counts["generated"],
            c.counts["prompt_tokens"],
            c.counts["response_tokens"],
            c.counts["generation_ms"] / 1000,
        )
        for c in commits
        if c.counts.get("generated")  # of finished builds; and of retired policies, what was never finished
    ]
    finished = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    both = pl.concat([finished, unfinished(commits, account).collect()])
    return both.group_by("policy_id", "stage", "state").agg(pl.col(SUMS).sum()).sort("policy_id", "stage", "state")


def unfinished(commits: Sequence[Commit], account: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows of `generation` that no commit names, with the columns of `usage`."""
    lost = account.filter(~pl.col("build_id").is_in([c.rows_id for c in commits]))
    stage = pl.col("stage").fill_null("rollouts")  # of accounts from before there was a judge
    return lost.select("policy_id", stage, pl.lit("unfinished").alias("state"), *SUMS).cast(pl.Schema(_SCHEMA))


def spent(account: pl.DataFrame) -> dict[str, int]:
    """Return the totals of some rows of `generation`, as counts of a commit."""
    names = {"samples": "generated", "prompt_tokens": "prompt_tokens", "response_tokens": "response_tokens"}
    sums = {new: int(account[old].sum() or 0) for old, new in names.items()}
    return {**sums, "generation_ms": round(1000 * float(account["seconds"].sum() or 0))}
