"""From preference pairs to reward models on disk, as `[reward_training]` says: what `preppo reward train` does."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from transformers.utils import logging

from trainer.engines.weights import find_model, fingerprint
from trainer.reward_models.about import ABOUT
from trainer.reward_models.features import TrunkCache
from trainer.reward_models.model import save_reward_model
from trainer.reward_models.recipes import recipe_of
from trainer.reward_models.report import hold_out, training_report
from trainer.reward_models.settings import TrainSettings
from trainer.reward_models.training import MetaGroups, meta_hash, train
from warehouse.hashing import json_hash, text_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trainer.reward_models.pairs import Pair
    from trainer.reward_models.recipes import Recipe
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
    labelled: Sequence[Pair] | None = None,
    meta: MetaGroups = (),
    told: Callable[[int, int, int, float], None] = lambda _member, _done, _steps, _loss: None,
) -> list[Made]:
    """Train, report and write as many reward models as are asked for.

    Killed, it goes on: members that are whole stay, and the next one starts from its last checkpoint.

    Args:
        pairs: to learn from; prompts that are held out are left out.
        chosen: `[reward_training]`.
        folder: where they go: the folder itself for one, `member-0` and so on inside it for several.
        labelled: to report on, of the prompts that are held out: pairs with the labels that they came with. Default:
            `pairs`. A report on labels that reward models turned round would praise whoever agrees with those.
        meta: unlabelled responses of the policy, for MetaRM.
        told: is told of every step: member, steps done, of how many, loss.

    Raises:
        LookupError: there is no such recipe.
        TrainingError: no pair can be learnt from, or a loss is not finite; the last checkpoint stays.
        ModelError: there is no such trunk.
        ValueError: recipe and settings do not go together, or a member's folder holds another model.
    """
    recipe, settings = recipe_of(chosen.recipe), train_settings(chosen)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # `told` says more than bars of single files
    learnt, _ = hold_out(pairs, chosen.heldout_share)
    _, held = hold_out(pairs if labelled is None else labelled, chosen.heldout_share)
    cache = TrunkCache() if chosen.tune == "frozen" else None
    made = []
    for member in range(chosen.members):
        own = replace(settings, seed=settings.seed + member)
        place = folder if chosen.members == 1 else folder / f"member-{member}"
        identity = _identity(recipe, own, chosen.trunk, (learnt, held), meta if recipe.meta_rate > 0 else ())
        if (place / ABOUT).is_file():
            made.append(Made(place, _report_of(place, identity)))
            continue
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
        save_reward_model(
            trained, recipe, place, {"report": report, "trunk": chosen.trunk, "seed": own.seed, "training": identity}
        )
        shutil.rmtree(place / "checkpoints", ignore_errors=True)
        made.append(Made(place, report))
    return made


def _identity(
    recipe: Recipe, settings: TrainSettings, trunk: str, sets: Sequence[Sequence[Pair]], meta: MetaGroups
) -> str:
    """Return what names all that decides a member and its report: the pairs to learn and to report on among it."""
    pairs = [[(p.pair_id, text_hash(p.chosen, p.rejected), p.strength, p.target) for p in ps] for ps in sets]
    return json_hash([asdict(recipe), asdict(settings), fingerprint(find_model(trunk)), pairs, *meta_hash(meta)])


def _report_of(place: Path, identity: str) -> dict[str, Any]:
    """Return the report of a member that an earlier run finished."""
    about = json.loads((place / ABOUT).read_text(encoding="utf-8"))
    if about.get("training") != identity:
        msg = f"{place} holds a reward model of other pairs or settings; give another --out, or remove it"
        raise ValueError(msg)
    report: dict[str, Any] = about["report"]
    return report
