"""Tasks and verdicts as JSON, in both directions: what `service` reads and `remote` writes, and the reverse.

Text is written in ASCII with escapes, so that a lone surrogate or a NUL in a response arrives as it was sent.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from verifiers.contract import FIXED_SCORES, Part, Status, Task, Verdict

TOKEN_VARIABLE = "PREPPO_REWARD_TOKEN"

CLIENT_HEADER = "preppo-client"
"""Names the client among which a server shares its time; without it, the address of the peer does."""

FINISH_REASONS = ("stop", "length", "error")
MAX_ID = 64
"""Characters of the `id` that a request may carry, which its answer repeats."""

_REQUIRED = ("verifier", "response", "ground_truth")
_OPTIONAL = ("prompt", "budget_s", "finish_reason")
_KNOWN = frozenset((*_REQUIRED, *_OPTIONAL))
_STATUSES = {str(status): status for status in Status}


class Problem(NamedTuple):
    """What is wrong with one task of a request."""

    task: int
    field: str
    message: str

    def __str__(self) -> str:
        return (
            f"tasks[{self.task}].{self.field}: {self.message}" if self.field else f"tasks[{self.task}]: {self.message}"
        )


class RequestError(ValueError):
    """A request cannot be taken as it is.

    Attributes:
        code: the HTTP status: 400 for no JSON, 413 for too many tasks, 422 for fields that are wrong.
        problems: one entry a field, where single tasks are to blame.
    """

    def __init__(self, code: int, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.code, self.problems = code, tuple(problems)


class AnswerError(ValueError):
    """What came back is not one verdict for each task."""


class Request(NamedTuple):
    """A request that was read: its tasks, and the `id` to repeat."""

    tasks: list[Task]
    id: str | None


class Rows(NamedTuple):
    """A request whose rows have no problems: the rows, the `id` to repeat, and what else stood beside them."""

    rows: list[dict[str, Any]]
    id: str | None
    extra: dict[str, Any]


def read_request(body: bytes, *, max_tasks: int, max_budget_s: float) -> Request:
    """Read `{"tasks": [{...}, ...]}` strictly: unknown and repeated keys, and wrong types, are refused.

    Raises:
        RequestError: with one message that names the task and the field.
    """
    asked = read_tasks(body, max_tasks, lambda index, row: _problems(index, row, max_budget_s))
    return Request([Task(**row) for row in asked.rows], asked.id)


def read_tasks(
    body: bytes,
    max_tasks: int,
    problems_of: Callable[[int, Mapping[str, Any]], list[Problem]],
    extra: tuple[str, ...] = (),
) -> Rows:
    """Read `{"tasks": [{...}, ...]}`, with an optional `id` and the keys in `extra`.

    Args:
        body: JSON in UTF-8.
        max_tasks: that are taken.
        problems_of: what is wrong with a row (its number, the row).
        extra: further keys that the body may have.

    Raises:
        RequestError: with one message.
    """
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise RequestError(400, f"the body is not JSON: {reason}") from None
    if not isinstance(value, dict) or "tasks" not in value or not value.keys() <= {"tasks", "id", *extra}:
        optional = " and ".join(f'"{name}"' for name in ("id", *extra))
        message = f'the body must be an object {{"tasks": [...]}}, with an optional {optional} and nothing else'
        raise RequestError(422, message)
    given, rows = value.get("id"), value["tasks"]
    if given is not None and not (isinstance(given, str) and len(given) <= MAX_ID):
        raise RequestError(422, f"id must be text of at most {MAX_ID} characters")
    if not isinstance(rows, list):
        raise RequestError(422, f"tasks must be a list, not {kind_of(rows)}")
    if len(rows) > max_tasks:
        raise RequestError(413, f"{len(rows)} tasks in one request; this server takes {max_tasks}: send them in parts")
    problems: list[Problem] = []
    for index, row in enumerate(rows):
        if isinstance(row, dict):
            problems += problems_of(index, row)
        else:
            problems.append(Problem(index, "", f"must be an object, not {kind_of(row)}"))
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise RequestError(422, f"{problems[0]}{more}", problems)
    return Rows(rows, given, {name: value[name] for name in extra if name in value})


def _problems(index: int, row: Mapping[str, Any], max_budget_s: float) -> list[Problem]:
    found = [Problem(index, name, "missing") for name in _REQUIRED if name not in row]
    allowed = f"unknown; allowed: {', '.join((*_REQUIRED, *_OPTIONAL))}"
    found += [Problem(index, ascii(name)[1:60].rstrip("'"), allowed) for name in row if name not in _KNOWN]
    for name in ("verifier", "response", "prompt"):
        if not isinstance(row.get(name, ""), str):
            found.append(Problem(index, name, f"must be text, not {kind_of(row[name])}"))
    if not isinstance(row.get("ground_truth"), str | None):
        kind = kind_of(row["ground_truth"])
        found.append(Problem(index, "ground_truth", f"must be JSON text or null, not {kind}: quote it once more"))
    budget_s = row.get("budget_s")
    if budget_s is not None:
        if isinstance(budget_s, bool) or not isinstance(budget_s, int | float):
            found.append(Problem(index, "budget_s", f"must be a number of seconds or null, not {kind_of(budget_s)}"))
        elif not 0 < budget_s <= max_budget_s:
            found.append(
                Problem(index, "budget_s", f"must be above 0 and at most {max_budget_s:g}, this server's limit")
            )
    if row.get("finish_reason", "stop") not in FINISH_REASONS:
        found.append(Problem(index, "finish_reason", f"must be one of {', '.join(FINISH_REASONS)}"))
    return found


def write_task(task: Task) -> str | None:
    """Return a task as JSON text, or None where a field is not what the contract says: nobody could decide it."""
    budget_s = task.budget_s
    texts: tuple[object, ...] = (task.verifier, task.response, task.prompt)  # a user's table may hold anything
    truth: object = task.ground_truth
    if not all(isinstance(text, str) for text in texts) or not isinstance(truth, str | None):
        return None
    row: dict[str, object] = {"verifier": task.verifier, "response": task.response, "ground_truth": task.ground_truth}
    if budget_s is not None:
        if isinstance(budget_s, bool) or not isinstance(budget_s, int | float) or not 0 < budget_s < math.inf:
            return None
        row["budget_s"] = budget_s
    if task.prompt:
        row["prompt"] = task.prompt
    if task.finish_reason in ("length", "error"):  # every other reason decides as `stop` does
        row["finish_reason"] = task.finish_reason
    try:
        return json.dumps(row)
    except ValueError:  # a budget of more digits than Python prints
        return None


def write_verdicts(verdicts: Sequence[Verdict], request_id: str | None) -> bytes:
    """Return the body of an answer."""
    answer: dict[str, object] = {} if request_id is None else {"id": request_id}
    answer["verdicts"] = [_row(verdict) for verdict in verdicts]
    return json.dumps(answer, allow_nan=False).encode("ascii")


def _row(verdict: Verdict) -> dict[str, object]:
    status, score, detail = str(verdict.status), verdict.score, verdict.detail
    if score is not None and not 0 <= score <= 1:
        status, score, detail = "error", None, f"the verifier failed: a score of {score!r}"
    return {
        "status": status,
        "score": score,
        "extracted": verdict.extracted,
        "detail": detail,
        "verifier": verdict.verifier,
        "version": verdict.version,
        "elapsed_ms": verdict.elapsed_ms,
        "parts": [dict(zip(Part._fields, part, strict=True)) for part in verdict.parts],
    }


def read_verdicts(body: bytes, tasks: Sequence[Task], request_id: str) -> list[Verdict]:
    """Read an answer, in the order of `tasks`.

    Raises:
        AnswerError: no JSON, of another request, of another length, or a score that its status cannot have.
    """
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        message = f"an answer that is not JSON ({len(body)} bytes)"
        raise AnswerError(message) from None
    if not isinstance(value, dict) or not isinstance(value.get("verdicts"), list):
        raise AnswerError("an answer without verdicts")
    if value.get("id") != request_id:
        raise AnswerError("an answer to another request")
    rows = value["verdicts"]
    if len(rows) != len(tasks):
        message = f"{len(rows)} verdicts for {len(tasks)} tasks"
        raise AnswerError(message)
    return [_verdict(row, task) for row, task in zip(rows, tasks, strict=True)]


def _verdict(row: Any, task: Task) -> Verdict:
    try:
        status = _STATUSES[row["status"]]
        parts = tuple(_part(part) for part in row["parts"])
        verdict = Verdict(
            status, _score(row["score"]), row["extracted"], row["detail"], row["verifier"], row["version"],
            float(row["elapsed_ms"]), parts,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        message = f"something that is no verdict ({type(error).__name__}: {error})"
        raise AnswerError(message[:200]) from None
    texts = (verdict.detail, verdict.version, verdict.extracted or "")
    if verdict.verifier != task.verifier or not all(isinstance(text, str) for text in texts):
        raise AnswerError("a verdict of another task")
    fits = verdict.score is not None if status is Status.partial else verdict.score == FIXED_SCORES.get(status)
    if not fits:
        message = f"a score of {verdict.score} with status {status}"
        raise AnswerError(message)
    return verdict


def _part(row: Mapping[str, Any]) -> Part:
    if not (isinstance(row["name"], str) and isinstance(row["detail"], str)):
        raise TypeError("a part needs a name and a detail")
    return Part(row["name"], _STATUSES[row["status"]], _score(row["score"]), row["detail"])


def _score(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        message = f"score {str(value)[:20]}"
        raise ValueError(message)
    return float(value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        message = f"the key {ascii(twice)[:60]} occurs twice in one object"
        raise ValueError(message)
    return found


def _refuse(name: str) -> Any:
    message = f"{name} is no JSON value"
    raise ValueError(message)


def kind_of(value: Any) -> str:
    """Return what JSON calls a value, for messages."""
    kinds = {dict: "an object", list: "a list", str: "text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")
