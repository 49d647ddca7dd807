"""NeMo Gym's resources server for an export of preppo: verifies a rollout by the hybrid reward."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from nemo_gym.base_resources_server import (
    BaseResourcesServerConfig,
    BaseRunRequest,
    BaseVerifyRequest,
    BaseVerifyResponse,
    SimpleResourcesServer,
)

sys.path.insert(0, str(Path(__file__).resolve().parent))
from preppo_reward import score, without_null


class PreppoConfig(BaseResourcesServerConfig):
    """Nothing of its own."""


class PreppoRunRequest(BaseRunRequest):
    """What a row brings besides the prompt."""

    id: str
    task: str


class PreppoVerifyRequest(PreppoRunRequest, BaseVerifyRequest):
    """The row and its rollout."""


class PreppoVerifyResponse(BaseVerifyResponse):
    """The reward, and what is known of it."""

    id: str
    preppo_undecided: float
    preppo_status: str


def text_of(response: Any) -> str:
    """Return what the assistant said last, without its reasoning and tool calls."""
    said = [item for item in response.output if item.type == "message" and item.role == "assistant"]
    return "".join(getattr(part, "text", "") for part in said[-1].content) if said else ""


def was_cut(response: Any) -> bool:
    """Return whether a response stopped before its end; some models of NeMo Gym say so by the details alone."""
    return (
        getattr(response, "status", None) == "incomplete" or getattr(response, "incomplete_details", None) is not None
    )


class PreppoServer(SimpleResourcesServer):
    """Verifies."""

    config: PreppoConfig

    async def verify(self, body: PreppoVerifyRequest) -> PreppoVerifyResponse:
        """Reward one rollout; one that stopped at the token limit is not scored."""
        reasons = ["length" if was_cut(body.response) else "stop"]
        (one,) = await asyncio.to_thread(score, [body.task], [text_of(body.response)], reasons)
        undecided = one.reward is None
        told: dict[str, Any] = {"preppo_undecided": float(undecided), "preppo_status": one.status}
        if "mask_sample" in BaseVerifyResponse.model_fields:  # of NeMo Gym 0.7: the reward is no measurement
            told["mask_sample"] = undecided
        return PreppoVerifyResponse(**body.model_dump(), reward=without_null(one), **told)


if __name__ == "__main__":
    PreppoServer.run_webserver()
