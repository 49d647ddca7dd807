"""Where responses are drawn: by the engine that holds the weights in training, or by one started on them anew."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from typing import TYPE_CHECKING

from trainer.engines import load_engine
from trainer.ppo.checkpoint import save_policy
from trainer.ppo.prompts import PpoError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from trainer.engines.contract import Engine
    from trainer.ppo.models import Models
    from warehouse.settings import EngineSettings, PolicySettings


class Drawing:
    """Gives the engine that has the policy's weights as they are now.

    Args:
        models: with the weights in training.
        policy: `[policy]`, whose engine is started.
        machine: `[engine]`; None: the weights in training generate in this process.
        folder: where weights are written for an engine of its own.

    Raises:
        PpoError: the engine of `[policy]` cannot be given weights.
    """

    def __init__(self, models: Models, policy: PolicySettings, machine: EngineSettings | None, folder: Path) -> None:
        if machine is not None and policy.engine in ("openai", "recorded"):
            msg = f"ppo.engine = 'policy': the engine {policy.engine!r} of [policy] cannot be given new weights"
            raise PpoError(msg)
        self._models, self._policy, self._machine, self._folder = models, policy, machine, folder
        self._started: Engine | None = None

    def __call__(self) -> Engine:
        """Return the engine, started if it was not since the weights changed."""
        if self._machine is None:
            return self._models.engine
        if self._started is None:
            save_policy(self._models, self._folder)
            self._started = load_engine(self._policy.model_copy(update={"model": str(self._folder)}), self._machine)
        return self._started

    def computing(self) -> AbstractContextManager[None]:
        """Compute in the type of the training where its weights generate; another engine has a type of its own."""
        return self._models.computing() if self._machine is None else nullcontext()

    def changed(self) -> None:
        """Say that the weights are others now."""
        if self._started is not None:
            self._started.close()
            self._started = None

    def close(self) -> None:
        """End the engine that was started, and take away the weights that were written for it."""
        self.changed()
        if self._machine is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
