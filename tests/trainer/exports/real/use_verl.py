"""In verl's environment: its command reads our configuration, its data set class our rows, its loader our reward."""

import json
import subprocess
import sys
from pathlib import Path

from omegaconf import OmegaConf
from transformers import AutoTokenizer
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.trainer.ppo.utils import create_rl_sampler
from verl.utils.dataset.rl_dataset import RLHFDataset

folder, model, cache = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
command = [
    sys.executable, "-m", "verl.trainer.main_ppo", "--config-dir", str(folder), "--config-name", "preppo_verl",
    f"preppo.folder={folder}", f"actor_rollout_ref.model.path={model}", "--cfg", "job", "--resolve",
]  # fmt: skip
shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
config = OmegaConf.create(shown[shown.index("\nactor_rollout_ref:") :])
data = OmegaConf.merge(config.data, {"cache_dir": cache, "filter_overlong_prompts_workers": 1})
sets = [RLHFDataset([name], AutoTokenizer.from_pretrained(model), data) for name in (data.train_files, data.val_files)]
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
}))  # fmt: skip
