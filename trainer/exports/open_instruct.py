"""open-instruct: JSON lines, one file a phase (it permutes every epoch), and a verifier of its kind.

The key in `dataset` picks the verifier, so it is `preppo` in every row; the ground truth is the whole task.
"""

from __future__ import annotations

from typing import Any

from trainer.exports.contract import CUT_IS_SCORED, About, Format, Record

VERIFIER = "preppo"


def _row(record: Record) -> dict[str, Any]:
    row = record.row
    return {
        "messages": record.messages,
        "ground_truth": record.task,
        "dataset": VERIFIER,
        "prompt_id": row["prompt_id"],
        "phase": row["phase"] or "",
        "tools_json": row["tools"] or "",
    }


def _how(about: About) -> str:
    return f"""\
For each phase in order ({", ".join(about.train)}), from the model that the one before left; where open-instruct is
installed:

```
export PYTHONPATH="$PWD" PREPPO_REWARD_URL=http://HOST:8400    # `preppo reward serve` there
export PREPPO_TRAINING_RUN_ID=NAME                             # of this training, all phases of it
python train_open_instruct.py --dataset_mixer_list "$PWD/{about.train[0]}" 1.0 \\
  --dataset_mixer_list_splits train --model_name_or_path MODEL
```

`train_open_instruct.py` makes the verifier `{VERIFIER}` known and starts `grpo_fast`. open-instruct knows no null, and
a verifier of its kind returns a score and no metrics: an undecided response gets the fixed value, and how many there
were is a warning in the log of the process that verifies; the signals have a line for each, with its status.

{CUT_IS_SCORED}"""


FORMAT = Format(
    name="open-instruct",
    suffix="jsonl",
    row=_row,
    shuffles=True,
    order={"one_file_a_phase": True},
    templates={
        "open_instruct_verifier.py": "open_instruct_verifier.py",
        "train_open_instruct.py": "train_open_instruct.py",
    },
    how=_how,
)
