"""The Dagster code location: assets, jobs, sensors, schedules and the one resource."""

import dagster as dg

from assets.graph import ASSETS
from assets.resources import PreppoResource
from pipeline.automation import inbox_sensor, nightly_schedule, recurate_after_batch
from pipeline.jobs import JOBS


@dg.definitions
def defs() -> dg.Definitions:
    """Return everything that Dagster knows of preppo. The times are those of the settings when it is loaded."""
    schedule = PreppoResource().project().settings.schedule
    return dg.Definitions(
        assets=ASSETS,
        jobs=JOBS,
        sensors=[inbox_sensor(schedule.inbox_seconds), recurate_after_batch],
        schedules=[nightly_schedule(schedule.nightly)],
        resources={"preppo": PreppoResource()},
    )
