"""What every stage has in common: which builds it wants, how one is written, and when there is nothing to do."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from assets.code_version import code_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from assets.project import Project
    from warehouse.ledger import Build, Commit
    from warehouse.store import Snapshot, StageWriter


@dataclass(frozen=True)
class Run:
    """One execution: on which project, and under which run id.

    `earlier` names the runs that the same command started before: one budget holds for all of them.
    """

    project: Project
    run_id: str = ""
    earlier: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What a check saw. A check that does not pass names what is wrong in `detail`."""

    passed: bool
    observed: float
    threshold: float
    detail: str = ""


@dataclass(frozen=True)
class Check:
    """A test of what a stage has written, run before it is committed.

    A blocking check holds an invariant: the build is not committed where it fails. Any other warns of drift.
    """

    name: str
    description: str
    evaluate: Callable[[Run, Written, StageWriter], Finding]
    blocking: bool = True


class StageFailedError(RuntimeError):
    """A stage of a batch cannot be committed; the message says why and what to do."""


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline.

    Attributes:
        name: of the stage, its asset and its ledger rows.
        table: the main table; its content is the data version that later stages look at.
        builds: the builds wanted for a batch, given a view of what is committed (several: one a policy or arm).
        write: writes one build and returns its counts; must leave nothing half where it raises.
        module: where the stage is written; its code version covers this and what it imports.
    """

    name: str
    table: str
    builds: Callable[[Project, Snapshot, str], list[Build]]
    write: Callable[[Run, Snapshot, Build, StageWriter], Written]
    module: str
    checks: tuple[Check, ...] = ()
    after: Callable[[Run, Build], None] | None = None  # tidies up once the build is committed

    @property
    def code_version(self) -> str:
        """Return the version of the code that decides what the stage writes."""
        return code_version(self.module)


@dataclass(frozen=True)
class Written:
    """What a stage reports when it has written a build."""

    counts: dict[str, int] = field(default_factory=dict)
    extends: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one wanted build."""

    build: Build
    commit: Commit
    carried: bool  # it was there already
    seconds: float


def materialise(stage: Stage, batch: str, run: Run) -> list[Outcome]:
    """Bring a stage of a batch up to date; builds that are current already are left as they are."""
    with run.project.store.home.lock("sweep", shared=True):  # nobody removes what we read
        return list(_materialise(stage, batch, run))


def _materialise(stage: Stage, batch: str, run: Run) -> Iterator[Outcome]:
    store = run.project.store
    view = store.snapshot()
    for key in [b.key for b in stage.builds(run.project, view, batch)]:
        started = time.monotonic()
        with store.exclusive(key):
            # Whoever held the stage before us may have committed what it is made of, too: look at what is wanted now,
            # and write from that same view, or rows would be marked with inputs that they were not made from.
            if store.moved_since(view):
                view = store.snapshot()
            wanted = next((b for b in stage.builds(run.project, view, batch) if b.key == key), None)
            if wanted is None:
                continue
            writer = store.writer(wanted, run.run_id, view)
            carried = writer.committed
            if carried and writer.previous is not None:
                commit = writer.previous
            else:
                written = stage.write(run, view, wanted, writer)
                findings = _findings(stage, run, written, writer)
                commit = writer.commit(stage.table, written.counts, extends=written.extends, checks=findings)
                if stage.after is not None:
                    stage.after(run, wanted)
        yield Outcome(wanted, commit, carried, time.monotonic() - started)


def _findings(stage: Stage, run: Run, written: Written, writer: StageWriter) -> dict[str, dict[str, object]]:
    findings = {}
    for check in stage.checks:
        finding = check.evaluate(run, written, writer)
        if check.blocking and not finding.passed:
            where = " ".join(x for x in (stage.name, "of", writer.build.batch, writer.build.variant) if x)
            msg = (
                f"{where}: check {check.name} failed (observed {finding.observed:g}, allowed {finding.threshold:g}): "
                f"{finding.detail}; nothing of it was committed"
            )
            raise StageFailedError(msg)
        findings[check.name] = asdict(finding)
    return findings


def is_stale(stage: Stage, project: Project, view: Snapshot, batch: str) -> bool:
    """Tell whether a stage of a batch has something to do, as far as its inputs are committed."""
    return any(not view.is_current(b) for b in stage.builds(project, view, batch))
