"""In SkyRL-Gym's environment: our environment, registered and stepped as the trainer does."""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import skyrl_gym
from skyrl_gym.envs import register

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
register(id="preppo", entry_point="skyrl_env:PreppoEnv")
row = pq.read_table(folder / "train-01-warm-up.parquet").to_pylist()[0]


def rewarded(text):
    env = skyrl_gym.make(row["env_class"], env_config={}, extras={"reward_spec": row["reward_spec"]})
    env.init(row["prompt"])
    return env.step(text)


print(json.dumps([rewarded("#### 4"), rewarded("#### 5")]))
