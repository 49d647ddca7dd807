"""`preppo run`: curate, with progress bars, and say what came of it."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from assets.progress import Lines, Pace, listening
from assets.recorded import unmatched
from pipeline.errors import RunFailedError, RunStoppedError
from pipeline.execute import Report, curate
from pipeline.instance import open_instance
from warehouse.funnel import funnel, main_path
from warehouse.releases import load_release

if TYPE_CHECKING:
    from rich.console import Console

    from assets.project import Project


class Bars:
    """Progress with rate and time left: bars on a terminal, elsewhere plain lines, one in 30 seconds."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[told]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._lines = None if console.is_terminal else Lines(lambda line: _plainly(console, line))
        self._tasks: dict[str, TaskID] = {}
        self._paces: dict[str, Pace] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, what: str, done: int, total: int | None, tokens: int = 0) -> None:
        """Show how far a kind of work is."""
        if self._lines is not None:
            self._lines(what, done, total, tokens)
            return
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total, told="")
            self._paces[what] = Pace()
        pace = self._paces[what]
        pace.update(time.monotonic(), done, tokens)
        self._progress.update(self._tasks[what], completed=done, total=total, told=pace.told(done, total))


def _plainly(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def run_and_show(project: Project, out: Console, err: Console, batch: str | None = None) -> Report:
    """Curate, and print the funnel, where the release lies, and what to try next.

    Raises:
        RunFailedError: a stage failed; one line each.
        RunStoppedError: the budget is spent.
    """
    started = time.monotonic()
    only = project.batches.get(batch).key if batch else None
    if only is not None and only not in {b.key for b in project.live_batches()}:
        msg = f"batch {only} was abandoned; it is in no view any more"
        raise LookupError(msg)
    with Bars(err) as bars, listening(bars), open_instance(project.home) as instance:
        report = curate(project, instance, only)
    if report.failures:
        kind = RunStoppedError if report.spent else RunFailedError
        raise kind("\n".join(report.failures))
    _say_done(report, out, time.monotonic() - started)
    _say_what_is_odd(project, report, out)
    _show_release(project, out)
    return report


def _say_done(report: Report, out: Console, seconds: float) -> None:
    if report.idle:
        out.print("everything is up to date")
        return
    for batch, stage in report.curated.items():
        new = " (new)" if batch == report.new_batch else ""
        out.print(f"batch {batch}{new}: brought up to date from stage [bold]{stage}[/bold] on")
    out.print(f"done in {seconds:.1f} s\n")
    for batch, stage in report.waiting.items():
        out.print(f"not released: batch {batch} is stale from {stage} on; `preppo run` brings it up to date")


def _say_what_is_odd(project: Project, report: Report, out: Console) -> None:
    """Tell what a person should know and no check blocks."""
    view = project.store.snapshot()
    for path, (count, name) in unmatched(project, view).items():
        odd = f"rollouts of {count} prompts that are not there (rejected, or written otherwise), e.g. {name}"
        out.print(f"note: {path} has {odd}", soft_wrap=True, markup=False)
    if report.idle:
        return
    for commit in view.live.values():
        for name, finding in commit.checks.items():
            if not finding["passed"]:
                where = " ".join(x for x in (commit.stage, commit.batch, commit.variant[:12]) if x)
                out.print(f"warning: {where}: {name}: {finding['detail']}", soft_wrap=True, markup=False)


def _show_release(project: Project, out: Console) -> None:
    view = project.store.snapshot()
    arm = project.settings.selection.name
    table = Table(title="Funnel", title_justify="left", box=None, pad_edge=False)
    table.add_column("step")
    table.add_column("prompts", justify="right")
    for label, rows in main_path(funnel(view, arm)):
        table.add_row(label, f"{rows:,}")
    out.print(table)
    if not view.of_stage("release"):
        out.print("no release: nothing was selected, or the last run stopped before; `preppo status` tells")
        return
    release = load_release(project.home.releases, arm=arm)
    out.print(f"\nrelease [bold]{release.release_id[:12]}[/bold] of arm {arm}: {release.folder}", soft_wrap=True)
    prompt = release.train().select("prompt_id").head(1).collect()
    example = prompt.item()[:12] if prompt.height else "PROMPT"
    out.print("\nthree things to try next:", highlight=False)
    preppo = _as_typed()
    for command, why in (
        (f"{preppo} explain {example}", "the whole story of the first prompt of the release"),
        (
            f'{preppo} sql "select reason, count(*) from selection group by 1 order by 2 desc"',
            "why prompts are in or out",
        ),
        (f"{preppo} ui", "assets, checks and plots in Dagster"),
    ):
        out.print(f"  {command}", style="bold", highlight=False, soft_wrap=True)
        out.print(f"      {why}", highlight=False)


def _as_typed() -> str:
    """Return the command as a person can type it here: by name where the shell finds it, else by its path."""
    own = Path(sys.executable).with_name("preppo")
    if shutil.which("preppo") is not None or not own.is_file():
        return "preppo"
    return str(own.relative_to(Path.cwd())) if own.is_relative_to(Path.cwd()) else str(own)
