"""vLLM as an engine: `vllm.LLM` in a process of its own, fed and read as a stream.

The process has its own interpreter where `engine.vllm_python` names one, since vLLM pins torch; this side needs nothing
but the standard library. Prompts are rendered and tokenised there with the model's own template.

`logprob_sum` is that of softmax(logits / temperature) before the top_p cut, as everywhere. vLLM gives raw or
processed values, not both: with a temperature other than 0 and 1 and a nucleus as well, it is not known and null.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.engines.contract import Completion, EngineError, Request, Sampling, position
from trainer.engines.weights import find_model, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

NAME = "vllm"
ROOT = Path(__file__).resolve().parents[2]
_LAST_WORDS = 6  # lines of the process's output that an error quotes


class VllmEngine:
    """Generate with vLLM.

    Args:
        model: "nursery", a folder, or a hub name.
        sampling: of the policy; decides which log-probabilities the process computes.
        python: interpreter of the environment that vLLM is installed in; default: this one.
        dtype: as vLLM takes it.
        arguments: of `vllm.LLM`, such as `tensor_parallel_size` or `gpu_memory_utilization`.
    """

    def __init__(
        self,
        model: str = "nursery",
        *,
        sampling: Sampling | None = None,
        python: str | None = None,
        dtype: str = "auto",
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        folder = find_model(model)
        self.name = model
        self.fingerprint = fingerprint(folder)
        self._options = {
            "folder": str(folder),
            "name": model,
            "dtype": dtype,
            "processed": sampling is not None and sampling.temperature not in (0.0, 1.0),
            "arguments": dict(arguments or {}),
        }
        self._python = python or sys.executable
        self._process: subprocess.Popen[str] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None  # its log and its sockets
        self._most = 0

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion a request, as they finish.

        Raises:
            EngineError: vLLM is not installed or does not start, or its process died.
        """
        process = self._started()
        feed = _Feed(process, requests, self._most)
        feed.start()
        try:
            while not feed.finished():
                answer = self._answer(process)
                request = feed.answered(answer["number"])
                yield _completion(request, answer, processed=bool(self._options["processed"]))
            feed.raise_problem()
        finally:
            if feed.outstanding:
                # The caller went away in the middle: answers to it must not reach the next call.
                self.close()
            feed.stop()

    def close(self) -> None:
        """End the process and those below it, and give their memory back."""
        process, self._process = self._process, None
        if process is not None:
            # vLLM's own processes outlive the one that started them; the session that it leads has them all.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _started(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        self._folder = tempfile.TemporaryDirectory(prefix="preppo-vllm-")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "VLLM_NO_USAGE_STATS": "1"}
        environment["VLLM_RPC_BASE_PATH"] = self._folder.name  # its sockets, which it leaves behind when it is killed
        log = (Path(self._folder.name) / "log").open("w")
        try:
            self._process = subprocess.Popen(
                [self._python, "-m", "trainer.engines.vllm_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=environment,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )
        except OSError as error:
            self.close()
            msg = f"engine.vllm_python = {self._python!r} cannot be started: {error}"
            raise EngineError(msg) from error
        finally:
            log.close()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it says why where its answer is read
            self._process.stdin.write(json.dumps(self._options) + "\n")
            self._process.stdin.flush()
        self._most = int(self._answer(self._process)["ready"])
        return self._process

    def _answer(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """Return the next message of the process. Raises EngineError where there will be none."""
        assert process.stdout is not None
        line = process.stdout.readline()
        if line:
            found: dict[str, Any] = json.loads(line)
            if "fatal" not in found:
                return found
            self.close()
            raise EngineError(self._explained(str(found["fatal"])))
        process.wait()
        words = " | ".join(self._last_words()) or "it printed nothing"
        self.close()
        raise EngineError(self._explained(f"its process ended with status {process.returncode}: {words}"))

    def _explained(self, problem: str) -> str:
        if "No module named 'vllm'" in problem:
            return (
                f"policy.engine = 'vllm': vLLM is not installed for {self._python}; install the extra `vllm` "
                "(GPUs), or name the interpreter of its environment as engine.vllm_python"
            )
        return f"policy.engine = 'vllm': model {self.name!r}: {problem}"

    def _last_words(self) -> list[str]:
        if self._folder is None:
            return []
        text = (Path(self._folder.name) / "log").read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-_LAST_WORDS:]


class _Feed(threading.Thread):
    """Sends requests, never more than `most` that are not answered yet; some at a time, once a quarter of it is free.

    What the samples of a prompt have in common is sent with the first of them.
    """

    def __init__(self, process: subprocess.Popen[str], requests: Iterable[Request], most: int) -> None:
        super().__init__(daemon=True, name="preppo-vllm-feed")
        self._process = process
        self._requests = iter(requests)
        self._most, self._few = most, most - max(most // 4, 1)
        self._changed = threading.Condition()
        self._waiting: dict[int, Request] = {}
        self._problem: BaseException | None = None
        self._sent_all = self._stopped = False

    def run(self) -> None:
        before: Request | None = None
        try:
            for number, request in enumerate(self._requests):
                with self._changed:
                    if len(self._waiting) >= self._most:
                        self._changed.wait_for(lambda: self._stopped or len(self._waiting) <= self._few)
                    if self._stopped:
                        break
                    self._waiting[number] = request
                    self._changed.notify()
                self._send(number, request, before)
                before = request
        except BrokenPipeError:
            pass  # the process died; who reads its answers says how
        except BaseException as error:  # raised again where the completions are taken
            self._problem = error
        finally:
            with self._changed:
                self._sent_all = True
                self._changed.notify()

    def _send(self, number: int, request: Request, before: Request | None) -> None:
        message: dict[str, Any] = {"number": number, "seed": request.seed}
        if before is None or _shared(request) != _shared(before):
            sampling = request.sampling
            message |= {
                "messages": request.messages,
                "raw_text": request.raw_text,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "max_tokens": sampling.max_tokens,
                "stop": sampling.stop,
                "top_logprobs": request.top_logprobs,
                "ids": request.tokens,
            }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    @property
    def outstanding(self) -> int:
        """Return how many requests are not answered."""
        return len(self._waiting)

    def finished(self) -> bool:
        """Wait until there is an answer to wait for, or tell that none will come."""
        if self._waiting:
            return False
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._sent_all)
            return not self._waiting

    def answered(self, number: int) -> Request:
        """Return the request that was answered, and make room for another."""
        with self._changed:
            request = self._waiting.pop(number)
            if len(self._waiting) == self._few:
                self._changed.notify()
        return request

    def raise_problem(self) -> None:
        """Raise what the source of the requests raised."""
        if self._problem is not None:
            raise self._problem

    def stop(self) -> None:
        """Send nothing more."""
        with self._changed:
            self._stopped = True
            self._changed.notify()


def _shared(request: Request) -> tuple[Any, ...]:
    """Return what the samples of a prompt have in common."""
    return request.messages, request.raw_text, request.sampling, request.top_logprobs, request.tokens


def _completion(request: Request, answer: Mapping[str, Any], *, processed: bool) -> Completion:
    if "failed" in answer:
        return Completion.failed(request, NAME, answer["failed"], answer["prompt_tokens"])
    sampling = request.sampling
    known = sampling.top_p == 1.0 if processed else sampling.temperature in (0.0, 1.0)
    top, ids = answer.get("top"), answer.get("ids")
    return Completion.of_text(
        request,
        NAME,
        answer["text"],
        answer["finish"],
        prompt_tokens=answer["prompt_tokens"],
        response_tokens=answer["tokens"],
        logprob_sum=answer["logprob"] if known else None,
        top_logprobs=tuple(position(token, pairs) for token, pairs in top) if known and top else None,
        tokens=None if ids is None else tuple(ids),
    )
