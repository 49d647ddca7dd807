"""From preference pairs to reward models on disk, as `[reward_training]` says: what `preppo reward train` does."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from transformers.utils import logging

from trainer.reward_models.features import TrunkCache
from trainer.reward_models.model import save_reward_model
from trainer.reward_models.recipes import recipe_of
from trainer.reward_models.report import hold_out, training_report
from trainer.reward_models.settings import TrainSettings
from trainer.reward_models.training import MetaGroups, train

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trainer.reward_models.pairs import Pair
    from warehouse.settings import RewardTrainingSettings


@dataclass(frozen=True)
class Made:
    """A reward model that was trained and written.

    Attributes:
        folder: where it is; what `[reward_model] models` names.
        report: on the held-out pairs, see `report.training_report`.
    """

    folder: Path
    report: dict[str, Any]


def train_settings(chosen: RewardTrainingSettings) -> TrainSettings:
    """Return how the members are trained, the first one's seed included."""
    return TrainSettings(**{f.name: getattr(chosen, f.name) for f in fields(TrainSettings) if hasattr(chosen, f.name)})


def train_members(
    pairs: Sequence[Pair],
    chosen: RewardTrainingSettings,
    folder: Path,
    *,
    meta: MetaGroups = (),
    told: Callable[[int, int, int, float], None] = lambda _member, _done, _steps, _loss: None,
) -> list[Made]:
    """Train, report and write as many reward models as are asked for; killed, it goes on from its checkpoints.

    Args:
        pairs: to learn from and to report on; the same prompt is never in both.
        chosen: `[reward_training]`.
        folder: where they go: the folder itself for one, `member-0` and so on inside it for several.
        meta: unlabelled responses of the policy, for MetaRM.
        told: is told of every step: member, steps done, of how many, loss.

    Raises:
        LookupError: there is no such recipe.
        TrainingError: no pair can be learnt from, or a loss is not finite; the last checkpoint stays.
        ModelError: there is no such trunk.
    """
    recipe, settings = recipe_of(chosen.recipe), train_settings(chosen)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # `told` says more than bars of single files
    learnt, held = hold_out(pairs, chosen.heldout_share)
    cache = TrunkCache() if chosen.tune == "frozen" else None
    made = []
    for member in range(chosen.members):
        own = replace(settings, seed=settings.seed + member)
        place = folder if chosen.members == 1 else folder / f"member-{member}"
        trained = train(
            learnt,
            chosen.trunk,
            recipe,
            own,
            place / "checkpoints",
            meta=meta if recipe.meta_rate > 0 else (),
            told=lambda done, steps, loss, member=member: told(member, done, steps, loss),  # type: ignore[misc]  # mypy cannot type the default of a lambda
            cache=cache,
        )
        report = training_report(trained, held, cache=cache)
        save_reward_model(trained, recipe, place, {"report": report, "trunk": chosen.trunk, "seed": own.seed})
        shutil.rmtree(place / "checkpoints", ignore_errors=True)
        made.append(Made(place, report))
    return made
