"""What a home no longer needs: replaced data files, rows that were never committed, intermediate files."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from assets.recorded import imports
from warehouse.releases import pinned_versions

if TYPE_CHECKING:
    from assets.project import Project

_EVERY_S = 24 * 3600


def tidy(project: Project) -> bool:
    """Delete what is older than `storage.keep_hours` and no release names; at most once a day. Tell whether it ran."""
    home, hours = project.home, project.settings.storage.keep_hours
    marker = home.work / "tidied"
    if marker.exists() and time.time() - marker.stat().st_mtime < _EVERY_S:
        return False
    with home.lock("tidy"):
        project.store.tidy(hours, pinned_versions(home.releases))
        wanted = {i.key for i in imports(project)}
        limit = time.time() - hours * 3600
        for folder in (*home.work.glob("prompts-*"), *(home.work / "recorded").glob("*")):
            if folder.name not in wanted and folder.stat().st_mtime < limit:
                shutil.rmtree(folder, ignore_errors=True)
        marker.touch()
    return True
