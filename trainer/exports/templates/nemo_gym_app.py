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


class PreppoServer(SimpleResourcesServer):
    """Verifies."""

    config: PreppoConfig

    async def verify(self, body: PreppoVerifyRequest) -> PreppoVerifyResponse:
        """Reward one rollout; one that stopped at the token limit is not scored."""
        cut = getattr(body.response, "status", None) == "incomplete"
        found = await asyncio.to_thread(score, [body.task], [text_of(body.response)], ["length" if cut else "stop"])
        return PreppoVerifyResponse(
            **body.model_dump(),
            reward=without_null(found[0]),
            preppo_undecided=float(found[0].reward is None),
            preppo_status=found[0].status,
        )


if __name__ == "__main__":
    PreppoServer.run_webserver()
