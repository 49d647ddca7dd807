"""What every stage has in common: which builds it wants, how one is written, and when there is nothing to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assets.code_version import code_version
from warehouse.ledger import Build, Commit

if TYPE_CHECKING:
    from assets.project import Project
    from warehouse.store import Snapshot, StageWriter

Progress = Callable[[str, int, int | None], None]  # what, done, of how many (None: not known)


def silent(_what: str, _done: int, _total: int | None) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Run:
    """One execution: who asks, and where progress goes."""

    project: Project
    run_id: str = ""
    progress: Progress = silent


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
        modules: what the code version is made of.
    """

    name: str
    table: str
    builds: Callable[[Project, Snapshot, str], list[Build]]
    write: Callable[[Run, Snapshot, Build, StageWriter], Written]
    modules: tuple[str, ...]
    after: Callable[[Run, Build], None] | None = None  # tidies up once the build is committed

    @property
    def code_version(self) -> str:
        """Return the version of the code that decides what the stage writes."""
        return code_version(*self.modules)


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
    store = run.project.store
    outcomes: list[Outcome] = []
    for wanted in stage.builds(run.project, store.snapshot(), batch):
        started = time.monotonic()
        with store.stage(wanted, run.run_id) as writer:
            carried = writer.committed
            if carried and writer.previous is not None:
                commit = writer.previous
            else:
                written = stage.write(run, store.snapshot(), wanted, writer)
                commit = writer.commit(stage.table, written.counts, extends=written.extends)
                if stage.after is not None:
                    stage.after(run, wanted)
        outcomes.append(Outcome(wanted, commit, carried, time.monotonic() - started))
    return outcomes


def is_stale(stage: Stage, project: Project, view: Snapshot, batch: str) -> bool:
    """Tell whether a stage of a batch has something to do, as far as its inputs are committed."""
    return any(not view.is_current(b) for b in stage.builds(project, view, batch))
