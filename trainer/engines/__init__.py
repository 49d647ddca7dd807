"""Generation engines: where completions come from. Importing this package loads no weights and no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.engines.contract import (
    REFERENCE,
    SCORED,
    Completion,
    Engine,
    Request,
    Sampling,
    plan_requests,
    policy_id,
    sample_seed,
    sampling_of,
    split_reasoning,
)

if TYPE_CHECKING:
    from warehouse.settings.model import PolicySettings

__all__ = [
    "REFERENCE",
    "SCORED",
    "Completion",
    "Engine",
    "Request",
    "Sampling",
    "load_engine",
    "plan_requests",
    "policy_id",
    "sample_seed",
    "sampling_of",
    "split_reasoning",
]


def load_engine(policy: PolicySettings) -> Engine:
    """Return the engine that `[policy]` names, weights loaded.

    Raises:
        ValueError: the engine generates nothing by itself ("recorded" needs a frame: use `RecordedEngine`), or
            the model cannot be found.
    """
    if policy.engine == "transformers":
        from trainer.engines.transformers import TransformersEngine  # torch takes seconds to import

        return TransformersEngine(policy.model, batch_size=policy.batch_size, dtype=policy.dtype, device=policy.device)
    msg = f"policy.engine = {policy.engine!r} generates nothing; build a RecordedEngine from imported rollouts"
    raise ValueError(msg)
