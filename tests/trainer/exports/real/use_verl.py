"""In verl's environment, as a worker that knows nothing of the driver's: the configuration that reached it, our rows in
verl's data set class, and our reward in its loader."""

import json
import os
import pickle
import sys
from pathlib import Path

from omegaconf import OmegaConf
from transformers import AutoTokenizer
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.trainer.ppo.utils import create_rl_sampler
from verl.utils.dataset.rl_dataset import RLHFDataset

pickled, cache = Path(sys.argv[1]), sys.argv[2]
assert not [name for name in os.environ if name.startswith("PREPPO_")]
config = pickle.loads(pickled.read_bytes())
OmegaConf.resolve(config)  # as verl's task runner does first
tokenizer = AutoTokenizer.from_pretrained(config.actor_rollout_ref.model.path)
data = OmegaConf.create(
    OmegaConf.to_container(config.data) | {"cache_dir": cache, "filter_overlong_prompts_workers": 1}
)
sets = [RLHFDataset([name], tokenizer, data) for name in (data.train_files, data.val_files)]
rows = [sets[0][index] for index in create_rl_sampler(data, sets[0])]
reward = get_custom_reward_fn(config)


def rewarded(row, text):
    return reward(
        data_source=row["data_source"],
        solution_str=text,
        ground_truth=row["reward_model"]["ground_truth"],
        extra_info={**row["extra_info"], "num_turns": None, "rollout_reward_scores": {}},
    )


print(json.dumps({
    "ids": [row["extra_info"]["prompt_id"] for row in rows],
    "heldout": len(sets[1]),
    "prompt": rows[0]["raw_prompt"],
    "right": rewarded(rows[0], "#### 4"),
    "wrong": rewarded(rows[0], "#### 5"),
    "settings": dict(config.reward.custom_reward_function.reward_kwargs),
}))  # fmt: skip
