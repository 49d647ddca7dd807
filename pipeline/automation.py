"""What runs by itself: the inbox sensor and the nightly re-curation."""

import json
import shutil
from pathlib import Path

import dagster as dg

from assets.discovery import stale_batches
from assets.partitions import ASKED_TAG, BATCHES
from assets.project import Project
from assets.resources import PreppoResource
from pipeline.jobs import curate_batch, curate_corpus
from warehouse.batches import BatchFile
from warehouse.ingest.readers import InputError, expand, file_hash


def inbox_sensor(seconds: int) -> dg.SensorDefinition:
    """Return the sensor that makes a batch and a run of a new file; `seconds` between two looks."""

    @dg.sensor(
        name="inbox",
        job=curate_batch,
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="A new file that a [[source]] names becomes a batch and a run.",
    )
    def _inbox(context: dg.SensorEvaluationContext, preppo: PreppoResource) -> dg.SensorResult:
        """Take files that did not change since the last look; register them as a batch and ask for a run."""
        project = preppo.project()
        before = json.loads(context.cursor) if context.cursor else {}
        seen = _sizes(project)
        settled = sorted(name for name, mark in seen.items() if before.get(name) == mark)
        batch = project.batches.register([_take(project, *json.loads(name)) for name in settled])
        waiting = [b.key for b in project.live_batches() if project.store.ledger.find("prompts", b.key) is None]
        for key in waiting:
            context.log.info("batch %s waits for its run", key)
        return dg.SensorResult(
            # A run key is taken once: a batch that was registered and never got its run is asked for again.
            run_requests=[dg.RunRequest(run_key=f"{k}:1", partition_key=k, tags={ASKED_TAG: k}) for k in waiting],
            dynamic_partitions_requests=[BATCHES.build_add_request(waiting)] if batch or waiting else [],
            cursor=json.dumps(seen, sort_keys=True),
        )

    return _inbox


def nightly_schedule(cron: str) -> dg.ScheduleDefinition:
    """Return the schedule that brings stale batches up to date; the corpus job follows by its sensor."""

    @dg.schedule(
        name="nightly",
        job=curate_batch,
        cron_schedule=cron,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Bring stale batches up to date (new evaluation sets, overrides, rollouts), then release.",
    )
    def _nightly(
        context: dg.ScheduleEvaluationContext, preppo: PreppoResource
    ) -> list[dg.RunRequest] | dg.SkipReason | dg.RunRequest:
        """Ask for one run a stale batch."""
        stale = stale_batches(preppo.project())
        if not stale:
            return dg.SkipReason("every batch is up to date")
        night = context.scheduled_execution_time.date().isoformat()
        return [dg.RunRequest(run_key=f"{night}:{k}", partition_key=k, tags={ASKED_TAG: k}) for k in stale]

    return _nightly


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[curate_batch],
    request_job=curate_corpus,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="After a batch is curated, select and release over all of them.",
)
def recurate_after_batch(context: dg.RunStatusSensorContext) -> dg.RunRequest:
    """Ask for the corpus job once a batch run has succeeded."""
    return dg.RunRequest(run_key=f"corpus:{context.dagster_run.run_id}")


def _sizes(project: Project) -> dict[str, list[int]]:
    """Return (source, path) -> [size, time of last change] for every file that a source names now."""
    found = {}
    for source in project.settings.source:
        if source.path is not None:
            for path in _matches(source.path, project.base):
                stat = path.stat()
                found[json.dumps([source.name, str(path)])] = [stat.st_size, stat.st_mtime_ns]
    return found


def _matches(patterns: str | list[str], base: Path) -> list[Path]:
    try:
        return expand(patterns, base)
    except InputError:  # an inbox may be empty; only `preppo check` calls that a mistake
        return []


def _take(project: Project, source: str, path: str) -> BatchFile:
    """Copy a file into the home under the hash of its content, unless it is there."""
    digest = file_hash(Path(path))
    target = project.home.inbox / digest / Path(path).name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.part")
        shutil.copyfile(path, temporary)
        temporary.replace(target)
    return BatchFile(source, file_hash(target), path=str(target))
