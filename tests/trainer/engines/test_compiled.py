"""The transformers engine with `compile = true` against itself without, on the CPU."""

import dataclasses
import gc
import weakref

import pytest
import torch

from trainer.engines import compiled, load_engine
from trainer.engines.contract import EngineError, Request, Sampling, sample_seed
from trainer.engines.decoding import Group, Row
from trainer.engines.slots import SlotGroup, Slots, rounded_columns, rounded_rows
from trainer.engines.transformers import TransformersEngine
from trainer.nursery.tasks import generate_tasks
from warehouse.settings import EngineSettings, PolicySettings

# The compiler itself uses what torch declares deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
PROMPTS = [t.prompt for t in generate_tasks(15, seed=8)]
PROMPTS += ["Write these words in reverse order: " + "sun tree bird stone river " * n for n in (6, 30)]


def requests(samples=3, **sampling):
    found = []
    for prompt in PROMPTS:
        for sample in range(samples):
            seed = sample_seed(0, prompt, "scored", sample)
            limit = Sampling(**{"max_tokens": 24, **sampling})
            found.append(Request(prompt, "scored", sample, (("user", prompt),), None, seed, limit))
    return found


def texts(engine, asked):
    return {(c.prompt_id, c.sample): (c.response, c.finish_reason, c.response_tokens) for c in engine.generate(asked)}


@pytest.fixture(scope="module")
def fast():
    """An engine whose steps are compiled once, by whichever test is first."""
    return TransformersEngine("nursery", batch_size=16, compile=True)


def in_slots(monkeypatch, *, batch_size=16, fixed_shapes=False):
    """Return an engine that decodes in slots as a compiled one does, but computes as it is; nothing is recorded."""
    engine = TransformersEngine("nursery", batch_size=batch_size, compile=True)
    engine.decoder._step = engine.decoder._forward
    engine.decoder.fixed_shapes = fixed_shapes
    monkeypatch.setattr(compiled, "_captured", lambda work, _pool: work)
    return engine


def test_rounded_sizes_are_few():
    columns = [rounded_columns(n) for n in range(1, 4097)]
    assert all(n <= c <= max(n + 31, 1.25 * n) and c % 32 == 0 for n, c in enumerate(columns, 1))
    assert len(set(columns)) <= 4 + 4 * 5
    assert [rounded_rows(n, 12) for n in range(1, 13)] == [2, 2, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12]


@pytest.mark.parametrize("fixed_shapes", [False, True])
@pytest.mark.parametrize("batch_size", [1, 5, 16])
def test_slots_change_no_text(nursery, monkeypatch, batch_size, fixed_shapes):
    engine = in_slots(monkeypatch, batch_size=batch_size, fixed_shapes=fixed_shapes)
    for asked in (requests(1, temperature=0.0), requests(), requests(2, max_tokens=40, temperature=1.5)):
        assert texts(engine, asked) == texts(nursery, asked)


def test_rounded_shapes_are_recorded_once_each(monkeypatch):
    engine = in_slots(monkeypatch, fixed_shapes=True)
    recorded = []
    record = engine.decoder._record

    def counted(inputs, length, slots):
        recorded.append((inputs.shape[1], length))
        return record(inputs, length, slots)

    monkeypatch.setattr(engine.decoder, "_record", counted)
    asked = requests()
    texts(engine, asked)
    assert {rows for rows, _ in recorded} <= {2, 4, 8, 16}
    before = len(recorded)
    texts(engine, asked)
    texts(engine, asked[::2])
    assert len(recorded) - before <= 2  # the slots, and their addresses, are those of the first time
    assert len(engine.decoder.recordings) < 40


def test_two_streams_at_once_do_not_mix(nursery, monkeypatch):
    engine = in_slots(monkeypatch)
    one, other = requests(1), requests(1, temperature=1.4)
    first, second = engine.generate(one), engine.generate(other)
    found = [{}, {}]
    for streams in zip(first, second, strict=True):
        for into, c in zip(found, streams, strict=True):
            into[c.prompt_id, c.sample] = (c.response, c.finish_reason, c.response_tokens)
    assert found == [texts(nursery, one), texts(nursery, other)]


def test_slots_keep_what_is_there_when_they_grow():
    slots, like = Slots(), [torch.zeros(1, 2, 1, 4)]
    slots.reserve(like, like, 2, 32)
    stamp, keys = slots.stamp, slots.keys[0].normal_()
    slots.reserve(like, like, 2, 32)
    assert slots.stamp is stamp
    slots.reserve(slots.keys, slots.values, 4, 64)
    assert slots.stamp is not stamp
    assert torch.equal(slots.keys[0][:2, :, :64], keys)
    assert not slots.keys[0][2:].any()
    assert (slots.columns, slots.keys[0].shape) == (64, (4, 2, 96, 4))


def greedy(engine):
    """Return the tokens of every prompt."""
    rows = [Row(r, p := engine.prompts.encode(r), engine.prompts.room(p, r)) for r in requests(1, temperature=0.0)]
    list(engine._decode(rows))
    return {r.request.prompt_id: (r.prompt, r.tokens) for r in rows}


def test_greedy_texts_are_the_same_up_to_ties(nursery, fast):
    ours, theirs = greedy(fast), greedy(nursery)
    for name, (prompt, tokens) in theirs.items():
        other = ours[name][1]
        if other != tokens:
            same = next(i for i, (a, b) in enumerate(zip(tokens, other, strict=False)) if a != b)
            with torch.inference_mode():
                logits = nursery.model(input_ids=torch.tensor([prompt + tokens[:same]])).logits[0, -1]
            best = logits.log_softmax(dim=-1).topk(2)
            assert set(best.indices.tolist()) == {tokens[same], other[same]}
            assert float(best.values[0] - best.values[1]) < 1e-3


def test_sampled_texts_are_nearly_always_the_same(nursery, fast):
    asked = requests(8)
    ours, theirs = texts(fast, asked), texts(nursery, asked)
    assert sum(ours[k] != t for k, t in theirs.items()) <= len(theirs) // 100


def test_log_probabilities_agree(nursery, fast):
    asked = requests(1)
    ours = {c.prompt_id: c for c in fast.generate(asked)}
    for c in nursery.generate(asked):
        if ours[c.prompt_id].response == c.response:
            assert ours[c.prompt_id].logprob_sum == pytest.approx(c.logprob_sum, abs=1e-3)


def test_whatever_joins_and_leaves_is_compiled_once(fast, monkeypatch):
    shapes, joins = set(), []
    step, join = fast.decoder.step, SlotGroup.join

    def seen(tokens, positions, length, slots):
        shapes.add((len(tokens), length, slots.keys[0].shape))
        return step(tokens, positions, length, slots)

    monkeypatch.setattr(fast.decoder, "step", seen)
    monkeypatch.setattr(SlotGroup, "join", lambda group, other: (joins.append(other), join(group, other)))
    texts(fast, requests(6))
    texts(fast, requests(1, max_tokens=2))
    texts(fast, requests(1)[:1])
    texts(fast, [dataclasses.replace(r, messages=(("user", "sun " * 300),)) for r in requests(1)[:3]])
    assert len(joins) > 5
    assert len(shapes) > 20
    assert fast.decoder.compilations == 1


def test_shapes_that_the_compiler_fixes_end_in_an_error_and_not_in_a_storm(monkeypatch):
    monkeypatch.setattr(torch._dynamo, "mark_dynamic", lambda *_: None)
    monkeypatch.setattr(torch._inductor, "compile", lambda graph, _inputs: graph)
    engine = TransformersEngine("nursery", batch_size=16, compile=True)
    with (
        torch._dynamo.config.patch(assume_static_by_default=True, automatic_dynamic_shapes=False),
        pytest.raises(EngineError, match=r"Limit.*set compile = false"),
    ):
        texts(engine, requests(1))
    assert engine.decoder.compilations == compiled.LIMIT


@pytest.fixture
def no_compiler():
    names = {"cpp.cxx": ("/nowhere/g++",), "force_disable_caches": True}
    with torch._inductor.config.patch(names):
        yield


def test_without_a_compiler_there_is_one_line_and_what_is_finished_is_kept(no_compiler):
    engine = TransformersEngine("nursery", batch_size=16, compile=True)
    asked = requests(1)[:4]
    asked[0] = dataclasses.replace(asked[0], sampling=Sampling(max_tokens=1))
    kept = []
    with pytest.raises(EngineError) as found:
        kept.extend(engine.generate(asked))
    message = str(found.value)
    assert message.startswith("engine.compile: ")
    assert "\n" not in message
    assert "No working C++ compiler" in message
    assert "install them, or set compile = false" in message
    assert [c.prompt_id for c in kept] == [asked[0].prompt_id]


def test_a_model_that_forgets_positions_is_refused(monkeypatch):
    engine = in_slots(monkeypatch)
    monkeypatch.setattr(Group, "joinable", False)
    with pytest.raises(EngineError, match="do not keep every position; set compile = false"):
        texts(engine, requests(1))


def test_the_setting_reaches_the_engine_and_is_off_by_default(nursery):
    assert nursery.decoder is None
    engine = load_engine(PolicySettings(batch_size=4), EngineSettings(compile=True))
    assert engine.decoder.compilations == 0


def test_closing_frees_the_weights(monkeypatch):
    engine = in_slots(monkeypatch)
    texts(engine, requests(1)[:2])
    weights = weakref.ref(next(engine.model.parameters()))
    engine.close()
    engine.close()
    gc.collect()
    assert weights() is None
