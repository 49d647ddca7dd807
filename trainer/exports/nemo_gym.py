"""NeMo RL / NeMo Gym: JSON lines as its agents take them, and a resources server that verifies."""

from __future__ import annotations

import json
from typing import Any

from trainer.exports.contract import About, Format, Record

AGENT = "preppo_simple_agent"
SERVER = "resources_servers/preppo"


def _row(record: Record) -> dict[str, Any]:
    row = record.row
    asked: dict[str, Any] = {"input": record.messages}
    if row["tools"]:
        asked["tools"] = [_flat(tool) for tool in json.loads(row["tools"])]
    return {
        "responses_create_params": asked,
        "agent_ref": {"type": "responses_api_agents", "name": AGENT},
        "expected_answer": row["ground_truth"] or "",
        "question": record.messages[-1]["content"] if record.messages else "",
        "id": row["prompt_id"],
        "phase": row["phase"] or "",
        "task": record.task,
    }


def _flat(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a tool as the Responses API has it: what chat completions nest under `function` is beside the type."""
    nested = tool.get("function")
    return {"type": "function", **nested} if isinstance(nested, dict) else tool


def _config(about: About) -> dict[str, str]:
    heldout = (
        f"\n      - name: validation\n        type: validation\n        license: TBD\n"
        f"        jsonl_fpath: {SERVER}/data/{about.heldout}"
        if about.heldout
        else ""
    )
    text = f"""\
# NeMo Gym on release {about.release_id}: a server that verifies, and the agent that the rows name.
preppo:
  resources_servers:
    preppo:
      entrypoint: app.py
      domain: other
      verified: false
      description: prompts of a preppo release, rewarded by its hybrid reward
      value: what the release was curated for
{AGENT}:
  responses_api_agents:
    simple_agent:
      entrypoint: app.py
      resources_server:
        type: resources_servers
        name: preppo
      model_server:
        type: responses_api_models
        name: policy_model
      datasets:
      - name: train
        type: train
        license: TBD   # one of NeMo Gym's own names has to be here; the rows have theirs in the release
        jsonl_fpath: {SERVER}/data/{about.train[0]}{heldout}
"""
    return {
        f"{SERVER}/configs/preppo.yaml": text,
        f"{SERVER}/requirements.txt": "-e nemo-gym[dev] @ ../../\n",
        "nemo_rl.yaml": "# to be merged into a configuration of NeMo RL: the order of the file is the curriculum\n"
        "data:\n  shuffle: false\n",
    }


def _how(about: About) -> str:
    return f"""\
Copy `{SERVER}` into a checkout of NeMo Gym, and the rows into its `data`:

```
cp -r {SERVER} GYM/resources_servers/ && mkdir -p GYM/{SERVER}/data && cp *.jsonl GYM/{SERVER}/data/
cd GYM && export PREPPO_REWARD_URL=http://HOST:8400    # `preppo reward serve` there
export PREPPO_TRAINING_RUN_ID=NAME                     # of this training, where the servers start
ng_run "+config_paths=[{SERVER}/configs/preppo.yaml,responses_api_models/vllm_model/configs/vllm_model.yaml]"
ng_collect_rollouts +agent_name={AGENT} +input_jsonl_fpath={SERVER}/data/{about.train[0]} \\
  +output_jsonl_fpath=rollouts.jsonl
```

`data.shuffle: false` (`nemo_rl.yaml`) keeps the curriculum in NeMo RL. A response that stopped at its token limit is
told apart and not scored. What has no score gets the fixed value, with `preppo_undecided` beside it; where NeMo Gym
knows `mask_sample` (0.7 does, 0.4 does not) it is set, so that the sample is left out. `license: TBD` in the
configuration is a word that NeMo Gym accepts: the licences of the prompts are in the release."""


FORMAT = Format(
    name="nemo-gym",
    suffix="jsonl",
    row=_row,
    order={"data.shuffle": False},
    reward_at=SERVER,
    files=_config,
    templates={"nemo_gym_app.py": f"{SERVER}/app.py"},
    how=_how,
)
