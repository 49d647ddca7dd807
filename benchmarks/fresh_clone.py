"""How long `make demo` takes from a fresh clone, after the downloads.

    python benchmarks/fresh_clone.py

Clones the committed state, downloads every wheel (not timed), then times what `make demo` does: making the environment,
installing from the wheels, and curating the demo. Writes benchmarks/results/fresh_clone.json.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "fresh_clone.json"
TORCH = next(line.split('"')[1] for line in (ROOT / "pyproject.toml").read_text().splitlines() if '"torch==' in line)


def run(*command: str, cwd: Path, **environment: str) -> float:
    """Run a command to its end and return its seconds."""
    started = time.monotonic()
    subprocess.run(command, cwd=cwd, env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clone, wheels = folder / "clone", folder / "wheels"
        run("git", "clone", "--quiet", str(ROOT), str(clone), cwd=folder)
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels))
        run(*pip, TORCH, "hatchling", "editables", cwd=clone)
        run(*pip, "-c", "constraints.txt", f"--find-links={wheels}", TORCH, f"{clone}[dev]", cwd=clone)
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PREPPO_HOME": str(folder / "home")}
        load = os.getloadavg()[0]
        setup = run("make", "setup", cwd=clone, **offline)
        demo = run("make", "demo", cwd=clone, **offline)
    result = {
        "cores": os.cpu_count(),
        "load_before": round(load, 1),
        "setup_s": round(setup, 1),
        "demo_s": round(demo, 1),
        "make_demo_after_downloads_s": round(setup + demo, 1),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
