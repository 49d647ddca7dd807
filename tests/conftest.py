"""Fixtures shared by all tests."""

from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is slow, not wrong.
settings.register_profile("preppo", deadline=None)
settings.load_profile("preppo")

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of public development data, or skip where it is missing."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the public development data (../shared/data) is not on this machine")
    return SHARED_DATA
