"""Fixtures shared by all tests."""

from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is slow, not wrong.
settings.register_profile("preppo", deadline=None)
settings.load_profile("preppo")

TESTS = Path(__file__).resolve().parent
REPOSITORY = TESTS.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.hookimpl(tryfirst=True)  # before xdist looks for the marks
def pytest_collection_modifyitems(config, items):
    """Say what stays together where tests run side by side (`make test`).

    A file, for what its tests share is then made once. And all tests of the verifiers, one after the other: they hold
    limits of time to account, and look through the processes and files of the whole machine for what was left behind.
    """
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            place = item.path.relative_to(TESTS)
            together = place.parts[0] if place.parts[0] == "verifiers" else str(place)
            item.add_marker(pytest.mark.xdist_group(together))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of public development data, or skip where it is missing."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the public development data (../shared/data) is not on this machine")
    return SHARED_DATA
