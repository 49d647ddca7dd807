"""In an environment that loads NeMo Gym's base classes: it reads our configuration, and our server verifies on them."""

import asyncio
import json
import sys
from pathlib import Path

import nemo_gym.config_types as types
from nemo_gym.openai_utils import NeMoGymResponse
from omegaconf import OmegaConf

folder = Path(sys.argv[1])
server = folder / "resources_servers" / "preppo"
sys.path.insert(0, str(server))
import app  # noqa: E402

config = OmegaConf.load(server / "configs" / "preppo.yaml")
servers, errors = zip(*(types.maybe_get_server_instance_config(name, config[name]) for name in config), strict=True)
assert not any(errors), errors
row = json.loads((folder / "train.jsonl").read_text().splitlines()[0])


def verify(text, status="completed", details=None):
    said = {"id": "m", "type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}]}  # fmt: skip
    told = {"id": "r", "created_at": 0, "model": "m", "object": "response", "output": [said], "tool_choice": "auto",
            "parallel_tool_calls": False, "tools": [], "incomplete_details": details}  # fmt: skip
    response = NeMoGymResponse(**told, **({"status": status} if status else {}))
    body = app.PreppoVerifyRequest(**row, response=response)
    found = asyncio.run(app.PreppoServer.verify(None, body))  # its web server is not needed
    assert found.id == row["id"]
    return found.reward, found.preppo_status, found.model_dump().get("mask_sample")


cut = {"reason": "max_output_tokens"}
sets = servers[1].get_inner_run_server_config().datasets
print(json.dumps({
    "servers": {one.name: type(one).__name__ for one in servers},
    "datasets": [(one.name, one.type, one.license) for one in sets],
    "verified": [verify("#### 4"), verify("#### 5"), verify("#### 4", "incomplete", cut), verify("#### 4", None, cut)],
}))  # fmt: skip
