"""What a release is made of: frames of the tables, and the plain facts that go into its id and its manifest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from warehouse.curation.overrides import OVERRIDES
from warehouse.funnel import funnel
from warehouse.schemas import CONTAMINATION, GOLD_CHECKS, TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from warehouse.store import Snapshot


# What `release_inputs` reads: with these as they were, a release can be made again.
READ_TABLES = (
    "prompts", "curriculum", "selection", "difficulty", "references", "decisions", "contamination", "gold_checks",
)  # fmt: skip


@dataclass(frozen=True)
class ReleaseInputs:
    """What a release is made of. Frames are lazy, so that they need not fit in memory.

    Attributes:
        arm: name of the selection policy.
        prompts: columns of `prompts`, each prompt once.
        curriculum: columns of `curriculum`, this arm's rows.
        selection: columns of `selection`, this arm's rows.
        difficulty: columns of `difficulty`, of the policies in `policy_ids`.
        references: columns of `references`.
        decisions: columns of `decisions`; where `seq` is there, the row with the highest counts.
        contamination: prompt_id of prompts that evaluation sets contain, at least.
        bad_golds: prompt_id of prompts whose verifier cannot use their ground truth, at least: they measure nothing.
        overrides: prompt_id, field, value (JSON text), who, why: what people overruled. It is put in place of what
            `prompts` says, and kept in the manifest, so that a rebuild knows it.
        policy_ids: policies whose measurements are shown for a prompt that the selection did not measure, first
            choice first.
        policy: the settings that decided, as plain JSON.
        policy_hash: of those settings.
        inputs: name -> hash of everything that came from outside (source files, recorded rollouts, overrides,
            evaluation sets).
        models: what produced rollouts and rewards, as plain JSON.
        code_version: of the code that made the rows.
        funnel: `warehouse.funnel.funnel` of the home, for the card.
        ledger_seq: last commit that was visible; with `versions` it pins the tables for a rebuild.
        versions: table -> Delta version.
        builds: what was committed: (stage, batch, variant, build id, data version).
        run_id: of the run that writes; recorded, never hashed.
    """

    arm: str
    prompts: pl.LazyFrame
    curriculum: pl.LazyFrame
    selection: pl.LazyFrame
    difficulty: pl.LazyFrame
    references: pl.LazyFrame
    decisions: pl.LazyFrame
    policy: Mapping[str, Any]
    policy_hash: str
    inputs: Mapping[str, str]
    code_version: str
    contamination: pl.LazyFrame = field(default_factory=lambda: pl.LazyFrame(schema=CONTAMINATION.schema))
    bad_golds: pl.LazyFrame = field(default_factory=lambda: pl.LazyFrame(schema=GOLD_CHECKS.schema))
    overrides: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=OVERRIDES))
    policy_ids: tuple[str, ...] = ()
    models: Sequence[Mapping[str, Any]] = ()
    funnel: pl.DataFrame | None = None
    ledger_seq: int = 0
    versions: Mapping[str, int] = field(default_factory=dict)
    builds: Sequence[tuple[str, ...]] = ()
    run_id: str = ""


def release_inputs(
    snapshot: Snapshot,
    arm: str,
    *,
    policy: Mapping[str, Any],
    policy_hash: str,
    inputs: Mapping[str, str],
    code_version: str,
    policy_ids: Sequence[str] = (),
    models: Sequence[Mapping[str, Any]] = (),
    overrides: pl.DataFrame | None = None,
    run_id: str = "",
    with_funnel: bool = True,
) -> ReleaseInputs:
    """Return what a release of an arm is made of, out of a snapshot with all tables.

    `with_funnel=False` spares counting the whole home, where no card is wanted.
    """
    own = pl.col("arm") == arm
    return ReleaseInputs(
        arm=arm,
        prompts=snapshot.scan("prompts"),
        curriculum=snapshot.scan("curriculum").filter(own),
        selection=snapshot.scan("selection").filter(own),
        difficulty=snapshot.scan("difficulty"),
        references=snapshot.scan("references"),
        decisions=_visible_decisions(snapshot),
        contamination=snapshot.scan("contamination"),
        bad_golds=snapshot.scan("gold_checks"),
        overrides=pl.DataFrame(schema=OVERRIDES) if overrides is None else overrides,
        policy=policy,
        policy_hash=policy_hash,
        inputs=inputs,
        code_version=code_version,
        policy_ids=tuple(policy_ids),
        models=models,
        funnel=funnel(snapshot, arm) if with_funnel else None,
        ledger_seq=max((c.seq for c in snapshot.commits), default=0),
        versions=snapshot.versions(),
        builds=[(*key, c.build_id, c.data_version) for key, c in sorted(snapshot.live.items())],
        run_id=run_id,
    )


def _visible_decisions(snapshot: Snapshot) -> pl.LazyFrame:
    """Return all decisions that count or are extended by others, with `variant` and `seq`."""
    table = TABLES["decisions"]
    files = snapshot.files("decisions")
    if not files:
        return pl.LazyFrame(schema={**table.schema, "variant": pl.String, "seq": pl.Int64})
    rows = [(b, c.variant, c.seq) for b, c in snapshot.decision_builds().items()]
    builds = pl.LazyFrame(rows, schema={"build_id": pl.String, "variant": pl.String, "seq": pl.Int64}, orient="row")
    scan = pl.scan_parquet(
        files,
        hive_partitioning=True,
        hive_schema=dict.fromkeys(table.partitions, pl.String),
        schema=pl.Schema(table.columns),
    )
    return scan.select(list(table.stored)).join(builds, on="build_id").drop("build_id")
