"""The shipped nursery model, loaded once."""

import pytest

from trainer.engines import load_engine
from warehouse.settings import EngineSettings, PolicySettings


@pytest.fixture(scope="session")
def nursery():
    return load_engine(PolicySettings(model="nursery", batch_size=16), EngineSettings())
