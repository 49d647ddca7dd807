"""What a training goes on from, exactly: weights, optimizer, and where it stands. Written whole or not at all.

There is no random state to keep: every draw is seeded by step and name (`contract.sample_seed`, `tensors.minibatches`).
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from trainer.ppo.prompts import PpoError

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.ppo.learner import Learner
    from trainer.ppo.models import Models

CHECKPOINT = "checkpoint.safetensors"


@dataclass
class State:
    """Where a training stands.

    Attributes:
        identity: of everything that decides it.
        coefficient: of the KL penalty.
        step: steps done.
        cursor: prompts that the current phase has given.
        best: highest score on the held-out prompts, and `best_step` where it was measured.
        stopped: why it ended early; empty while it did not.
    """

    identity: str
    coefficient: float
    step: int = 0
    cursor: int = 0
    best: float | None = None
    best_step: int = 0
    stopped: str = ""


def save(folder: Path, state: State, models: Models, learner: Learner) -> None:
    """Write the checkpoint in place of the one before."""
    tensors = {f"parameter/{n}": p.detach().contiguous() for n, p in models.trained.items()}
    for number, values in learner.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": value.contiguous() for name, value in values.items()}
    partial = folder / f".{CHECKPOINT}.part"
    save_file(tensors, partial, metadata={"preppo": json.dumps(asdict(state))})
    partial.replace(folder / CHECKPOINT)


def peek(folder: Path) -> State | None:
    """Return where the training in a folder stands, or None where it has no checkpoint."""
    if not (folder / CHECKPOINT).is_file():
        return None
    with safe_open(folder / CHECKPOINT, framework="pt") as file:
        return State(**json.loads(file.metadata()["preppo"]))


def resume(folder: Path, identity: str, models: Models, learner: Learner) -> State | None:
    """Take up where the checkpoint stopped; None where there is none.

    Raises:
        PpoError: it is of another training.
    """
    state = peek(folder)
    if state is None:
        return None
    if state.identity != identity:
        msg = (
            f"{folder} holds a training with other settings, model or release, {state.step} steps far: "
            "choose another --out, or go back to its settings"
        )
        raise PpoError(msg)
    slots: dict[int, dict[str, torch.Tensor]] = {}
    with safe_open(folder / CHECKPOINT, framework="pt") as file, torch.no_grad():
        for name, parameter in models.trained.items():
            parameter.copy_(file.get_tensor(f"parameter/{name}"))
        for key in file.keys():  # noqa: SIM118 (it is no dict)
            kind, _, rest = key.partition("/")
            if kind == "optimizer":
                number, _, name = rest.partition("/")
                slots.setdefault(int(number), {})[name] = file.get_tensor(key)
    whole = learner.optimizer.state_dict()
    whole["state"] = slots
    learner.optimizer.load_state_dict(whole)
    return state


def save_policy(models: Models, folder: Path) -> None:
    """Write the policy with its tokenizer as a folder that any engine loads; one that is there is replaced."""
    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    policy: Any = models.policy
    policy.save_pretrained(partial, safe_serialization=True)
    models.engine.tokenizer.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
