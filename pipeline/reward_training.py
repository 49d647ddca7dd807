"""`preppo reward train`: a reward model from the preference pairs of a home."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from assets.progress import report as progress
from pipeline.errors import NothingFoundError, RunFailedError
from trainer.reward_models.about import ABOUT
from warehouse.queries import query
from warehouse.settings import SettingsError
from warehouse.settings.model import OWN_ROLLOUTS

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from assets.project import Project
    from trainer.reward_models.entry import Made
    from trainer.reward_models.pairs import Pair
    from warehouse.settings import RewardTrainingSettings
    from warehouse.store import Snapshot

_RAW = """
SELECT DISTINCT ON (p.pair_id) p.pair_id, messages, chosen, rejected, origin, 'keep' AS treatment,
       strength_mean AS strength, CAST(NULL AS DOUBLE) AS target
FROM preferences AS p LEFT JOIN preference_strength AS s ON p.pair_id = s.pair_id ORDER BY p.pair_id, p.origin
"""


def train_reward_models(project: Project, folder: Path) -> tuple[list[Made], Group]:
    """Train what `[reward_training]` asks for into a folder; return what was made, and a report for a terminal.

    Raises:
        SettingsError: the recipe is unknown, or does not go with the settings; the folder holds a model.
        NothingFoundError: the home has no preference pairs.
        RunFailedError: the training cannot go on; its last checkpoint stays.
    """
    from trainer.reward_models.entry import train_members  # torch takes seconds to import
    from trainer.reward_models.loop import TrainingError
    from trainer.reward_models.pairs import ConversationError
    from trainer.reward_models.recipes import recipe_of

    chosen = project.settings.reward_training
    several = chosen.members > 1
    places = [folder / f"member-{m}" for m in range(chosen.members)] if several else [folder]
    if (folder / ABOUT).is_file() or all((p / ABOUT).is_file() for p in places):
        msg = f"{folder} holds a reward model already; give another --out, or remove it"
        raise SettingsError(msg)
    try:
        recipe = recipe_of(chosen.recipe)
    except LookupError as error:
        msg = f"reward_training.recipe: {error.args[0]}"
        raise SettingsError(msg) from None
    view = project.store.snapshot()
    treats = recipe.needs_strength
    rows = _rows(view, chosen, cleaned=chosen.pairs == "cleaned" or (chosen.pairs == "auto" and not treats))
    left_out = 0
    if treats:
        told = rows.filter(rows["strength"].is_not_null())
        left_out, rows = rows.height - told.height, told
    if rows.is_empty():
        raise NothingFoundError(_nothing(project, chosen, treats=treats))
    pairs, labelled = (
        [_pair(row) for row in f.iter_rows(named=True)] for f in (rows, _rows(view, chosen, cleaned=False))
    )
    meta = _meta(view) if recipe.meta_rate > 0 else ()

    def shown(member: int, done: int, steps: int, _loss: float) -> None:
        progress("reward model steps", member * steps + done, chosen.members * steps)

    try:
        made = train_members(pairs, chosen, folder, labelled=labelled, meta=meta, told=shown)
    except (TrainingError, ConversationError) as error:
        msg = f"reward train: {error}; checkpoints are in {folder}"
        raise RunFailedError(msg) from None
    except ValueError as error:
        msg = f"reward_training: {error}"
        raise SettingsError(msg) from None
    return made, render(made, rows, left_out)


def _rows(view: Snapshot, chosen: RewardTrainingSettings, *, cleaned: bool) -> pl.DataFrame:
    rows = query(view, "FROM cleaned_preferences" if cleaned else _RAW)
    return rows.filter(rows["origin"].is_in(chosen.origins)) if chosen.origins else rows


def _nothing(project: Project, chosen: RewardTrainingSettings, *, treats: bool) -> str:
    if treats and project.settings.reward_model.models:
        return f"recipe {chosen.recipe!r} needs the strength of every pair; `preppo run` measures it first"
    if treats:
        return (
            f"recipe {chosen.recipe!r} needs the strength of every pair, and no reward model is there to vote: train "
            'an ensemble with recipe = "bt" first, name it in [reward_model] models, and `preppo run`'
        )
    origins = f" of origins {', '.join(chosen.origins)}" if chosen.origins else ""
    return f"home {project.home.root} has no preference pairs{origins}: add [[preferences]], then `preppo run`"


def _pair(row: dict[str, Any]) -> Pair:
    from trainer.reward_models.pairs import Pair

    turns = tuple((m["role"], m["content"]) for m in row["messages"])
    return Pair(
        row["pair_id"],
        turns,
        row["chosen"],
        row["rejected"],
        row["strength"],
        row["target"],
        trusted=row["origin"] == OWN_ROLLOUTS,
    )


def _meta(view: Snapshot) -> list[tuple[tuple[tuple[str, str], ...], list[str]]]:
    """Return the policy's own responses to open questions, a group a prompt: what MetaRM spreads."""
    rows = query(
        view,
        "SELECT any_value(messages) AS messages, list(DISTINCT response) AS responses FROM rollouts "
        "JOIN prompts USING (prompt_id) WHERE verifier IS NULL AND pool <> 'eval' AND split = 'train' "
        "AND finish_reason = 'stop' AND response <> '' "
        "GROUP BY prompt_id HAVING len(responses) > 1 ORDER BY prompt_id",
    )
    return [
        (tuple((m["role"], m["content"]) for m in messages), sorted(responses))
        for messages, responses in rows.iter_rows()
    ]


def render(made: list[Made], rows: pl.DataFrame, left_out: int) -> Group:
    """Return what was trained on, and what came out, for a terminal."""
    table = Table(box=None, pad_edge=False)
    for name in ("model", "held-out pairs", "accuracy", "95% interval", "median margin"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for one in made:
        table.add_row(str(one.folder), *_figures(one.report))
    used = rows.group_by("origin", "treatment").len().sort("origin", "treatment")
    parts = ", ".join(f"{n} of {origin} ({treatment})" for origin, treatment, n in used.iter_rows())
    lines = [Text(f"pairs: {parts}")]
    if left_out:
        lines.append(Text(f"{left_out} pairs were left out: no reward model voted on them, and the recipe needs votes"))
    excluded = made[0].report["excluded"]
    for what, reasons in (("training", excluded["training"]), ("the report", excluded["held_out"])):
        if reasons:
            told = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))
            lines.append(Text(f"left out of {what}: {told}"))
    lines.append(Text("held-out pairs have the labels that they came with, also where training flips or drops some"))
    names = ", ".join(f'"{one.folder}"' for one in made)
    use = f"to use {'it' if len(made) == 1 else 'them'}: [reward_model] models = [{names}]"
    return Group(*lines, "", table, "", Text(use))


def _figures(report: dict[str, Any]) -> tuple[str, ...]:
    if report["accuracy"] is None:
        return (str(report["pairs"]), "none is left", "", "")
    found, margins = report["accuracy"], report["margins"]
    interval = f"{found['low']:.1%} to {found['high']:.1%}"
    return (str(report["pairs"]), f"{found['mean']:.1%}", interval, f"{margins['quantiles']['0.5']:.3f}")
