"""Fixtures shared by all tests."""

from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is slow, not wrong.
settings.register_profile("preppo", deadline=None)
settings.load_profile("preppo")

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config, log):
    """Say what stays together where tests run side by side (`make test`).

    A file, for what its tests share is then made once. And all tests of the verifiers, one after the other: they hold
    limits of time to account, and look through the processes and files of the whole machine for what was left behind.
    Marks for `--dist loadgroup` would say the same, but pytest-xdist 3.8 does not see them under pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return "verifiers" if file.startswith("tests/verifiers/") else file

    return Together(config, log)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of public development data, or skip where it is missing."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the public development data (../shared/data) is not on this machine")
    return SHARED_DATA


@pytest.fixture(scope="module")
def one_thread():
    """Compute with one thread: tiny models are far faster, and sums come in one order."""
    from trainer.nursery.threads import one_thread as with_one_thread  # torch takes seconds to import

    with with_one_thread():
        yield


@pytest.fixture(scope="session")
def judge_folder(tmp_path_factory) -> Path:
    """Return the nursery judge, trained once: about ten seconds of one core."""
    from trainer.nursery.judge import train_judge

    folder = tmp_path_factory.mktemp("nursery-judge")
    train_judge(folder)
    return folder
