"""What is said to OpenAI-compatible servers, how their answers are read, and how a pool of them is used. No network."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.engines import Request, Sampling, openai_wire, sample_seed
from trainer.engines.server_pool import FIRST_PAUSE_S, TRIP, Pool, Server


def request(name, *, raw=False, **sampling):
    seed = sample_seed(0, name, "scored", 0)
    return Request(name, "scored", 0, (("user", name),), name if raw else None, seed, Sampling(**sampling))


def answer(choice, **fields):
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    return json.dumps({"model": "m", "choices": [choice], "usage": usage} | fields).encode()


def chat(content, finish="stop", logprobs=None, **message):
    return {"message": {"content": content, **message}, "finish_reason": finish, "logprobs": logprobs}


def read(choice, r=None, **fields):
    return openai_wire.completion(r or request("a"), answer(choice, **fields), "m")


def test_reasoning_is_taken_from_its_field_or_from_the_text():
    assert (c := read(chat("b", reasoning_content="a"))).reasoning == "a" and c.response == "b"
    assert (c := read(chat("b", reasoning="a"))).reasoning == "a" and c.response == "b"
    assert (c := read(chat("<think>a</think>b", reasoning_content=None))).reasoning == "a" and c.response == "b"
    assert (c := read(chat(None, "length", reasoning="a"))).reasoning == "a" and c.response == ""


@pytest.mark.parametrize("finish", ["content_filter", "tool_calls", "function_call", "whatever"])
def test_an_end_that_is_none_is_no_text(finish):
    c = read(chat("half of it", finish))
    assert (c.finish_reason, c.response, c.detail) == ("error", None, f"refused: finish_reason {finish}")
    assert read(chat(None, refusal="I will not")).detail == "refused: I will not"


def test_log_probabilities_are_those_of_what_was_sampled_or_null():
    logprobs = {"content": [{"logprob": -0.5}, {"logprob": -0.25}]}
    for temperature, top_p, expected in ((1.0, 1.0, -0.75), (0.0, 1.0, -0.75), (1.0, 0.5, -0.75), (0.7, 1.0, None)):
        r = request("a", temperature=temperature, top_p=top_p)
        assert read(chat("x", logprobs=logprobs), r).logprob_sum == expected
        assert ("logprobs" in json.loads(openai_wire.body(r, "m", openai_wire.Dialect()))) == (expected is not None)
    assert read(chat("x")).logprob_sum is None
    short = {"content": [{"logprob": -0.5}]}
    assert read(chat("x", logprobs=short)).logprob_sum is None  # a token is missing
    assert read(chat("x", logprobs=logprobs), usage=None).logprob_sum is None
    for value in (None, "x", float("-inf"), float("nan")):
        odd = {"content": [{"logprob": -0.5}, {"logprob": value}]}
        assert read(chat("x", logprobs=odd)).logprob_sum is None


def test_seeds_and_samplers_are_what_vllm_takes():
    r = request("a", temperature=0.0, top_p=0.9, max_tokens=5, stop=("\n",))
    body = json.loads(openai_wire.body(r, "m", openai_wire.Dialect()))
    assert 0 <= body["seed"] < 2**63 and body["seed"] == r.seed
    assert (body["top_p"], body["max_tokens"], body["stop"], body["n"]) == (1.0, 5, ["\n"], 1)
    # else the model's generation_config.json would cut the distribution
    assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (-1, 0.0, 1.0)


@pytest.mark.parametrize(
    "choice",
    [chat(None), chat("x", None), chat("x", "abort"), {"finish_reason": "stop"}, chat(["x"]), chat("x", 3)],
)
def test_half_an_answer_is_none(choice):
    with pytest.raises(openai_wire.WrongReplyError):
        read(choice)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda x: st.lists(x, max_size=3) | st.dictionaries(
                        st.sampled_from(["choices", "message", "content", "text", "usage", "model", "finish_reason",
                                         "error", "logprobs", "detail", "code", "param"]), x, max_size=5)))  # fmt: skip
def test_no_answer_makes_reading_it_fail_in_another_way(value):
    content = json.dumps(value).encode()
    for r in (request("a"), request("a", raw=True)):
        for wrapped in (content, answer(value)):
            with contextlib.suppress(openai_wire.WrongReplyError):
                found = openai_wire.completion(r, wrapped, "m")
                assert found.finish_reason == "error" or isinstance(found.response, str)
    with contextlib.suppress(openai_wire.WrongReplyError):
        openai_wire.Dialect().without(openai_wire.refusal(content))


# --- the pool --------------------------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def pool_of(clock, *names, concurrency=4, retries=3):
    return Pool([Server(n, float(concurrency)) for n in names], concurrency, retries, clock)


def test_the_server_with_the_least_to_do_is_asked_and_none_beyond_its_limit(clock):
    pool = pool_of(clock, "a", "b", concurrency=2)
    one, two = pool.servers
    one.in_flight = 1
    assert pool.pick() is two
    assert pool.pick(avoid=two) is one
    one.in_flight = two.in_flight = 2
    assert pool.pick() is None
    assert pool.wakes() is None


def test_a_server_that_keeps_failing_rests_longer_each_time_and_is_tried_with_one_request(clock):
    pool = pool_of(clock, "a", "b")
    bad, good = pool.servers
    for _ in range(TRIP):
        assert bad.rests_until == 0.0
        pool.failed(bad, bad.period, "500")
    pool.failed(bad, 0, "500, late")  # sent before it began to rest
    rests = [bad.rests_until - clock.now]
    assert pool.pick() is good and pool.pick(avoid=good) is good
    for _ in range(5):
        clock.now = bad.rests_until
        assert pool.pick() is bad
        bad.in_flight = 1
        good.in_flight = 4
        assert pool.pick() is None  # one is enough to see whether it works
        bad.in_flight = good.in_flight = 0
        pool.failed(bad, bad.period, "500")
        rests.append(bad.rests_until - clock.now)
    assert all(0.75 * FIRST_PAUSE_S * 2**i <= r <= 1.25 * FIRST_PAUSE_S * 2**i for i, r in enumerate(rests))
    assert bad.rounds > 3 and not pool.dead  # the other one works
    pool.succeeded(bad, bad.period)
    assert (bad.rounds, bad.failures, bad.rests_until) == (0, 0, 0.0)


def test_a_pool_is_dead_where_every_server_failed_too_often_in_a_row(clock):
    pool = pool_of(clock, "a", "b", retries=1)
    for server in pool.servers * 2:
        assert not pool.dead
        pool.failed(server, server.period, f"{server.url} is gone", absent=True)
    assert pool.dead
    assert pool.problems() == "a: a is gone; b: b is gone"


def test_a_full_server_is_asked_less_for_as_long_as_it_says(clock):
    pool = pool_of(clock, "a", concurrency=8)
    (server,) = pool.servers
    for _ in range(3):  # of one burst
        pool.full(server, 0, "429", retry_after=7.0)
    assert server.limit == 4
    assert 7.0 <= pool.wakes() <= 7.7 and pool.pick() is None
    pool.succeeded(server, 0)  # was sent before
    assert pool.pick() is None
    clock.now = server.rests_until
    assert pool.pick() is server
    for _ in range(100):
        pool.succeeded(server, server.period)
    assert server.limit == 8 and not pool.dead
