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
    from collections.abc import Callable, Iterator

    from warehouse.ledger import Commit
    from warehouse.store import Snapshot, Store

    Merge = Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]

STAGE = "training_signals"
_VERSION = "1"  # of what a commit of signals means
_KEY = list(TRAINING_SIGNALS.key)
_VISIT = [column for column in _KEY if column != "sample"]
_FACTS = ["reward", "source"]  # of a response, by which it is known again


class OtherSignalsError(ValueError):
    """What is told of a training run contradicts what is known of it."""


def keep_signals(store: Store, signals: pl.DataFrame, run_id: str = "", *, counted: bool = False) -> list[Commit]:
    """Add rows to those that are known of their training runs, a commit a run.

    Where samples have numbers of their own, a row replaces the one that is known by its key: a training that is
    repeated replaces itself. Where samples were only counted, in whatever order their files came, keys say nothing:
    the rows of a step and prompt then replace all that are known of these, which must be among them.

    Args:
        store: of the home.
        signals: the columns of `training_signals`.
        run_id: of the run that tells them; recorded, never hashed.
        counted: samples were only counted.

    Raises:
        SchemaError: the columns are others.
        OtherSignalsError: samples were only counted, and rows that are known are not among them. Nothing is kept.
        ValueError: one training run names several releases, or another one than before. Nothing is kept.
    """
    merge = _with_all if counted else _with_own
    parts = list(_by_run(conform(TRAINING_SIGNALS, signals)))
    view = store.snapshot()
    for name, part in parts:  # all are looked at before the first is kept
        _merged(view, name, part, merge)
    return [_keep(store, name, part, run_id, merge) for name, part in parts]


def _by_run(signals: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    for (name,), part in sorted(signals.partition_by("training_run_id", as_dict=True).items()):
        _check_release(str(name), part)
        yield str(name), part


def _check_release(name: str, rows: pl.DataFrame) -> None:
    releases = rows["release_id"].unique().sort().to_list()
    if len(releases) > 1:
        msg = f"training run {name!r} names {len(releases)} releases: {', '.join(map(str, releases[:3]))}"
        raise ValueError(msg)


def _known(view: Snapshot, name: str) -> pl.DataFrame:
    """Return the rows that count of a training run."""
    commit = view.commit(STAGE, CORPUS, name)
    if commit is None:
        return pl.DataFrame(schema=TRAINING_SIGNALS.columns)
    return view.scan_builds(STAGE, [commit]).select(list(TRAINING_SIGNALS.columns)).collect()


def _with_own(known: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Return known rows with others, which replace those of the same key."""
    return pl.concat([known, rows]).unique(_KEY, keep="last")


def _with_all(known: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Return known rows with others, which are all that there are of their steps and prompts.

    Raises:
        OtherSignalsError: a known row is not among them.
    """
    again = known.join(rows, on=_VISIT, how="semi")
    facts = [*_VISIT, *_FACTS, *(["response_tokens"] if again["response_tokens"].count() else [])]
    there = rows.group_by(facts).agg(there=pl.len())
    lost = again.group_by(facts).agg(known=pl.len()).join(there, on=facts, how="left", nulls_equal=True)
    lost = lost.filter(pl.col("known") > pl.col("there").fill_null(0)).sort(_VISIT)
    if lost.height:
        run, step, prompt = lost.row(0)[: len(_VISIT)]
        msg = f"training run {run!r}: not all rewards that are known of prompt {prompt} in step {step} are among these"
        raise OtherSignalsError(msg)
    return pl.concat([known.join(rows, on=_VISIT, how="anti"), rows])


def _merged(view: Snapshot, name: str, part: pl.DataFrame, merge: Merge) -> pl.DataFrame:
    rows = merge(_known(view, name), part).sort(_KEY)
    _check_release(name, rows)
    return rows


def _keep(store: Store, name: str, part: pl.DataFrame, run_id: str, merge: Merge) -> Commit:
    with store.exclusive((STAGE, CORPUS, name)):
        view = store.snapshot()
        rows = _merged(view, name, part, merge)
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
