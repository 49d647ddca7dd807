"""How Dagster reaches a project."""

from pathlib import Path

import dagster as dg

from assets.project import Project, open_project
from assets.stages import Run

EARLIER_TAG = "preppo/earlier_runs"  # ids of the runs that the same command started before this one


class PreppoResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # it wants none
    """A project: settings file and home.

    Attributes:
        config: the settings file; default `$PREPPO_CONFIG`, then `./preppo.toml`, then the demo.
        home: the home folder; default `$PREPPO_HOME`, then `./.preppo`.
    """

    config: str | None = None
    home: str | None = None

    def project(self) -> Project:
        """Open the project anew, so that settings changed since the last run count."""
        return open_project(Path(self.config) if self.config else None, Path(self.home) if self.home else None)

    def run(self, context: dg.AssetExecutionContext) -> Run:
        """Return what a stage needs, under the id of the Dagster run."""
        earlier = context.run.tags.get(EARLIER_TAG, "")
        return Run(self.project(), context.run.run_id, tuple(filter(None, earlier.split(","))))
