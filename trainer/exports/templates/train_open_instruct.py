"""open-instruct's GRPO with the verifier `preppo`; takes the options of `open_instruct/grpo_fast.py`."""

import os
import runpy
import time

import open_instruct_verifier  # noqa: F401 (its class is found among the subclasses)

if __name__ == "__main__":
    os.environ.setdefault("PREPPO_TRAINING_RUN_ID", time.strftime("open-instruct-%Y%m%dT%H%M%S", time.gmtime()))
    runpy.run_module("open_instruct.grpo_fast", run_name="__main__", alter_sys=True)
