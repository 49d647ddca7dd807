"""Scoring answers in a sandbox: one a worker, warm, with a child for every answer.

An answer that took its child over could report any score: the rules of `reasoning_gym_answers` see to it that a scorer
which evaluates is given nothing that could. What the sandbox sees to is that nothing of an answer outlives it.
"""

import hashlib
import json
import math
import os
import secrets
import select
import time
from typing import Any

from verifiers.code_worker import MODE, Boxes, Pipe
from verifiers.contract import Outcome, Status
from verifiers.forkserver import ServerGone
from verifiers.sandbox.host import memory_file
from verifiers.sandbox.isolation import NoIsolation

TIME_S, MEMORY_MB = 10.0, 2048
MAX_REPORT = 4096
KEPT_ENTRIES = 4096

Report = dict[str, Any]

_boxes = Boxes(os.environ.get(MODE, "bubblewrap"))
_ready: set[str] = set()
_sound: dict[bytes, None] = {}  # entries whose own answer has full marks


def work(payload: Any, budget_s: float) -> Outcome:
    """Verify `{"dataset", "answer", "entry", "own", "partial", "right"}`."""
    deadline = time.monotonic() + 0.9 * budget_s
    try:
        try:
            outcome = _score(payload, deadline)
        except ServerGone:
            _close()  # a sandbox that ended, whoever ended it, is replaced once
            outcome = _score(payload, deadline)
    except NoIsolation as error:
        return Outcome(Status.error, None, str(error))
    except ServerGone as error:
        _close()
        return Outcome(Status.error, None, f"the sandbox ended twice: {error}")
    if _boxes.mode == "unsafe":
        return outcome._replace(detail=f"not isolated: {outcome.detail}")
    return outcome


def _close() -> None:
    _boxes.close()
    _ready.clear()


def _score(payload: Report, deadline: float) -> Outcome:
    dataset = payload["dataset"]
    if dataset not in _ready:
        problem = _boxes.get("scorer").prepare(dataset, "")
        if problem is not None:
            return Outcome(Status.error, None, f"the scorer of {dataset} cannot be built: {problem}")
        _ready.add(dataset)
    key = hashlib.blake2b(json.dumps([dataset, payload["entry"]]).encode(), digest_size=16).digest()
    if key not in _sound:
        refusal = _own(payload, deadline)
        if refusal is not None:
            return refusal
        _sound[key] = None
        if len(_sound) > KEPT_ENTRIES:
            del _sound[next(iter(_sound))]
    if payload["answer"] == payload["own"]:
        return _verdict(payload, {"score": 1.0})
    return _verdict(payload, ask(dataset, payload["answer"], payload["entry"], deadline))


def _own(payload: Report, deadline: float) -> Outcome | None:
    """Return why the scorer does not give the entry's own answer full marks, or None."""
    told = ask(payload["dataset"], payload["own"], payload["entry"], deadline)
    if told.get("score") == 1:
        return None
    if "late" in told:
        return Outcome(Status.timeout, None, "the entry's own answer was not scored in time")
    said = f"gives {told['score']:g}" if "score" in told else told.get("raised") or told.get("ended")
    detail = f"the scorer refuses the entry's own answer ({said}): was it made with another configuration?"
    return Outcome(Status.bad_gold, None, detail)


def _verdict(payload: Report, told: Report) -> Outcome:
    """Return what the report says of an answer; the entry's own answer has full marks."""
    if "late" in told:
        return Outcome(Status.timeout, None, "the scorer did not end in time")
    if "score" not in told:
        return Outcome(Status.incorrect, None, f"the scorer refuses it: {told.get('raised') or told.get('ended')}")
    score = told["score"]
    if score == 1 and payload["right"]:
        return Outcome(Status.correct, None, "the scorer gives 1")
    if payload["partial"] and 0 < score < 1:
        return Outcome(Status.partial, None, f"the scorer gives {score:g}", score)
    detail = "not right, whatever the scorer says" if score == 1 else f"the scorer gives {score:g}"
    return Outcome(Status.incorrect, None, detail)


def ask(dataset: str, answer: str, entry: Report, deadline: float) -> Report:
    """Have one answer scored in a child of its own.

    Returns:
        `{"score": s}` as the scorer returned it, `{"raised": text}`, `{"ended": how}` for a child that ended without
        one sound report, or `{"late": True}`.
    """
    name = secrets.token_hex(8)
    request = json.dumps({"id": name, "dataset": dataset, "answer": answer, "entry": entry})
    seconds = math.ceil(min(TIME_S, max(1.0, deadline - time.monotonic())))
    limits = {"CPU": seconds, "AS": MEMORY_MB << 20, "NPROC": 1, "NOFILE": 64, "FSIZE": 1 << 20, "CORE": 0}
    box = _boxes.get("scorer")
    with memory_file(request.encode()) as question, Pipe() as report:
        box.fork({"role": "scorer", "limits": limits}, [question, report.write])
        report.close_write()
        line = _line(report.read, min(deadline, time.monotonic() + 2 * seconds))
        ended = box.end(0.0 if line is None else 0.5)
    if line is None or (not line and ended.cpu_s >= 0.9 * seconds):
        return {"late": True}
    told = _load(line)
    if told is None or told.pop("id", None) != name or ended.status != 0:
        return {"ended": f"no report, and status {ended.status}"}
    return told


def _line(descriptor: int, deadline: float) -> bytes | None:
    """Return what a child reports until it ends, cut above `MAX_REPORT`; None when it does not end in time."""
    data = b""
    while len(data) <= MAX_REPORT:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            return None
        more = os.read(descriptor, MAX_REPORT)
        if not more:
            break
        data += more
    return data


def _load(line: bytes) -> Report | None:
    """Return a report of one line with a finite number or a text in it, or None."""
    if not line.endswith(b"\n") or line.count(b"\n") != 1:
        return None
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    score = told.get("score")
    scored = isinstance(score, float) and math.isfinite(score)
    return told if scored or isinstance(told.get("raised"), str) else None
