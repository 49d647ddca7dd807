"""The transformers engine against itself in other batches, and against `generate` of transformers."""

import dataclasses
import json
import math
import random
import shutil

import pytest
import torch

from trainer.engines.contract import EngineError, Request, Sampling, sample_seed
from trainer.engines.decoding import Row
from trainer.engines.transformers import TransformersEngine
from trainer.engines.weights import NURSERY, fingerprint
from trainer.nursery.tasks import generate_tasks

TASKS = generate_tasks(12, seed=5)
LONG = "Write these words in reverse order: " + "sun tree bird stone river " * 12


def request(prompt, sample=0, raw=False, name=None, **sampling):
    name = name or prompt
    messages = (("user", prompt),)
    return Request(
        name, "scored", sample, messages, prompt if raw else None, sample_seed(0, name, "scored", sample),
        Sampling(**{"max_tokens": 24, **sampling}),
    )  # fmt: skip


def by_name(completions):
    return {(c.prompt_id, c.role, c.sample): c for c in completions}


def mixed(**sampling):
    prompts = [t.prompt for t in TASKS] + [LONG]
    return [request(p, s, **sampling) for p in prompts for s in range(3)]


def texts(completions):
    return {k: (c.response, c.finish_reason, c.response_tokens) for k, c in by_name(completions).items()}


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0, 1.5])
def test_a_sample_does_not_depend_on_its_batch(nursery, temperature):
    requests = mixed(temperature=temperature)
    whole = texts(nursery.generate(requests))
    assert len(whole) == len(requests)
    random.Random(0).shuffle(requests)
    alone = TransformersEngine("nursery", batch_size=1)
    assert texts(alone.generate(requests)) == whole
    assert texts(nursery.generate(requests[::-1])) == whole


def test_a_resumed_run_gets_the_same_samples(nursery):
    requests = mixed()
    whole = texts(nursery.generate(requests))
    rest = texts(nursery.generate(requests[7::3]))
    assert rest == {k: whole[k] for k in rest}
    assert len(rest) == len(requests[7::3])


def test_log_probabilities_agree_over_batches(nursery):
    requests = mixed()
    batched = by_name(nursery.generate(requests))
    alone = by_name(TransformersEngine("nursery", batch_size=1).generate(requests))
    for name, completion in batched.items():
        assert completion.logprob_sum == pytest.approx(alone[name].logprob_sum, abs=1e-3)


def test_greedy_equals_generate_of_transformers_without_padding(nursery):
    requests = [request(t.prompt, temperature=0.0) for t in TASKS] + [request(LONG, temperature=0.0)]
    for completion in nursery.generate(requests):
        prompt = next(r for r in requests if r.prompt_id == completion.prompt_id).messages[0][1]
        ids = nursery.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        out = nursery.model.generate(**ids, do_sample=False, temperature=None, max_new_tokens=24)
        new = out[0, ids["input_ids"].shape[1] :]
        assert completion.response == nursery.tokenizer.decode(new, skip_special_tokens=True)
        assert completion.prompt_tokens == ids["input_ids"].shape[1]
        assert completion.response_tokens == len(new)


def test_logprob_sum_is_that_of_the_tempered_model(nursery):
    temperature = 0.8
    requests = [request(t.prompt, temperature=temperature) for t in TASKS]
    rows = [Row(r, p := nursery.prompts.encode(r), nursery.prompts.room(p, r)) for r in requests]
    with torch.inference_mode():
        assert len(list(nursery._decode(rows))) == len(rows)
        for row in rows:
            logits = nursery.model(input_ids=torch.tensor([row.prompt + row.tokens])).logits[0]
            logp = torch.log_softmax(logits[len(row.prompt) - 1 : -1].double() / temperature, dim=-1)
            expected = logp[range(len(row.tokens)), row.tokens].sum().item()
            assert row.logprob == pytest.approx(expected, abs=1e-3)


def test_samples_of_one_prompt_differ_and_their_seeds_are_told(nursery):
    completions = list(nursery.generate([request("Compute 83 * 67.", s) for s in range(24)]))
    assert len({c.response for c in completions}) > 4
    assert all(c.seed == sample_seed(0, "Compute 83 * 67.", "scored", c.sample) for c in completions)
    assert all(not c.recorded and c.engine == "transformers" and c.logprob_sum < 0 for c in completions)


def test_frequencies_follow_the_model(nursery):
    """Inverse-CDF sampling with a seed a sample must draw from the model's own distribution."""
    prompt = "What does this Python code print?\nx = 7\nx = x * 8 + 5\nprint(x)"
    n = 2000
    drawn = list(nursery.generate([request(prompt, s, max_tokens=1, temperature=2.0) for s in range(n)]))
    counts = {}
    for c in drawn:
        counts.setdefault((c.response, round(c.logprob_sum, 3)), [0, math.exp(c.logprob_sum)])[0] += 1
    checked = 0
    for count, p in counts.values():
        if p > 0.01:
            checked += 1
            assert abs(count / n - p) < 5 * math.sqrt(p * (1 - p) / n)
    assert checked >= 3


def test_top_p_keeps_to_the_nucleus(nursery):
    narrow = nursery.generate([request("Compute 83 * 67.", s, top_p=1e-6) for s in range(6)])
    greedy = next(nursery.generate([request("Compute 83 * 67.", temperature=0.0)]))
    assert {c.response for c in narrow} == {greedy.response}


def test_finish_reasons_and_stop_strings(nursery):
    prompt = "Repeat the word house 4 times."
    full = next(nursery.generate([request(prompt, temperature=0.0)]))
    assert (full.response, full.finish_reason) == ("house house house house", "stop")
    cut = next(nursery.generate([request(prompt, temperature=0.0, max_tokens=2)]))
    assert cut.finish_reason == "length"
    assert cut.response_tokens == 2
    assert full.response.startswith(cut.response)
    stopped = next(nursery.generate([request(prompt, temperature=0.0, stop=("zzz", "se ho"))]))
    assert (stopped.response, stopped.finish_reason) == ("hou", "stop")


def test_a_longer_limit_only_continues_a_sample(nursery):
    short = by_name(nursery.generate(mixed(max_tokens=4)))
    long = by_name(nursery.generate(mixed(max_tokens=24)))
    assert all(long[k].response.startswith(c.response) for k, c in short.items())


def test_rows_of_one_batch_may_sample_differently(nursery):
    prompt = "Compute 83 * 67."
    requests = [request(prompt, 0, temperature=0.0), request(prompt, 1, temperature=1.3, top_p=0.9), request(prompt, 2)]
    together = texts(nursery.generate(requests))
    alone = {}
    for r in requests:
        alone |= texts(nursery.generate([r]))
    assert together == alone


def test_an_exact_prefix_is_continued_as_it_is(nursery):
    raw = "<|user|>Repeat the word house 3 times.<|end|><|assistant|>house"
    completion = next(nursery.generate([request(raw, raw=True, temperature=0.0)]))
    assert completion.response == " house house"


def test_a_prompt_beyond_the_context_is_an_error_and_not_cut(nursery):
    too_long = request("sun " * 3000)
    good = request(TASKS[0].prompt)
    completions = by_name(nursery.generate([too_long, good]))
    bad = completions[too_long.prompt_id, "scored", 0]
    assert (bad.response, bad.finish_reason, bad.response_tokens, bad.logprob_sum) == (None, "error", None, None)
    assert bad.prompt_tokens > nursery.prompts.context
    assert bad.detail == f"prompt_too_long: {bad.prompt_tokens} tokens, and nursery takes 1024 with the response"
    assert completions[good.prompt_id, "scored", 0].finish_reason in ("stop", "length")


def test_the_end_of_the_context_is_a_length(nursery):
    words = 2 * nursery.prompts.context
    while len(nursery.tokenizer("sun " * words)["input_ids"]) > nursery.prompts.context - 6:
        words -= 1
    completion = next(nursery.generate([request("sun " * words, max_tokens=500, temperature=3.0)]))
    assert completion.prompt_tokens + completion.response_tokens <= nursery.prompts.context


def test_a_refusing_template_and_a_missing_one(nursery, tmp_path):
    engine = TransformersEngine("nursery")
    engine.tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    (refused,) = engine.generate([request("x")])
    assert refused.finish_reason == "error"
    assert "roles must alternate" in refused.detail
    engine.prompts.chat_template = None
    with pytest.raises(EngineError, match="no chat template"):
        list(engine.generate([request("y")]))


def test_the_fingerprint_sees_what_decides_outputs_and_nothing_else(nursery, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(NURSERY, copy)
    assert fingerprint(copy) == nursery.fingerprint
    (copy / "README.md").write_text("other words")
    assert fingerprint(copy) == nursery.fingerprint
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "rope_theta": 5.0}))
    changed = fingerprint(copy)
    assert changed != nursery.fingerprint
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert fingerprint(copy) not in (changed, nursery.fingerprint)


def test_completions_are_frozen(nursery):
    completion = next(nursery.generate([request("x", max_tokens=1)]))
    with pytest.raises(dataclasses.FrozenInstanceError):
        completion.response = "y"


def test_half_precision_runs_and_fingerprints_the_same_model(nursery):
    engine = TransformersEngine("nursery", dtype="bfloat16")
    assert engine.model.dtype == torch.bfloat16
    assert engine.fingerprint == nursery.fingerprint
    completions = list(engine.generate(mixed()))
    assert len(completions) == len(mixed())
    assert all(math.isfinite(c.logprob_sum) for c in completions)
