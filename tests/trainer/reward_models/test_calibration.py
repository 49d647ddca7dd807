"""Where rewards lie: measured over the pairs of a training, kept with the weights, told by the loaded model."""

import json
from statistics import fmean, pstdev

import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from trainer.engines.weights import NURSERY
from trainer.reward_models.about import Calibration, member
from trainer.reward_models.calibration import calibrate
from trainer.reward_models.model import Scored, load_reward_model, save_reward_model
from trainer.reward_models.pairs import Pair
from trainer.reward_models.recipes import RECIPES
from trainer.reward_models.settings import TrainSettings
from trainer.reward_models.training import train

SETTINGS = TrainSettings(rate=1e-3, head_rate=1e-2, batch=8, max_length=64, device="cpu", dtype="float32")
PAIRS = [
    Pair(f"p{n}", (("user", f"What is {n} + 1?"),), f"It is {n + 1}.", "I do not know." + " No." * (n % 3))
    for n in range(12)
]


@pytest.fixture(params=["bt", "heads", "brme"])
def trained(request):
    return request.param, train(PAIRS, "nursery", RECIPES[request.param], SETTINGS)


def test_it_is_mean_and_spread_of_the_nominal_rewards(trained, tmp_path):
    name, done = trained
    save_reward_model(done, RECIPES[name], tmp_path)
    model = load_reward_model(str(tmp_path), device="cpu", dtype="float32")
    rewards = [s.nominal for s in model.score((p.messages, t) for p in PAIRS for t in (p.chosen, p.rejected))]
    assert model.centre == pytest.approx(fmean(rewards), abs=1e-5)
    assert model.scale == pytest.approx(pstdev(rewards), rel=1e-4)
    assert (model.centre, model.scale) == tuple(calibrate(done))
    assert json.loads((tmp_path / "reward_model.json").read_text())["calibration"] == {
        "centre": model.centre,
        "scale": model.scale,
    }
    known = member(str(tmp_path))
    assert known.calibration == (model.centre, model.scale)
    assert known.fingerprint == model.fingerprint


def test_a_model_saved_without_it_and_one_whose_rewards_are_all_the_same(trained, tmp_path):
    name, done = trained
    with torch.no_grad():
        done.network.head.out.weight.zero_()
        done.network.head.out.bias.fill_(0.3)
    assert calibrate(done) == Calibration(pytest.approx(0.3, abs=1e-6), 1.0)
    save_reward_model(done, RECIPES[name], tmp_path)
    about = json.loads((tmp_path / "reward_model.json").read_text())
    del about["calibration"]
    (tmp_path / "reward_model.json").write_text(json.dumps(about))
    model = load_reward_model(str(tmp_path), device="cpu")
    assert (model.centre, model.scale) == (0.0, 1.0)


def test_a_sequence_classification_has_none(tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(NURSERY)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=1, intermediate_size=32,
        num_labels=1, pad_token_id=0,
    )  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = load_reward_model(str(tmp_path), device="cpu")
    assert (model.centre, model.scale) == (0.0, 1.0)


def test_the_nominal_reward_is_of_the_surest_head():
    assert Scored((1.0, 5.0, 3.0), (0.3, 0.1, 0.2)).nominal == 5.0
    assert Scored((1.0, 5.0, 3.0)).nominal == 3.0
    assert Scored(None, problem="empty_response: x").nominal is None
