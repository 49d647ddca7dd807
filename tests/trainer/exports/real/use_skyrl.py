"""In SkyRL's environment: ours, registered, stepped and measured as the trainer does; and the options that we name."""

import json
import re
import sys
import typing
from pathlib import Path

import pyarrow.parquet as pq
import skyrl_gym
from skyrl.train.config import SkyRLTrainConfig
from skyrl_gym.envs import register
from skyrl_gym.metrics import aggregate_for_environment

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
register(id="preppo", entry_point="skyrl_env:PreppoEnv")
row = pq.read_table(folder / "train-01-warm-up.parquet").to_pylist()[0]
made = []


def rewarded(text):
    env = skyrl_gym.make(row["env_class"], env_config={}, extras={"reward_spec": row["reward_spec"]})
    env.init(row["prompt"])
    made.append(env)
    return env.step(text)


def kind(option):
    """Return the type of an option by its path; SkyRL builds its whole configuration on newer Pythons alone."""
    found = SkyRLTrainConfig
    for name in option.split("."):
        found = typing.get_type_hints(found)[name]
    return getattr(found, "__name__", str(found)) if isinstance(found, type) else str(found).removeprefix("typing.")


steps = [rewarded("#### 4"), rewarded("#### 5"), rewarded(None)]
made.append(skyrl_gym.make(row["env_class"], env_config={}, extras={"reward_spec": row["reward_spec"]}))  # not stepped
options = re.findall(r"\b((?:data|trainer|generator)\.[a-z_.]+)=", (folder / "README.md").read_text())
print(json.dumps({
    "steps": steps,
    "metrics": aggregate_for_environment("preppo", [env.get_metrics() for env in made]),
    "options": {option: kind(option) for option in [*options, "trainer.eval_interval"]},
}))  # fmt: skip
