"""verl: Parquet as its dataset class reads it, a hydra configuration over verl's own `ppo_trainer`, and a script.

Prompts are messages, whatever they were: verl renders the chat template itself. `data_source` begins with `preppo/`, so
that no reward function of verl's own is ever taken for ours. All payloads are text, so that all files have the same
features. verl knows no null: an undecided response gets the fixed value, and `preppo_undecided` in its metrics.

verl hands its configuration to Ray as it is written and resolves it there: neither hydra's resolvers nor the variables
of the shell that started it are known in that process. So the configuration asks for nothing, and the script puts the
settings of the reward on the command line, where that shell knows them.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from trainer.exports.arrow import MESSAGES, TEXT
from trainer.exports.contract import CUT_IS_SCORED, About, Format, Record

_EXTRA = pa.struct(
    [("split", TEXT), ("index", pa.int64()), ("prompt_id", TEXT), ("phase", TEXT), ("task", TEXT), ("tools", TEXT)]
)
_SETTINGS = (
    "reward_url",
    "config",
    "signals",
    "training_run_id",
    "reward_patience_s",
    "reward_workers",
    "reward_makers",
    "verifier_versions",
)
"""Settings of `preppo_reward.py` that travel in the configuration. The token does not: configurations are logged."""
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


def _files(about: About) -> dict[str, str]:
    return {"preppo_verl.yaml": _config(about), "verl.sh": _script(about)}


def _config(about: About) -> str:
    validate = "" if about.heldout else "  val_before_train: false\n  test_freq: -1\n"
    settings = "\n".join(f"      {name}: null" for name in _SETTINGS)
    return f"""\
# verl on release {about.release_id}: bash verl.sh MODEL [more overrides]
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
    reward_kwargs:   # PREPPO_REWARD_URL and the like; verl.sh fills them in, and null means the worker's environment
{settings}
      null_reward: {about.options.null_reward}

algorithm:
  adv_estimator: grpo
actor_rollout_ref:
  actor:
    use_dynamic_bsz: true   # verl does not start without this or the sizes of micro batches, which depend on the GPUs
  rollout:
    name: vllm
    n: 8
trainer:
  total_epochs: 1
{validate}"""


def _script(about: About) -> str:
    return f"""\
#!/usr/bin/env bash
# verl on release {about.release_id}: bash verl.sh MODEL [more overrides]
# The settings of the reward that are set here go into the configuration, which reaches verl's workers anywhere.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
model="${{1:?bash verl.sh MODEL [more overrides]}}"
shift
export PREPPO_TRAINING_RUN_ID="${{PREPPO_TRAINING_RUN_ID:-verl-$(date -u +%Y%m%dT%H%M%S)}}"

quoted() {{ printf "'%s'" "$(printf %s "$1" | sed "s/'/\\\\\\\\'/g")"; }} # as hydra reads it, whatever is in it

settings=()
for name in {" ".join(_SETTINGS)} null_reward; do
  variable="PREPPO_$(printf %s "$name" | tr a-z A-Z)"
  if [ -n "${{!variable:-}}" ]; then
    settings+=("reward.custom_reward_function.reward_kwargs.$name=$(quoted "${{!variable}}")")
  fi
done
exec python -m verl.trainer.main_ppo --config-dir "$here" --config-name preppo_verl \\
  "preppo.folder=$(quoted "$here")" "actor_rollout_ref.model.path=$(quoted "$model")" "${{settings[@]}}" "$@"
"""


def _how(_about: About) -> str:
    return f"""\
```
export PREPPO_REWARD_URL=http://HOST:8400   # `preppo reward serve` there; or leave it out where preppo is installed
export PREPPO_TRAINING_RUN_ID=NAME          # of this training, in all its processes; made up where it is not set
bash verl.sh MODEL trainer.n_gpus_per_node=8
```

`verl.sh` starts `verl.trainer.main_ppo` on `preppo_verl.yaml` and writes the settings of the reward that are set where
it runs into `reward_kwargs`, since verl's workers may not share that environment: `PREPPO_REWARD_URL`, `PREPPO_CONFIG`,
`PREPPO_SIGNALS` and what else is named there. `PREPPO_REWARD_TOKEN` is not, for verl logs its configuration: start Ray
with it where the server asks for one.

`data.shuffle: false` keeps the curriculum. verl knows no null: an undecided response gets the fixed value, and
`preppo_undecided` in its metrics. verl reads tools from a configuration of its own: `extra_info.tools` is for you.

{CUT_IS_SCORED}"""


FORMAT = Format(
    name="verl",
    suffix="parquet",
    row=_row,
    schema=lambda _raw: _SCHEMA,
    order={"data.shuffle": False},
    files=_files,
    how=_how,
)
