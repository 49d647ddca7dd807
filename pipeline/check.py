"""`preppo check`: look at settings and sources without curating, and estimate what a run would generate."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from assets.adaptive import most_samples
from assets.golds import overrides
from assets.policies import own_policy_id
from pipeline.check_pairs import check_pairs
from trainer.engines.recorded import stream_recorded
from trainer.engines.weights import ModelError
from verifiers import Task, available, check_gold
from warehouse.curation.estimate import Measured, Work, prompt_tokens
from warehouse.curation.overrides import OverrideError
from warehouse.ingest.fields import RowError
from warehouse.ingest.raw import InputError
from warehouse.ingest.readers import expand, read_blocks, read_dataset, read_rows
from warehouse.ingest.rows import FilteredError, RowMapper

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from pathlib import Path

    from assets.project import Project
    from warehouse.batches import BatchFile
    from warehouse.ingest.raw import RawRow
    from warehouse.ingest.rows import Prompt
    from warehouse.settings import RolloutsSettings, SourceSettings

COUNT_UP_TO = 1_000_000


@dataclass
class SourceReport:
    """What the first rows of a source look like."""

    name: str
    pool: str
    files: int = 0
    estimated_rows: int = 0
    rows: int = 0
    usable: int = 0
    filtered: int = 0
    chars: int = 0
    golds: int = 0
    bad_golds: int = 0
    bad_gold: str = ""  # the first
    domains: set[str] = field(default_factory=set)
    verifiers: set[str] = field(default_factory=set)
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass
class CheckReport:
    """What was found. Problems make the exit code 2; notes do not."""

    sources: list[SourceReport] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rollouts: int = 0
    prompt_tokens: int = 0
    response_tokens: int = 0


def check_sources(project: Project, rows: int) -> CheckReport:
    """Read the first rows of every file of every source, of preferences, and the first of every rollouts file."""
    report = CheckReport()
    for source in project.settings.source:
        try:
            report.sources.append(_source(project, source, rows))
        except InputError as error:
            report.problems.append(f"source {source.name}: {error}")
    for section in project.settings.rollouts:
        try:
            _rollouts(report, section, expand(section.path, project.base), rows)
        except InputError as error:
            report.problems.append(f"rollouts {section.name}: {error}")
    for s in report.sources:
        if s.reasons and not s.usable:
            report.problems.append(
                f"source {s.name}: none of {s.rows} rows can be used: {next(iter(s.reasons.values()))}"
            )
        report.notes += [f"source {s.name}: {code}, for example: {text}" for code, text in sorted(s.reasons.items())]
        if s.bad_golds:
            told = f"source {s.name}: {s.bad_golds} of {s.golds} golds cannot be used, for example {s.bad_gold}"
            (report.problems if s.bad_golds == s.golds else report.notes).append(told)
        unknown = sorted(s.verifiers - set(available()))
        if unknown:
            report.notes.append(
                f"source {s.name}: no verifier named {', '.join(unknown)} yet: such prompts are unscored"
            )
    try:
        overrides(project)
    except OverrideError as error:
        report.problems.append(str(error))
    problems, notes = check_pairs(project, rows)
    report.problems += problems
    report.notes += notes
    if not project.settings.source and not project.settings.preferences:
        report.problems.append("no [[source]] is configured; `preppo init` writes an example")
    try:
        _estimate(project, report)
    except ModelError as error:
        report.problems.append(str(error))
    return report


def estimated_work(project: Project, files: Sequence[BatchFile], rows: int) -> list[Work]:
    """Return what some files that are not prompts yet would need, by source, as far as their first rows tell.

    Raises:
        InputError: a file cannot be read.
    """
    found = []
    for source in project.settings.source:
        mine = {f.path for f in files if f.source == source.name}
        if mine:
            found.append(_work(project, _source(project, source, rows, mine)))
    return [w for w in found if w is not None]


def _source(
    project: Project, source: SourceSettings, rows: int, only: Container[str | None] | None = None
) -> SourceReport:
    """Look at a source, or at some of its files alone."""
    report = SourceReport(source.name, source.pool)
    if source.dataset is not None:
        _look(
            report,
            source,
            project,
            itertools.islice(read_dataset(source.dataset, source.dataset_config, source.split), rows),
        )
        return report
    for path in expand(source.path or [], project.base):
        if only is not None and str(path) not in only:
            continue
        report.files += 1
        report.estimated_rows += _count(path, source.encoding)
        _look(report, source, project, itertools.islice(read_rows(path, encoding=source.encoding), rows))
    return report


def _count(path: Path, encoding: str) -> int:
    """Return the rows of a file without parsing them, up to about a million."""
    rows = 0
    for block in read_blocks(path, encoding=encoding):
        rows += block.rows
        if rows >= COUNT_UP_TO:
            break
    return rows


def _rollouts(report: CheckReport, section: RolloutsSettings, paths: list[Path], rows: int) -> None:
    """Read the first rows of recorded rollouts."""
    for path in paths:
        first = next(stream_recorded(section, [path], rows), None)
        if first is None:
            report.notes.append(f"rollouts {section.name}: {path.name} has no rows")
        elif first.rejected.height:
            row = first.rejected.row(0, named=True)
            text = f"{path.name} row {row['row']}: {row['reason']}"
            unusable = first.rejected.height + first.filtered == first.read
            told = f"rollouts {section.name}: {first.rejected.height} of {first.read} rows cannot be used, e.g. {text}"
            (report.problems if unusable else report.notes).append(told)


def _look(report: SourceReport, source: SourceSettings, project: Project, rows: Iterator[RawRow]) -> None:
    mapper = RowMapper(source, project.settings.ingest)
    for row in rows:
        report.rows += 1
        try:
            if row.error is not None or row.value is None:
                raise row.error or RowError("not_an_object", "the row holds no object")
            found = mapper.map(row.value)
        except RowError as error:
            report.reasons.setdefault(error.reason_code, f"row {row.row}: {error.message}")
            continue
        except FilteredError:
            report.filtered += 1
            continue
        report.usable += 1
        report.chars += len(found.text)
        report.golds += found.ground_truth is not None
        report.domains.add(found.domain)
        if found.verifier is not None:
            report.verifiers.add(found.verifier)
            _look_at_gold(report, found, row.row)


def _look_at_gold(report: SourceReport, found: Prompt, row: int) -> None:
    if found.verifier not in available() or found.ground_truth is None:
        return
    problem = check_gold(Task(str(found.verifier), "", found.ground_truth))
    if problem is not None:
        report.bad_golds += 1
        report.bad_gold = report.bad_gold or f"row {row}: {problem}"


def _work(project: Project, s: SourceReport) -> Work | None:
    """Return what the prompts of a source need, before anybody knows which of them have recorded rollouts."""
    policy = project.settings.policy
    if s.pool not in policy.pools or not s.usable:
        return None
    prompts = s.estimated_rows * s.usable // s.rows
    prompts = min(prompts, policy.per_source) if policy.per_source else prompts
    adaptive = project.settings.adaptive.arm is not None and s.pool == "new"
    compete = prompts * s.golds // s.usable if adaptive else 0
    samples = most_samples(project, compete, prompts - compete)
    return Work(f"source {s.name}", prompts, samples, round(samples * s.chars / s.usable))


def _estimate(project: Project, report: CheckReport) -> None:
    policy = project.settings.policy
    if own_policy_id(policy) is None:
        return
    for work in filter(None, (_work(project, s) for s in report.sources)):
        report.rollouts += work.samples
        report.prompt_tokens += prompt_tokens(work, Measured())
        report.response_tokens += work.samples * policy.max_tokens


def render(report: CheckReport) -> Group:
    """Return the report for a terminal."""
    table = Table(box=None, pad_edge=False)
    for column in ("source", "pool", "files", "rows (about)", "usable", "with gold", "domains", "verifiers"):
        table.add_column(column)
    for s in report.sources:
        share = f"{s.usable / s.rows:.1%} of {s.rows}" if s.rows else "-"
        names = (", ".join(sorted(s.domains)), ", ".join(sorted(s.verifiers)) or "-")
        table.add_row(s.name, s.pool, str(s.files), f"{s.estimated_rows:,}", share, str(s.golds), *names)
    lines = [Text(f"note: {n}") for n in report.notes] + [Text(f"problem: {p}") for p in report.problems]
    estimate = (
        f"to generate, at most (prompts with recorded rollouts may need none): {report.rollouts:,} rollouts, about "
        f"{report.prompt_tokens:,} prompt tokens and up to {report.response_tokens:,} response tokens"
    )
    return Group(table, "", estimate, *lines, "" if report.problems else "settings and sources can be used")
