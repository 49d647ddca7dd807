"""Responses to reward and their rewards as JSON: what `POST /reward` reads and writes.

A task is what an export calls so (`prompt_id`, `messages` and what else is known of the prompt), with `response` and
`finish_reason`.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from verifiers.hybrid import Reward, Scorable
from verifiers.wire import FINISH_REASONS, Problem, RequestError, kind_of, read_tasks

UNAVAILABLE = "unavailable"
"""Status of a response whose source cannot be asked now, but perhaps again later."""
UNUSABLE = "unusable"
"""Status of a response whose source is not to be used any more."""

_FIELDS = {field.name: str(field.type) for field in dataclasses.fields(Scorable) if field.name != "sample"}
_REQUIRED = ("prompt_id", "messages", "response")
_IGNORED = "split"  # exports say of held-out prompts that they are
_WANTED = {
    "str": (str, "text"),
    "str | None": (str | None, "text or null"),
    "bool": (bool, "true or false"),
}


class RewardRequest(NamedTuple):
    """A request that was read.

    Attributes:
        items: all with sample 0.
        id: to repeat.
        makers: whom the client wants to make rewards, by source (None: anybody); None where it does not mind.
    """

    items: list[Scorable]
    id: str | None
    makers: dict[str, str | None] | None


def read_rewards_request(body: bytes, *, max_tasks: int) -> RewardRequest:
    """Read `{"tasks": [{...}, ...]}` with `makers` and `id` where they are given; strictly, as `read_request` does.

    Raises:
        RequestError: with one message that names the task and the field.
    """
    asked = read_tasks(body, max_tasks, _problems, extra=("makers",))
    makers = asked.extra.get("makers")
    if makers is not None and not (
        isinstance(makers, dict) and all(isinstance(maker, str | None) for maker in makers.values())
    ):
        raise RequestError(422, "makers must be an object: a source -> who is to make its rewards, or null for anybody")
    return RewardRequest([_scorable(row) for row in asked.rows], asked.id, makers)


def _scorable(row: Mapping[str, Any]) -> Scorable:
    given = {name: value for name, value in row.items() if name != _IGNORED}
    given["messages"] = tuple((role, content) for role, content in row["messages"])
    return Scorable(sample=0, **given)


def _problems(index: int, row: Mapping[str, Any]) -> list[Problem]:
    found = [Problem(index, name, "missing") for name in _REQUIRED if name not in row]
    allowed = f"unknown; allowed: {', '.join(_FIELDS)}"
    for name, value in row.items():
        if name == _IGNORED:
            continue
        if name not in _FIELDS:
            found.append(Problem(index, ascii(name)[1:60].rstrip("'"), allowed))
        elif name == "messages":
            if not _are_messages(value):
                found.append(Problem(index, name, 'must be a list of [role, content], such as [["user", "2 + 2?"]]'))
        elif name == "finish_reason":
            if value not in FINISH_REASONS:
                found.append(Problem(index, name, f"must be one of {', '.join(FINISH_REASONS)}"))
        else:
            kind, called = _WANTED[_FIELDS[name]]
            if not isinstance(value, kind):
                found.append(Problem(index, name, f"must be {called}, not {kind_of(value)}"))
    return found


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(turn, list) and len(turn) == 2 and all(isinstance(text, str) for text in turn) for turn in value
    )


def write_rewards(rewards: Sequence[Reward], request_id: str | None) -> bytes:
    """Return the body of an answer."""
    answer: dict[str, object] = {} if request_id is None else {"id": request_id}
    answer["rewards"] = [_row(reward) for reward in rewards]
    return json.dumps(answer, allow_nan=False).encode("ascii")


def _row(one: Reward) -> dict[str, object]:
    reward, worst, status, detail = one.reward, one.worst, one.status, one.detail
    if reward is not None and not 0 <= reward <= 1:
        reward, worst, status, detail = None, None, "error", f"the source failed: a reward of {reward!r}"
    return {
        "reward": reward,
        "source": one.source,
        "reward_id": one.reward_id,
        "status": status,
        "detail": detail,
        "worst": worst,
    }
