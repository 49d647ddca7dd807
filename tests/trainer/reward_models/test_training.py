"""Reward models on real trunks: they learn, go on exactly after a kill, and say what is wrong with what they get."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from trainer.engines.weights import NURSERY, ModelError
from trainer.reward_models import entry, loop
from trainer.reward_models.ensemble import train_members, votes
from trainer.reward_models.features import TrunkCache
from trainer.reward_models.loop import CHECKPOINT, TrainingError
from trainer.reward_models.model import RewardModel, load_reward_model, save_reward_model
from trainer.reward_models.network import build_network
from trainer.reward_models.pairs import ConversationError, Pair
from trainer.reward_models.recipes import RECIPES, recipe_of
from trainer.reward_models.settings import TrainSettings
from trainer.reward_models.training import Trained, train
from warehouse.curation.strength import Rule, strength
from warehouse.settings import RewardTrainingSettings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("one_thread")  # the trunks are too small for more

SETTINGS = TrainSettings(
    rate=1e-3, head_rate=3e-3, batch=16, micro=8, epochs=2, max_length=200, device="cpu", dtype="float32"
)
FROZEN = replace(SETTINGS, tune="frozen", head_rate=2e-2, epochs=4)


def sums(count: int, seed: int, *, wrong: float = 0.0) -> list[Pair]:
    """Return pairs of a right and a wrong sum; a share of the labels is turned round."""
    rng, found = Random(seed), []
    for i in range(count):
        a, b = rng.randint(1, 9), rng.randint(1, 9)
        right, off = f"{a} + {b} = {a + b}", f"{a} + {b} = {a + b + rng.choice([-1, 1, 2])}"
        if rng.random() < wrong:
            right, off = off, right
        strength = rng.gauss(1, 1)
        found.append(Pair(f"{seed}-{i}", (("user", f"What is {a} + {b}?"),), right, off, strength=strength))
    return found


def style(count: int, seed: int) -> list[Pair]:
    """Return pairs that any features can tell apart: a polite and a rude answer."""
    rng, found = Random(seed), []
    for i in range(count):
        n = rng.randint(10, 99)
        messages = (("user", f"Tell me about {n}."),)
        kind, rude = f"Thank you for asking about {n}! It is a number.", f"Why {n}? Go away."
        found.append(Pair(f"{seed}-{i}", messages, kind, rude, strength=rng.gauss(1, 1)))
    return found


def accuracy(model: RewardModel, pairs: list[Pair]) -> float:
    texts = [(p.messages, text) for p in pairs for text in (p.chosen, p.rejected)]
    rewards = [sum(s.mean or ()) for s in model.score(texts)]
    return sum(a > b for a, b in zip(rewards[::2], rewards[1::2], strict=True)) / len(pairs)


def saved(trained: Trained, recipe: str, folder: Path) -> RewardModel:
    save_reward_model(trained, RECIPES[recipe], folder)
    return load_reward_model(str(folder), device="cpu")


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return dict(trained.network.state_dict())


@pytest.mark.parametrize("name", [n for n in RECIPES if n != "metarm"])
def test_every_recipe_learns_and_is_the_same_when_loaded(name: str, tmp_path: Path) -> None:
    settings = SETTINGS if RECIPES[name].text else FROZEN
    trained = train(style(96, 1), "nursery", RECIPES[name], settings)
    model = saved(trained, name, tmp_path)
    held = style(40, 2)
    assert accuracy(model, held) > 0.9
    own = RewardModel(trained.network, trained.tokenizer, trained.encoder, "x")
    texts = [(p.messages, p.chosen) for p in held]
    assert list(model.score(texts)) == list(own.score(texts)), "what is saved is what was trained"
    scored = next(model.score(texts))
    assert len(scored.mean or ()) == RECIPES[name].heads
    assert (scored.std is None) == (RECIPES[name].head != "gaussian")


def test_the_whole_trunk_learns_what_frozen_features_do_not_hold(tmp_path: Path) -> None:
    pairs, held = sums(400, 1), sums(100, 2)
    frozen = saved(train(pairs, "nursery", RECIPES["bt"], FROZEN), "bt", tmp_path / "frozen")
    whole = saved(train(pairs, "nursery", RECIPES["bt"], replace(SETTINGS, epochs=5)), "bt", tmp_path / "whole")
    assert accuracy(whole, held) > accuracy(frozen, held) + 0.1


def test_weights_that_learn_take_up_small_steps_though_they_compute_in_bfloat16() -> None:
    """At the default rate most steps are below the last digit of a weight in bfloat16."""
    one = replace(SETTINGS, rate=1e-5, epochs=1)
    before = dict(build_network(NURSERY, RECIPES["bt"]).trunk.named_parameters())
    for dtype in ("float32", "bfloat16"):
        network = train(style(48, 2), "nursery", RECIPES["bt"], replace(one, dtype=dtype)).network
        assert {p.dtype for p in network.parameters()} == {torch.float32}
        inner = {n: p for n, p in network.trunk.named_parameters() if "embed" not in n}
        moved = sum(int((p != before[n]).sum()) for n, p in inner.items())
        assert moved > 0.9 * sum(p.numel() for p in inner.values())
    frozen = train(style(8, 2), "nursery", RECIPES["bt"], replace(FROZEN, dtype="bfloat16", epochs=1)).network
    assert {p.dtype for p in frozen.trunk.parameters()} == {torch.bfloat16}


def test_metarm_takes_its_gradient_at_the_meta_step() -> None:
    """The same batch with and without: only the gradient's place differs, and the weights start where they were."""
    pairs, answers = style(32, 3), [f"It is {i}." for i in range(4)]
    meta = [((("user", "Tell me about 5."),), answers)]
    one = replace(SETTINGS, epochs=1, batch=32, micro=32, clip=1e9)
    plain = train(pairs, "nursery", RECIPES["bt"], one)
    tiny = train(pairs, "nursery", replace(RECIPES["metarm"], meta_rate=1e-12), one, meta=meta)
    large = train(pairs, "nursery", replace(RECIPES["metarm"], meta_rate=1.0), one, meta=meta)
    same = weights(plain)
    assert all(torch.allclose(v, same[n], atol=1e-6) for n, v in weights(tiny).items())
    assert any(not torch.allclose(v, same[n], atol=1e-5) for n, v in weights(large).items())
    with pytest.raises(ValueError, match="come together"):
        train(pairs, "nursery", RECIPES["metarm"], one)


@pytest.mark.parametrize(
    ("name", "killed_after"), [("bt", 3), ("grm-dpo", 4), ("simcse", 1), ("swav", 3), ("brme", 5), ("metarm", 4)]
)
def test_a_killed_training_goes_on_as_if_nothing_had_happened(
    name: str, killed_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, settings = style(24, 4), replace(SETTINGS, batch=8, checkpoint_steps=2, second_epochs=2)
    recipe = replace(RECIPES[name], dropout=0.1)
    meta = [((("user", f"Tell me about {i}."),), ["One.", "Two!", "Go."]) for i in range(3)] if name == "metarm" else ()
    whole = train(pairs, "nursery", recipe, settings, meta=meta)
    save, steps = loop.Loop.step, {"done": 0}

    def dying(self: loop.Loop, *arguments: Any, **named: Any) -> float:
        if steps["done"] == killed_after:
            raise KeyboardInterrupt
        steps["done"] += 1
        return save(self, *arguments, **named)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop.Loop, "step", dying)
        train(pairs, "nursery", recipe, settings, tmp_path, meta=meta)
        raise KeyboardInterrupt  # of a training that had fewer steps
    again = train(pairs, "nursery", recipe, settings, tmp_path, meta=meta)
    assert all(torch.equal(v, weights(again)[n]) for n, v in weights(whole).items())
    # Another training in the same folder does not take up this one's checkpoint.
    other = train(style(24, 5), "nursery", recipe, settings, tmp_path, meta=meta)
    assert len(other.losses) == len(whole.losses)


def test_other_unlabelled_responses_make_another_model(tmp_path: Path) -> None:
    asked = {"recipe": "metarm", "tune": "frozen", "epochs": 1, "max_length": 64, "device": "cpu"}
    chosen = RewardTrainingSettings.model_validate(asked)
    first, other = ([((("user", "Tell me."),), ["One.", end])] for end in ("Two!", "Go."))
    [made] = entry.train_members(style(16, 6), chosen, tmp_path, meta=first)
    assert entry.train_members(style(16, 6), chosen, tmp_path, meta=first) == [made]
    with pytest.raises(ValueError, match="of other pairs or settings"):
        entry.train_members(style(16, 6), chosen, tmp_path, meta=other)


def test_accumulation_changes_nothing_but_the_order_of_sums() -> None:
    pairs, one = style(32, 6), replace(SETTINGS, epochs=1)
    coarse = train(pairs, "nursery", RECIPES["margin"], replace(one, micro=16))
    fine = train(pairs, "nursery", RECIPES["margin"], replace(one, micro=4))
    assert coarse.losses == pytest.approx(fine.losses, rel=1e-4)


def test_a_loss_that_is_no_number_stops_it_and_the_last_checkpoint_stays(tmp_path: Path) -> None:
    pairs = style(64, 7)
    pairs[40] = replace(pairs[40], strength=float("nan"))
    settings = replace(SETTINGS, epochs=1, batch=8, micro=4, checkpoint_steps=1, seed=1)
    with pytest.raises(TrainingError) as error:
        train(pairs, "nursery", RECIPES["margin"], settings, tmp_path)
    told = str(error.value)
    assert "the loss is nan for pairs " in told
    assert "7-40" in told
    kept = tmp_path / "first" / CHECKPOINT
    step = int(told.split("step ")[1].split(" ")[0])
    assert step > 1, "the first batch does not hold that pair"
    assert f"the checkpoint of step {step - 1} is kept in {kept}" in told
    assert loop.Loop._meta(kept)["done"] == step - 1


def test_what_cannot_be_learnt_from_is_counted_and_named() -> None:
    pairs = style(20, 8)
    question = pairs[0].messages
    bad = [
        Pair("same", question, "Yes. ", " Yes."),
        Pair("empty", question, "Yes.", "  "),
        Pair("long", question, "word " * 400, "Yes."),
        Pair("8-3", question, "Yes.", "No."),
    ]
    trained = train([*pairs, *bad], "nursery", RECIPES["bt"], FROZEN)
    assert trained.excluded.counts == {"equal_texts": 1, "empty_response": 1, "too_long": 1, "repeated_id": 1}
    assert str(trained.excluded).startswith("1 equal_texts (same); 1 empty_response (empty)")
    assert len(trained.pairs) == 20
    with pytest.raises(TrainingError, match="none of 1 pairs can be learnt from: 1 equal_texts"):
        train(bad[:1], "nursery", RECIPES["bt"], FROZEN)


def test_what_cannot_be_scored_is_null_with_a_reason(tmp_path: Path) -> None:
    model = saved(train(style(32, 9), "nursery", RECIPES["bt"], FROZEN), "bt", tmp_path)
    question = (("user", "Hi"),)
    rows = list(model.score([(question, "Hello."), (question, " "), (question, "word " * 500), (question, "Bye.")]))
    assert [r.mean is None for r in rows] == [False, True, True, False]
    assert rows[1].problem == "empty_response: there is nothing to score"
    assert (rows[2].problem or "").startswith("too_long: ")


def test_rewards_do_not_depend_on_what_is_scored_beside_them(tmp_path: Path) -> None:
    model = saved(train(style(32, 10), "nursery", RECIPES["bt-mlp"], FROZEN), "bt-mlp", tmp_path)
    texts = [((("user", f"{i}"),), "word " * (1 + 7 * i % 31)) for i in range(70)]
    together = [s.mean for s in model.score(texts)]
    alone = [next(model.score([text])).mean for text in texts]
    assert [m[0] for m in together if m] == pytest.approx([m[0] for m in alone if m], abs=1e-4)


def encoder_trunk(folder: Path) -> None:
    torch.manual_seed(0)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(NURSERY)
    tokenizer.chat_template = None
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(tokenizer), **size)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def test_an_encoder_is_a_trunk_too(tmp_path: Path) -> None:
    encoder_trunk(tmp_path / "bert")
    trained = train(style(96, 11), str(tmp_path / "bert"), RECIPES["bt"], replace(SETTINGS, head_rate=1e-2))
    assert not trained.network.causal
    assert trained.encoder.plain
    assert accuracy(saved(trained, "bt", tmp_path / "made"), style(40, 12)) > 0.9
    with pytest.raises(ValueError, match="needs a causal language model"):
        train(style(8, 1), str(tmp_path / "bert"), RECIPES["grm-sft"], SETTINGS)


def test_a_checkpoint_of_a_sequence_classification_is_a_reward_model(tmp_path: Path) -> None:
    model = LlamaForSequenceClassification.from_pretrained(NURSERY, num_labels=1)
    model.save_pretrained(tmp_path)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(NURSERY)
    tokenizer.save_pretrained(tmp_path)
    ours = load_reward_model(str(tmp_path), device="cpu")
    texts = [((("user", f"{i}?"),), "word " * (1 + i)) for i in range(9)]
    for (messages, response), scored in zip(texts, ours.score(texts), strict=True):
        turns = [*({"role": r, "content": c} for r, c in messages), {"role": "assistant", "content": response}]
        tokens = tokenizer(tokenizer.apply_chat_template(turns, tokenize=False), return_tensors="pt")
        wanted = float(model(input_ids=tokens["input_ids"]).logits.detach())
        assert (scored.mean or (0,))[0] == pytest.approx(wanted, abs=1e-4)


def test_what_is_no_reward_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nursery is no reward model"):
        load_reward_model("nursery")
    with pytest.raises(ModelError, match="no such folder"):
        load_reward_model(str(tmp_path / "nothing"))


def test_a_trunk_without_a_chat_template_is_one_clear_message(tmp_path: Path) -> None:
    for path in NURSERY.iterdir():
        if path.suffix != ".jinja":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    about = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({k: v for k, v in about.items() if k != "chat_template"})
    )
    with pytest.raises(ConversationError, match="the tokenizer has none; use an instruct model, or plain = true"):
        train(style(8, 1), str(tmp_path), RECIPES["bt"], FROZEN)
    plain = train(style(64, 13), str(tmp_path), RECIPES["bt"], replace(FROZEN, plain=True))
    assert plain.encoder.plain


def test_log_probabilities_are_those_of_the_model() -> None:
    """Against transformers' own loss, response by response."""
    from transformers import AutoModelForCausalLM

    from trainer.reward_models.pairs import ConversationEncoder, collate

    tokenizer = PreTrainedTokenizerFast.from_pretrained(NURSERY)
    encoder = ConversationEncoder(tokenizer, 200)
    rows = [encoder.encode(p.messages, p.chosen) for p in (*style(3, 1), *sums(3, 1))]
    network = build_network(NURSERY, recipe_of("grm-sft")).eval()
    batch = collate(rows, int(tokenizer.pad_token_id))
    with torch.no_grad():
        told = network.log_probability(network.pool(batch).hidden, batch)
        model = AutoModelForCausalLM.from_pretrained(NURSERY)
        for row, mine in zip(rows, told, strict=True):
            labels = torch.tensor([[-100] * row.prompt + row.tokens[row.prompt :]])
            loss = model(input_ids=torch.tensor([row.tokens]), labels=labels).loss
            assert float(mine) == pytest.approx(-float(loss) * (len(row.tokens) - row.prompt), rel=1e-4)


def test_low_rank_adapters_learn_and_are_merged_when_saved(tmp_path: Path) -> None:
    settings = replace(SETTINGS, tune="lora", rate=1e-2, lora_rank=4, lora_alpha=8)
    trained = train(style(64, 14), "nursery", RECIPES["bt"], settings)
    trainable = [n for n, p in trained.network.trunk.named_parameters() if p.requires_grad]
    assert trainable
    assert all("lora_" in n for n in trainable)
    held = style(40, 15)
    texts = [(p.messages, p.chosen) for p in held]
    before = [s.mean for s in RewardModel(trained.network, trained.tokenizer, trained.encoder, "x").score(texts)]
    model = saved(trained, "bt", tmp_path)
    assert accuracy(model, held) > 0.9
    assert not any("lora" in n for n in dict(model.network.named_parameters()))
    assert [s.mean[0] for s in model.score(texts)] == pytest.approx([m[0] for m in before], abs=1e-3)


def test_an_untied_language_model_head_learns_at_the_rate_of_the_trunk(tmp_path: Path) -> None:
    """It was trained before; what starts from nothing is the reward head. Adapters leave it as it is."""
    model = LlamaForCausalLM.from_pretrained(NURSERY)
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.config.tie_word_embeddings = False
    model.save_pretrained(tmp_path)
    PreTrainedTokenizerFast.from_pretrained(NURSERY).save_pretrained(tmp_path)
    before = model.lm_head.weight.detach()
    lora = replace(SETTINGS, tune="lora", rate=1e-2, lora_rank=4, lora_alpha=8)
    for settings, same in ((replace(SETTINGS, rate=0.0), True), (SETTINGS, False), (lora, True)):
        trained = train(style(32, 16), str(tmp_path), RECIPES["grm-sft"], settings)
        assert trained.network.lm_head is not None
        assert torch.equal(trained.network.lm_head.weight.detach(), before) == same


def test_votes_of_members_and_of_heads(tmp_path: Path) -> None:
    pairs = style(24, 16)
    members = train_members(pairs, "nursery", RECIPES["bt"], FROZEN, 3, cache=TrunkCache())
    assert len({tuple(m.losses) for m in members}) == 3, "each has an order of its own"
    models = [saved(m, "bt", tmp_path / str(i)) for i, m in enumerate(members)]
    heads = saved(train(pairs, "nursery", RECIPES["heads"], FROZEN), "heads", tmp_path / "heads")
    long = Pair("long", pairs[0].messages, "word " * 500, "No.")
    told = votes([*models, heads], [*pairs, long])
    assert told.height == 25 * 8
    assert told.filter(pl.col("pair_id") == "long")["difference"].null_count() == 8
    assert (told.drop_nulls()["difference"] > 0).mean() > 0.9
    assert strength(told, Rule()).filter(pl.col("pair_id") == "long")["votes"].item() == 0
