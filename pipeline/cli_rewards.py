"""The commands about rewards: `preppo reward`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.command import Group, Session, err, out


@click.group(cls=Group)
def reward() -> None:
    """Reward for other programs, and train reward models."""


@reward.command("train")
@click.option("--out", "folder", required=True, type=click.Path(path_type=Path), help="Folder for the model(s).")
@click.pass_obj
def reward_train(session: Session, folder: Path) -> None:
    r"""Train reward models on the preference pairs of the home, as [reward_training] says.

    Prompts are split: a report on those that were held out is printed, and kept beside the weights. Killed, it goes on
    from its last checkpoint when started again.

    \b
    Examples:
      preppo reward train --out models/my-rm
      PREPPO__REWARD_TRAINING__RECIPE=brme preppo reward train --out models/brme
    """
    from assets.progress import listening
    from pipeline.reward_training import train_reward_models
    from pipeline.run import Bars

    _ = session.store  # a home that exists
    with Bars(err) as bars, listening(bars):
        _made, report = train_reward_models(session.project(), folder)
    out.print(report)


@reward.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Beyond loopback only with PREPPO_REWARD_TOKEN.")
@click.option("--port", default=8400, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free.")
@click.option("--workers", type=click.IntRange(1), help="Processes. Default: the settings', else one per CPU.")
@click.option("--sandbox", type=click.Choice(["bubblewrap", "unsafe"]), help="Default: the settings'.")
@click.option("--rules-only", is_flag=True, help="No judge and no reward models, whatever the settings name.")
@click.option("--max-queue", default=16384, show_default=True, type=click.IntRange(1), help="Tasks admitted at a time.")
@click.option("--max-tasks", default=1024, show_default=True, type=click.IntRange(1), help="Tasks in one request.")
@click.option("--max-body-mb", default=32, show_default=True, type=click.IntRange(1), help="MiB of one request.")
@click.option("--max-budget-s", default=60.0, show_default=True, type=click.FloatRange(0, 3600, min_open=True),
              help="Seconds that one task may ask for.")  # fmt: skip
@click.option("--drain-s", default=120, show_default=True, type=click.IntRange(1),
              help="Seconds for what was admitted, when told to end.")  # fmt: skip
@click.pass_obj
def reward_serve(session: Session, /, host: str, port: int, workers: int | None, sandbox: str | None,
                 **limits: Any) -> None:  # fmt: skip
    r"""Serve rewards over HTTP: to trainers elsewhere, to hosts without a sandbox.

    POST /verify takes {"tasks": [...]} and returns the {"verdicts": [...]} of the rule verifiers. POST /reward returns
    {"rewards": [...]}, also by the judge and the reward models that [judge] and [reward_model] name. GET /health is
    200 while it can do both, and tells who makes the rewards. SIGTERM ends it when what was admitted is done.

    \b
    Examples:
      preppo reward serve
      preppo --config preppo.toml reward serve --rules-only
      PREPPO_REWARD_TOKEN="$(openssl rand -hex 32)" preppo reward serve --host 0.0.0.0 --workers 32
    """
    from pipeline.reward import serve_rewards

    serve_rewards(session.config, err, host, port, workers, sandbox, **limits)
