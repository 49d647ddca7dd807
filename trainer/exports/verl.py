"""verl: Parquet as its dataset class reads it, and a hydra configuration over verl's own `ppo_trainer`.

Prompts are messages, whatever they were: verl renders the chat template itself. `data_source` begins with `preppo/`, so
that no reward function of verl's own is ever taken for ours. All payloads are text, so that all files have the same
features. verl knows no null: an undecided response gets the fixed value, and `preppo_undecided` in its metrics.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from trainer.exports.arrow import MESSAGES, TEXT
from trainer.exports.contract import About, Format, Record

_EXTRA = pa.struct(
    [("split", TEXT), ("index", pa.int64()), ("prompt_id", TEXT), ("phase", TEXT), ("task", TEXT), ("tools", TEXT)]
)
_SCHEMA = pa.schema(
    [
        ("data_source", TEXT),
        ("prompt", MESSAGES),
        ("ability", TEXT),
        ("reward_model", pa.struct([("style", TEXT), ("ground_truth", TEXT)])),
        ("extra_info", _EXTRA),
    ]
)


def _row(record: Record) -> dict[str, Any]:
    row = record.row
    return {
        "data_source": f"preppo/{row['source']}",
        "prompt": record.messages,
        "ability": row["domain"] or "unknown",
        "reward_model": {"style": "rule", "ground_truth": row["ground_truth"] or ""},
        "extra_info": {
            "split": "train" if record.split == "train" else "test",
            "index": record.index,
            "prompt_id": row["prompt_id"],
            "phase": row["phase"] or "",
            "task": record.task,
            "tools": row["tools"] or "",
        },
    }


def _config(about: About) -> dict[str, str]:
    validate = "" if about.heldout else "  val_before_train: false\n  test_freq: -1\n"
    text = f"""\
# verl on release {about.release_id}. From this folder:
#   PREPPO_REWARD_URL=http://... python -m verl.trainer.main_ppo --config-dir "$PWD" --config-name preppo_verl \\
#     preppo.folder="$PWD" actor_rollout_ref.model.path=MODEL
# Anything of verl's own can be added to the command; what is here keeps the order and takes preppo's reward.
defaults:
  - ppo_trainer
  - _self_

preppo:
  folder: .   # absolute where Ray workers run in other folders; shared where they run on other machines

data:
  train_files: ${{preppo.folder}}/{about.train[0]}
  val_files: ${{preppo.folder}}/{about.heldout or about.train[0]}
  shuffle: false   # the order is the curriculum
  validation_shuffle: false
  filter_overlong_prompts: true
  max_prompt_length: 2048   # prompts longer than this are left out, and verl says how many
  max_response_length: {about.max_tokens}

reward:
  custom_reward_function:
    path: ${{preppo.folder}}/preppo_reward.py
    name: compute_score
    reward_kwargs:   # settings of preppo_reward.py, for workers that do not share the driver's environment
      reward_url: ${{oc.env:PREPPO_REWARD_URL,null}}
      config: ${{oc.env:PREPPO_CONFIG,null}}
      signals: ${{oc.env:PREPPO_SIGNALS,null}}
      training_run_id: ${{oc.env:PREPPO_TRAINING_RUN_ID,"verl-${{now:%Y%m%dT%H%M%S}}"}}
      null_reward: {about.options.null_reward}

algorithm:
  adv_estimator: grpo
actor_rollout_ref:
  rollout:
    name: vllm
    n: 8
trainer:
  total_epochs: 1
{validate}"""
    return {"preppo_verl.yaml": text}


def _how(_about: About) -> str:
    return """\
```
export PREPPO_REWARD_URL=http://HOST:8400   # `preppo reward serve` there; or leave it out where preppo is installed
python -m verl.trainer.main_ppo --config-dir "$PWD" --config-name preppo_verl \\
  preppo.folder="$PWD" actor_rollout_ref.model.path=MODEL trainer.n_gpus_per_node=8
```

`data.shuffle: false` keeps the curriculum. verl tells a reward function nothing of how a response ended, so one that
was cut is scored as it stands. verl reads tools from a configuration of its own: `extra_info.tools` is for you."""


FORMAT = Format(
    name="verl",
    suffix="parquet",
    row=_row,
    schema=lambda _raw: _SCHEMA,
    order={"data.shuffle": False},
    files=_config,
    how=_how,
)
