"""GRPO on an export of preppo with TRL: `python train_trl.py --model MODEL --output OUTPUT`.

The rows are taken in their order, which is the curriculum. A completion that was cut at `--max-tokens` has no reward.
"""

import argparse
import json
import os
import time
from importlib.metadata import version
from pathlib import Path

import datasets
from accelerate.utils import broadcast_object_list
from packaging.version import Version
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from preppo_reward import max_tokens_reward

HERE = Path(__file__).resolve().parent
RUN = "PREPPO_TRAINING_RUN_ID"


def refuse_old_versions() -> None:
    """End where TRL would take a completion without a reward for one with the reward 0."""
    found = version("trl")
    if Version(found).release < (1, 6):
        raise SystemExit(
            f"train_trl.py needs TRL 1.6 or newer, and this is {found}, which counts a completion that could not be "
            "decided as 0: pip install 'trl>=1.6'"
        )


def name_the_run() -> None:
    """Give the training one name in all its processes, where it has none: signals of one training are told by it."""
    names = [os.environ.get(RUN) or time.strftime("trl-%Y%m%dT%H%M%S", time.gmtime())]
    os.environ[RUN] = str(broadcast_object_list(names)[0])  # that of the first process; a single one keeps its own


def main() -> None:
    """Train."""
    refuse_old_versions()
    about = json.loads((HERE / "export.json").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--max-tokens", type=int, default=about["max_tokens"], help="of a completion")
    parser.add_argument("--max-steps", type=int, default=-1)
    parser.add_argument("--epochs", type=float, default=1.0, help="how often the curriculum is walked")
    parser.add_argument("--generations", type=int, default=8, help="of a prompt")
    parser.add_argument("--batch-size", type=int, default=8, help="completions a device and step")
    parser.add_argument("--learning-rate", type=float, default=1e-6)
    parser.add_argument("--cpu", action="store_true")
    given = parser.parse_args()

    files = [str(HERE / name) for name in about["files"] if name.startswith("train")]
    rows = datasets.load_dataset("parquet", data_files=files, split="train")
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    config = GRPOConfig(
        output_dir=given.output,
        shuffle_dataset=False,
        max_completion_length=given.max_tokens,
        max_steps=given.max_steps,
        num_train_epochs=given.epochs,
        num_generations=given.generations,
        per_device_train_batch_size=given.batch_size,
        learning_rate=given.learning_rate,
        logging_steps=1,
        report_to="none",
        use_cpu=given.cpu,
        bf16=not given.cpu,
    )
    reward = max_tokens_reward(given.max_tokens, [tokenizer.eos_token_id])
    trainer = GRPOTrainer(given.model, reward_funcs=reward, args=config, train_dataset=rows, processing_class=tokenizer)
    name_the_run()
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main()
