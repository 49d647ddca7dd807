"""The process that holds `vllm.LLM`: requests in as JSON lines, completions out as they finish.

Started by `trainer.engines.vllm` with the interpreter of vLLM's environment, which needs nothing else of preppo's
dependencies: this module imports vLLM, transformers and the contract. Device memory dies with the process, and the
process ends when its standard input does, with all that vLLM started. What vLLM prints goes to standard error.

Every sample is a request of its own with its own seed, so that a resumed run gets the same texts; the prefix of a
prompt is computed once, by vLLM's prefix cache. At most `max_num_seqs` times `AHEAD` requests are with the engine at a
time, so that the scheduler always has a choice and the process never holds a million of them.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import IO, Any

from trainer.engines.contract import Request, Sampling
from trainer.engines.prompts import PromptEncoder, PromptError

AHEAD = 4


class Worker:
    """The engine, and what is on its way.

    Args:
        options: folder, name, dtype, processed (log-probabilities after the temperature), arguments of `vllm.LLM`.
        out: where answers go.
    """

    def __init__(self, options: dict[str, Any], out: IO[str]) -> None:
        from vllm import LLM, SamplingParams
        from vllm.platforms import current_platform
        from vllm.sampling_params import RequestOutputKind

        self._params, self._final = SamplingParams, RequestOutputKind.FINAL_ONLY
        mode = "processed_logprobs" if options["processed"] else "raw_logprobs"
        arguments = {"enable_prefix_caching": True, "logprobs_mode": mode, "dtype": options["dtype"]}
        if current_platform.is_cpu():
            # A prompt computed in pieces draws a token after each and takes it back, by rewinding the request's
            # generator, which CPU generators cannot do: the whole engine ends ("CPU Generator does not use offset").
            arguments["enable_chunked_prefill"] = False
        arguments |= options["arguments"]
        llm = LLM(model=options["folder"], **arguments)
        self._engine: Any = llm.llm_engine
        config = self._engine.vllm_config
        self.most = AHEAD * int(config.scheduler_config.max_num_seqs)
        self._prompts = PromptEncoder(Path(options["folder"]), options["name"], int(config.model_config.max_model_len))
        self._out = out

    def say(self, **answer: Any) -> None:
        """Send one answer."""
        self._out.write(json.dumps(answer, ensure_ascii=True) + "\n")

    def take(self, line: str) -> None:
        """Hand a request to the engine, or answer at once why that cannot be."""
        found = json.loads(line)
        number, request = found["number"], _request(found)
        try:
            prompt = self._prompts.encode(request)
        except PromptError as error:
            self.say(number=number, failed=str(error), prompt_tokens=error.tokens)
            return
        sampling = request.sampling
        params = self._params(
            temperature=sampling.temperature,
            top_p=sampling.top_p if sampling.temperature else 1.0,
            max_tokens=self._prompts.room(prompt, request),
            stop=list(sampling.stop) or None,
            seed=request.seed,
            logprobs=0,
            output_kind=self._final,
        )
        self._engine.add_request(str(number), {"prompt_token_ids": prompt}, params)

    @property
    def busy(self) -> int:
        """Return how many requests the engine has."""
        return int(self._engine.get_num_unfinished_requests())

    def step(self) -> None:
        """Compute one step where there is something to compute, and send what was finished."""
        for output in self._engine.step() if self.busy else ():
            if not output.finished:
                continue
            (sample,) = output.outputs
            self.say(
                number=int(output.request_id),
                text=sample.text,
                finish="length" if sample.finish_reason == "length" else "stop",
                prompt_tokens=len(output.prompt_token_ids),
                tokens=len(sample.token_ids),
                logprob=sample.cumulative_logprob,
            )
        self._out.flush()


def _request(found: dict[str, Any]) -> Request:
    sampling = Sampling(found["temperature"], found["top_p"], found["max_tokens"], tuple(found["stop"]))
    turns = tuple((role, content) for role, content in found["messages"])
    return Request("", "", 0, turns, found["raw_text"], found["seed"], sampling)


def serve(worker: Worker, lines: queue.SimpleQueue[str]) -> None:
    """Answer requests for as long as the process lives."""
    while True:
        block = worker.busy == 0
        while worker.busy < worker.most:
            try:
                line = lines.get(block=block)
            except queue.Empty:
                break
            worker.take(line)
            block = False
        worker.step()


def main() -> None:
    """Read options from the first line of standard input, requests from the others."""
    # The protocol has a file of its own; whatever prints to standard output prints to standard error.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1 << 16)
    os.dup2(2, 1)
    options = json.loads(sys.stdin.readline())
    try:
        worker = Worker(options, out)
    except Exception as error:  # whatever it is: the parent tells it to a person
        out.write(json.dumps({"fatal": f"{type(error).__name__}: {error}"}) + "\n")
        out.flush()
        raise
    worker.say(ready=worker.most)
    out.flush()
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        # The parent is gone: nobody waits for what is still on its way. vLLM's own processes, which hold the device,
        # would live on without this one: the whole session ends.
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=read, daemon=True).start()
    serve(worker, lines)


if __name__ == "__main__":
    main()
