"""open-instruct's GRPO with the verifier `preppo`; takes the options of `open_instruct/grpo_fast.py`."""

import runpy

import open_instruct_verifier  # noqa: F401 (its class is found among the subclasses)

if __name__ == "__main__":
    runpy.run_module("open_instruct.grpo_fast", run_name="__main__", alter_sys=True)
