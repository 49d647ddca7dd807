"""The shipped model: small, whole, half competent; and training that repeats."""

import json

import pytest
import torch

from trainer.engines.weights import NURSERY
from trainer.nursery.measure import Cell, pass_rates, table
from trainer.nursery.tasks import generate_tasks
from trainer.nursery.train import Recipe, batches, build_model, loss_on, save, train

TINY = Recipe(steps=3, hidden=64, layers=1, intermediate=64, batch_tokens=512, vocabulary=300)


def test_the_shipped_folder_is_whole_and_small():
    names = {p.name for p in NURSERY.iterdir()}
    assert {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "README.md"} <= names
    assert (NURSERY / "model.safetensors").stat().st_size <= 8_000_000
    config = json.loads((NURSERY / "config.json").read_text())
    assert config["hidden_size"] // config["num_attention_heads"] >= 32
    assert config["nursery_recipe"]["steps"] == Recipe().steps, "the shipped weights are those of the recipe"
    assert "python -m trainer.nursery" in (NURSERY / "README.md").read_text()


def test_the_tokenizer_is_lossless_and_its_tokens_differ(nursery):
    tokenizer = nursery.tokenizer
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    for text in ("What is 3 + 4?", "def f(x):\n    return x  # é 漢 😀\t", "  spaces  "):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    turns = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
    rendered = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert rendered == "<|system|>a<|end|><|user|>b<|end|><|assistant|>"
    ids = tokenizer(rendered)["input_ids"]
    assert len(ids) == 7, "every mark is one token"


def test_pass_rates_spread_between_zero_and_one(nursery):
    tasks = [t for t in generate_tasks(60, 31, {"math": 1.0, "instruction": 1.0}) if t.verifier]
    rates = pass_rates(nursery, tasks, 6, workers=1)
    assert None not in rates
    by_level = {
        n: [r for t, r in zip(tasks, rates, strict=True) if t.level == n] for n in range(1, 6)
    }  # fmt: skip
    means = {n: sum(r) / len(r) for n, r in by_level.items()}
    assert means[1] > 0.6
    assert means[5] < 0.2
    assert means[1] > means[3] > means[5]
    assert sum(0 < r < 1 for r in rates) >= len(rates) / 8


def test_training_repeats_byte_for_byte(tmp_path):
    for name in ("a", "b"):
        model, tokenizer = train(TINY)
        save(model, tokenizer, TINY, tmp_path / name)
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_loss_covers_answers_alone():
    _, tokenizer = train(Recipe(**{**TINY.__dict__, "steps": 0}))
    model = build_model(TINY, tokenizer)
    tokens, labels = next(batches(TINY, tokenizer))
    wanted = labels != -100
    assert torch.equal(labels[wanted], tokens[wanted])
    first = int(wanted[0].int().argmax())
    assert tokens[0, first - 1] == tokenizer.convert_tokens_to_ids("<|assistant|>")
    assert (labels[:, -1] == tokenizer.eos_token_id).any()
    before = loss_on(model, tokens, labels)
    padding = tokens == tokenizer.pad_token_id
    assert torch.isclose(before, loss_on(model, tokens.masked_fill(padding, 9), labels), atol=1e-6)


def test_the_table_shows_mean_and_spread():
    cells = [Cell("math", 1, (1.0, 0.5)), Cell("math", 2, (0.0, 0.0)), Cell("code", 1, (0.25, 0.75))]
    assert table(cells).splitlines() == [
        "| domain | level 1 | level 2 |",
        "|---|---|---|",
        "| math | 0.75 (0.50) | 0.00 (0.00) |",
        "| code | 0.50 (1.00) |  |",
    ]


@pytest.mark.slow
def test_a_short_training_lowers_the_loss():
    losses = []
    train(Recipe(steps=200), lambda _, loss: losses.append(loss))
    assert losses[1] < 0.7 * losses[0]
