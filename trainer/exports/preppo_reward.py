"""The reward of a preppo release, for any trainer: this file lies beside every export and stands alone.

It needs Python 3.10 and the standard library. Who scores:

- `PREPPO_REWARD_URL` names a server (`preppo reward serve`): the hybrid reward over HTTP. For trainers that cannot have
  preppo in their environment, and for hosts where no sandbox can run. `PREPPO_REWARD_TOKEN` where it asks for one.
  Where the release's judge and reward models count (`preppo export --with-models`), the server must serve these very
  ones, unless `PREPPO_REWARD_MAKERS=any`.
- else preppo is imported and its hybrid reward runs in this process, with the settings of the release, or those of the
  file that `PREPPO_CONFIG` names, and `PREPPO_REWARD_WORKERS` processes (2) that verify. Code in responses runs in
  preppo's sandbox and nowhere else.

A failure is never a score: a response that could not be decided has the reward None and a status. TRL leaves such a
sample out. Trainers that know no such thing get `PREPPO_NULL_REWARD` (default: what the export says, 0.0), and count it
beside the reward as `preppo_undecided`. A server that cannot be reached within `PREPPO_REWARD_PATIENCE_S` (300) raises,
and so do a judge that is not to be used and verifiers without what they need, such as a sandbox: training on made-up
rewards is worse than stopping.

Every score is appended as a line of JSON to `PREPPO_SIGNALS` (default: `signals.jsonl` beside this file; `off`: none),
under the name `PREPPO_TRAINING_RUN_ID`; `preppo signals import` reads it. Held-out prompts leave no line.
Processes of one machine may share a file. On several machines they may not, since network file systems mix lines:
`{worker}` in `PREPPO_SIGNALS` becomes the name of the process, which gives each a file; import all of them together.

Functions: `compute_score` for verl, `reward_func` for OpenRLHF, `trl_reward` for TRL, `score` for everything else.
"""

from __future__ import annotations

import atexit
import errno
import json
import os
import re
import stat
import sys
import threading
import time
import uuid
from contextlib import nullcontext
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

RTV = "rtv"
CHUNK = 256  # tasks in one request
REWARD_CHUNK = 1024  # the same where models score: the more at a time, the better they are used
BROKEN = 4  # responses on end that a verifier has not what it needs for: then no single response is to blame
LOST = 64  # responses on end whose prompts are not in their queries, from which none will be
SHOWN = 300  # characters of a signal that say why there is no reward
_AWAY = (URLError, OSError, HTTPException, ValueError, KeyError, TypeError)  # gone, perhaps in the midst of an answer
KEPT_STEPS = 64  # of which samples are counted: more than the steps that any trainer has under way
_ENDS = re.compile(r"(?:\s*(?:<[|｜][^<>|｜]{1,40}[|｜]>|</s>|<eos>|<end_of_turn>))+\s*\Z")
# How the detail of an `error` begins that is the host's and not the response's; verifiers that join others name those.
_HOST = re.compile(
    r"(?:(?![\w ]*failed: )[\w ]{1,40}: ){0,3}"
    r"(?:(?P<refused>refused: )|no worker starts: |[\w+, ]{1,60} is not installed"
    r"|the reward server at \S+ (?:failed \d+ times: |has \w+ |refused: (?!413 )))"
)
_ELSEWHERE = ". Or run `preppo reward serve` on a host that has it, and set PREPPO_REWARD_URL"
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@=+-]{0,99}")


class RewardError(RuntimeError):
    """No reward can be had: a server that is gone or refuses, no preppo, other verifiers or models, a fooled judge.

    Also where verifiers lack what they need, such as a sandbox for code, and where OpenRLHF's queries hold no prompts.
    """


class Scored(NamedTuple):
    """What is known of one response: `reward` is None where nothing could be decided; `status` and `detail` say why."""

    reward: float | None
    source: str | None
    status: str
    reward_id: str | None = None
    detail: str | None = None


def score(
    tasks: list[str],
    responses: list[str | None],
    finish_reasons: list[str] | None = None,
    step: int | None = None,
    tokens: list[int] | None = None,
) -> list[Scored]:
    """Reward responses, one a task and in their order, and log them.

    Args:
        tasks: JSON texts from the export (`task`, `ground_truth`, `label` or `info`, as the format calls it).
        responses: texts without their prompts; None where there is none.
        finish_reasons: `stop`, `length` (cut at the token limit: never scored) or `error`; default: `stop`.
        step: of the training, where it is known.
        tokens: of the responses, where they are known.

    Raises:
        RewardError: see there.
        ValueError: the lists differ in length, or a task is not from an export.
    """
    reasons = finish_reasons or ["stop"] * len(tasks)
    if not len(tasks) == len(responses) == len(reasons):
        raise ValueError(f"{len(tasks)} tasks, {len(responses)} responses and {len(reasons)} finish reasons")
    read = [_read_task(task) for task in tasks]
    url = _setting("PREPPO_REWARD_URL")
    found = _over_http(url, read, responses, reasons) if url else _in_process(read, responses, reasons)
    _check_versions(found)
    _check_host(found)
    _log(read, found, step, tokens)
    return found


def without_null(scored: Scored) -> float:
    """Return the reward, or the fixed value for trainers that know no null; 0.0 where the export names none."""
    given = _setting("PREPPO_NULL_REWARD") or _about().get("null_reward") or 0.0
    return float(given) if scored.reward is None else scored.reward


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,  # noqa: ARG001 (verl gives it; the task has it, too)
    extra_info: dict[str, Any] | None = None,
    **settings: Any,
) -> dict[str, float]:
    """Reward one response in verl (`custom_reward_function`); more keyword arguments are settings by variable name."""
    _overrides.update({f"PREPPO_{name.upper()}": str(value) for name, value in settings.items() if value is not None})
    if not extra_info or "task" not in extra_info:
        raise ValueError(f"extra_info of a row of {data_source!r} has no `task`: this is no export of preppo for verl")
    one = score([extra_info["task"]], [solution_str])[0]
    reward = without_null(one)
    return {"score": reward, "acc": reward, "preppo_undecided": float(one.reward is None)}


def reward_func(queries: list[str], prompts: list[str], labels: list[str]) -> dict[str, Any]:
    """Reward responses in OpenRLHF (`--reward.remote_url`): a query is a prompt and its response as decoded text."""
    import torch

    responses = [_after(prompt, query) for prompt, query in zip(prompts, queries, strict=True)]
    _check_found(prompts, queries, responses)
    found = score(list(labels), responses)
    rewards = torch.tensor([without_null(one) for one in found])
    undecided = torch.tensor([float(one.reward is None) for one in found])
    return {"rewards": rewards, "scores": rewards, "extra_logs": {"preppo_undecided": undecided}}


def trl_reward(completions: list[Any], task: list[str], **given: Any) -> list[float | None]:
    """Reward completions in TRL (GRPO, RLOO): None abstains. `max_tokens_reward` also tells those that were cut."""
    state, ids = given.get("trainer_state"), given.get("completion_ids")
    texts = [one if isinstance(one, str) else one[-1].get("content") for one in completions]
    lengths = None if ids is None else [len(one) for one in ids]
    found = score(list(task), texts, given.get("finish_reasons"), getattr(state, "global_step", None), lengths)
    if (log := given.get("log_metric")) is not None and found:
        log("preppo_undecided", sum(one.reward is None for one in found) / len(found))
    return [one.reward for one in found]


def max_tokens_reward(max_tokens: int, end_ids: list[int]) -> Any:
    """Return `trl_reward` that knows a completion was cut: `max_tokens` long, and not ended by one of `end_ids`."""

    def preppo(completions: list[Any], completion_ids: list[list[int]], **given: Any) -> list[float | None]:
        cut = ["length" if len(i) >= max_tokens and i[-1] not in end_ids else "stop" for i in completion_ids]
        return trl_reward(completions, completion_ids=completion_ids, finish_reasons=cut, **given)

    return preppo


# --- settings ---------------------------------------------------------------------------------------------------------

_overrides: dict[str, str] = {}
_lock = threading.RLock()
_state: dict[str, Any] = {}


def _setting(name: str) -> str:
    return _overrides.get(name) or os.environ.get(name, "")


def _about() -> dict[str, Any]:
    """Return `export.json` beside this file, or nothing where the file is used by itself."""
    with _lock:
        if "about" not in _state:
            file = Path(__file__).with_name("export.json")
            _state["about"] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        about: dict[str, Any] = _state["about"]
        return about


def _read_task(text: str) -> dict[str, Any]:
    try:
        task = json.loads(text)
        assert isinstance(task["prompt_id"], str) and isinstance(task["messages"], list)
    except (ValueError, TypeError, KeyError, AssertionError):
        raise ValueError(f"not a task of a preppo export: {str(text)[:80]!r}") from None
    return dict(task)


def _after(prompt: str, query: str) -> str | None:
    """Return the response in a decoded query, without the tokens that end it; None where the prompt is not in it.

    Tokenizers may lose or add blanks, such as one after the token that begins a text: they do not count in the prompt.
    """
    signs = "".join(prompt.split())
    start = "".join(query.split()).find(signs)
    if start < 0:
        return None
    places = [place for place, sign in enumerate(query) if not sign.isspace()]
    response = query[places[start + len(signs) - 1] + 1 :] if signs else query
    return _ENDS.sub("", response.removeprefix(prompt[len(prompt.rstrip()) :]))  # its last blanks are its own


def _check_found(prompts: list[str], queries: list[str], responses: list[str | None]) -> None:
    """Stop where no prompt is found in its query any more: that is no prompt that was cut, but another tokenizer."""
    with _lock:
        for prompt, query, response in zip(prompts, queries, responses, strict=True):
            _state["lost"] = _state.get("lost", 0) + 1 if response is None else 0
            if _state["lost"] >= LOST:
                raise RewardError(
                    f"{LOST} queries on end do not hold their prompts, so no response can be told: prompts were cut to "
                    "fit (give them more tokens), or the tokenizer decodes them otherwise than they were written. The "
                    f"last prompt is {_ends_of(prompt)} and its query {_ends_of(query)}"
                )


def _ends_of(text: str) -> str:
    return repr(text if len(text) <= 200 else f"{text[:100]} ... {text[-100:]}")


def _check_versions(found: list[Scored]) -> None:
    """Refuse verdicts by other versions of the verifiers than those at the time of the export."""
    wanted = _about().get("verifiers", {})
    if _setting("PREPPO_VERIFIER_VERSIONS") == "any":
        return
    for one in found:
        name, _, version = (one.reward_id or "").partition("@")
        if one.source == RTV and version and wanted.get(name, version) != version:
            raise RewardError(
                f"verifier {name} is {version} where rewards are made, and was {wanted[name]} when the release was "
                "exported: use the same preppo, export again, or set PREPPO_VERIFIER_VERSIONS=any"
            )


def _check_host(found: list[Scored]) -> None:
    """Stop where a verifier has not what it needs, whatever the responses: without isolation at once, else if it lasts.

    An error that a response could have caused never counts.
    """
    with _lock:
        failed = _state.setdefault("failed", {})
        for one in found:
            name = (one.reward_id or "").partition("@")[0]
            why = _HOST.match(one.detail or "") if one.status == "error" else None
            if one.source != RTV:
                continue
            if why is not None:
                failed[name] = failed.get(name, 0) + 1
                if why["refused"] or failed[name] >= BROKEN:
                    raise RewardError(
                        f"the verifier {name} cannot decide anything where rewards are made: {one.detail}"
                        + ("" if _setting("PREPPO_REWARD_URL") else _ELSEWHERE)
                    )
            elif one.reward is not None and one.status != "unparsed":  # which takes nothing but the response
                failed[name] = 0


# --- in this process --------------------------------------------------------------------------------------------------


def _in_process(tasks: list[dict[str, Any]], responses: list[str | None], reasons: list[str]) -> list[Scored]:
    with _lock:
        if _state.get("owner") != os.getpid():  # a forked process has workers of its own
            _state["hybrid"], _state["owner"] = _open(), os.getpid()
        hybrid = _state["hybrid"]
    from verifiers.hybrid import Scorable

    items = [
        Scorable(
            prompt_id=task["prompt_id"],
            sample=0,
            messages=tuple((role, content) for role, content in task["messages"]),
            response=response,
            finish_reason=reason,
            verifier=task.get("verifier"),
            ground_truth=task.get("ground_truth"),
            reference=task.get("reference"),
            raw_text=task.get("raw_text"),
            reference_wanted=task.get("reference_wanted", False),
        )
        for task, response, reason in zip(tasks, responses, reasons, strict=True)
    ]
    with _lock if _about().get("with_models") else nullcontext():  # models are not made for several threads
        found = hybrid.score_by_content(items)
    return [Scored(one.reward, one.source, one.status, one.reward_id, one.detail) for one in found]


def _open() -> Any:
    try:
        from trainer.hybrid import hybrid_reward, makers
        from warehouse.settings import Settings, load_settings
    except ImportError as error:
        raise RewardError(
            f"preppo cannot be imported here ({error}). Run `preppo reward serve` where it is installed and set "
            "PREPPO_REWARD_URL, or put preppo's checkout and what it needs into this environment"
        ) from None
    config = _setting("PREPPO_CONFIG")
    settings = (
        load_settings(Path(config)).settings if config else Settings.model_validate(_about().get("reward_settings", {}))
    )
    wanted = {source: maker for source, maker in _about().get("makers", {}).items() if maker}
    if wanted and _setting("PREPPO_REWARD_MAKERS") != "any":
        here = makers(settings)
        other = sorted(source for source, maker in wanted.items() if here.get(source) != maker)
        if other:
            raise RewardError(
                f"{', '.join(other)}: the judge or the reward models here are not those of the export. Use the same "
                "settings and models, export again, or set PREPPO_REWARD_MAKERS=any"
            )
    _state["opened"] = opened = hybrid_reward(settings, int(_setting("PREPPO_REWARD_WORKERS") or 2))
    return opened.__enter__()


def close() -> None:
    """End the workers of this process and forget its models; the next response starts them again."""
    with _lock:
        opened, owner = _state.pop("opened", None), _state.pop("owner", None)
        if opened is not None and owner == os.getpid():
            opened.__exit__(None, None, None)


atexit.register(close)


# --- over HTTP --------------------------------------------------------------------------------------------------------


def _over_http(url: str, tasks: list[dict[str, Any]], responses: list[str | None], reasons: list[str]) -> list[Scored]:
    """Return the rewards of the server's verifiers, or those of all its sources where the export counts models in."""
    _check_url(url)
    if _about().get("with_models"):
        return _rewards(url, tasks, responses, reasons)
    found: list[Scored] = [Scored(None, None, "no_source")] * len(tasks)
    places, rows = [], []
    for place, (task, response, reason) in enumerate(zip(tasks, responses, reasons, strict=True)):
        if task.get("verifier") is None or task.get("ground_truth") is None:
            continue
        if response is None:
            found[place] = Scored(None, RTV, "no_response")
            continue
        prompt = task["messages"][-1][1] if task["messages"] else ""
        names = {"verifier": task["verifier"], "ground_truth": task["ground_truth"], "prompt": prompt}
        rows.append({**names, "response": response, "finish_reason": reason})
        places.append(place)
    for start in range(0, len(rows), CHUNK):
        verdicts = _ask(url, "verdicts", rows[start : start + CHUNK])
        for place, verdict in zip(places[start : start + CHUNK], verdicts, strict=True):
            by = f"{verdict['verifier']}@{verdict['version']}"
            found[place] = Scored(verdict["score"], RTV, verdict["status"], by, verdict.get("detail"))
    return found


def _rewards(url: str, tasks: list[dict[str, Any]], responses: list[str | None], reasons: list[str]) -> list[Scored]:
    """Return the rewards of a server with judge and reward models; wait for a source that cannot be asked now."""
    rows = [
        {**{name: task[name] for name in task if name != "split"}, "response": response, "finish_reason": reason}
        for task, response, reason in zip(tasks, responses, reasons, strict=True)
    ]
    found: dict[int, dict[str, Any]] = {}
    waiting = list(range(len(rows)))
    patience_s, pause_s = _patience_s(), 1.0
    until = time.monotonic() + patience_s
    while waiting:
        for start in range(0, len(waiting), REWARD_CHUNK):
            places = waiting[start : start + REWARD_CHUNK]
            found.update(zip(places, _ask(url, "rewards", [rows[place] for place in places]), strict=True))
        bad = next((one for one in found.values() if one["status"] == "unusable"), None)
        if bad is not None:
            raise RewardError(f"{bad['source']} of the reward server at {url} is not to be used: {bad['detail']}")
        left = [place for place in waiting if found[place]["status"] == "unavailable"]
        if len(left) < len(waiting):  # some were answered: it lives
            until = time.monotonic() + patience_s
        waiting = left
        if waiting:
            if time.monotonic() + pause_s > until:
                one = found[waiting[0]]
                raise RewardError(f"the reward server at {url} cannot ask {one['source']}: {one['detail']}")
            time.sleep(pause_s)
            pause_s = min(10.0, pause_s * 2)
    return [
        Scored(one["reward"], one["source"], one["status"], one["reward_id"], one.get("detail"))
        for one in (found[place] for place in range(len(rows)))
    ]


def _check_url(url: str) -> None:
    """Refuse at once what no patience makes a server of: by the rule of `verifiers.remote`, which is not here."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good or "@" in parts.netloc or parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise RewardError(
            f"PREPPO_REWARD_URL={url!r}: it must be like http://127.0.0.1:8400, without user, query or fragment"
        )


def _patience_s() -> float:
    return float(_setting("PREPPO_REWARD_PATIENCE_S") or 300)


def _ask(url: str, what: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the `verdicts` or `rewards` of one request; wait while the server is full, away or starting."""
    headers = {"Content-Type": "application/json", "preppo-client": _worker()}
    if token := _setting("PREPPO_REWARD_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    asked: dict[str, Any] = {"tasks": rows}
    if what == "rewards" and _setting("PREPPO_REWARD_MAKERS") != "any" and "makers" in _about():
        asked["makers"] = _about()["makers"]
    path = {"verdicts": "/verify", "rewards": "/reward"}[what]
    request = Request(url.rstrip("/") + path, json.dumps(asked).encode("ascii"), headers)
    opener = build_opener(ProxyHandler({}))
    patience_s, pause_s = _patience_s(), 0.25
    until = time.monotonic() + patience_s
    while True:
        try:
            with opener.open(request, timeout=60) as reply:
                answers = json.load(reply)[what]
                if len(answers) != len(rows):
                    raise ValueError(f"{len(answers)} {what} for {len(rows)} tasks")
                return list(answers)
        except HTTPError as error:
            problem = f"{error.code}: {_told(error)}"
            if error.code == 413 and len(rows) > 1:
                half = len(rows) // 2
                return _ask(url, what, rows[:half]) + _ask(url, what, rows[half:])
            if error.code == 429:  # full, which is no failure: it lives
                until = time.monotonic() + patience_s
            elif error.code < 500:
                raise RewardError(f"the reward server at {url} refused: {problem}") from None
        except _AWAY as error:
            problem = f"{type(error).__name__}: {error}"
        if time.monotonic() + pause_s > until:
            raise RewardError(f"the reward server at {url} gives no {what}: {problem}")
        time.sleep(pause_s)
        pause_s = min(10.0, pause_s * 2)


def _told(error: HTTPError) -> str:
    """Return the beginning of what a server says of a failure, or nothing where it was cut off."""
    try:
        return error.read(1000).decode("utf-8", "replace")
    except (OSError, HTTPException):
        return ""


# --- signals ----------------------------------------------------------------------------------------------------------


def _worker() -> str:
    """Return the name of this process: what tells its lines from those of other workers of the same training."""
    with _lock:
        if _state.get("worker_owner") != os.getpid():
            _state["worker"], _state["worker_owner"], _state["samples"] = uuid.uuid4().hex[:16], os.getpid(), {}
        name: str = _state["worker"]
        return name


def _training_run() -> str:
    """Return the name of the training; one is made up, and said, where there is none."""
    with _lock:  # or threads that begin together would make up several
        run = _setting("PREPPO_TRAINING_RUN_ID")
        if not run:
            run = os.environ["PREPPO_TRAINING_RUN_ID"] = f"run-{uuid.uuid4().hex[:16]}"  # processes it starts share it
            print(
                f"preppo_reward: PREPPO_TRAINING_RUN_ID is not set, so scores are logged under {run!r}. Set it to one "
                "name for all processes of a training before they start: each name counts as a training of its own, "
                "and prompts that several trainings did not move are retired",
                file=sys.stderr,
            )
    if not _RUN.fullmatch(run):
        raise RewardError(f"PREPPO_TRAINING_RUN_ID={run!r}: use letters, digits and . _ : @ = + -, 100 at most")
    return run


def _number(step: int | None, prompt_id: str) -> int:
    """Return how many scores of a prompt this process has seen in a step before; only for who holds the lock."""
    steps = _state["samples"]
    seen = steps[step] = steps.pop(step, {})  # the step that was asked for last is the last
    seen[prompt_id] = number = seen.get(prompt_id, -1) + 1
    if len(steps) > KEPT_STEPS:
        del steps[next(iter(steps))]
    return int(number)


def _log(tasks: list[dict[str, Any]], found: list[Scored], step: int | None, tokens: list[int] | None) -> None:
    target = _setting("PREPPO_SIGNALS") or str(Path(__file__).with_name("signals.jsonl"))
    told = [n for n, task in enumerate(tasks) if task.get("split", "train") == "train"]
    if target == "off" or not told:
        return
    run, worker, lines = _training_run(), _worker(), []
    with _lock:
        for n in told:
            prompt, one = tasks[n]["prompt_id"], found[n]
            why = one.detail[:SHOWN] if one.reward is None and one.detail else None
            line = {
                "training_run_id": run, "release_id": _about().get("release_id"), "step": step,
                "prompt_id": prompt, "sample": _number(step, prompt), "reward": one.reward, "source": one.source,
                "status": one.status, "detail": why, "response_tokens": None if tokens is None else tokens[n],
                "worker": worker,
            }  # fmt: skip
            lines.append(json.dumps(line) + "\n")
    target = target.replace("{worker}", worker)
    try:
        _append(target, "".join(lines).encode("ascii"))
    except OSError as error:
        raise RewardError(f"{target}: {error.strerror}; name another file in PREPPO_SIGNALS, or `off`") from None


def _append(target: str, text: bytes) -> None:
    """Add lines to a file, in one write: lines of several processes of this machine do not mix.

    Raises:
        OSError: not all of it could be written. Of the line that is torn then nothing is glued to the next one.
    """
    file = os.open(target, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if _torn(file):
            text = b"\n" + text
        written = os.write(file, text)
        if written < len(text):
            raise OSError(errno.ENOSPC, f"only {written} of {len(text)} bytes could be written: is the disk full?")
    finally:
        os.close(file)


def _torn(file: int) -> bool:
    """Tell whether a file ends within a line, for good: a line that another process is writing has an end soon."""
    for pause_s in (0.01, 0.04, 0.0):
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode) or not about.st_size or os.pread(file, 1, about.st_size - 1) == b"\n":
            return False
        time.sleep(pause_s)
    return True


if __name__ == "__main__":  # python preppo_reward.py TASK RESPONSE: what a response would get
    print(score([sys.argv[1]], [sys.argv[2]])[0])
