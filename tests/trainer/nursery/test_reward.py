"""The shipped reward model: it tells right answers from spoilt ones, and the best of several samples is right."""

import json
from random import Random

import pytest

from trainer.engines.weights import SHIPPED, find_model
from trainer.nursery.answers import PROMPTS, asked, empty_answer, policy_answers, right_answer
from trainer.nursery.pairs import (
    corrupted_pairs,
    held_out_pairs,
    training_pairs,
)  # fmt: skip
from trainer.nursery.quality import quality
from trainer.nursery.reward import RECIPE, SETTINGS, ahead, best_of, main
from trainer.nursery.threads import one_thread
from trainer.reward_models.model import load_reward_model
from trainer.reward_models.pairs import Pair

FOLDER = SHIPPED["nursery-reward"]
SEED = 77  # neither the training's nor that of the README


@pytest.fixture(scope="module")
def model():
    with one_thread():
        yield load_reward_model("nursery-reward", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def own(nursery):
    return policy_answers(nursery, 16, SEED)


def share(right):
    return sum(right) / len(right)


def test_the_shipped_folder_is_whole_and_small():
    assert find_model("nursery-reward") == FOLDER
    assert sum(p.stat().st_size for p in FOLDER.glob("*.safetensors")) <= 4_000_000
    about = json.loads((FOLDER / "reward_model.json").read_text())
    assert (about["recipe"]["head"], about["recipe"]["heads"]) == ("gaussian", 5)
    assert about["recipe"]["second_stage"] == "nll"
    assert "python -m trainer.nursery.reward" in (FOLDER / "README.md").read_text()


def test_right_answers_are_above_corrupted_ones(model):
    pairs = corrupted_pairs(300, SEED)
    assert share(ahead(model, pairs)) > 0.93
    turned = [Pair(p.pair_id, p.messages, p.rejected, p.chosen) for p in pairs]
    assert share(ahead(model, turned)) < 0.07


def test_it_agrees_with_quality_on_the_policys_own_samples(model, own):
    pairs = held_out_pairs(own)
    assert len(pairs) > 300
    assert share(ahead(model, pairs)) > 0.88


def test_the_best_of_some_samples_is_right(model, own):
    best, every = best_of(model, own)
    assert every < 0.92
    assert best > 0.95


def test_empty_talk_is_below_every_right_answer(model):
    rng = Random(SEED)
    pairs = [
        Pair(str(n), (("user", prompt),), right_answer(rng, asked(prompt)), empty_answer(rng))
        for n, prompt in enumerate(PROMPTS * 3)
    ]
    assert share(ahead(model, pairs)) > 0.95


def test_rewards_have_five_heads_and_its_calibration_fits_other_pairs(model, own):
    pairs = training_pairs(own, 300, SEED)
    scored = list(model.score((p.messages, t) for p in pairs for t in (p.chosen, p.rejected)))
    assert {len(s.mean) for s in scored} == {len(s.std) for s in scored} == {5}
    unit = [(s.nominal - model.centre) / model.scale for s in scored]
    mean = sum(unit) / len(unit)
    spread = (sum((u - mean) ** 2 for u in unit) / len(unit)) ** 0.5
    assert abs(mean) < 0.2 and 0.8 < spread < 1.2


def test_pairs_prefer_by_quality_and_never_tie(own):
    for pairs in (training_pairs(own, 200, 1), held_out_pairs(own), corrupted_pairs(100, 1)):
        assert len({p.pair_id for p in pairs}) == len(pairs)
        for p in pairs:
            prompt = p.messages[0][1]
            assert quality(prompt, p.chosen) > quality(prompt, p.rejected)
    assert training_pairs(own, 50, 1) == training_pairs(own, 50, 1) != training_pairs(own, 50, 2)


@pytest.mark.slow
def test_the_command_repeats_byte_for_byte(tmp_path):
    for name in ("a", "b"):
        main(["--out", str(tmp_path / name), "--pairs", "200"])
    for file in ("model.safetensors", "reward_head.safetensors", "reward_model.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert SETTINGS.tune == "full" and RECIPE.heads == 5
