"""How Dagster reaches a project."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
from pydantic import PrivateAttr

from assets.project import Project, open_project
from assets.stages import Progress, Run, silent


class PreppoResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A project: settings file and home.

    Attributes:
        config: the settings file; default `./preppo.toml`, then the defaults.
        home: the home folder; default `$PREPPO_HOME`, then `./.preppo`.
    """

    config: str | None = None
    home: str | None = None
    _progress: Progress = PrivateAttr(default=silent)

    def showing(self, progress: Progress) -> PreppoResource:
        """Return the resource with progress going somewhere, for a run in this process."""
        self._progress = progress
        return self

    def project(self) -> Project:
        """Open the project anew, so that settings changed since the last run count."""
        return open_project(Path(self.config) if self.config else None, Path(self.home) if self.home else None)

    def run(self, context: dg.AssetExecutionContext) -> Run:
        """Return what a stage needs, under the id of the Dagster run."""
        return Run(self.project(), context.run.run_id, self._progress)
