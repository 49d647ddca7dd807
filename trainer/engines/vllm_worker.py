"""The process that holds `vllm.LLM`: requests in as JSON lines, completions out as they finish.

Started by `trainer.engines.vllm` with the interpreter of vLLM's environment, which needs nothing else of preppo's
dependencies: this module imports vLLM, transformers and the contract. Device memory dies with the process, and the
process ends when its standard input does, with all that vLLM started. What vLLM prints goes to standard error.

Every sample is a request of its own with its own seed, so that a resumed run gets the same texts; the prefix of a
prompt is computed once, by vLLM's prefix cache. At most `max_num_seqs` times `AHEAD` requests are with the engine at a
time, so that the scheduler always has a choice and the process never holds a million of them.

A line without messages asks for another sample of the prompt before it, which is rendered and tokenised once. Text is
decoded once, from finished samples: vLLM would decode each token twice, for the text and for its log-probability.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
from pathlib import Path
from typing import IO, Any

from trainer.engines.contract import LAST_POSITIONS, Request, Sampling
from trainer.engines.prompts import PromptEncoder, PromptError

AHEAD = 4
PIPE = 1 << 16  # bytes that a pipe holds
LINGER_S = 1e-4  # that the reading thread gets to hand over what has come, where seats are free
_BEFORE = 4  # tokens of the prompt that a response is decoded after


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
        self.seats = int(config.scheduler_config.max_num_seqs)
        self.most = AHEAD * self.seats
        self._prompts = PromptEncoder(Path(options["folder"]), options["name"], int(config.model_config.max_model_len))
        self._decoder = getattr(self._prompts.tokenizer, "backend_tokenizer", None)  # none: vLLM decodes
        self._prompt: list[int] | PromptError = []
        self._sampling: dict[str, Any] = {}
        self._tag, self._ids = "", False
        self._asked: dict[int, tuple[str, bool]] = {}  # opening, and whether ids are wanted, of those on their way
        self._out = out

    def say(self, **answer: Any) -> None:
        """Send one answer."""
        self._out.write(json.dumps(answer, ensure_ascii=True) + "\n")

    def take(self, line: bytes) -> None:
        """Hand a request to the engine, or answer at once why that cannot be."""
        found = json.loads(line)
        if "messages" in found:
            self._turn_to(_request(found))
        number, prompt = found["number"], self._prompt
        if isinstance(prompt, PromptError):
            self.say(number=number, failed=str(prompt), prompt_tokens=prompt.tokens)
            return
        params = self._params(seed=found["seed"], **self._sampling)
        self._asked[number] = self._tag, self._ids
        self._engine.add_request(str(number), {"prompt_token_ids": prompt}, params)

    def _turn_to(self, request: Request) -> None:
        """Prepare what the samples of a prompt have in common."""
        try:
            self._prompt = prompt = self._prompts.encode(request)
        except PromptError as error:
            self._prompt = error
            return
        self._tag, self._ids = self._prompts.opening(request), request.tokens
        sampling = request.sampling
        self._sampling = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p if sampling.temperature else 1.0,
            "max_tokens": self._prompts.room(prompt, request),
            "stop": list(sampling.stop) or None,
            "detokenize": bool(sampling.stop) or self._decoder is None,
            "logprobs": request.top_logprobs,
            "flat_logprobs": not request.top_logprobs,
            "output_kind": self._final,
            "skip_clone": True,  # nobody else has these parameters
        }

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
            number = int(output.request_id)
            opening, ids = self._asked.pop(number)
            self.say(
                number=number,
                text=opening + self._text(output.prompt_token_ids, sample),
                finish="length" if sample.finish_reason == "length" else "stop",
                prompt_tokens=len(output.prompt_token_ids),
                tokens=len(sample.token_ids),
                logprob=sample.cumulative_logprob,
                top=self._top(sample) if isinstance(sample.logprobs, list) else None,
                ids=list(sample.token_ids) if ids else None,
            )
        self._out.flush()

    def _top(self, sample: Any) -> list[Any]:
        """Return the last positions, each as the drawn token and the pairs of token and log-probability."""
        piece = self._prompts.tokenizer.decode
        drawn = list(sample.token_ids)[-LAST_POSITIONS:]
        rows = sample.logprobs[len(sample.logprobs) - len(drawn) :]
        return [
            (piece([token]), [(piece([i]), found.logprob) for i, found in row.items()])
            for token, row in zip(drawn, rows, strict=True)
        ]

    def _text(self, prompt: list[int], sample: Any) -> str:
        """Decode after the end of the prompt, since some decoders drop the first blank of what they are given."""
        if sample.text or isinstance(sample.stop_reason, str) or self._decoder is None:
            return str(sample.text)  # vLLM has decoded it, in search of stop strings
        tokens = list(sample.token_ids if sample.finish_reason == "length" else sample.token_ids[:-1])  # not its end
        before = prompt[-_BEFORE:]
        prefix: str = self._decoder.decode(before)
        whole: str = self._decoder.decode(before + tokens)
        text = whole[len(prefix) :] if whole.startswith(prefix) else str(self._decoder.decode(tokens))
        return text.rstrip("\ufffd")  # half a character: vLLM leaves it out, too


def _request(found: dict[str, Any]) -> Request:
    sampling = Sampling(found["temperature"], found["top_p"], found["max_tokens"], tuple(found["stop"]))
    turns = tuple((role, content) for role, content in found["messages"])
    top, ids = found.get("top_logprobs", 0), found.get("ids", False)
    return Request("", "", 0, turns, found["raw_text"], found["seed"], sampling, top, ids)


def serve(worker: Worker, lines: queue.SimpleQueue[bytes]) -> None:
    """Answer requests for as long as the process lives."""
    while True:
        patience = LINGER_S if worker.busy else None
        while worker.busy < worker.most:
            try:
                line = lines.get(timeout=patience)
            except queue.Empty:
                break
            worker.take(line)
            patience = LINGER_S if worker.busy < worker.seats else 0
        worker.step()


def main() -> None:
    """Read options from the first line of standard input, requests from the others."""
    # The protocol has a file of its own; whatever prints to standard output prints to standard error.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=PIPE)
    os.dup2(2, 1)
    asked = open(0, "rb", buffering=PIPE, closefd=False)  # noqa: SIM115 (for as long as the process lives)
    options = json.loads(asked.readline())
    try:
        worker = Worker(options, out)
    except Exception as error:  # whatever it is: the parent tells it to a person
        out.write(json.dumps({"fatal": f"{type(error).__name__}: {error}"}) + "\n")
        out.flush()
        raise
    worker.say(ready=worker.most)
    out.flush()
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        for line in asked:
            lines.put(line)
        # The parent is gone: nobody waits for what is still on its way. vLLM's own processes, which hold the device,
        # would live on without this one: the whole session ends.
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=read, daemon=True).start()
    serve(worker, lines)


if __name__ == "__main__":
    main()
