"""The loop of a training: accumulation, schedule, checkpoints from which it goes on exactly, an end where it breaks."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from torch.nn import Parameter

    from trainer.reward_models.settings import TrainSettings

CHECKPOINT = "checkpoint.safetensors"


class TrainingError(RuntimeError):
    """A training cannot go on; the message says at which step, why, and what is kept."""


class Loop:
    """Steps of one stage.

    Args:
        named: parameters to train, by name.
        settings: rates, schedule, clipping, checkpoints.
        steps: of the whole stage.
        folder: where the checkpoint is kept; None: nowhere.
        identity: what must be the same for a checkpoint to count: settings, pairs, trunk, stage.
        extra: parameters with the head's learning rate, by name.
    """

    def __init__(
        self,
        named: dict[str, Parameter],
        settings: TrainSettings,
        steps: int,
        folder: Path | None,
        identity: str,
        extra: dict[str, Parameter] | None = None,
    ) -> None:
        self._named = named | (extra or {})
        self._settings, self.steps, self._identity = settings, steps, identity
        self._path = None if folder is None else folder / CHECKPOINT
        pretrained = ("trunk.", "lm_head.")  # a kept language model head does not start from nothing
        heads = [p for n, p in self._named.items() if not n.startswith(pretrained)]
        trunk = [p for n, p in self._named.items() if n.startswith(pretrained)]
        groups = [{"params": heads, "lr": settings.head_rate}, {"params": trunk, "lr": settings.rate}]
        self.optimizer = torch.optim.AdamW(
            [g for g in groups if g["params"]], betas=settings.betas, weight_decay=settings.weight_decay
        )
        self._device = next(iter(self._named.values())).device
        self._peaks = [g["lr"] for g in self.optimizer.param_groups]
        self.done = self._resume()

    def step(
        self, losses: Iterator[tuple[torch.Tensor, Callable[[], str]]], before_update: Callable[[], None] | None = None
    ) -> float:
        """Take one step by the sum of some losses, and return it.

        Args:
            losses: each with what to call the pairs that it is of, in case it is no number.
            before_update: called when all gradients are there, and before the parameters change.

        Raises:
            TrainingError: a loss, or the gradient, is not finite. The checkpoint stays as it is.
        """
        total = 0.0
        self.optimizer.zero_grad(set_to_none=True)
        for loss, of in losses:
            if not torch.isfinite(loss):
                self._fail(f"the loss is {float(loss.detach())} for {of()}")
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        norm = torch.nn.utils.clip_grad_norm_(list(self._named.values()), self._settings.clip)
        if not torch.isfinite(norm):
            self._fail(f"the gradient is {float(norm)}")
        if before_update is not None:
            before_update()
        share = self._rate(self.done)
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * share
        self.optimizer.step()
        self.done += 1
        if self._path is not None and (self.done % self._settings.checkpoint_steps == 0 or self.done == self.steps):
            self._save(self._path)
        return total

    def _rate(self, step: int) -> float:
        """Return the share of the peak rates: linear warm-up, then a cosine to zero."""
        warm = max(1, round(self._settings.warmup * self.steps))
        if step < warm:
            return (step + 1) / warm
        return (1 + math.cos(math.pi * (step - warm) / max(1, self.steps - warm))) / 2

    def _fail(self, problem: str) -> None:
        kept = "nothing was kept before"
        if self._path is not None and self._path.is_file():
            kept = f"the checkpoint of step {self._meta(self._path)['done']} is kept in {self._path}"
        msg = (
            f"step {self.done + 1} of {self.steps}: {problem}; {kept}. Lower the learning rate, or look at these pairs"
        )
        raise TrainingError(msg)

    def _save(self, path: Path) -> None:
        tensors = {f"parameter/{n}": p.detach().contiguous() for n, p in self._named.items()}
        state = self.optimizer.state_dict()["state"]
        for number, values in state.items():
            tensors |= {f"optimizer/{number}/{k}": v.contiguous() for k, v in values.items()}
        tensors["random/cpu"] = torch.get_rng_state()
        if self._device.type == "cuda":
            tensors["random/cuda"] = torch.cuda.get_rng_state(self._device)
        partial = path.with_name(f".{path.name}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        meta = json.dumps({"done": self.done, "identity": self._identity})
        save_file(tensors, partial, metadata={"preppo": meta})
        partial.replace(path)

    def _resume(self) -> int:
        """Return how many steps are done, after taking up where a checkpoint of this very training stopped."""
        path = self._path
        if path is None or not path.is_file() or self._meta(path)["identity"] != self._identity:
            return 0
        state: dict[int, dict[str, torch.Tensor]] = {}
        with safe_open(path, framework="pt") as file:
            for name, parameter in self._named.items():
                parameter.data.copy_(file.get_tensor(f"parameter/{name}"))
            for key in file.keys():  # noqa: SIM118 (it is no dict)
                kind, _, rest = key.partition("/")
                if kind == "optimizer":
                    number, _, name = rest.partition("/")
                    state.setdefault(int(number), {})[name] = file.get_tensor(key)
            torch.set_rng_state(file.get_tensor("random/cpu"))
            if self._device.type == "cuda" and "random/cuda" in file.keys():  # noqa: SIM118
                torch.cuda.set_rng_state(file.get_tensor("random/cuda"), self._device)
        whole = self.optimizer.state_dict()
        whole["state"] = state
        self.optimizer.load_state_dict(whole)
        return int(self._meta(path)["done"])

    @staticmethod
    def _meta(path: Path) -> dict[str, Any]:
        with safe_open(path, framework="pt") as file:
            found: dict[str, Any] = json.loads(file.metadata()["preppo"])
        return found


def batches(count: int, size: int, epochs: int, seed: int) -> list[Sequence[int]]:
    """Return the numbers of the pairs of every step, each epoch in another order; its last batch may be short."""
    found: list[Sequence[int]] = []
    for epoch in range(epochs):
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)).tolist()
        found += [order[i : i + size] for i in range(0, count, size)]
    return found
