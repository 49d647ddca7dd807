"""What the benchmarks of reward models share: accuracy, votes of an ensemble, intervals."""

import statistics
from collections.abc import Sequence
from dataclasses import replace

import polars as pl
import torch
from scipy.stats import t as student

from trainer.reward_models.features import TrunkCache, pooled_features
from trainer.reward_models.pairs import Pair, encode_pairs
from trainer.reward_models.recipes import RECIPES
from trainer.reward_models.settings import TrainSettings
from trainer.reward_models.training import Trained, train
from warehouse.curation.strength import Rule, strength


def differences(trained: Trained, pairs: list[Pair], cache: TrunkCache | None = None) -> dict[str, float]:
    """Return the nominal reward of the chosen less that of the rejected response, by pair."""
    usable, _ = encode_pairs(pairs, trained.encoder)
    rows = [row for p in usable for row in (p.chosen, p.rejected)]
    pooled = pooled_features(trained.network, rows, int(trained.tokenizer.pad_token_id), 64, cache)
    with torch.no_grad():
        rewards = trained.network.head(pooled).nominal()
    return dict(zip((p.pair.pair_id for p in usable), (rewards[::2] - rewards[1::2]).tolist(), strict=True))


def accuracy(trained: Trained, pairs: list[Pair], cache: TrunkCache | None = None) -> float:
    found = differences(trained, pairs, cache)
    return sum(d > 0 for d in found.values()) / len(found)


def ballots(pairs: list[Pair], trunk: str, settings: TrainSettings, members: int, cache: TrunkCache) -> pl.DataFrame:
    """Return what plain reward models, trained on the same labels, think of each: pair_id, member, difference."""
    frozen, rows = settings.tune == "frozen", []
    for m in range(members):
        member = train(pairs, trunk, RECIPES["bt"], replace(settings, seed=1000 * settings.seed + m), cache=cache)
        rows += [(i, m, d) for i, d in differences(member, pairs, cache if frozen else None).items()]
    return pl.DataFrame(rows, schema={"pair_id": pl.String, "member": pl.Int64, "difference": pl.Float64}, orient="row")


def voted(
    pairs: list[Pair], trunk: str, settings: TrainSettings, members: int, cache: TrunkCache, rule: Rule | None = None
) -> pl.DataFrame:
    """Return the strength of every label by an ensemble of plain reward models, trained on the same labels."""
    return strength(ballots(pairs, trunk, settings, members, cache), rule or Rule())


def with_strength(pairs: list[Pair], told: pl.DataFrame) -> list[Pair]:
    known = dict(told.select("pair_id", "strength_mean").iter_rows())
    return [replace(p, strength=known[p.pair_id]) for p in pairs if known.get(p.pair_id) is not None]


def interval(values: Sequence[float]) -> dict[str, float]:
    """Return mean and 95% interval, by t over what are taken to be independent values."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return {"mean": mean, "low": mean, "high": mean}
    reach = float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return {"mean": mean, "low": mean - reach, "high": mean + reach}
