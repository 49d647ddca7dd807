"""Tidying removes what is old and unnamed, and nothing that a release needs."""

import os
import time

import pytest

from assets.housekeeping import tidy
from assets.project import Project
from warehouse.home import Home
from warehouse.settings import Settings


@pytest.fixture
def project(tmp_path):
    settings = Settings.model_validate({"storage": {"keep_hours": 1}, "policy": {"engine": "recorded"}})
    return Project(settings, tmp_path, Home(tmp_path / "home").create())


def aged(folder, hours):
    folder.mkdir(parents=True)
    (folder / "file").write_text("x")
    os.utime(folder, (time.time() - hours * 3600,) * 2)
    return folder


def test_old_intermediate_files_go_and_new_ones_stay(project):
    old = aged(project.home.work / "prompts-old", 2)
    new = aged(project.home.work / "prompts-new", 0)
    unnamed = aged(project.home.work / "recorded" / "gone", 2)
    assert tidy(project)
    assert [p.exists() for p in (old, new, unnamed)] == [False, True, False]


def test_it_runs_once_a_day(project):
    assert tidy(project)
    assert not tidy(project)
    day = 25 * 3600
    os.utime(project.home.work / "tidied", (time.time() - day,) * 2)
    assert tidy(project)
