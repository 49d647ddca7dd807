"""The taskset of an export of preppo: tasks in the order of the release, rewarded over HTTP."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import verifiers.v1 as vf

from preppo_release.preppo_reward import score

HERE = Path(__file__).resolve().parent


class PreppoData(vf.TaskData):
    """A row of the export: the gold, and the task as `preppo_reward.score` takes it."""

    answer: str
    info: str


class PreppoTask(vf.Task[PreppoData]):
    """One prompt."""

    @property
    def key(self) -> str:
        """Return the id of the prompt."""
        return str(json.loads(self.data.info)["prompt_id"])

    @vf.reward
    async def preppo(self, trace: vf.Trace) -> float:
        """Return the hybrid reward; raises where nothing could be decided, so that the rollout counts as failed."""
        reason = "length" if trace.is_truncated else "stop"
        found = await asyncio.to_thread(score, [self.data.info], [trace.last_reply], [reason])
        if found[0].reward is None:
            raise RuntimeError(f"not decided: {found[0].status}")
        return found[0].reward


class PreppoConfig(vf.TasksetConfig):
    """Which phase to load: the name of a file; nothing loads all of them, in order."""

    phase: str | None = None


class PreppoTaskset(vf.Taskset[PreppoTask, PreppoConfig]):
    """The prompts of the release."""

    def load(self) -> Iterator[PreppoTask]:
        """Yield the tasks in order; keys are unique in a taskset, so a prompt that occurs again comes once."""
        about = json.loads((HERE / "export.json").read_text(encoding="utf-8"))
        names = [self.config.phase] if self.config.phase else [n for n in about["files"] if Path(n).stem != "heldout"]
        seen = set()
        for name in names:
            with (HERE / Path(name).name).open(encoding="utf-8") as file:
                for line in file:
                    row = json.loads(line)
                    if row["prompt_id"] in seen:
                        continue
                    seen.add(row["prompt_id"])
                    system = [turn["content"] for turn in row["prompt"] if turn["role"] == "system"]
                    turns = [turn for turn in row["prompt"] if turn["role"] != "system"]
                    one = len(turns) == 1 and turns[0]["role"] == "user"
                    data = PreppoData(
                        id=row["prompt_id"],
                        prompt=turns[0]["content"] if one else turns,
                        system_prompt="\n\n".join(system) or None,
                        answer=row["answer"],
                        info=row["info"],
                    )
                    yield PreppoTask(data, self.config.task)
