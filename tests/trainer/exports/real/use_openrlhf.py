"""In OpenRLHF's environment: its loader reads our rows, its executor our reward, and its parser has our options."""

import asyncio
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

from openrlhf.datasets import PromptDataset
from openrlhf.datasets.utils import blending_datasets
from openrlhf.utils.agent import SingleTurnAgentExecutor
from transformers import AutoTokenizer

folder, model = Path(sys.argv[1]), sys.argv[2]
tokenizer = AutoTokenizer.from_pretrained(model)
data = SimpleNamespace(input_key="prompt", label_key="label", apply_chat_template=True)
strategy = SimpleNamespace(
    args=SimpleNamespace(data=data, use_ms=False), print=lambda *_: None, is_rank_0=lambda: False
)
files = re.search(r"^for phase in (.*); do$", (folder / "openrlhf.sh").read_text(), re.MULTILINE)[1].split()
rows = [PromptDataset(blending_datasets(str(folder / name), strategy=strategy), tokenizer, strategy) for name in files]
executor = SingleTurnAgentExecutor(str(folder / "preppo_reward.py"))


def rewarded(text):
    _, prompt, label, _ = rows[0][0]
    ids = tokenizer(prompt + text, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    query = tokenizer.decode(ids, skip_special_tokens=False)
    (found,) = asyncio.run(executor._fetch_rewards_via_func([query], [prompt], [label]))
    return float(found["rewards"])


source = Path(importlib.util.find_spec("openrlhf.cli.train_ppo_ray").origin).read_text()
options = set(re.findall(r"--[a-z]+\.[a-z_.]+", (folder / "openrlhf.sh").read_text()))
print(json.dumps({
    "ids": [[json.loads(row[2])["prompt_id"] for row in one] for one in rows],
    "prompt": rows[0][0][1],
    "right": rewarded("#### 4"),
    "wrong": rewarded("#### 5"),
    "unknown": sorted(option for option in options if f'"{option}"' not in source),
}))  # fmt: skip
