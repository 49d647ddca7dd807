"""Verifying a batch: what can be decided in this process is, the rest goes to warm workers once per distinct pair."""

import asyncio
import atexit
import json
import os
import threading
import time
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from verifiers import composite
from verifiers.contract import FIXED_SCORES, BadGold, Deferred, Outcome, Status, Task, Verdict, Verifier
from verifiers.processes import Cancel, Job, Runner
from verifiers.registry import REGISTRY, unknown
from verifiers.sandbox import host

SANDBOXES = ("bubblewrap", "http", "unsafe")
SANDBOX_VARIABLE = "PREPPO_SANDBOX"
"""How the workers learn of it."""

MAX_BUDGET_S = 86_400.0

MAX_EXTRACTED = 1_000
"""Characters of an extracted answer that are kept in a verdict."""


class VerifierPool:
    """Worker processes that stay warm across calls of `verify`.

    A context manager. Workers start when the first task needs one, and end with the context, or when nobody has the
    pool any more. Calls from several threads share them, a task of each in turn. A process that is forked from this
    one starts workers of its own.

    Args:
        workers: processes for what cannot be decided here; None takes one per usable CPU.
        sandbox: how code of a response is run: `bubblewrap`, or `http` for the reward server at `url`, or `unsafe` for
            no isolation at all. Where bubblewrap is missing, such tasks are refused: status `error`, no score.
        url: of the reward server, with `http`.

    Raises:
        ValueError: fewer than one worker, an unknown sandbox, or `http` without a url.
    """

    def __init__(self, workers: int | None = None, *, sandbox: str = "bubblewrap", url: str | None = None) -> None:
        if workers is not None and workers < 1:
            message = f"workers must be at least 1, not {workers}"
            raise ValueError(message)
        if sandbox not in SANDBOXES:
            message = f"sandbox must be one of {', '.join(SANDBOXES)}, not {sandbox!r}"
            raise ValueError(message)
        if sandbox == "http" and not url:
            message = 'sandbox = "http" needs the url of a reward server'
            raise ValueError(message)
        self.workers = len(os.sched_getaffinity(0)) if workers is None else workers
        self._runner = Runner(self.workers, {SANDBOX_VARIABLE: sandbox})
        self._remote = _remote(str(url)) if sandbox == "http" else None
        weakref.finalize(self, self._runner.close)

    def verify(self, tasks: Sequence[Task]) -> list[Verdict]:
        """Return one verdict per task, in the same order; nothing that a task holds makes it raise."""
        return self._expand_and_verify(list(tasks), Cancel())

    def _expand_and_verify(self, tasks: Sequence[Task], cancel: Cancel) -> list[Verdict]:
        golds: dict[tuple[str, str], Any] = {}
        if not any(task.verifier == composite.NAME for task in tasks):
            return self._verify(tasks, golds, cancel)
        flat: list[Task] = []
        spans: list[slice | None] = []  # where the parts of a composite are; None for a task of its own
        for task in tasks:
            parts = _parts(task, golds)
            spans.append(None if parts is None else slice(len(flat), len(flat) + len(parts)))
            flat += [task] if parts is None else parts
        verdicts = self._verify(flat, golds, cancel)
        joined, at = [], 0
        for task, span in zip(tasks, spans, strict=True):
            found = verdicts[at : at + 1] if span is None else verdicts[span]
            at += len(found)
            joined.append(found[0] if span is None else _joined(task, found))
        return joined

    def _verify(self, tasks: Sequence[Task], golds: dict[tuple[str, str], Any], cancel: Cancel) -> list[Verdict]:
        verdicts: list[Verdict | None] = []
        deferred: list[tuple[int, Verifier, Deferred, Job, float]] = []
        remote: list[int] = []
        clock = time.perf_counter
        for position, task in enumerate(tasks):
            started = clock()
            entry = REGISTRY.get(task.verifier) if isinstance(task.verifier, str) else None
            outcome = decide(task, entry, golds)
            elapsed_ms = (clock() - started) * 1000
            if not isinstance(outcome, Deferred):
                verdicts.append(_verdict(task.verifier, entry, outcome, elapsed_ms))
                continue
            assert entry is not None
            verdicts.append(None)
            if entry.sandboxed and self._remote is not None:
                remote.append(position)
            else:
                budget_s = entry.budget_s if task.budget_s is None else float(task.budget_s)
                job = Job(entry, outcome.payload, budget_s)
                deferred.append((position, entry, outcome, job, elapsed_ms))
        pending = self._remote.submit([tasks[at] for at in remote]) if self._remote is not None and remote else None
        try:
            if pending is not None:
                cancel.add(pending.cancel)
            if deferred:
                self._decide_deferred(tasks, verdicts, deferred, cancel)
            if pending is not None:
                for position, verdict in zip(remote, pending.result(), strict=True):
                    verdicts[position] = verdict
        except BaseException:  # interrupted: the server forgets what it was asked
            cancel()
            raise
        return [verdict for verdict in verdicts if verdict is not None]

    async def verify_async(self, tasks: Sequence[Task]) -> list[Verdict]:
        """Do the same in a thread, so that an event loop goes on. When it is cancelled, what still runs is killed."""
        cancel = Cancel()
        try:
            return await asyncio.to_thread(self._expand_and_verify, list(tasks), cancel)
        except asyncio.CancelledError:
            cancel()
            raise

    def close(self) -> None:
        """End the workers. The pool may be used again: new ones start when needed."""
        self._runner.close()
        if self._remote is not None:
            self._remote.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _decide_deferred(
        self,
        tasks: Sequence[Task],
        verdicts: list[Verdict | None],
        deferred: list[tuple[int, Verifier, Deferred, Job, float]],
        cancel: Cancel,
    ) -> None:
        # Equal payloads run once. Sorted, so that the order in which workers see them is not the batch's.
        keys = {(job.verifier.name, job.payload, job.budget_s): job for _, _, _, job, _ in deferred}
        order = sorted(keys)
        results = dict(zip(order, self._runner.run([keys[key] for key in order], cancel), strict=True))
        for position, entry, first, job, elapsed_ms in deferred:
            result = results[job.verifier.name, job.payload, job.budget_s]
            found = result.outcome
            extracted = first.extracted if found.extracted is None else found.extracted
            detail = f"{first.detail}: {found.detail}" if first.detail else found.detail
            outcome = Outcome(found.status, extracted, detail, found.score, found.parts)
            verdicts[position] = _verdict(tasks[position].verifier, entry, outcome, elapsed_ms + result.seconds * 1000)


def _remote(url: str) -> Any:
    from verifiers.remote import RemoteVerifier  # its HTTP client is imported by those who use it

    return RemoteVerifier(url)


def decide(task: Task, entry: Verifier | None, golds: dict[tuple[str, str], Any]) -> Outcome | Deferred:
    """Decide one task as far as this process can. `golds` holds what was parsed for earlier tasks of the batch."""
    if entry is None:
        return Outcome(Status.error, None, unknown(task.verifier))
    if problem := _malformed(task):
        return Outcome(Status.error, None, problem)
    gold = _gold(task, entry, golds)
    if isinstance(gold, BadGold):
        return Outcome(Status.bad_gold, None, str(gold))
    if task.finish_reason == "length":
        return Outcome(Status.truncated, None, "the response was cut at the token limit")
    if task.finish_reason == "error":
        return Outcome(Status.error, None, "generation ended with an error")
    try:
        return entry.check(task.response, gold, task.prompt)
    except Exception as error:  # a defect of ours must cost one null score, not the batch
        return Outcome(Status.error, None, f"the verifier failed: {type(error).__name__}: {error}"[:300])


def _parts(task: Task, golds: dict[tuple[str, str], Any]) -> list[Task] | None:
    """Return the tasks that a composite consists of; None for any other, and for one with a bad gold."""
    if task.verifier != composite.NAME or _malformed(task) is not None:
        return None
    gold = _gold(task, REGISTRY[composite.NAME], golds)
    return None if isinstance(gold, BadGold) or task.finish_reason != "stop" else composite.expand(task, gold)


def _joined(task: Task, found: Sequence[Verdict]) -> Verdict:
    elapsed_ms = sum(verdict.elapsed_ms for verdict in found)
    return _verdict(task.verifier, REGISTRY[composite.NAME], composite.join(found), elapsed_ms)


def sandboxed() -> list[str]:
    """Return the names of the verifiers that run code of a response."""
    return sorted(name for name, entry in REGISTRY.items() if entry.sandboxed)


def isolation_problem(sandbox: str) -> str | None:
    """Return why code cannot be run with a `sandbox` of `VerifierPool` on this machine, or None. Cached."""
    return host.problem() if sandbox == "bubblewrap" else None


def check_gold(task: Task) -> str | None:
    """Return why the ground truth of a task cannot be used, or None. Runs no code; the response does not matter."""
    entry = REGISTRY.get(task.verifier) if isinstance(task.verifier, str) else None
    if entry is None:
        return unknown(task.verifier)
    ground_truth: object = task.ground_truth
    if not isinstance(ground_truth, str | None):
        return f"ground_truth must be JSON text or None, not {type(ground_truth).__name__}"
    gold = _gold(task, entry, {})
    return str(gold) if isinstance(gold, BadGold) else None


def _gold(task: Task, entry: Verifier, golds: dict[tuple[str, str], Any]) -> Any:
    """Return the parsed gold of a task, or the `BadGold` that says why there is none."""
    text = task.ground_truth
    if text is None:
        return BadGold("there is no ground_truth")
    key = (entry.name, text)
    if key not in golds:
        try:
            golds[key] = entry.parse_gold(_json(text))
        except BadGold as error:
            golds[key] = error
        except Exception as error:  # nor may an odd gold cost the batch
            golds[key] = BadGold(f"the ground_truth cannot be read: {type(error).__name__}: {error}"[:300])
    return golds[key]


def _json(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        message = f"the ground_truth is not JSON text ({str(error)[:80]}): {text[:60]!r}; quote a plain answer"
        raise BadGold(message) from None


def _refuse_constant(name: str) -> Any:
    message = f"{name} is no JSON value"
    raise ValueError(message)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)  # `json.loads` would build one for every gold


def _malformed(task: Task) -> str | None:
    """Return what is wrong with the fields of a task, or None."""
    response: object = task.response  # what the annotations promise is not what a user's table holds
    ground_truth: object = task.ground_truth
    if not isinstance(response, str):
        return f"response must be text, not {type(response).__name__}"
    if not isinstance(ground_truth, str | None):
        return f"ground_truth must be JSON text or None, not {type(ground_truth).__name__}"
    prompt: object = task.prompt
    if not isinstance(prompt, str):
        return f"prompt must be text, not {type(prompt).__name__}"
    budget_s = task.budget_s
    usable = isinstance(budget_s, int | float) and not isinstance(budget_s, bool) and 0 < budget_s <= MAX_BUDGET_S
    if budget_s is not None and not usable:
        return f"budget_s must be a number of seconds, above 0 and at most {MAX_BUDGET_S:g}, not {str(budget_s)[:40]}"
    return None


def _verdict(name: str, entry: Verifier | None, outcome: Outcome, elapsed_ms: float) -> Verdict:
    status, extracted, detail, score, parts = outcome
    if status is not Status.partial:
        score = FIXED_SCORES.get(status)
    if extracted is not None:
        extracted = _storable(extracted[:MAX_EXTRACTED])
    version = "" if entry is None else entry.version
    if parts:
        parts = tuple(part._replace(detail=_storable(part.detail)) for part in parts)
    return Verdict(status, score, extracted, _storable(detail), str(name), version, elapsed_ms, parts)


def _storable(text: str) -> str:
    # A lone surrogate, which a broken tokenizer can leave, cannot be written to any table.
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


_shared: VerifierPool | None = None
_shared_lock = threading.Lock()


def _new_lock() -> None:
    global _shared_lock
    _shared_lock = threading.Lock()


os.register_at_fork(after_in_child=_new_lock)  # a thread of the parent may have held it


def verify(tasks: Sequence[Task], *, workers: int | None = None) -> list[Verdict]:
    """Return one verdict per task, in the same order; nothing that a task holds makes it raise.

    Borrows one pool of the process, which starts its workers when first needed and ends them at exit. A given
    number of `workers` opens a pool of that size for this call alone; verdicts do not depend on it.
    """
    global _shared
    if workers is not None:
        with VerifierPool(workers) as pool:
            return pool.verify(tasks)
    with _shared_lock:
        if _shared is None:
            _shared = VerifierPool()
            atexit.register(_shared.close)
    return _shared.verify(tasks)
