"""The other side of ppo_speed.py, run by the interpreter of an environment with TRL: GRPO steps, tokens and seconds.

One JSON object on stdin (model, prompts, golds, steps, sizes), one on stdout. No preppo in this process.
"""

import json
import os
import sys
import tempfile
import time
from typing import Any


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asked = json.loads(sys.stdin.read())
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    torch.set_num_threads(1)
    rows = [
        {"prompt": [{"role": "user", "content": p}], "gold": g}
        for p, g in zip(asked["prompts"], asked["golds"], strict=False)
    ]
    tokens: list[int] = []
    rewards: list[float] = []
    clock: list[float] = []

    def right(completions: Any, completion_ids: Any, gold: Any, **_: Any) -> list[float]:
        tokens.append(sum(len(ids) for ids in completion_ids))
        texts = [text[0]["content"].rstrip("}. \n") for text in completions]
        found = [float(text.endswith(g)) for text, g in zip(texts, gold, strict=True)]
        rewards.append(sum(found) / len(found))
        return found

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.append(time.perf_counter())

    responses, updates = asked["prompts_a_step"] * asked["samples"], asked["minibatches"]
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder, use_cpu=True, bf16=False, report_to="none", logging_strategy="no", save_strategy="no",
            disable_tqdm=True, shuffle_dataset=False, max_completion_length=asked["max_tokens"],
            num_generations=asked["samples"], per_device_train_batch_size=responses // updates,
            steps_per_generation=updates, gradient_accumulation_steps=1, num_iterations=1, beta=0.001, temperature=1.0,
            learning_rate=asked["rate"], max_steps=asked["steps"] * updates, dataloader_num_workers=0, seed=0,
            gradient_checkpointing=False,
        )  # fmt: skip
        trainer = GRPOTrainer(
            asked["model"], reward_funcs=right, args=config, train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(asked["model"]), callbacks=[Clock()],
        )  # fmt: skip
        trainer.train()
    # A step of ours is a generation and its updates: from one generation's first update to the next one's.
    begins, ends = clock[::2], clock[1::2]
    spans = [ends[(n + 1) * updates - 1] - (ends[n * updates - 1] if n else begins[0]) for n in range(asked["steps"])]
    import trl

    out.write(json.dumps({"tokens": tokens, "seconds": spans, "rewards": rewards, "version": trl.__version__}) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
