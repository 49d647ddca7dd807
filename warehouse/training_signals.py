"""Training signals: what a training run saw of each prompt, kept by run, so that the next selection can look at it."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import polars as pl

from warehouse.curation.signals import RUNS
from warehouse.hashing import frame_hash, json_hash
from warehouse.ledger import CORPUS, Build
from warehouse.schemas import TRAINING_SIGNALS, conform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warehouse.ledger import Commit
    from warehouse.store import Snapshot, Store

STAGE = "training_signals"
_VERSION = "1"  # of what a commit of signals means
_KEY = list(TRAINING_SIGNALS.key)


def keep_signals(store: Store, signals: pl.DataFrame, run_id: str = "") -> list[Commit]:
    """Add rows to those that are known of their training runs, a commit a run; the same row again replaces itself.

    Args:
        store: of the home.
        signals: the columns of `training_signals`.
        run_id: of the run that tells them; recorded, never hashed.

    Raises:
        SchemaError: the columns are others.
        ValueError: one training run names several releases, or another one than before.
    """
    ready = conform(TRAINING_SIGNALS, signals)
    parts = list(_by_run(ready))  # all are looked at before the first is kept
    return [_keep(store, name, part, run_id) for name, part in parts]


def _by_run(signals: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    for (name,), part in sorted(signals.partition_by("training_run_id", as_dict=True).items()):
        _check_release(str(name), part)
        yield str(name), part


def _check_release(name: str, rows: pl.DataFrame) -> None:
    releases = rows["release_id"].unique().sort().to_list()
    if len(releases) > 1:
        msg = f"training run {name!r} names {len(releases)} releases: {', '.join(map(str, releases[:3]))}"
        raise ValueError(msg)


def _keep(store: Store, name: str, part: pl.DataFrame, run_id: str) -> Commit:
    with store.exclusive((STAGE, CORPUS, name)):
        view = store.snapshot()
        known = view.commit(STAGE, CORPUS, name)
        old = [] if known is None else [view.scan_builds(STAGE, [known]).select(list(part.columns)).collect()]
        rows = pl.concat([*old, part])
        _check_release(name, rows)
        rows = rows.unique(_KEY, keep="last").sort(_KEY)
        build = Build(STAGE, CORPUS, {"content": frame_hash(rows)}, _VERSION, "", variant=name)
        writer = store.writer(build, run_id, view)
        if writer.committed and writer.previous is not None:
            return writer.previous
        writer.write(STAGE, rows)
        return writer.commit(STAGE, {"rows": rows.height, "prompts": rows["prompt_id"].n_unique()})


def signals_version(view: Snapshot) -> str | None:
    """Return what names all signals that count, or None where there are none."""
    found = {c.variant: c.data_version for c in view.of_stage(STAGE)}
    return json_hash(found) if found else None


def training_runs(view: Snapshot) -> pl.DataFrame:
    """Return the training runs as `curation.signals.RUNS`: in the order in which they were first told.

    A run on an older release counts as one of the newest that was known then: what it learnt is as fresh.
    """
    live = {c.variant for c in view.of_stage(STAGE)}
    told = sorted((c.seq, c.variant) for c in view.commits if c.stage == STAGE and c.variant in live)
    order = list(dict.fromkeys(name for _, name in told))
    release = dict(view.scan(STAGE).select("training_run_id", "release_id").unique().collect().iter_rows())
    releases = list(dict.fromkeys(release[name] for name in order))
    newest = accumulate((releases.index(release[name]) for name in order), max)
    rows = [(name, n, number) for (n, name), number in zip(enumerate(order), newest, strict=True)]
    return pl.DataFrame(rows, schema=RUNS, orient="row")
