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

NIGHTLY = "0 3 * * *"
INBOX_SECONDS = 30


@dg.sensor(
    job=curate_batch,
    minimum_interval_seconds=INBOX_SECONDS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="A new file that a [[source]] names becomes a batch and a run.",
)
def inbox(context: dg.SensorEvaluationContext, preppo: PreppoResource) -> dg.SensorResult:
    """Take files that did not change since the last tick, copy them into the home, register a batch, ask for a run."""
    project = preppo.project()
    before = json.loads(context.cursor) if context.cursor else {}
    seen = _sizes(project)
    settled = {name for name, mark in seen.items() if before.get(name) == mark}
    batch = project.batches.register([_take(project, *json.loads(name)) for name in sorted(settled)])
    requests, partitions = [], []
    if batch is not None:
        partitions = [batch.key]
        context.log.info("new batch %s of %d files", batch.key, len(batch.files))
        requests.append(dg.RunRequest(run_key=f"{batch.key}:1", partition_key=batch.key, tags={ASKED_TAG: batch.key}))
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[BATCHES.build_add_request(partitions)] if partitions else [],
        cursor=json.dumps(seen, sort_keys=True),
    )


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


@dg.schedule(
    job=curate_batch,
    cron_schedule=NIGHTLY,
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every night: bring stale batches up to date (new evaluation sets, overrides, rollouts); then release.",
)
def nightly(
    context: dg.ScheduleEvaluationContext, preppo: PreppoResource
) -> list[dg.RunRequest] | dg.SkipReason | dg.RunRequest:
    """Ask for one run a stale batch; the corpus job follows by its sensor."""
    stale = stale_batches(preppo.project())
    if not stale:
        return dg.SkipReason("every batch is up to date")
    night = context.scheduled_execution_time.date().isoformat()
    return [dg.RunRequest(run_key=f"{night}:{key}", partition_key=key, tags={ASKED_TAG: key}) for key in stale]
