"""The vLLM engine for real: on the nursery model, in vLLM's own environment. `make test-vllm` builds it and runs this.

What needs no vLLM (a missing package, a process that dies, an abandoned stream) is tested with a stand-in for the
process in test_vllm_process.py.
"""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from trainer.engines.contract import EngineError, Request, Sampling, sample_seed
from trainer.engines.transformers import TransformersEngine
from trainer.engines.vllm import VllmEngine
from trainer.engines.weights import NURSERY
from trainer.nursery.tasks import generate_tasks

PYTHON = os.environ.get("PREPPO_VLLM_PYTHON")
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(PYTHON is None, reason="PREPPO_VLLM_PYTHON names no interpreter with vLLM: make test-vllm"),
]
TASKS = generate_tasks(24, seed=5)
ARGUMENTS = {"enforce_eager": True}


def request(prompt, sample=0, raw=False, **sampling):
    return Request(
        prompt, "scored", sample, (("user", prompt),), prompt if raw else None,
        sample_seed(0, prompt, "scored", sample), Sampling(**{"max_tokens": 24, **sampling}),
    )  # fmt: skip


def by_name(completions):
    return {(c.prompt_id, c.sample): c for c in completions}


def start(temperature=1.0):
    return VllmEngine(sampling=Sampling(temperature), python=PYTHON, dtype="float32", arguments=ARGUMENTS)


@pytest.fixture(scope="module")
def engine():
    started = start()
    yield started
    started.close()


def test_greedy_texts_are_those_of_the_transformers_engine(engine, nursery):
    """The same tokens, up to where the two best ones are within 1e-3 of each other: rounding may decide there."""
    requests = [request(t.prompt, temperature=0.0) for t in TASKS]
    theirs, ours = by_name(engine.generate(requests)), by_name(nursery.generate(requests))
    assert theirs.keys() == ours.keys()
    for key, completion in theirs.items():
        same = dataclasses.replace(completion, engine="transformers", logprob_sum=ours[key].logprob_sum)
        if same != ours[key]:
            assert _first_gap(nursery, key[0], completion.response, ours[key].response) < 1e-3
        else:
            assert completion.logprob_sum == pytest.approx(ours[key].logprob_sum, abs=1e-3)


def _first_gap(nursery, prompt, one, other):
    """Return by how much the best token beats the second where two texts part."""
    encode = lambda text: nursery.tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    a, b = encode(one), encode(other)
    shared = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    tokens = nursery.prompts.encode(request(prompt)) + a[:shared]
    with torch.inference_mode():
        best = nursery.model(input_ids=torch.tensor([tokens])).logits[0, -1].topk(2).values
    return float(best[0] - best[1])


def test_a_sample_follows_from_its_seed(engine):
    requests = [request(t.prompt, s) for t in TASKS[:8] for s in range(8)]
    whole = by_name(engine.generate(requests))
    assert len(whole) == len(requests)
    assert len({c.response for c in whole.values()}) > 10
    rest = by_name(engine.generate(requests[::-3]))
    same = sum(rest[k].response == whole[k].response for k in rest)
    assert same >= len(rest) - 1  # another batch may round differently, once in a while


def test_tokens_are_those_that_were_drawn(engine, nursery):
    """The same as from the transformers engine, with its own decode loop; those of a stop string are among them."""
    ways = ({}, {"max_tokens": 2}, {"stop": ("{",)})
    for extra in ways:
        asked = [dataclasses.replace(request(t.prompt, temperature=0.0, **extra), tokens=True) for t in TASKS[:6]]
        theirs, ours = by_name(engine.generate(asked)), by_name(nursery.generate(asked))
        alike = [key for key in theirs if theirs[key].response == ours[key].response]
        assert len(alike) >= len(asked) - 1  # another batch may round differently, once in a while
        assert all(theirs[key].tokens == ours[key].tokens for key in alike)
        assert all(len(c.tokens) == c.response_tokens for c in theirs.values())
    (silent,) = engine.generate([request(TASKS[0].prompt, temperature=0.0)])
    assert silent.tokens is None


def test_what_completions_say(engine):
    (stop,) = engine.generate([request(TASKS[0].prompt, temperature=0.0)])
    assert (stop.finish_reason, stop.engine, stop.recorded, stop.detail) == ("stop", "vllm", False, None)
    assert stop.logprob_sum < 0 and stop.response_tokens > 1 and stop.prompt_tokens > 5
    (cut,) = engine.generate([request(TASKS[0].prompt, max_tokens=2)])
    assert (cut.finish_reason, cut.response_tokens) == ("length", 2)
    raw = "Spell the word backwards: house."
    (text,) = engine.generate([request(raw, raw=True, max_tokens=4)])
    assert text.response is not None and text.prompt_tokens > 0
    stopped = list(engine.generate([request(TASKS[0].prompt, stop=("{",), temperature=0.0)]))
    assert "{" not in stopped[0].response and stopped[0].finish_reason == "stop"


def test_texts_are_those_that_vllm_decodes(engine):
    """Asked for stop strings, vLLM decodes token by token; here one that never comes."""
    asked = [request(t.prompt, s, max_tokens=n) for t in TASKS for s, n in enumerate((24, 24, 3))]
    theirs = by_name(engine.generate([stopping_at(r, ("\x00",)) for r in asked]))
    ours = by_name(engine.generate(asked))
    assert ours.keys() == theirs.keys()
    same = sum(ours[key] == other for key, other in theirs.items())
    assert same >= len(asked) - 1  # another batch may round differently, once in a while


def stopping_at(asked, stop):
    return dataclasses.replace(asked, sampling=dataclasses.replace(asked.sampling, stop=stop))


def test_a_stop_string_at_the_start_leaves_nothing(engine):
    (whole,) = engine.generate([request(TASKS[0].prompt, temperature=0.0)])
    (found,) = engine.generate([request(TASKS[0].prompt, temperature=0.0, stop=(whole.response[0],))])
    assert (found.response, found.finish_reason) == ("", "stop")


def test_a_prompt_beyond_the_context_is_an_error_with_its_reason(engine):
    long = "sun " * 3000
    completions = by_name(engine.generate([request(long), request(long, 1), request(TASKS[0].prompt)]))
    bad = completions[long, 0]
    assert (bad.response, bad.finish_reason) == (None, "error")
    assert completions[long, 1].detail == bad.detail
    assert bad.detail.startswith(f"prompt_too_long: {bad.prompt_tokens} tokens")
    assert completions[TASKS[0].prompt, 0].response is not None


def test_completions_come_while_requests_are_taken_in(engine):
    taken = []

    def endless():
        for i in range(1_000_000):
            taken.append(i)
            yield request(TASKS[i % 24].prompt, i)

    stream = engine.generate(endless())
    for _ in range(300):
        next(stream)
    assert len(taken) < 300 + 4 * 1024 + 2
    stream.close()  # ends the process: its answers must not reach the next call


def test_tempered_log_probabilities(nursery):
    engine = start(0.7)
    try:
        requests = [request(t.prompt, temperature=0.7) for t in TASKS[:6]]
        for completion in engine.generate(requests):
            tokens = nursery.tokenizer(completion.response, add_special_tokens=False)["input_ids"]
            if completion.finish_reason == "stop":
                tokens = [*tokens, next(iter(nursery.end_tokens))]
            if len(tokens) != completion.response_tokens:
                continue  # the text is tokenised in another way than it was drawn
            prompt = nursery.prompts.encode(request(completion.prompt_id))
            with torch.inference_mode():
                logits = nursery.model(input_ids=torch.tensor([prompt + tokens])).logits[0]
            logp = torch.log_softmax(logits[len(prompt) - 1 : -1].double() / 0.7, dim=-1)
            assert completion.logprob_sum == pytest.approx(logp[range(len(tokens)), tokens].sum().item(), abs=1e-2)
        process = engine._process
        os.kill(process.pid, signal.SIGSTOP)  # it lives when it is asked, and dies before it answers
        threading.Timer(1.0, os.kill, (process.pid, signal.SIGKILL)).start()
        with pytest.raises(EngineError, match="ended with status -9"):
            list(engine.generate(requests))
        assert len(list(engine.generate(requests))) == 6  # it is started again
    finally:
        engine.close()


def test_nothing_is_left_when_the_parent_is_killed():
    code = (
        "import time\nfrom tests.trainer.engines.test_vllm import request, start\n"
        "engine = start()\nprint(len(list(engine.generate([request('1 + 1')]))), engine._process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True) as parent:
        said, pid = parent.stdout.readline().split()
        assert said == "1"
        family = _family(int(pid))
        assert len(family) >= 2  # the worker, and the process of the engine below it
        parent.kill()
    deadline = time.monotonic() + 60
    while any(_alive(p) for p in family) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert [p for p in family if _alive(p)] == []


def _family(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(p for child in children for p in _family(int(child)))]


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_thought_that_the_template_opens_is_kept_apart(tmp_path, nursery):
    """The nursery never closes it: all that it says is thought, as the transformers engine has it."""
    folder = tmp_path / "opened"
    folder.mkdir()
    for path in NURSERY.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|assistant|>", "<|assistant|><think>\\n"))
    asked = [request(t.prompt, temperature=0.0) for t in TASKS[:6]]
    asked.append(request("3 + 4 =", raw=True, temperature=0.0))
    started = VllmEngine(str(folder), python=PYTHON, dtype="float32", arguments=ARGUMENTS)
    try:
        theirs = by_name(started.generate(asked))
    finally:
        started.close()
    ours = by_name(TransformersEngine(str(folder), device="cpu", dtype="float32").generate(asked))
    for key, completion in theirs.items():
        assert (completion.reasoning, completion.response) == (ours[key].reasoning, ours[key].response)
        assert (completion.reasoning is None) == (key[0] == "3 + 4 ="), "an exact prefix is nobody's thought"
        assert bool(completion.response) == (key[0] == "3 + 4 =")
