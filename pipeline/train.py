"""`preppo train`: PPO on a release, told step by step, with plots at the end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from assets.training import Told, TrainingBusyError, train_policy, training_folder, training_line
from pipeline.errors import INTERRUPTED, RunFailedError
from warehouse.releases import load_release

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from assets.project import Project
    from trainer.ppo.prompts import Prompts
    from trainer.ppo.training import Trained
    from warehouse.releases import Release
    from warehouse.settings import Settings


def train_release(
    project: Project, which: str, target: Path | None, steps: int | None, *, resume: bool, out: Console, err: Console
) -> None:
    """Train `[policy] model` on a release, and write everything into one folder.

    Args:
        project: settings and home.
        which: id of the release, the start of one, or `latest`.
        target: the folder; default: `training/<start of the release's id>` in the home.
        steps: instead of `ppo.steps`.
        resume: go on from the checkpoint in the folder.
        out: for what came of it.
        err: for progress.

    Raises:
        PpoError: the release cannot be trained on, or a number in the training is none.
        RunFailedError: another process trains in the folder.
        click.UsageError: the folder holds a training already.
    """
    from trainer.ppo.checkpoint import peek  # torch takes seconds to import
    from trainer.ppo.prompts import check_format

    release = load_release(project.home.releases, which)
    check_format(release)
    settings = project.settings
    if steps is not None:
        ppo = type(settings.ppo).model_validate(settings.ppo.model_dump() | {"steps": steps})
        settings = settings.model_copy(update={"ppo": ppo})
    folder = (target or training_folder(project, release)).resolve()
    stands = peek(folder)
    if stands is not None and not resume:
        msg = (
            f"{folder} holds a training, {stands.step} steps far: --resume goes on with it, --out takes another folder"
        )
        raise click.UsageError(msg)
    told = Told(lambda p: _say_what_is_there(p, release, settings, err), lambda line: _tell(line, settings, err))
    try:
        done, plots = train_policy(project, release, folder, settings.ppo, told)
    except TrainingBusyError as error:
        raise RunFailedError(str(error)) from None
    except KeyboardInterrupt:
        _say(err, f"preppo: interrupted; with --resume it goes on from the last checkpoint in {folder}")
        sys.exit(INTERRUPTED)
    _say(out, _summary(done, plots))


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _say_what_is_there(prompts: Prompts, release: Release, settings: Settings, err: Console) -> None:
    _say(
        err,
        f"release {release.release_id[:12]}: {len(prompts.train):,} rows to train on, {len(prompts.heldout):,} prompts "
        f"held out; {settings.ppo.steps} steps of {settings.ppo.prompts} x {settings.ppo.samples} responses",
    )
    for what, count in prompts.left_out.most_common():
        _say(err, f"left out, as no source rewards them: {count:,} rows of {what}")
    for name in prompts.empty_phases:
        _say(err, f"phase {name!r} of the release's curriculum is empty")
    if not prompts.heldout:
        _say(err, "nothing is held out, so that nothing is evaluated and no best policy kept (ingest.heldout_share)")
    if settings.policy.top_p < 1:
        _say(err, f"policy.top_p = {settings.policy.top_p} is not used here: what learns is what samples")


def _tell(line: dict[str, Any], settings: Settings, err: Console) -> None:
    _say(err, training_line(line, settings.ppo.steps))


def _summary(done: Trained, plots: list[Path]) -> str:
    lines = [f"trained {done.steps} steps: {done.folder}"]
    if done.stopped:
        lines.append(f"ended early: {done.stopped}")
    if done.first is not None and done.last is not None and done.best is not None:
        lines.append(
            f"held-out score {done.first:.3f} -> {done.last:.3f}; best {done.best:.3f} after step {done.best_step}"
        )
    lines.append(f"policy: {done.folder / 'policy'}")
    lines += [f"plot: {path}" for path in plots]
    return "\n".join(lines)
