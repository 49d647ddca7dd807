"""In OpenRLHF's environment, as a worker that knows nothing of the driver's: its loader reads the rows, its executor
loads the reward that it was told, and its parser has the options that our script gives."""

import asyncio
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

from openrlhf.datasets import PromptDataset
from openrlhf.datasets.utils import blending_datasets
from openrlhf.utils.agent import SingleTurnAgentExecutor
from transformers import AutoTokenizer

calls, model = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()], sys.argv[2]
assert not [name for name in os.environ if name.startswith("PREPPO_")]
tokenizer = AutoTokenizer.from_pretrained(model)
data = SimpleNamespace(input_key="prompt", label_key="label", apply_chat_template=True)
strategy = SimpleNamespace(
    args=SimpleNamespace(data=data, use_ms=False), print=lambda *_: None, is_rank_0=lambda: False
)


def told(call, name):
    return call[call.index(name) + 1]


files = [told(call, "--data.prompt_dataset") for call in calls]
rows = [PromptDataset(blending_datasets(name, strategy=strategy), tokenizer, strategy) for name in files]
executor = SingleTurnAgentExecutor(told(calls[0], "--reward.remote_url"))


def rewarded(text):
    _, prompt, label, _ = rows[0][0]
    ids = tokenizer(prompt + text, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    query = tokenizer.decode(ids, skip_special_tokens=False)
    (found,) = asyncio.run(executor._fetch_rewards_via_func([query], [prompt], [label]))
    return float(found["rewards"])


source = Path(importlib.util.find_spec("openrlhf.cli.train_ppo_ray").origin).read_text()
options = {option for call in calls for option in call if option.startswith("--")}
print(json.dumps({
    "ids": [[json.loads(row[2])["prompt_id"] for row in one] for one in rows],
    "prompt": rows[0][0][1],
    "right": rewarded("#### 4"),
    "wrong": rewarded("#### 5"),
    "unknown": sorted(option for option in options if f'"{option}"' not in source),
}))  # fmt: skip
