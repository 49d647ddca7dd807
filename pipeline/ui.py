"""`preppo ui`: Dagster on this home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from assets.partitions import BATCHES
from pipeline.errors import RunFailedError
from pipeline.instance import open_instance

if TYPE_CHECKING:
    from assets.project import Project

REPOSITORY = Path(__file__).resolve().parents[1]


def serve(project: Project, config: Path | None, host: str, port: int) -> None:
    """Run the Dagster webserver and daemon until interrupted.

    Raises:
        RunFailedError: Dagster does not start.
    """
    with open_instance(project.home) as instance:
        instance.add_dynamic_partitions(str(BATCHES.name), [b.key for b in project.batches.all()])
    environment = dict(os.environ, PREPPO_HOME=str(project.home.root), DAGSTER_HOME=str(project.home.dagster))
    if config is None and Path("preppo.toml").is_file():
        environment["PREPPO_CONFIG"] = str(Path("preppo.toml").resolve())
    command = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "-m",
        "pipeline.definitions",
        "--host",
        host,
        "--port",
        str(port),
    ]
    sys.stderr.write(f"Dagster on {project.home.root}: http://{host}:{port} (interrupt to stop)\n")
    try:
        code = subprocess.call(command, env=environment, cwd=REPOSITORY)
    except KeyboardInterrupt:
        return
    if code not in (0, -2, 130):
        msg = f"dagster dev ended with code {code}; its own messages are above (is port {port} taken?)"
        raise RunFailedError(msg)
