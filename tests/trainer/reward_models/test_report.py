"""The report: by hand, and where the truth is known because it was made up."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.reward_models.features import TrunkCache
from trainer.reward_models.heads import LEAST_STD, Head, Rewards
from trainer.reward_models.losses import gaussian_nll, sampled_mse
from trainer.reward_models.model import ABOUT, save_reward_model
from trainer.reward_models.pairs import ConversationEncoder, Pair
from trainer.reward_models.recipes import RECIPES, Recipe
from trainer.reward_models.report import accuracy, deviations, hold_out, margins, probabilities, training_report
from trainer.reward_models.settings import TrainSettings
from trainer.reward_models.training import train

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("one_thread")  # the trunks are too small for more

SETTINGS = TrainSettings(
    tune="frozen", head_rate=1e-2, batch=32, micro=32, epochs=8, second_epochs=8, max_length=200, device="cpu"
)


def made_up(count: int, seed: int, cache: TrunkCache, idle: float = 0.0) -> list[Pair]:
    """Return pairs whose labels are drawn by Bradley-Terry from rewards that are linear in features of our making.

    The features stand in the cache of a frozen trunk, so that a training sees them instead of the trunk's own. All but
    four are drawn with the deviation `idle`: by them, single texts can be learnt by heart.
    """
    from transformers import PreTrainedTokenizerFast

    from trainer.engines.weights import NURSERY

    encoder = ConversationEncoder(PreTrainedTokenizerFast.from_pretrained(NURSERY), 200, known=cache.texts)
    noise = torch.Generator().manual_seed(seed)
    found = []
    for i in range(count):
        features = torch.randn(2, 128, generator=noise)
        features[:, 4:] *= idle
        d = 1.5 * float(features[0, 0] - features[1, 0])
        texts = [f"{seed} {i} {side}" for side in "ab"]
        messages = (("user", f"{seed} {i}?"),)
        for text, row in zip(texts, features, strict=True):
            cache.features[tuple(encoder.encode(messages, text).tokens)] = row
        first_wins = float(torch.rand((), generator=noise)) < 1 / (1 + math.exp(-d))
        found.append(Pair(f"{seed}-{i}", messages, *(texts if first_wins else texts[::-1])))
    return found


@pytest.fixture(scope="module")
def reports() -> dict[str, dict[str, Any]]:
    cache = TrunkCache()
    pairs, held = made_up(1500, 1, cache), made_up(1000, 2, cache)
    names = ("bt", "brme", "brme-mse")
    return {
        name: training_report(train(pairs, "nursery", RECIPES[name], SETTINGS, cache=cache), held, cache=cache)
        for name in names
    }


def test_likelihood_heads_are_calibrated_and_those_of_sampled_errors_collapse(reports: Any) -> None:
    """On pairs that were held out, to the end of a whole training."""
    nll, mse = (reports[name]["deviations"] for name in ("brme", "brme-mse"))
    assert nll["expected"] == {"within_1": pytest.approx(0.6827, abs=1e-4), "within_2": pytest.approx(0.9545, abs=1e-4)}
    for told in (*nll["heads"], nll["all_heads"]):
        assert told["within_1"] == pytest.approx(0.68, abs=0.08)
        assert told["within_2"] == pytest.approx(0.95, abs=0.04)
        assert told["residual_rms"] == pytest.approx(1, abs=0.15)
        assert told["mean_std"] > 0.15
    assert mse["all_heads"]["mean_std"] < 0.03
    assert mse["all_heads"]["within_2"] < 0.25
    assert mse["all_heads"]["residual_rms"] > 5


def test_heads_that_learnt_texts_by_heart_are_seen_to_be_too_sure() -> None:
    cache = TrunkCache()
    pairs, held = made_up(300, 1, cache, idle=0.3), made_up(300, 2, cache, idle=0.3)
    told = training_report(train(pairs, "nursery", RECIPES["brme"], SETTINGS, cache=cache), held, cache=cache)
    assert told["deviations"]["all_heads"]["within_2"] < 0.8
    assert told["deviations"]["nominal"]["residual_rms"] > 2


def test_accuracy_is_that_of_the_rewards_that_drew_the_labels(reports: Any) -> None:
    noise = torch.Generator().manual_seed(3)
    d = 1.5 * 2**0.5 * torch.randn(100_000, generator=noise)
    best = float(torch.sigmoid(d.abs()).mean())
    for name in reports:
        told = reports[name]["accuracy"]
        assert told["low"] < told["mean"] < told["high"]
        assert told["low"] - 0.03 < best < told["high"] + 0.03
        assert reports[name]["margins"]["mean"] > 0.5
    assert reports["bt"]["probabilities"]["calibration_error"] < 0.06
    assert reports["bt"]["deviations"] is None


@pytest.mark.parametrize("form", ["nll", "mse"])
def test_deviations_follow_noise_that_differs_from_text_to_text(form: str) -> None:
    """Heads alone, against targets whose deviation is known for every text."""
    torch.manual_seed(0)
    features = torch.randn(6000, 4)
    true = 0.2 + 0.8 * torch.sigmoid(2 * features[:, 1])
    targets = features[:, 0] + true * torch.randn(6000)
    head = Head(4, Recipe(head="gaussian", heads=2, hidden=32))
    steps = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(600):
        some = torch.randint(0, 3000, (256,))
        rewards = head(features[some])
        loss = (
            gaussian_nll(rewards, targets[some], 0.5)
            if form == "nll"
            else sampled_mse(rewards, targets[some], torch.randn(256, 2))
        ).mean()
        steps.zero_grad()
        loss.backward()
        steps.step()
    with torch.no_grad():
        rewards = head(features[3000:])
    told = deviations(rewards, targets[3000:])
    assert rewards.std is not None
    if form == "nll":
        assert told["all_heads"]["within_1"] == pytest.approx(0.683, abs=0.04)
        assert told["all_heads"]["within_2"] == pytest.approx(0.954, abs=0.02)
        assert told["nominal"]["within_1"] == pytest.approx(0.683, abs=0.06)
        assert float(torch.corrcoef(torch.stack([rewards.std[:, 0], true[3000:]]))[0, 1]) > 0.9
    else:
        assert told["all_heads"]["mean_std"] < 20 * LEAST_STD
        assert told["all_heads"]["within_2"] < 0.1


def test_deviations_of_perfect_heads() -> None:
    noise = torch.Generator().manual_seed(1)
    std = 0.1 + torch.rand(20_000, 2, generator=noise)
    std[:, 1] = 2.0  # the second head is never nominal
    mean = torch.zeros(20_000, 2)
    targets = std[:, 0] * torch.randn(20_000, generator=noise)
    told = deviations(Rewards(mean, std), targets)
    for kind in (told["heads"][0], told["nominal"]):
        assert kind["within_1"] == pytest.approx(told["expected"]["within_1"], abs=0.012)
        assert kind["within_2"] == pytest.approx(told["expected"]["within_2"], abs=0.006)
        assert kind["residual_rms"] == pytest.approx(1, abs=0.02)
    assert told["heads"][1]["within_1"] > 0.95, "too wide is seen too"


def test_accuracy_by_hand() -> None:
    told = accuracy(torch.tensor([1.0] * 8 + [-1.0] + [0.0]))
    assert told["mean"] == pytest.approx(0.85)
    assert told["ties"] == 1
    told = accuracy(torch.tensor([1.0] * 8 + [-1.0] * 2))
    assert (told["low"], told["high"]) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=60))
def test_figures_stay_in_their_bounds(values: list[float]) -> None:
    d = torch.tensor(values)
    told = accuracy(d)
    assert 0 <= told["low"] <= told["mean"] + 1e-9 <= told["high"] + 2e-9 <= 1 + 2e-9
    told = probabilities(d)
    assert 0 <= told["calibration_error"] <= 1
    assert 0.5 <= told["confidence"] <= 1
    quantiles = list(margins(d)["quantiles"].values())
    assert quantiles == sorted(quantiles)


def test_the_calibration_error_is_that_of_confidence() -> None:
    sure = math.log(0.9 / 0.1)
    assert probabilities(torch.tensor([sure] * 9 + [-sure]))["calibration_error"] == pytest.approx(0, abs=1e-6)
    assert probabilities(torch.tensor([sure] * 5 + [-sure] * 5))["calibration_error"] == pytest.approx(0.4, abs=1e-6)
    assert probabilities(torch.full((4,), sure))["nll"] == pytest.approx(-math.log(0.9), abs=1e-6)


def test_one_prompt_is_on_one_side_and_stays_there() -> None:
    pairs = [Pair(f"{i}", (("user", f"Question {i // 3}"),), "a", "b") for i in range(6000)]
    learnt, held = hold_out(pairs)
    assert len(held) / len(pairs) == pytest.approx(0.1, abs=0.02)
    assert not {p.messages for p in learnt} & {p.messages for p in held}
    assert [p for p in pairs if p in set(held)] == held, "in order"
    spaced = [replace(p, messages=(("user", f" {p.messages[0][1]}\n"),)) for p in held]
    assert hold_out(spaced) == ([], spaced), "white space around a prompt makes no other prompt of it"
    assert hold_out(held[:50] + learnt[:50])[1] == held[:50]
    assert hold_out(pairs, 0.0) == (pairs, [])
    assert hold_out(pairs, 1.0) == ([], pairs)


def test_a_report_is_kept_beside_the_model(tmp_path: Path) -> None:
    cache = TrunkCache()
    pairs, held = made_up(40, 4, cache), made_up(20, 5, cache)
    trained = train(pairs, "nursery", RECIPES["brme"], replace(SETTINGS, epochs=1, second_epochs=1), cache=cache)
    bad = [Pair("same", held[0].messages, "Yes.", "Yes."), Pair("long", held[0].messages, "word " * 400, "No.")]
    told = training_report(trained, [*held, *bad], cache=cache)
    assert told["pairs"] == 20
    assert told["excluded"] == {"training": {}, "held_out": {"equal_texts": 1, "too_long": 1}}
    save_reward_model(trained, RECIPES["brme"], tmp_path, extra={"report": told})
    kept = json.loads((tmp_path / ABOUT).read_text(), parse_constant=pytest.fail)
    assert kept["report"] == told
    nothing = training_report(trained, bad)
    assert nothing["accuracy"] is None
    assert nothing["pairs"] == 0


def test_rewards_that_are_no_numbers_are_left_out_and_counted() -> None:
    cache = TrunkCache()
    pairs, held = made_up(40, 6, cache), made_up(20, 7, cache)
    trained = train(pairs, "nursery", RECIPES["bt"], replace(SETTINGS, epochs=1), cache=cache)
    cache.features[tuple(trained.encoder.encode(held[3].messages, held[3].chosen).tokens)] = torch.full(
        (128,), torch.nan
    )
    told = training_report(trained, held, cache=cache)
    assert told["pairs"] == 19
    assert told["excluded"]["held_out"] == {"not_finite": 1}
    assert math.isfinite(told["margins"]["mean"])


def test_the_first_head_gives_the_rewards_that_stage_two_was_fitted_to() -> None:
    cache = TrunkCache()
    pairs = made_up(60, 8, cache)
    trained = train(pairs, "nursery", RECIPES["brme"], replace(SETTINGS, second_epochs=1), cache=cache)
    plain = train(pairs, "nursery", RECIPES["bt"], SETTINGS, cache=cache)
    assert trained.first_head is not None
    assert torch.allclose(trained.first_head.out.weight, plain.network.head.out.weight)
    pooled = torch.stack(list(cache.features.values()))
    with torch.no_grad():
        rewards = trained.first_head(pooled).mean
    assert float(rewards.mean()) == pytest.approx(trained.center, abs=1e-5)
    assert float(rewards.std()) == pytest.approx(trained.scale, rel=1e-4)
