"""The parent's half of the vLLM engine, with a stand-in for the process: whatever it does, each request has one answer.

The real thing is in test_vllm.py.
"""

import stat
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.engines.contract import EngineError, Request, Sampling
from trainer.engines.vllm import VllmEngine

STAND_IN = """#!{python}
import json, os, sys, time
options = json.loads(sys.stdin.readline())
behaviour = options["arguments"]["behaviour"]
def say(**answer):
    print(json.dumps(answer), flush=True)
if behaviour == "fatal":
    say(fatal="ValueError: no device has so much memory")
    sys.exit(1)
if behaviour == "silent death":
    print("one last word", file=sys.stderr, flush=True)
    os._exit(7)
say(ready=4)
waiting, shared = [], dict()
for count, line in enumerate(sys.stdin):
    request = json.loads(line)
    if "messages" in request:
        shared = request
    elif behaviour == "told once":
        request["messages"] = [["user", "again " + shared["messages"][0][1]]]
    request = shared | request
    if behaviour == "dies" and count == 6:
        print("out of memory", file=sys.stderr, flush=True)
        os._exit(9)
    waiting.append(request)
    if len(waiting) == 2 or behaviour in ("in order", "told once"):
        for found in reversed(waiting):
            if "refuse" in found["messages"][0][1]:
                say(number=found["number"], failed="prompt_too_long: 9 tokens", prompt_tokens=9)
            else:
                say(number=found["number"], text=found["messages"][0][1].upper(), finish="stop", prompt_tokens=3,
                    tokens=2, logprob=-1.5, ids=[7, 1] if found["ids"] else None)
        waiting = []
"""


@pytest.fixture
def engine(tmp_path):
    """Return a function that makes an engine whose process behaves in some way."""
    python = tmp_path / "python"
    python.write_text(STAND_IN.format(python=sys.executable))
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    made = []

    def make(behaviour, **sampling):
        given = Sampling(**sampling) if sampling else None
        made.append(VllmEngine(python=str(python), arguments={"behaviour": behaviour}, sampling=given))
        return made[-1]

    yield make
    for one in made:
        one.close()


def requests(count, **sampling):
    return [
        Request(f"p{i}", "scored", 0, (("user", f"text {i}"),), None, i, Sampling(**sampling)) for i in range(count)
    ]


def test_answers_in_another_order_reach_their_requests(engine):
    found = {c.prompt_id: c.response for c in engine("pairs").generate(requests(100))}
    assert found == {f"p{i}": f"TEXT {i}" for i in range(100)}


def test_a_refused_request_is_an_error_and_no_score(engine):
    bad = Request("bad", "scored", 0, (("user", "refuse"),), None, 0, Sampling())
    first, second = sorted(engine("in order").generate([bad, *requests(1)]), key=lambda c: c.prompt_id)
    assert (first.finish_reason, first.response, first.detail) == ("error", None, "prompt_too_long: 9 tokens")
    assert second.response == "TEXT 0"


def test_never_more_are_on_their_way_than_the_process_said(engine):
    taken = 0

    def source():
        nonlocal taken
        for r in requests(1000):
            taken += 1
            yield r

    stream = engine("in order").generate(source())
    for received in range(1, 20):
        next(stream)
        time.sleep(0.01)
        assert taken <= received + 4 + 1
    stream.close()


def test_samples_of_a_prompt_are_sent_with_its_text_once(engine):
    one, other = requests(2)
    asked = [replace(r, sample=i) for r in (one, other, one) for i in range(3)]
    asked.append(replace(one, sample=3, sampling=Sampling(max_tokens=5)))
    made = engine("told once")
    for _ in range(2):  # a later call knows nothing of an earlier one
        texts = [c.response for c in made.generate(asked)]
        of_one, of_other = ["TEXT 0", *["AGAIN TEXT 0"] * 2], ["TEXT 1", *["AGAIN TEXT 1"] * 2]
        assert texts == [*of_one, *of_other, *of_one, "TEXT 0"]


def test_a_source_may_wait_for_answers(engine):
    received = []

    def source():
        for number, request in enumerate(requests(40)):
            while len(received) < number:
                time.sleep(0.001)
            yield request

    for number, completion in enumerate(engine("in order").generate(source())):
        assert completion.prompt_id == f"p{number}"
        received.append(completion)
    assert len(received) == 40


def test_a_process_that_dies_is_told_with_its_last_words(engine):
    made = engine("dies")
    received = []
    with pytest.raises(EngineError, match=r"ended with status 9: out of memory"):
        received.extend(made.generate(requests(50)))
    received = []
    with pytest.raises(EngineError, match="ended with status 9"):
        for completion in made.generate(requests(50)):
            received.append(completion)
    assert 0 < len(received) <= 6  # what came before is not lost


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [("fatal", "model 'nursery': ValueError: no device has so much memory"), ("silent death", "one last word")],
)
def test_one_that_does_not_start_says_why(engine, behaviour, message):
    with pytest.raises(EngineError, match=message):
        list(engine(behaviour).generate(requests(1)))


def test_a_missing_vllm_and_a_missing_interpreter():
    with pytest.raises(EngineError, match=r"vLLM is not installed .* the extra `vllm`"):
        list(VllmEngine(python=sys.executable).generate(requests(1)))
    with pytest.raises(EngineError, match=r"engine\.vllm_python = '/no/such/python' cannot be started"):
        list(VllmEngine(python="/no/such/python").generate(requests(1)))


def test_an_abandoned_stream_leaves_nothing_to_the_next_call(engine):
    made = engine("pairs")
    stream = made.generate(requests(40))
    next(stream)
    pid = made._process.pid
    stream.close()
    assert not Path(f"/proc/{pid}").exists()
    assert {c.response for c in made.generate(requests(2))} == {"TEXT 0", "TEXT 1"}


def test_what_the_source_of_requests_raises_is_raised(engine):
    def source():
        yield from requests(2)
        raise OSError("the table is gone")

    stream = engine("in order").generate(source())
    assert [next(stream).response, next(stream).response] == ["TEXT 0", "TEXT 1"]
    with pytest.raises(OSError, match="the table is gone"):
        next(stream)


@pytest.mark.parametrize(
    ("sampling", "known"),
    [
        ({"temperature": 1.0}, True),
        ({"temperature": 1.0, "top_p": 0.9}, True),
        ({"temperature": 0.0}, True),
        ({"temperature": 0.7}, True),
        ({"temperature": 0.7, "top_p": 0.9}, False),  # vLLM gives them after the cut
    ],
)
def test_a_log_probability_that_means_something_else_is_null(engine, sampling, known):
    (found,) = engine("in order", **sampling).generate(requests(1, **sampling))
    assert (found.logprob_sum is not None) == known


def test_tokens_come_where_they_are_asked_for(engine):
    plain, wanted = requests(2)
    found = sorted(engine("in order").generate([plain, replace(wanted, tokens=True)]), key=lambda c: c.prompt_id)
    assert [c.tokens for c in found] == [None, (7, 1)]


def test_closing_twice_and_without_a_start():
    engine = VllmEngine(python="/no/such/python")
    engine.close()
    engine.close()
