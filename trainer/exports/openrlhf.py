"""OpenRLHF: JSON lines, one file a phase (it shuffles every file), and a script that trains on one after the other.

Only the label reaches a reward function there, so the label is the whole task, with the prompt's id. What else reaches
the process that calls it, on a cluster of Ray that was started before, is the file of the reward and nothing of the
driver's environment: so the script writes a file of its own for each training, which holds the settings.
"""

from __future__ import annotations

from typing import Any

from trainer.exports.contract import CUT_IS_SCORED, About, Format, Record


def _row(record: Record) -> dict[str, Any]:
    row = record.row
    return {
        "prompt": record.prompt,
        "label": record.task,
        "datasource": f"preppo/{row['source']}",
        "prompt_id": row["prompt_id"],
        "phase": row["phase"] or "",
        "tools": row["tools"] or "",
    }


def _script(about: About) -> dict[str, str]:
    template = "" if about.raw else "--data.apply_chat_template "
    heldout = f'--eval.dataset "$here/{about.heldout}" ' if about.heldout else ""
    phases = " ".join(about.train)
    text = f"""\
#!/usr/bin/env bash
# OpenRLHF on release {about.release_id}: bash openrlhf.sh MODEL OUTPUT [more options of train_ppo_ray]
# One phase after the other, since OpenRLHF shuffles what it reads; each begins with the model of the one before.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
model="${{1:?bash openrlhf.sh MODEL OUTPUT [more options]}}"
mkdir -p "${{2:?bash openrlhf.sh MODEL OUTPUT [more options]}}"
output="$(cd "$2" && pwd)"
shift 2
export PREPPO_TRAINING_RUN_ID="${{PREPPO_TRAINING_RUN_ID:-openrlhf-$(date -u +%Y%m%dT%H%M%S)}}"
export PREPPO_NULL_REWARD="${{PREPPO_NULL_REWARD:-{about.options.null_reward}}}"

# A cluster of Ray that runs already has none of these variables. What it loads is this file, so it holds them; without
# the token, which is no thing to leave beside models: start Ray with that.
reward="$output/preppo_reward_of_this_training.py"
python - "$here" > "$reward" <<'PYTHON'
import os, sys
told = {{n: v for n, v in sorted(os.environ.items()) if n.startswith("PREPPO_") and n != "PREPPO_REWARD_TOKEN" and v}}
print(f"import os, sys\\n\\nos.environ.update({{told!r}})\\nsys.path.insert(0, {{sys.argv[1]!r}})")
print("from preppo_reward import reward_func  # OpenRLHF asks for this name")
PYTHON

for phase in {phases}; do
  python -m openrlhf.cli.train_ppo_ray \\
    --actor.model_name_or_path "$model" \\
    --data.prompt_dataset "$here/$phase" --data.input_key prompt --data.label_key label {template}{heldout}\\
    --reward.remote_url "$reward" \\
    --rollout.max_new_tokens {about.max_tokens} --rollout.n_samples_per_prompt 8 \\
    --algo.advantage.estimator group_norm --train.num_episodes 1 \\
    --ckpt.output_dir "$output/${{phase%.jsonl}}" --ckpt.path "$output/checkpoints/${{phase%.jsonl}}" "$@"
  model="$output/${{phase%.jsonl}}"
done
"""
    return {"openrlhf.sh": text}


def _how(_about: About) -> str:
    return f"""\
```
export PREPPO_REWARD_URL=http://HOST:8400   # `preppo reward serve` there; or leave it out where preppo is installed
export PREPPO_TRAINING_RUN_ID=NAME          # of this training, all phases of it; made up where it is not set
bash openrlhf.sh MODEL OUTPUT --vllm.num_engines 8 --actor.num_gpus_per_node 8
```

The script writes these variables into a file in OUTPUT, which is the reward that OpenRLHF loads: OUTPUT and this
folder are to be where all machines see them. Only `PREPPO_REWARD_TOKEN` is not written down: start Ray with it where
the server asks for one. Where the reward raises, OpenRLHF logs `Failed to fetch reward` and stops later, if at all,
over a reward that is missing: look for that line.

OpenRLHF shuffles every file, so each phase is a file and a training of its own that begins with the model before it. It
takes a batch at a time: phases shorter than `--rollout.batch_size` want a smaller one. A query is decoded text: what
ends it (`<|im_end|>`, `</s>`, ...) is taken off before it is scored, and a prompt that was cut to fit gives no reward
(status `no_response`). Text `<image>` in a prompt becomes an image there. It knows no null: an undecided response gets
the fixed value, and `preppo_undecided` in the logs.

{CUT_IS_SCORED}"""


FORMAT = Format(
    name="openrlhf",
    suffix="jsonl",
    row=_row,
    shuffles=True,
    raw_prompts=True,
    order={"one_file_a_phase": True},
    files=_script,
    how=_how,
)
