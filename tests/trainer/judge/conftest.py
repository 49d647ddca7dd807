"""The nursery judge, ready to be asked."""

import pytest

from trainer.engines.transformers import TransformersEngine


@pytest.fixture(scope="session")
def judge_engine(judge_folder):
    return TransformersEngine(str(judge_folder), batch_size=16, device="cpu")
