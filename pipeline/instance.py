"""The Dagster instance of a home, and the runs that a killed process left behind."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from warehouse.home import Home

PROCESS_TAG = "preppo/process"
_CONFIG = """\
# Written by preppo where it is missing; yours to change.
telemetry: {enabled: false}
nux: {enabled: false}
run_monitoring: {enabled: true}
"""


def open_instance(home: Home) -> dg.DagsterInstance:
    """Return the instance under `dagster/` of a home, which the UI shows, and mark dead local runs as failed."""
    with home.lock("dagster"):
        if not any(home.dagster.iterdir()):
            _create(home)
        config = home.dagster / "dagster.yaml"
        if not config.exists():
            config.write_text(_CONFIG, encoding="utf-8")
        os.environ["DAGSTER_HOME"] = str(home.dagster)
        instance = dg.DagsterInstance.get()
    fail_dead_runs(instance)
    return instance


def _create(home: Home) -> None:
    """Make the databases of an instance whole or not at all.

    Two processes that make them at the same time, or one that is killed while it does, leave databases that Dagster
    refuses to open ever after. So they are made beside, under the lock, and renamed into place.
    """
    fresh = home.root / ".dagster-new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    (fresh / "dagster.yaml").write_text(_CONFIG, encoding="utf-8")
    with dg.DagsterInstance.from_config(str(fresh)):
        pass
    fresh.rename(home.dagster)  # which is there, and empty


def this_process() -> str:
    """Return a name for this process that a later one cannot have: its id and the moment it started."""
    return _process(os.getpid()) or str(os.getpid())


def _process(pid: int) -> str | None:
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
    return f"{os.uname().nodename}:{pid}:{started}"


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark the runs of processes that are gone as failed, so that nothing waits for them; return their ids.

    What they had committed stays, and the next run goes on from there.
    """
    open_statuses = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]
    dead = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=open_statuses)):
        process = run.tags.get(PROCESS_TAG)
        if process is None or process.split(":")[0] != os.uname().nodename:
            continue
        if _process(int(process.split(":")[1])) != process:
            instance.report_run_failed(
                run, "the process that ran this is gone; the next run continues from what it committed"
            )
            dead.append(run.run_id)
    return dead
