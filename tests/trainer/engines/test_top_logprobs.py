"""Log-probabilities of what could have been drawn: from each engine, of the same distribution as `logprob_sum`."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from assets.chunks import _row
from trainer.engines import Request, Sampling, openai_wire
from trainer.engines.contract import LAST_POSITIONS, position
from trainer.engines.decoding import Group
from trainer.engines.slots import SlotGroup
from trainer.engines.vllm import _completion, _shared
from trainer.engines.vllm_worker import Worker, _request
from warehouse.schemas import ROLLOUTS


def request(prompt="Compute 3 + 4.", top=5, raw=False, **sampling):
    text = prompt if raw else None
    return Request("p", "scored", 0, (("user", prompt),), text, 7, Sampling(**{"max_tokens": 24} | sampling), top)


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_transformers_gives_those_of_the_tempered_model(nursery, temperature):
    r = request(temperature=temperature)
    (made,) = nursery.generate([r])
    assert made.top_logprobs is not None and len(made.top_logprobs) == made.response_tokens
    prompt = nursery.prompts.encode(r)
    text = "".join(p.token for p in made.top_logprobs)
    assert text.removesuffix("<|end|>") == made.response
    logits = nursery.model(input_ids=torch.tensor([prompt])).logits[0, -1].double()
    values, tokens = torch.log_softmax(logits / (temperature or 1.0), dim=-1).topk(5)
    expected = position("", zip(map(nursery.tokenizer.decode, tokens.tolist()), values.tolist(), strict=True))
    assert made.top_logprobs[0].top == pytest.approx(expected.top, abs=1e-4)
    if temperature == 0.0:
        assert sum(max(p.top.values()) for p in made.top_logprobs) == pytest.approx(made.logprob_sum, abs=1e-4)


def test_asking_for_them_changes_nothing_else_and_is_per_request(nursery):
    asked = [
        replace(request(f"Compute {a} + {b}.", top=(a + b) % 3), prompt_id=f"{a}{b}") for a in (1, 2) for b in (3, 4)
    ]
    found = {c.prompt_id: c for c in nursery.generate(asked)}
    for r in asked:
        with_them, (plain,) = found[r.prompt_id], nursery.generate([replace(r, top_logprobs=0)])
        assert plain.top_logprobs is None
        if r.top_logprobs:
            assert all(1 <= len(p.top) <= r.top_logprobs for p in with_them.top_logprobs)
        else:
            assert with_them.top_logprobs is None
        assert (with_them.response, with_them.response_tokens) == (plain.response, plain.response_tokens)


def test_the_last_positions_are_kept_alone(nursery):
    long = [replace(request(max_tokens=60, temperature=4.0), seed=seed) for seed in range(8)]
    made = max(nursery.generate(long), key=lambda c: c.response_tokens)
    assert made.response_tokens > LAST_POSITIONS == len(made.top_logprobs)
    text = "".join(p.token for p in made.top_logprobs[5:15])
    assert "\ufffd" in text or text in made.response


def test_texts_that_come_twice_are_one():
    found = position("a", [("x", math.log(0.25)), ("x", math.log(0.5)), ("y", -math.inf), ("y", -math.inf)])
    assert found.top == {"x": pytest.approx(math.log(0.75)), "y": -math.inf}
    assert math.isnan(position("a", [("x", -math.inf), ("x", math.nan)]).top["x"])


def test_they_are_in_no_table(nursery):
    (made,) = nursery.generate([request()])
    assert len(_row(made)) == len(ROLLOUTS.columns)
    assert dict(zip(ROLLOUTS.columns, _row(made), strict=True))["response"] == made.response


# --- servers ---------------------------------------------------------------------------------------------------------


def asked(r, dialect=None):
    return json.loads(openai_wire.body(r, "m", dialect or openai_wire.Dialect()))


def test_servers_are_asked_where_their_values_are_those_of_what_is_sampled():
    assert (asked(request())["logprobs"], asked(request())["top_logprobs"]) == (True, 5)
    assert asked(request(top=50))["top_logprobs"] == 20
    assert "top_logprobs" not in asked(request(top=0)) and asked(request(top=0))["logprobs"] is True
    assert "top_logprobs" not in asked(request(temperature=0.7))
    assert asked(request(raw=True, top=20))["logprobs"] == 5 and asked(request(raw=True, top=0))["logprobs"] == 0


def test_a_server_that_has_fewer_is_asked_for_fewer():
    def refused(dialect):
        message = {"message": "top_logprobs must be at most 5", "param": "top_logprobs"}
        return dialect.without(openai_wire.refusal(json.dumps({"error": message}).encode()))

    five = refused(openai_wire.Dialect())
    assert asked(request(top=20), five)["top_logprobs"] == 5
    none = refused(five)
    assert "top_logprobs" not in asked(request(), none) and asked(request(), none)["logprobs"] is True
    assert refused(none).logprobs is False and refused(refused(none)) is None


def reply(r, logprobs, text="x"):
    choice = {"message": {"content": text}, "text": text, "finish_reason": "stop", "logprobs": logprobs}
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    content = json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode()
    return openai_wire.completion(r, content, "m").top_logprobs


def test_answers_of_servers_are_read_or_unknown():
    row = {
        "token": "A",
        "logprob": -0.1,
        "top_logprobs": [{"token": "A", "logprob": -0.1}, {"token": "B", "logprob": -2}],
    }
    assert reply(request(), {"content": [row, row]}) == (("A", {"A": -0.1, "B": -2.0}),) * 2
    assert reply(request(), {"content": [row] * 50}) == (("A", {"A": -0.1, "B": -2.0}),) * LAST_POSITIONS
    assert reply(request(top=0), {"content": [row]}) is None
    assert reply(request(temperature=0.7), {"content": [row]}) is None
    plain = {"tokens": ["A", "."], "top_logprobs": [{"A": -0.1}, {".": -0.2}]}
    assert reply(request(raw=True), plain) == (("A", {"A": -0.1}), (".", {".": -0.2}))
    odd = replace_top(row, [{"token": "A", "logprob": float("nan")}])
    assert math.isnan(reply(request(), {"content": [odd]})[0].top["A"])  # for the judge to see
    tops = (None, [], [{"token": 1}], ["A"], [{"token": "A", "logprob": None}])
    for wrong in ([], [None], [{}], *([row, replace_top(row, top)] for top in tops)):
        assert reply(request(), {"content": wrong}) is None
    for wrong in (None, {}, {"content": None}, "x", 3):
        assert reply(request(), wrong) is None


def replace_top(row, top):
    return {**row, "top_logprobs": top}


# --- vLLM ------------------------------------------------------------------------------------------------------------


def test_vllm_says_what_is_wanted_and_reads_what_comes():
    r = request(top=3)
    assert _shared(r) != _shared(replace(r, top_logprobs=0))
    line = {"messages": [["user", "q"]], "raw_text": None, "seed": 1, "temperature": 0.0, "top_p": 1.0, "max_tokens": 4,
            "stop": [], "top_logprobs": 3}  # fmt: skip
    assert _request(line).top_logprobs == 3
    answer = {"text": "A", "finish": "stop", "prompt_tokens": 3, "tokens": 1, "logprob": -0.1,
              "top": [["A", [["A", -0.1], ["B", -2.0], ["A", -3.0]]]]}  # fmt: skip
    made = _completion(r, answer, processed=False)
    assert made.top_logprobs[0].top == pytest.approx({"A": math.log(math.exp(-0.1) + math.exp(-3.0)), "B": -2.0})
    assert _completion(replace(r, sampling=Sampling(0.7)), answer, processed=False).top_logprobs is None
    assert _completion(r, {**answer, "top": None}, processed=False).top_logprobs is None


def test_the_worker_of_vllm_turns_its_rows_into_texts(nursery):
    worker = Worker.__new__(Worker)
    worker._prompts = nursery.prompts
    ids = nursery.tokenizer("7 8", add_special_tokens=False)["input_ids"]
    rows = [{i: SimpleNamespace(logprob=-0.5)} for i in ids]
    found = worker._top(SimpleNamespace(token_ids=ids, logprobs=rows))
    assert "".join(token for token, _ in found) == "7 8"
    assert [pairs for _, pairs in found] == [[(token, -0.5)] for token, _ in found]


def test_compiled_decoding_draws_as_any_other():
    assert SlotGroup.draw is Group.draw
