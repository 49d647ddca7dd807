"""Training on a release: the policy in a folder of its own, and what it saw of prompts for the next selection."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from warehouse.hashing import json_hash
from warehouse.home import Home, write_atomically
from warehouse.training_signals import keep_signals

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from assets.project import Project
    from trainer.ppo.prompts import Prompts
    from trainer.ppo.training import Trained
    from warehouse.releases import Release
    from warehouse.settings import PpoSettings, Settings


class TrainingBusyError(RuntimeError):
    """Another process trains in the folder."""


@dataclass(frozen=True)
class Told:
    """Who hears of a training while it runs.

    Attributes:
        prompts: is told what there is to train on, and what is left out.
        line: is told every step and evaluation.
    """

    prompts: Callable[[Prompts], None] = lambda _prompts: None
    line: Callable[[dict[str, Any]], None] = lambda _line: None


def training_folder(project: Project, release: Release) -> Path:
    """Return where a release is trained on, if nobody says otherwise."""
    return project.home.root / "training" / release.release_id[:12]


def folder_of_settings(project: Project, release: Release) -> Path:
    """Return where a release is trained on with these very settings.

    The first training of a release has `training_folder`; one with other settings has a folder beside it, named by
    them: who trains from Dagster cannot name another.
    """
    folder = training_folder(project, release)
    named = _settings_hash(project.settings)
    about = folder / "run.json"
    if not about.is_file() or json.loads(about.read_text(encoding="utf-8")).get("settings") == named:
        return folder
    return folder.with_name(f"{folder.name}-{named[:8]}")


def _settings_hash(settings: Settings) -> str:
    """Return the hash of all settings that a training depends on, but for how often it is saved."""
    ppo = settings.ppo.model_dump(mode="json", exclude={"checkpoint_every"})
    parts = (settings.policy, settings.judge, settings.reward_model)
    return json_hash([ppo, *(part.model_dump(mode="json") for part in parts)])


def train_policy(
    project: Project, release: Release, folder: Path, ppo: PpoSettings, told: Told | None = None
) -> tuple[Trained, list[Path]]:
    """Train `[policy] model` on a release; return what came of it, and its plots.

    A folder that holds part of this very training goes on from its checkpoint. Signals go into `training_signals`.

    Args:
        project: settings and home.
        release: to train on.
        folder: of this training alone; made where it is missing.
        ppo: how.
        told: who hears of it.

    Raises:
        PpoError: the release cannot be trained on, a number in the training is none, an engine cannot be asked, the
            judge is fooled too often, or the folder cannot be made or holds files of something else.
        TrainingBusyError: another process trains in the folder.
    """
    from trainer.ppo.prompts import PpoError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"--out {folder}: {error.strerror}; name a folder that can be made"
        raise PpoError(msg) from error
    try:
        with Home(folder).lock("training", wait=False):
            _refuse_what_is_no_training(folder)
            done, plots = _train(project, release, folder, ppo, told or Told())
    except BlockingIOError:
        msg = f"another process trains in {folder}"
        raise TrainingBusyError(msg) from None
    keep_signals(project.store, pl.read_parquet(folder / "signals.parquet"))
    return done, plots


def _refuse_what_is_no_training(folder: Path) -> None:
    """Leave alone what only looks like the files of a training: every training has its `run.json` before any other."""
    from trainer.ppo.checkpoint import CHECKPOINT
    from trainer.ppo.prompts import PpoError
    from trainer.ppo.record import FILES

    if (folder / "run.json").is_file():
        return
    there = [name for name in ("policy", "best", "current", CHECKPOINT, *FILES) if (folder / name).exists()]
    if there:
        msg = f"--out {folder} holds {there[0]}, and no training of preppo: that would be lost; name another folder"
        raise PpoError(msg)


def _train(
    project: Project, release: Release, folder: Path, ppo: PpoSettings, told: Told
) -> tuple[Trained, list[Path]]:
    from trainer.engines import EngineError
    from trainer.hybrid import hybrid_reward, makers  # torch takes seconds to import
    from trainer.judge import CanaryError
    from trainer.ppo.loop import train
    from trainer.ppo.plots import write_plots
    from trainer.ppo.prompts import PpoError, read_prompts
    from trainer.ppo.training import Training

    settings = project.settings
    with hybrid_reward(settings, project.workers) as reward:
        prompts = read_prompts(release, reward, ppo.evaluate_prompts)
        told.prompts(prompts)
        about = {"release": release.release_id, "arm": release.arm, "ppo": ppo.model_dump()}
        about |= {"policy": settings.policy.model_dump(), "sources": sorted(reward.sources)}
        about |= {"settings": _settings_hash(settings.model_copy(update={"ppo": ppo}))}

        def started() -> None:
            write_atomically(folder / "run.json", json.dumps(about, indent=1, ensure_ascii=False) + "\n")

        machine = settings.engine if ppo.engine == "policy" else None
        training = Training(prompts, release.release_id, ppo, settings.policy, machine, makers(settings))
        try:
            done = train(training, reward, folder, told.line, started)
        except (CanaryError, EngineError) as error:
            msg = f"{error}; what was saved before is in {folder}"
            raise PpoError(msg) from error
    return done, write_plots(folder)


def training_line(line: dict[str, Any], steps: int) -> str:
    """Return a line of metrics (`trainer.ppo.metrics`) for people; `steps` of the whole training."""
    if line["kind"] == "evaluation":
        score = "none" if line["score"] is None else f"{line['score']:.3f}"
        domains = ", ".join(f"{n} {s:.2f}" for n, s in line["domains"].items() if s is not None)
        return f"held out after step {line['step']}: score {score} ({domains})"
    told = "nothing to learn from"
    if line["score"] is not None:
        told = f"score {line['score']:.3f}, KL {line['kl']:.3f}, entropy {line['entropy']:.3f}"
    text = f"step {line['step']}/{steps} {line['phase']}: {told}, {line['response_tokens']:.1f} tokens"
    if line["left_out"]:
        text += f", {line['left_out']} of {line['responses']} responses left out"
    return text
