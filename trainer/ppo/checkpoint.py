"""What a training goes on from, exactly: weights, optimizer, and where it stands. Written whole or not at all.

There is no random state to keep: every draw is seeded by step and name (`contract.sample_seed`, `tensors.minibatches`).
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
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
        decided: share of the responses to them that could be decided there.
        stopped: why it ended early; empty while it did not.
        finished: the policy and the signals are written; weights and optimizer are kept no longer.
    """

    identity: str
    coefficient: float
    step: int = 0
    cursor: int = 0
    best: float | None = None
    best_step: int = 0
    decided: float = 0.0
    stopped: str = ""
    finished: bool = False


def save(folder: Path, state: State, models: Models, learner: Learner) -> None:
    """Write the checkpoint in place of the one before."""
    tensors = {f"parameter/{n}": p.detach().contiguous() for n, p in models.trained.items()}
    for number, values in learner.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": value.contiguous() for name, value in values.items()}
    _write(folder, state, tensors)


def finish(folder: Path, state: State) -> None:
    """Keep of the checkpoint only where the training stands: all that it could go on to is written."""
    state.finished = True
    _write(folder, state, {})


def _write(folder: Path, state: State, tensors: dict[str, torch.Tensor]) -> None:
    partial = folder / f".{CHECKPOINT}.part"
    save_file(tensors, partial, metadata={"preppo": json.dumps(asdict(state))})
    partial.replace(folder / CHECKPOINT)


def peek(folder: Path) -> State | None:
    """Return where the training in a folder stands, or None where it has no checkpoint.

    Raises:
        PpoError: the checkpoint cannot be read.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return State(**json.loads(file.metadata()["preppo"]))
    except (SafetensorError, OSError, TypeError, KeyError, ValueError) as error:
        msg = f"{path} cannot be read ({error}): take it away to begin the training anew, or choose another --out"
        raise PpoError(msg) from error


def resume(folder: Path, identity: str, models: Models, learner: Learner) -> State | None:
    """Take up where the checkpoint stopped; None where there is none. Of a finished training nothing is loaded.

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
    if state.finished:
        return state
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
