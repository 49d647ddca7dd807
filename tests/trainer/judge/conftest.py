"""The nursery judge, trained once: about ten seconds of one core."""

import pytest

from trainer.engines.transformers import TransformersEngine
from trainer.nursery.judge import train_judge


@pytest.fixture(scope="session")
def judge_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nursery-judge")
    train_judge(folder)
    return folder


@pytest.fixture(scope="session")
def judge_engine(judge_folder):
    return TransformersEngine(str(judge_folder), batch_size=16, device="cpu")
