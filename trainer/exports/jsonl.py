"""Plain JSON lines: every column of the release, and the task, for programs that no format here is for."""

from __future__ import annotations

from typing import Any

from trainer.exports.contract import About, Format, Record


def _row(record: Record) -> dict[str, Any]:
    return {"prompt": record.prompt, "task": record.task, **record.row}


def _how(_about: About) -> str:
    return """\
```python
import json
from preppo_reward import score

rows = [json.loads(line) for line in open("train.jsonl", encoding="utf-8")]   # in order
print(score([rows[0]["task"]], ["The answer is 4."]))
```

`score` takes tasks and responses, a list each, and returns rewards with source and status. Without `PREPPO_REWARD_URL`
it needs preppo in the same environment. Set `PREPPO_TRAINING_RUN_ID` where several processes of one training score."""


FORMAT = Format(name="jsonl", suffix="jsonl", row=_row, raw_prompts=True, knows_null=True, how=_how)
