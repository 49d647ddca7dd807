"""The `openai` engine against a real `vllm.entrypoints.openai.api_server` with the nursery model, on loopback."""

import os
import socket
import subprocess
import time

import httpx2
import pytest

from trainer.engines import EngineError, Request, Sampling, sample_seed
from trainer.engines.openai import OpenAIEngine
from trainer.engines.weights import NURSERY
from trainer.nursery.tasks import generate_tasks

PYTHON = os.environ.get("PREPPO_VLLM_PYTHON")
START_S = 600
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(PYTHON is None, reason="PREPPO_VLLM_PYTHON names no interpreter with vLLM: make test-vllm"),
]
TASKS = generate_tasks(24, seed=5)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Start a server, or use the one that PREPPO_VLLM_URL names."""
    if running := os.environ.get("PREPPO_VLLM_URL"):
        yield running
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "log"
    command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(NURSERY)]
    command += ["--served-model-name", "nursery", "nursery-too", "--dtype", "float32", "--enforce-eager"]
    command += ["--no-enable-chunked-prefill"]  # with seeds, vLLM's engine ends on a CPU otherwise
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_S
        while not answers(f"{address}/health"):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
            time.sleep(0.5)
        yield f"{address}/v1"
    finally:
        server.terminate()
        server.wait(60)


def answers(address):
    try:
        return httpx2.get(address, trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False


def engine(url, model="nursery", **options):
    return OpenAIEngine(model, base_urls=[url], **{"concurrency": 32, "timeout_s": 120.0, "retries": 2} | options)


def request(prompt, sample=0, *, raw=False, **sampling):
    seed = sample_seed(0, prompt, "scored", sample)
    text = prompt if raw else None
    return Request(prompt, "scored", sample, (("user", prompt),), text, seed, Sampling(**{"max_tokens": 24} | sampling))


def by_name(completions):
    found = list(completions)
    named = {(c.prompt_id, c.sample): c for c in found}
    assert len(named) == len(found)
    return named


@pytest.mark.parametrize("raw", [False, True])
def test_greedy_texts_tokens_and_log_probabilities_are_those_of_the_transformers_engine(url, nursery, raw):
    requests = [request(t.prompt, raw=raw, temperature=0.0) for t in TASKS]
    theirs, ours = by_name(engine(url).generate(requests)), by_name(nursery.generate(requests))
    assert theirs.keys() == ours.keys()
    same = [k for k, c in theirs.items() if c.response == ours[k].response]
    # Where the two best tokens are almost equal, rounding decides.
    assert len(same) >= len(TASKS) - 2
    for key in same:
        a, b = theirs[key], ours[key]
        assert (a.finish_reason, a.prompt_tokens, a.response_tokens) == (
            b.finish_reason, b.prompt_tokens, b.response_tokens,
        )  # fmt: skip
        assert a.logprob_sum == pytest.approx(b.logprob_sum, abs=1e-3)


def test_log_probabilities_of_samples_are_those_of_their_own_distribution(url):
    one = by_name(engine(url).generate([request(t.prompt, temperature=1.0) for t in TASKS]))
    assert all(c.logprob_sum is not None and c.logprob_sum <= 0 for c in one.values())
    other = by_name(engine(url).generate([request(t.prompt, temperature=0.7) for t in TASKS]))
    assert all(c.logprob_sum is None for c in other.values())


def test_a_sample_follows_from_its_seed(url):
    requests = [request(t.prompt, s) for t in TASKS[:8] for s in range(8)]
    whole = by_name(engine(url).generate(requests))
    part = by_name(engine(url, concurrency=3).generate(reversed(requests[5:30])))
    same = [whole[key].response == c.response for key, c in part.items()]
    # Who shares a batch changes logits by rounding, and a draw at a border with them.
    assert sum(same) >= len(same) - 1
    assert len({c.response for c in whole.values()}) > len(TASKS[:8])


def test_stop_strings_and_limits_end_a_response(url):
    cut, stopped = by_name(
        engine(url).generate(
            [
                request("What is 12 + 13?", 0, temperature=0.0, max_tokens=2),
                request("What is 12 + 13?", 1, temperature=0.0, stop=("}",)),
            ]
        )
    ).values()
    if cut.sample:
        cut, stopped = stopped, cut
    assert (cut.finish_reason, cut.response_tokens) == ("length", 2)
    assert stopped.finish_reason == "stop" and "}" not in stopped.response


def test_a_prompt_that_does_not_fit_is_an_error_with_its_reason_and_the_others_go_on(url):
    long = "What is 1 + 2? " * 400
    asked = [request(long), request(long, 1, raw=True), request("What is 1 + 2?", max_tokens=64)]
    found = by_name(engine(url).generate(asked))
    for key in ((long, 0), (long, 1)):
        assert found[key].detail.startswith("prompt_too_long: ") and found[key].response is None
    assert found["What is 1 + 2?", 0].finish_reason in ("stop", "length")


def test_a_limit_beyond_the_context_is_one_message(url):
    with pytest.raises(EngineError, match=r"refuses every request, last: max_tokens=5000 .*max_model_len=1024"):
        list(engine(url).generate([request(t.prompt, max_tokens=5000) for t in TASKS]))


def test_another_model_is_one_message_that_names_those_of_the_server(url):
    with pytest.raises(EngineError, match=r"answers 404: .*policy.model = 'oak', and the server has: nursery"):
        list(engine(url, "oak").generate([request(t.prompt) for t in TASKS]))


def test_a_second_name_of_the_same_weights_is_the_model(url):
    if "PREPPO_VLLM_URL" in os.environ:
        pytest.skip("the server that PREPPO_VLLM_URL names has one name for its model")
    (found,) = engine(url, "nursery-too").generate([request("What is 1 + 2?")])
    assert found.finish_reason == "stop"
