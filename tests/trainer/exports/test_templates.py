"""What is copied into exports for trainers that no package index has, run against the least of what they build on.

The base classes here say what ours take from open-instruct (`VerifierFunction`) and NeMo Gym (`SimpleResourcesServer`),
no more; whether those still look like this is for who runs them.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.verifiers.service_harness import running
from verifiers import VerifierPool

OPEN_INSTRUCT = """
from dataclasses import dataclass

@dataclass
class VerificationResult:
    score: float

class VerifierFunction:
    def __init__(self, name, weight=1.0, verifier_config=None):
        self.name, self.weight, self.verifier_config = name, weight, verifier_config
"""
NEMO_GYM = """
from typing import Any
from pydantic import BaseModel

class BaseResourcesServerConfig(BaseModel): pass
class BaseRunRequest(BaseModel):
    responses_create_params: Any
class BaseVerifyRequest(BaseRunRequest):
    response: Any
class BaseVerifyResponse(BaseVerifyRequest):
    reward: float
class SimpleResourcesServer: pass
"""
USE_OPEN_INSTRUCT = """
import json, sys
import open_instruct_verifier
from open_instruct.ground_truth_utils import VerifierFunction
(kind,) = VerifierFunction.__subclasses__()
verifier = kind(None)
row = json.loads(open("train-01-warm-up.jsonl").readline())
print(json.dumps([verifier.name == row["dataset"],
                  *(verifier([1], text, row["ground_truth"], query="q").score for text in ("#### 4", "#### 5"))]))
"""
USE_NEMO_GYM = """
import asyncio, json, sys
from types import SimpleNamespace as N
sys.path.insert(0, "resources_servers/preppo")
import app
row = json.loads(open("train.jsonl").readline())
def verify(text, status="completed"):
    said = N(type="message", role="assistant", content=[N(text=text)])
    body = app.PreppoVerifyRequest(**row, response=N(output=[N(type="reasoning"), said], status=status))
    found = asyncio.run(app.PreppoServer().verify(body))
    return [found.reward, found.preppo_status, found.id == row["id"]]
print(json.dumps([verify("#### 4"), verify("#### 5"), verify("#### 4", "incomplete")]))
"""


@pytest.fixture
def use(tmp_path):
    with VerifierPool(1) as pool, running(pool) as (url, _, _):

        def call(folder, module, source, program):
            package = tmp_path / module.split(".")[0]
            package.mkdir()
            (package / "__init__.py").touch()
            (package / f"{module.split('.')[1]}.py").write_text(source)
            environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{tmp_path}:{folder}", "PREPPO_SIGNALS": "off",
                           "PREPPO_REWARD_URL": url}  # fmt: skip
            done = subprocess.run(
                [sys.executable, "-c", program],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        yield call


def test_open_instruct(use, exported):
    found = use(exported("open-instruct"), "open_instruct.ground_truth_utils", OPEN_INSTRUCT, USE_OPEN_INSTRUCT)
    assert found == [True, 1.0, 0.0]


def test_nemo_gym(use, exported):
    found = use(exported("nemo-gym"), "nemo_gym.base_resources_server", NEMO_GYM, USE_NEMO_GYM)
    assert found == [[1.0, "correct", True], [0.0, "incorrect", True], [0.0, "truncated", True]]


@pytest.mark.parametrize("file", ["train_open_instruct.py"])
def test_entries_compile(exported, file):
    compile((exported("open-instruct") / file).read_text(), file, "exec")


@pytest.mark.parametrize("file", ["main_skyrl.py", "skyrl_env.py"])
def test_entries_of_skyrl_compile(exported, file):
    compile((exported("skyrl") / file).read_text(), file, "exec")
