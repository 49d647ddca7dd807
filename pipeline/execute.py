"""Run the jobs in this process, as `preppo run` does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assets.discovery import CORPUS_STAGES, register_new, stale_batches
from assets.housekeeping import tidy
from assets.partitions import ASKED_TAG, BATCHES
from assets.resources import EARLIER_TAG
from assets.stages import is_stale
from pipeline.definitions import defs
from pipeline.instance import PROCESS_TAG, this_process
from warehouse.ledger import CORPUS
from warehouse.queries import write_warehouse_file

if TYPE_CHECKING:
    import dagster as dg

    from assets.project import Project

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_ROUNDS = 4
# Errors whose message is for people: no class name, no pointer to a trace.
_PLAIN = (
    "InputError", "SettingsError", "OverrideError", "ReleaseError", "LookupError", "KeyError", "ModelError",
    "EngineError", "BudgetSpentError",
)  # fmt: skip
_FIRST, _LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@dataclass
class Report:
    """What a run did.

    Attributes:
        new_batch: key of the batch that new files became, if any.
        curated: batches that had something to do -> the first stage that was stale.
        waiting: batches that are stale and were not asked for -> their first stale stage; nothing is released then.
        released: whether selection to release were brought up to date too.
        failures: one line a failed step.
        spent: the budget of the run was spent; that is the last of the failures, and nothing more was begun.
        run_ids: of the Dagster runs, oldest first.
    """

    new_batch: str | None = None
    curated: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    released: bool = False
    failures: list[str] = field(default_factory=list)
    spent: bool = False
    run_ids: list[str] = field(default_factory=list)

    @property
    def idle(self) -> bool:
        """Tell whether there was nothing to do."""
        return not (self.new_batch or self.curated or self.released or self.failures)


def curate(project: Project, instance: dg.DagsterInstance, only: str | None = None) -> Report:
    """Register new files, bring stale batches up to date, and release.

    Args:
        project: what to curate.
        instance: where Dagster records the runs.
        only: one batch to look at, by key; new files are then left for later.
    """
    report = Report()
    with project.home.lock("sweep", shared=True):  # `preppo gc` does not come in between
        if only is None:
            batch = register_new(project)
            report.new_batch = batch.key if batch else None
        report.waiting = _curate_batches(project, instance, only, report)
        if not report.failures and not report.waiting and _corpus_is_stale(project):
            report.released = True
            _execute("curate_corpus", instance, [], report)
        if not report.failures:
            tidy(project)
            if not report.idle:
                write_warehouse_file(project.store.snapshot(), project.home.root / "warehouse.duckdb")
    return report


def _curate_batches(project: Project, instance: dg.DagsterInstance, only: str | None, report: Report) -> dict[str, str]:
    """Bring batches up to date, and return those that still are not.

    What one batch brings can make others stale: an evaluation set among its sources, or prompts that are no longer new.
    """
    stale = stale_batches(project)
    for _ in range(_ROUNDS):
        todo = {k: v for k, v in stale.items() if only is None or k == only}
        if not todo or report.failures:
            break
        report.curated = todo | report.curated
        known = [b.key for b in project.batches.all()]
        instance.add_dynamic_partitions(str(BATCHES.name), known)
        for keys in _ranges(list(todo), known):
            if not report.spent:
                _execute("curate_batch", instance, keys, report)
        stale = stale_batches(project)
    return stale


def _corpus_is_stale(project: Project) -> bool:
    view = project.store.snapshot()
    return any(is_stale(s, project, view, CORPUS) for s in CORPUS_STAGES)


def _ranges(keys: list[str], known: list[str]) -> list[list[str]]:
    """Cut keys into runs of neighbours: Dagster takes a range of partitions, and a model is loaded once a range."""
    position = {k: i for i, k in enumerate(known)}
    ranges: list[list[str]] = []
    for key in sorted(keys):
        if ranges and position[key] == position[ranges[-1][-1]] + 1:
            ranges[-1].append(key)
        else:
            ranges.append([key])
    return ranges


def _execute(job: str, instance: dg.DagsterInstance, keys: list[str], report: Report) -> None:
    tags = {PROCESS_TAG: this_process(), EARLIER_TAG: ",".join(report.run_ids)}
    if len(keys) > 1:
        tags |= {_FIRST: keys[0], _LAST: keys[-1]}
    if keys:
        tags[ASKED_TAG] = ",".join(keys)
    result = (
        defs()
        .resolve_job_def(job)
        .execute_in_process(
            instance=instance,
            partition_key=keys[0] if len(keys) == 1 else None,
            tags=tags,
            run_config=_QUIET,
            raise_on_error=False,
        )
    )
    report.run_ids.append(result.run_id)
    if result.success:
        return
    failures = result.get_step_failure_events()
    if any(_error_class(e) == "DagsterExecutionInterruptedError" for e in failures):
        raise KeyboardInterrupt
    report.failures += [_reason(e) for e in failures]
    report.spent = any("BudgetSpentError" in _causes(e) for e in failures)


def _error_class(event: dg.DagsterEvent) -> str:
    error = event.step_failure_data.error
    return str(error.cls_name) if error is not None else ""


def _causes(event: dg.DagsterEvent) -> list[str]:
    error, found = event.step_failure_data.error, []
    while error is not None:
        found.append(str(error.cls_name))
        error = error.cause
    return found


def _reason(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    error = data.error
    while error is not None and error.cause is not None and error.cause.cls_name != "_RemoteTraceback":
        error = error.cause
    first = error.message.strip().splitlines()[0] if error is not None and error.message.strip() else "failed"
    if error is not None and error.cls_name in _PLAIN:
        return f"{event.step_key}: {first.partition(': ')[2]}"
    return f"{event.step_key}: {first} (the whole trace is in `preppo ui`, under this run)"
