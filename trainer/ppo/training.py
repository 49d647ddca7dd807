"""What goes into a training and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer.engines.contract import policy_id, sampling_of
from verifiers.registry import REGISTRY, version
from warehouse.hashing import json_hash

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.ppo.prompts import Prompts
    from verifiers.hybrid import HybridReward
    from warehouse.settings import EngineSettings, PolicySettings, PpoSettings

Told = Callable[[dict[str, Any]], None]  # is given every line of metrics


@dataclass(frozen=True)
class Training:
    """Everything that decides a training, but for the reward.

    Attributes:
        prompts: of the release.
        release_id: of it.
        settings: `[ppo]`.
        policy: `[policy]`: the model that learns, and how it samples.
        machine: `[engine]`, of an engine of its own (`ppo.engine = "policy"`); None: the weights in training generate.
        makers: who judges and models rewards, by source, see `trainer.hybrid.makers`.
    """

    prompts: Prompts
    release_id: str
    settings: PpoSettings
    policy: PolicySettings
    machine: EngineSettings | None = None
    makers: dict[str, str] = field(default_factory=dict)

    def identity(self, reward: HybridReward, fingerprint: str) -> str:
        """Return the hash of everything that decides a training; how often it is saved does not."""
        settings = self.settings.model_dump(exclude={"checkpoint_every"})
        policy = self.policy.model_dump(include={"temperature", "max_tokens", "stop", "system_prompt"})
        prompts = [*self.prompts.train, *self.prompts.heldout]
        rows = [p.prompt_id for p in prompts]
        by_rule = sorted({p.verifier for p in prompts if p.verifier in REGISTRY and p.ground_truth is not None})
        draws = "weights in training" if self.machine is None else self.policy.engine
        scored = [sorted(reward.sources), self.makers, {name: version(name) for name in by_rule}]
        return json_hash(["ppo", self.release_id, rows, fingerprint, settings, policy, draws, scored])

    def names(self, identity: str, fingerprint: str) -> dict[str, str]:
        """Return what every training signal names: the run, the release, and the policy that it began with.

        The policy has the id that its rollouts have, so that both can be joined.
        """
        began = policy_id(fingerprint, sampling_of(self.policy), None, self.policy.system_prompt)
        return {"training_run_id": identity, "release_id": self.release_id, "policy_id": began}


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes:
        folder: with `policy` (the last weights), `best`, metrics, signals.
        run_id: 32 hex characters, of everything that decided it.
        steps: that were taken.
        first, last, best: scores on the held-out prompts; None where there are none.
        best_step: where the best one was measured.
        stopped: why it ended early; empty where it did not.
    """

    folder: Path
    run_id: str
    steps: int
    first: float | None
    last: float | None
    best: float | None
    best_step: int
    stopped: str
