"""The commands about training: here, elsewhere, and what comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.command import Command, Group, Session, err, out


@click.command("export", cls=Command)
@click.argument("release_id", metavar="RELEASE", default="latest")
@click.option("--format", "form", required=True, help="verl, openrlhf, trl, open-instruct, nemo-gym, prime-rl, skyrl, "
              "jsonl.")  # fmt: skip
@click.option("--out", "target", type=click.Path(path_type=Path), help="A new folder. Default: in the home's exports.")
@click.option("--arm", help="With latest: of this arm.")
@click.option("--with-models", "--in-process", "with_models", is_flag=True, help="The judge and the reward models "
              "count, too: in the trainer's process, or on a server. (--in-process: its older name.)")  # fmt: skip
@click.option("--unscored", type=click.Choice(["refuse", "skip", "keep"]), default="refuse", show_default=True,
              help="Rows that no source rewards which the export can call.")  # fmt: skip
@click.option("--raw", type=click.Choice(["refuse", "skip", "chat"]), default="refuse", show_default=True,
              help="Exact prefixes where they do not fit; chat sends each as a user's turn.")  # fmt: skip
@click.option("--null-reward", default=0.0, show_default=True, type=click.FloatRange(0, 1),
              help="For trainers that know no null, what an undecided response counts.")  # fmt: skip
@click.pass_obj
def export_command(session: Session, /, release_id: str, form: str, target: Path | None, arm: str | None,
                   **options: Any) -> None:  # fmt: skip
    r"""Write a release for another trainer: rows in order, the reward as a file, a configuration, how to start.

    \b
    Examples:
      preppo export latest --format verl --out exported
      preppo export 8c1f --format trl --unscored skip
    """
    from pipeline.export import render_export
    from trainer.exports.contract import Options
    from trainer.exports.export import export_release
    from warehouse.releases import load_release

    found = load_release(session.home.releases, release_id, arm)
    target = target or session.home.root / "exports" / f"{found.release_id[:12]}-{form}"
    out.print(render_export(export_release(found, form, target, Options(**options))), soft_wrap=True)


@click.command(cls=Command)
@click.argument("release_id", metavar="RELEASE", default="latest")
@click.option("--repo", required=True, help="owner/name on the Hugging Face hub (or HF_ENDPOINT).")
@click.option("--public", is_flag=True, help="Make a new repository public. Check the licences in the card first.")
@click.option("--message", help="Of the commit.")
@click.pass_obj
def push(session: Session, release_id: str, repo: str, public: bool, message: str | None) -> None:
    r"""Upload a release with its card to the Hugging Face hub, as one commit. Needs HF_TOKEN or `hf auth login`.

    \b
    Example:
      preppo push latest --repo me/curated-prompts
    """
    from trainer.exports.hub import push_release
    from warehouse.releases import load_release

    found = load_release(session.home.releases, release_id)
    out.print(push_release(found, repo, public=public, message=message), soft_wrap=True, markup=False)


@click.group(cls=Group)
def signals() -> None:
    """What trainers learnt."""


@signals.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.pass_obj
def signals_import(session: Session, files: tuple[Path, ...]) -> None:
    r"""Take in the scores that the reward function of an export logged (signals.jsonl).

    All files of a training go together, and may be given again when they have grown.

    \b
    Examples:
      preppo signals import exported/signals.jsonl
      preppo signals import logged/of-*.jsonl
      preppo sql "select step, avg(reward) from training_signals group by 1 order by 1"
    """
    from pipeline.export import render_import
    from warehouse.releases import list_releases
    from warehouse.signal_lines import import_signals, read_signals

    found = read_signals(files)
    counts = import_signals(session.store, found)
    here = {release.release_id for release in list_releases(session.home.releases)}
    out.print(render_import(found, counts, here), soft_wrap=True)


@click.command(cls=Command)
@click.argument("release_id", default="latest", metavar="RELEASE")
@click.option("--out", "target", type=click.Path(path_type=Path), help="A folder. Default: in the home.")
@click.option("--steps", type=click.IntRange(1), help="Instead of ppo.steps.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the folder.")
@click.pass_obj
def train(session: Session, release_id: str, target: Path | None, steps: int | None, resume: bool) -> None:
    r"""Train the policy on a release by PPO, in curriculum order, with the rewards that curation has.

    Killed at any moment, it goes on from its last checkpoint with --resume, and ends in the same weights.

    \b
    Examples:
      preppo train
      preppo train 8c1f --out runs/first --steps 200
      preppo train latest --resume
    """
    from pipeline.train import train_release

    train_release(session.project(), release_id, target, steps, resume=resume, out=out, err=err)
