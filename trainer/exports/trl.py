"""TRL (GRPO, RLOO): Parquet whose columns reach the reward function by name, and a script that trains.

A null reward abstains there, from TRL 1.6 on: the sample has no advantage, and no part in its group's mean. In older
ones it counts as 0.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from trainer.exports.arrow import TEXT, prompt_type
from trainer.exports.contract import About, Format, Record

_TEXTS = ("task", "prompt_id", "phase", "domain", "source", "verifier", "ground_truth", "reference", "tools_json")


def _row(record: Record) -> dict[str, Any]:
    row = record.row
    return {
        "prompt": record.prompt,
        "task": record.task,
        "tools_json": row["tools"],  # `tools` is a name that chat templates take up
        **{name: row[name] for name in ("prompt_id", "phase", "domain", "source", "verifier", "ground_truth")},
        "reference": row["reference"],
    }


def _schema(raw: bool) -> pa.Schema:  # noqa: FBT001 (it names which of two types)
    return pa.schema([("prompt", prompt_type(raw)), *((name, TEXT) for name in _TEXTS)])


def _how(about: About) -> str:
    return f"""\
```
export PREPPO_TRAINING_RUN_ID=NAME   # of this training, in all its processes; made up where it is not set
python train_trl.py --model {about.model} --output OUTPUT
```

It needs TRL 1.6 or newer and refuses others: before, a response that could not be decided counted as 0. The reward runs
in that process where preppo is installed; with `PREPPO_REWARD_URL` set, it asks `preppo reward serve`. `train_trl.py`
sets `shuffle_dataset=False`, which keeps the curriculum, and `num_train_epochs=1`, for a curriculum is walked once
(`--epochs`). It tells the reward which completions were cut at `--max-tokens`: those have no score.

In a program of your own, started with `PREPPO_TRAINING_RUN_ID` set:

```python
import datasets
from preppo_reward import trl_reward
from trl import GRPOConfig, GRPOTrainer

rows = datasets.load_dataset("parquet", data_files="train.parquet", split="train")
args = GRPOConfig(shuffle_dataset=False, num_train_epochs=1)
GRPOTrainer(MODEL, reward_funcs=trl_reward, args=args, train_dataset=rows).train()
```

The response of a chat is the last message of the completion. TRL is given tools by the program, not by rows:
`tools_json` is for you."""


FORMAT = Format(
    name="trl",
    suffix="parquet",
    row=_row,
    schema=_schema,
    raw_prompts=True,
    knows_null=True,
    order={"shuffle_dataset": False},
    templates={"train_trl.py": "train_trl.py"},
    how=_how,
)
