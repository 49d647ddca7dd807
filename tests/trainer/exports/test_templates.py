"""What is copied into exports, run against the least of what it builds on.

The base classes here say what ours take from open-instruct (`VerifierFunction`), NeMo Gym (`SimpleResourcesServer`),
SkyRL (its entry) and TRL (its trainer), no more; test_real_trainers has the packages themselves, but for open-instruct.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.verifiers.service_harness import running
from trainer.engines.weights import NURSERY
from verifiers import VerifierPool

BARE = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}  # exports stay as they were written
OPEN_INSTRUCT = """
from dataclasses import dataclass

@dataclass
class VerificationResult:
    score: float

class VerifierFunction:
    def __init__(self, name, weight=1.0, verifier_config=None):
        self.name, self.weight, self.verifier_config = name, weight, verifier_config
"""
OLD_NEMO_GYM = """
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
NEMO_GYM = OLD_NEMO_GYM.replace("    reward: float\n", "    reward: float\n    mask_sample: bool = False\n")
USE_OPEN_INSTRUCT = """
import json, logging, pickle
import open_instruct_verifier
from open_instruct.ground_truth_utils import VerifierFunction
(kind,) = VerifierFunction.__subclasses__()
verifier = pickle.loads(pickle.dumps(kind(None)))  # as into a process that verifies
row = json.loads(open("train-01-warm-up.jsonl").readline())
said = []
logging.getLogger().addHandler(handler := logging.Handler())
handler.emit = lambda record: said.append(record.getMessage())
texts = ("#### 4", "#### 5", *[None] * 5)
print(json.dumps([verifier.name == row["dataset"],
                  [verifier([1], text, row["ground_truth"], query="q").score for text in texts], said]))
"""
USE_NEMO_GYM = """
import asyncio, json, sys
from types import SimpleNamespace as N
sys.path.insert(0, "resources_servers/preppo")
import app
row = json.loads(open("train.jsonl").readline())
def verify(text, status="completed", details=None):
    said = N(type="message", role="assistant", content=[N(text=text)])
    response = N(output=[N(type="reasoning"), said], status=status, incomplete_details=details)
    body = app.PreppoVerifyRequest(**row, response=response)
    found = asyncio.run(app.PreppoServer().verify(body))
    return [found.reward, found.preppo_status, found.id == row["id"], getattr(found, "mask_sample", "unknown")]
print(json.dumps([verify("#### 4"), verify("#### 5"), verify("#### 4", "incomplete"),
                  verify("#### 4", None, {"reason": "max_output_tokens"})]))
"""
RAY = """
import os
def remote(**options):
    return Remote
class Remote:
    def __init__(self, function):
        self.function = function
    def remote(self, *arguments):  # in a process of a cluster that ran before
        for name in [name for name in os.environ if name.startswith("PREPPO_")]:
            del os.environ[name]
        return self.function(*arguments)
def get(found):
    return found
"""
SKYRL = """
import json, os
class SkyRLTrainConfig:
    from_cli_overrides = staticmethod(list)
class BasePPOExp:
    def __init__(self, config): self.config = config
    def run(self):
        told = {name: value for name, value in os.environ.items() if name.startswith("PREPPO_")}
        print(json.dumps([self.config, told]))
def validate_cfg(config): pass
def initialize_ray(config): pass
def register(id, entry_point): pass
"""
TRL = """
import json, os
from types import SimpleNamespace
class GRPOConfig(SimpleNamespace): pass
class GRPOTrainer:
    def __init__(self, model, reward_funcs, args, train_dataset, processing_class):
        self.told = [args.num_train_epochs, args.shuffle_dataset, len(train_dataset)]
    def train(self):
        print(json.dumps([*self.told, os.environ["PREPPO_TRAINING_RUN_ID"]]))
    def save_model(self): pass
"""


@pytest.fixture
def use(tmp_path):
    with VerifierPool(1) as pool, running(pool) as (url, _, _):

        def call(folder, module, source, program):
            package = tmp_path / module.split(".")[0]
            package.mkdir()
            (package / "__init__.py").touch()
            (package / f"{module.split('.')[1]}.py").write_text(source)
            environment = {**BARE, "PYTHONPATH": f"{tmp_path}:{folder}", "PREPPO_SIGNALS": "off",
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
    """Undecided responses are told in the log, the less often the more there are."""
    named, scores, said = use(
        exported("open-instruct"), "open_instruct.ground_truth_utils", OPEN_INSTRUCT, USE_OPEN_INSTRUCT
    )
    assert named
    assert scores == [1.0, 0.0, *[0.0] * 5]
    assert [line.split(" of ")[0] for line in said] == [f"preppo_undecided: {n}" for n in (1, 2, 4)]
    assert said[0].endswith("1 of 3 responses so far got the fixed value 0.0, the last one as no_response")


@pytest.mark.parametrize(("source", "masks"), [(OLD_NEMO_GYM, ["unknown"] * 2), (NEMO_GYM, [False, True])])
def test_nemo_gym(use, exported, source, masks):
    """A response is cut where its status or its details say so; what was not scored is masked, where that is known."""
    found = use(exported("nemo-gym"), "nemo_gym.base_resources_server", source, USE_NEMO_GYM)
    scored, cut = masks
    assert found == [
        [1.0, "correct", True, scored],
        [0.0, "incorrect", True, scored],
        [0.0, "truncated", True, cut],
        [0.0, "truncated", True, cut],
    ]


def run(folder, file, *arguments, path, **variables):
    """Run a file of an export with modules of ours in its path."""
    environment = {**BARE, "HF_HUB_OFFLINE": "1", "PYTHONPATH": f"{path}:{folder}", **variables}
    command = [sys.executable, str(folder / file), *arguments]
    return subprocess.run(command, cwd=path, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["mine", None])
def test_skyrl_rewards_with_the_settings_of_the_driver(exported, tmp_path, name):
    (tmp_path / "ray.py").write_text(RAY)
    for module in ("skyrl", "skyrl/train", "skyrl/train/config", "skyrl/train/entrypoints", "skyrl_gym"):
        (tmp_path / module).mkdir()
        (tmp_path / module / "__init__.py").write_text(SKYRL if module.endswith("config") else "")
    for module in ("skyrl/train/entrypoints/main_base.py", "skyrl/train/utils.py", "skyrl_gym/envs.py"):
        (tmp_path / module).write_text("from skyrl.train.config import *")
    given = {"PREPPO_REWARD_URL": "http://here", **({"PREPPO_TRAINING_RUN_ID": name} if name else {})}
    done = run(exported("skyrl"), "main_skyrl.py", "trainer.epochs=1", path=tmp_path, **given)
    assert done.returncode == 0, done.stderr
    config, told = json.loads(done.stdout)
    assert (config, told["PREPPO_REWARD_URL"]) == (["trainer.epochs=1"], "http://here")
    assert told["PREPPO_TRAINING_RUN_ID"] == name or (name is None and told["PREPPO_TRAINING_RUN_ID"][:7] == "skyrl-2")


def train_trl(exported, path, version, *arguments, **variables):
    (path / "trl.py").write_text(TRL)
    (path / f"trl-{version}.dist-info").mkdir()
    (path / f"trl-{version}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: trl\nVersion: {version}\n"
    )
    given = ("--model", str(NURSERY), "--output", str(path / "out"), "--cpu", *arguments)
    return run(exported("trl"), "train_trl.py", *given, path=path, HF_HOME=str(path / "hf"), **variables)


def test_a_trl_that_takes_no_reward_for_0_is_refused(exported, tmp_path):
    done = train_trl(exported, tmp_path, "1.5.0")
    assert done.returncode == 1
    assert done.stderr.startswith("train_trl.py needs TRL 1.6 or newer, and this is 1.5.0, which counts")


def test_trl_walks_the_curriculum_once_and_names_the_run(exported, tmp_path):
    done = train_trl(exported, tmp_path, "1.6.0")
    assert done.returncode == 0, done.stderr
    *told, name = json.loads(done.stdout)
    assert told == [1.0, False, 5]
    assert name.startswith("trl-2")


def test_trl_takes_the_name_and_the_epochs_that_it_is_given(exported, tmp_path):
    done = train_trl(exported, tmp_path, "1.17.0rc1", "--epochs", "2", PREPPO_TRAINING_RUN_ID="mine")
    assert json.loads(done.stdout) == [2.0, False, 5, "mine"], done.stderr


@pytest.mark.parametrize("file", ["train_open_instruct.py"])
def test_entries_compile(exported, file):
    compile((exported("open-instruct") / file).read_text(), file, "exec")


@pytest.mark.parametrize("file", ["main_skyrl.py", "skyrl_env.py"])
def test_entries_of_skyrl_compile(exported, file):
    compile((exported("skyrl") / file).read_text(), file, "exec")
