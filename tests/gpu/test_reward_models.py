"""Reward models on a GPU: they learn in bfloat16 as they do on the CPU, and give the same rewards."""

from dataclasses import replace
from statistics import mean

import pytest
import torch

from tests.gpu.world import DEVICE, MARKS, apart, style
from trainer.reward_models import loop
from trainer.reward_models.model import load_reward_model, save_reward_model
from trainer.reward_models.recipes import RECIPES
from trainer.reward_models.settings import TrainSettings
from trainer.reward_models.training import train

pytestmark = MARKS
SETTINGS = TrainSettings(
    rate=1e-3, head_rate=3e-3, batch=16, micro=8, epochs=3, max_length=200, device=DEVICE, dtype="bfloat16"
)
ON_CPU = {"device": "cpu", "dtype": "float32"}
PAIRS, HELD = style(96, 1), style(100, 2)
FIRST = 3 * 96 // 16  # steps of the first stage


def rewards(model, pairs=HELD):
    texts = [(p.messages, text) for p in pairs for text in (p.chosen, p.rejected)]
    return [s.nominal for s in model.score(texts)]


def accuracy(found):
    return mean(a > b for a, b in zip(found[::2], found[1::2], strict=True))


def ranks(values):
    return torch.tensor(values, dtype=torch.float64).argsort().argsort().double()


def rank_correlation(one, other):
    return float(torch.corrcoef(torch.stack([ranks(one), ranks(other)]))[0, 1])


@pytest.fixture(scope="module", params=["bt", "brme"])
def made(request, device, tmp_path_factory):
    """Return a recipe's name, what was trained on the device, and the folders of it and of the CPU's."""
    recipe, folder = RECIPES[request.param], tmp_path_factory.mktemp(request.param)
    trained = train(PAIRS, "nursery", recipe, SETTINGS)
    save_reward_model(trained, recipe, folder / "device")
    save_reward_model(train(PAIRS, "nursery", recipe, replace(SETTINGS, **ON_CPU)), recipe, folder / "cpu")
    return trained, folder


def test_it_learns_in_bfloat16_as_well_as_the_cpu_does(made, note):
    trained, folder = made
    losses = trained.losses[:FIRST]
    ours, theirs = (accuracy(rewards(load_reward_model(str(folder / n), **ON_CPU))) for n in ("device", "cpu"))
    note(first_loss=mean(losses[:3]), last_loss=mean(losses[-3:]), accuracy=float(ours), cpu_accuracy=float(theirs))
    assert mean(losses[-3:]) < 0.7 * mean(losses[:3])
    assert ours > 0.9 and abs(ours - theirs) <= 0.05


def test_rewards_are_those_of_fp32_and_of_the_cpu(made, note):
    _, folder = made
    found = {
        name: rewards(load_reward_model(str(folder / "device"), device=where, dtype=dtype))
        for name, where, dtype in (
            ("cpu", "cpu", "float32"), ("float32", DEVICE, "float32"), ("bfloat16", DEVICE, "bfloat16")
        )
    }  # fmt: skip
    off = max(abs(a - b) for a, b in zip(found["cpu"], found["float32"], strict=True))
    same = rank_correlation(found["float32"], found["bfloat16"])
    note(fp32_off=off, rank_correlation=same)
    assert off < 1e-3
    assert same > 0.95  # right answers have nearly the same reward, which bfloat16 cannot tell apart


def test_small_rates_move_the_trunk():
    """The default rate is far below what a weight in bfloat16 can take up: the weights that learn are in fp32."""
    small = replace(SETTINGS, rate=1e-5, epochs=1)
    before = load_trunk()
    after = dict(train(PAIRS, "nursery", RECIPES["bt"], small).network.trunk.named_parameters())
    moved = sum(int((p.detach().cpu() != before[n].to(p.dtype)).sum()) for n, p in after.items() if "embed" not in n)
    assert moved > 0.9 * sum(p.numel() for n, p in after.items() if "embed" not in n)


def load_trunk():
    from trainer.engines.weights import NURSERY
    from trainer.reward_models.network import build_network

    return {n: p.detach() for n, p in build_network(NURSERY, RECIPES["bt"]).trunk.named_parameters()}


def test_accumulation_changes_nothing_but_the_order_of_sums():
    one = replace(SETTINGS, epochs=1, dtype="float32")
    coarse, fine = (train(PAIRS, "nursery", RECIPES["bt"], replace(one, micro=m)) for m in (16, 4))
    assert coarse.losses == pytest.approx(fine.losses, rel=1e-3, abs=1e-4)


def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch, note):
    """With dropout, so that the state of the device's random numbers counts."""
    settings, recipe = replace(SETTINGS, checkpoint_steps=2, epochs=1), replace(RECIPES["bt"], dropout=0.1)
    whole, twice = (train(PAIRS, "nursery", recipe, settings) for _ in range(2))
    step = loop.Loop.step

    def dying(self, *arguments, **named):
        if self.done == 3:
            raise KeyboardInterrupt
        return step(self, *arguments, **named)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop.Loop, "step", dying)
        train(PAIRS, "nursery", recipe, settings, tmp_path)
    resumed = train(PAIRS, "nursery", recipe, settings, tmp_path)
    weights = [list(t.network.state_dict().values()) for t in (whole, twice, resumed)]
    repeated, off = apart(weights[0], weights[1]), apart(weights[0], weights[2])
    note(repeated_apart=repeated, resumed_apart=off)
    assert resumed.losses == pytest.approx(whole.losses[2:], rel=1e-2, abs=1e-3)
    assert off <= max(10 * repeated, 1e-6)
