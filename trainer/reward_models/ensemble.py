"""Ensembles of reward models: members trained on the same pairs in other orders, or heads on one trunk."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from trainer.reward_models.training import MetaGroups, Trained, train

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from trainer.reward_models.features import TrunkCache
    from trainer.reward_models.model import RewardModel
    from trainer.reward_models.pairs import Pair
    from trainer.reward_models.recipes import Recipe
    from trainer.reward_models.settings import TrainSettings

VOTES: dict[str, pl.DataType | type[pl.DataType]] = {"pair_id": pl.String, "member": pl.Int64, "difference": pl.Float64}


def train_members(
    pairs: Sequence[Pair],
    trunk: str,
    recipe: Recipe,
    settings: TrainSettings,
    members: int,
    folder: Path | None = None,
    *,
    meta: MetaGroups = (),
    cache: TrunkCache | None = None,
) -> list[Trained]:
    """Train so many reward models on the same pairs, each with a seed and so an order of its own (the paper: 10).

    For the arguments see `training.train`; member m has the seed `settings.seed` + m and a folder of its own.
    """
    return [
        train(
            pairs,
            trunk,
            recipe,
            replace(settings, seed=settings.seed + m),
            None if folder is None else folder / f"member-{m}",
            meta=meta,
            cache=cache,
        )
        for m in range(members)
    ]


def votes(models: Iterable[RewardModel], pairs: Sequence[Pair]) -> pl.DataFrame:
    """Return what every member, or every head, thinks of every label: pair_id, member, difference.

    The difference is null where a response could not be scored. For `warehouse.curation.strength`.
    """
    texts = [(p.messages, text) for p in pairs for text in (p.chosen, p.rejected)]
    rows, before = [], 0
    for model in models:
        scored = list(model.score(texts))
        heads = max((len(s.mean) for s in scored if s.mean is not None), default=1)
        for pair, chosen, rejected in zip(pairs, scored[::2], scored[1::2], strict=True):
            for h in range(heads):
                known = chosen.mean is not None and rejected.mean is not None
                value = chosen.mean[h] - rejected.mean[h] if known else None  # type: ignore[index]  # known
                rows.append((pair.pair_id, before + h, value))
        before += heads
    return pl.DataFrame(rows, schema=VOTES, orient="row")
