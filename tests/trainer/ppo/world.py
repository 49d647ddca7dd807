"""A small world that PPO can be run in: sums for the nursery model, rewarded by the real verifiers."""

from collections import Counter

from trainer.nursery.tasks import generate_tasks
from trainer.ppo.prompts import Prompt, Prompts
from trainer.ppo.training import Training
from verifiers import VerifierPool
from verifiers.hybrid import RTV, HybridReward
from verifiers.rtv import RuleVerifiers
from warehouse.settings import PolicySettings, PpoSettings

TINY = {
    "steps": 4, "prompts": 4, "samples": 2, "minibatches": 2, "micro_batch": 3, "evaluate_every": 2,
    "evaluate_samples": 2, "checkpoint_every": 2, "device": "cpu", "kl_coefficient": 0.1, "warmup_steps": 0,
}  # fmt: skip
POLICY = PolicySettings(model="nursery", max_tokens=24)


def prompt_of(task, number, phase="mixture"):
    turns = (("user", task.prompt),)
    return Prompt(
        f"{number:032x}", turns, None, task.domain, task.verifier, task.ground_truth, None, phase
    )  # fmt: skip


def sums(count, phase="mixture", seed=11, first=0, levels=(1, 2)):
    tasks = generate_tasks(count, seed, {"math": 1.0}, dict.fromkeys(levels, 1.0))
    return tuple(prompt_of(t, first + n, phase) for n, t in enumerate(tasks))


def prompts(train=None, heldout=None):
    train = sums(4, "first") + sums(8, "second", seed=12, first=100) if train is None else train
    heldout = sums(6, "", seed=13, first=200) if heldout is None else heldout
    return Prompts(train, heldout, Counter())


def training(chosen=None, policy=POLICY, **settings):
    return Training(chosen or prompts(), "f" * 32, PpoSettings(**(TINY | settings)), policy)


def rules():
    """Return the hybrid reward of the rule verifiers; maths is decided in this process."""
    return HybridReward({RTV: RuleVerifiers(VerifierPool(1))})


def silent(line):
    pass


def main(folder):
    """Train in `folder`, as a process of its own that can be killed."""
    from pathlib import Path

    from trainer.ppo.loop import train

    train(training(steps=12, baseline="critic", kl_target=1.0, kl_horizon=64), rules(), Path(folder), silent)


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
