"""Generation engines: where completions come from. Importing this package loads no weights and no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.engines.contract import (
    REFERENCE,
    SCORED,
    TOO_LONG,
    Completion,
    Engine,
    EngineError,
    Position,
    Request,
    Sampling,
    plan_requests,
    policy_id,
    sample_seed,
    sampling_of,
    split_reasoning,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from warehouse.settings import EngineSettings, PolicySettings

__all__ = [
    "REFERENCE",
    "SCORED",
    "TOO_LONG",
    "Completion",
    "Engine",
    "EngineError",
    "Position",
    "Request",
    "Sampling",
    "load_engine",
    "plan_requests",
    "policy_id",
    "sample_seed",
    "sampling_of",
    "split_reasoning",
]


def load_engine(policy: PolicySettings, machine: EngineSettings) -> Engine:
    """Return the engine that `[policy]` names, ready to be asked; `[engine]` says how it is run.

    Raises:
        EngineError: it is not installed, cannot be started, or generates nothing by itself ("recorded" needs a frame:
            use `RecordedEngine`).
        ModelError: the model cannot be found.
    """
    if policy.engine == "recorded":
        msg = "policy.engine = 'recorded' generates nothing; build a RecordedEngine from imported rollouts"
        raise EngineError(msg)
    return _LOADERS[policy.engine](policy, machine)


def _transformers(policy: PolicySettings, machine: EngineSettings) -> Engine:
    from trainer.engines.transformers import TransformersEngine  # torch takes seconds to import

    return TransformersEngine(
        policy.model,
        batch_size=policy.batch_size,
        dtype=policy.dtype,
        device=policy.device,
        compile=machine.compile,
    )


def _vllm(policy: PolicySettings, machine: EngineSettings) -> Engine:
    from trainer.engines.vllm import VllmEngine

    return VllmEngine(
        policy.model,
        sampling=sampling_of(policy),
        python=machine.vllm_python,
        dtype=policy.dtype,
        arguments=machine.vllm,
    )


def _ray(policy: PolicySettings, machine: EngineSettings) -> Engine:
    from trainer.engines.ray import RayEngine

    return RayEngine(policy, machine)


def _openai(policy: PolicySettings, machine: EngineSettings) -> Engine:
    from trainer.engines.openai import OpenAIEngine

    return OpenAIEngine(
        policy.model,
        revision=policy.revision,
        base_urls=machine.base_urls,
        api_key_env=machine.api_key_env,
        concurrency=machine.concurrency,
        timeout_s=machine.timeout_s,
        retries=machine.retries,
    )


_LOADERS: dict[str, Callable[[PolicySettings, EngineSettings], Engine]] = {
    "openai": _openai,
    "ray": _ray,
    "transformers": _transformers,
    "vllm": _vllm,
}
