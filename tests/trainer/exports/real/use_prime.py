"""In the environment of Prime Intellect's `verifiers`: our taskset, found by its id, loaded and scored."""

import asyncio
import json
import sys
from types import SimpleNamespace

sys.path.insert(0, sys.argv[1])
from verifiers.v1.utils.loaders import taskset_class

kind = taskset_class("preppo_release")
config = sys.modules["preppo_release.taskset"].PreppoConfig
whole = list(kind(config(id="preppo_release")))
phase = list(kind(config(id="preppo_release", phase="train-02-mixture.jsonl")))


def rewarded(text, cut=False):
    try:
        return asyncio.run(whole[0].preppo(SimpleNamespace(is_truncated=cut, last_reply=text)))
    except RuntimeError as error:
        return str(error)


print(json.dumps({
    "keys": [[task.key for task in one] for one in (whole, phase)],
    "system": whole[0].data.system_prompt,
    "prompt": whole[0].data.prompt,
    "turns": [turn.role for turn in phase[0].data.prompt],
    "rewards": [rewarded("#### 4"), rewarded("#### 5"), rewarded("#### 4", cut=True)],
}))  # fmt: skip
