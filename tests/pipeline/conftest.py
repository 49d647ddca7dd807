"""Fixtures shared by tests that curate a home."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.pipeline import harness

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home that is not there yet; the environment names it, and the settings of a corpus in `corpus`."""
    harness.leave_out_what_is_for_people(monkeypatch)
    monkeypatch.setenv("PREPPO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PREPPO_CONFIG", str(tmp_path / "corpus" / "preppo.toml"))
    return tmp_path / "home"
