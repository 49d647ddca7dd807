"""SkyRL: Parquet, one file a phase (its loader shuffles), an environment, and an entry that registers it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from trainer.exports.arrow import MESSAGES, TEXT
from trainer.exports.contract import CUT_IS_SCORED, About, Format, Record

ENVIRONMENT = "preppo"
_SCHEMA = pa.schema(
    [
        ("data_source", TEXT),
        ("prompt", MESSAGES),
        ("env_class", TEXT),
        ("reward_spec", pa.struct([("method", TEXT), ("ground_truth", TEXT)])),
        (
            "extra_info",
            pa.struct([("split", TEXT), ("index", pa.int64()), ("prompt_id", TEXT), ("phase", TEXT), ("tools", TEXT)]),
        ),
    ]
)


def _row(record: Record) -> dict[str, Any]:
    row = record.row
    return {
        "data_source": f"preppo/{row['source']}",
        "prompt": record.messages,
        "env_class": ENVIRONMENT,
        "reward_spec": {"method": "rule", "ground_truth": record.task},
        "extra_info": {
            "split": "train" if record.split == "train" else "test",
            "index": record.index,
            "prompt_id": row["prompt_id"],
            "phase": row["phase"] or "",
            "tools": row["tools"] or "",
        },
    }


def _how(about: About) -> str:
    # without a file of ours SkyRL evaluates on one of GSM8K in the home folder
    held = f"data.val_data=\"['$PWD/{about.heldout}']\"" if about.heldout else "trainer.eval_interval=-1"
    return f"""\
For each phase in order ({", ".join(about.train)}), from the model that the one before left:

```
export PYTHONPATH="$PWD" PREPPO_REWARD_URL=http://HOST:8400    # `preppo reward serve` there
export PREPPO_TRAINING_RUN_ID=NAME                             # of this training, all phases of it
python main_skyrl.py data.train_data="['$PWD/{about.train[0]}']" {held} \\
  generator.sampling_params.max_generate_length={about.max_tokens} trainer.max_prompt_length=2048 \\
  trainer.ckpt_path=OUTPUT/01/checkpoints trainer.export_path=OUTPUT/01 trainer.hf_save_interval=1000000 \\
  trainer.policy.model.path=MODEL
```

Each phase has a folder of its own, for SkyRL goes on from the checkpoint that it finds in `trainer.ckpt_path`, which is
the same for all trainings by default. `trainer.hf_save_interval` makes it save a model at the end, which it does not
else: that is the MODEL of the next phase, `OUTPUT/01/global_step_N/policy`.

`max_generate_length` is what the release was rolled out with. SkyRL leaves prompts out that are longer than
`trainer.max_prompt_length` tokens (512 by default), and logs how many are left. Its loader shuffles training data and
drops the last incomplete batch: a phase shorter than `trainer.train_batch_size` wants a smaller one. `main_skyrl.py`
hands the variables that begin with `PREPPO_` to the process that rewards, also on a cluster that runs already.

SkyRL knows no null: an undecided response gets the fixed value, and their share is `environment/preppo_undecided` in
its metrics. The `ground_truth` of a row is the whole task, with the prompt's id.

{CUT_IS_SCORED}
`generator.apply_overlong_filtering=true` keeps such responses out of the loss, though not out of the signals."""


FORMAT = Format(
    name="skyrl",
    suffix="parquet",
    row=_row,
    schema=lambda _raw: _SCHEMA,
    shuffles=True,
    order={"one_file_a_phase": True},
    templates={"skyrl_env.py": "skyrl_env.py", "main_skyrl.py": "main_skyrl.py"},
    how=_how,
)
