"""The Dagster code location: assets, jobs, sensors, schedules and the one resource."""

import dagster as dg

from assets.graph import ASSETS
from assets.resources import PreppoResource
from pipeline.automation import inbox, nightly, recurate_after_batch
from pipeline.jobs import JOBS


@dg.definitions
def defs() -> dg.Definitions:
    """Return everything that Dagster knows of preppo."""
    return dg.Definitions(
        assets=ASSETS,
        jobs=JOBS,
        sensors=[inbox, recurate_after_batch],
        schedules=[nightly],
        resources={"preppo": PreppoResource()},
    )
