"""The packages are those of this repository, and settings can be read without anything heavy."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["pipeline", "assets", "verifiers", "trainer", "warehouse"])
def test_packages_resolve_inside_the_repository(name):
    module = importlib.import_module(name)
    assert Path(module.__file__).resolve().is_relative_to(ROOT)


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("warehouse.queries", ["dagster", "torch", "transformers"]),
        ("verifiers", ["dagster", "torch", "transformers", "warehouse"]),
        ("pipeline.execute", ["torch", "transformers", "datasets"]),
        ("trainer.engines", ["torch", "transformers"]),
    ],
)
def test_light_imports_stay_light(module, absent):
    code = f"import sys, {module}; print([m for m in {absent} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
