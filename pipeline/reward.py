"""`preppo reward serve`: the rule verifiers over HTTP, and the hybrid reward with the judge and the reward models."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.errors import RunFailedError
from verifiers import VerifierPool
from verifiers.admission import Limits
from verifiers.service import ListenError, ServiceError, check_token, create_app, open_socket, serve
from verifiers.wire import TOKEN_VARIABLE
from warehouse.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from verifiers.scoring import Scoring
    from warehouse.settings import Settings


def serve_rewards(
    config: Path | None,
    console: Console,
    host: str,
    port: int,
    workers: int | None,
    sandbox: str | None,
    *,
    rules_only: bool,
    max_queue: int,
    max_tasks: int,
    max_body_mb: int,
    max_budget_s: float,
    drain_s: int,
) -> None:
    """Serve until told to end. Needs no home; settings come from `config`, `$PREPPO_CONFIG` or `./preppo.toml`.

    Models are loaded before the first request is taken; where the settings name none, or `rules_only` says so, torch is
    not even imported.

    Raises:
        SettingsError: the settings cannot be used.
        ModelError: a model cannot be had.
        click.UsageError: the options cannot be used, or a server that others can reach has no token.
        RunFailedError: the address cannot be listened on or is taken, or the judge cannot be started.
    """
    named = os.environ.get("PREPPO_CONFIG")
    settings = load_settings(Path(named) if config is None and named else config).settings
    sandbox = sandbox or settings.verifiers.sandbox
    if sandbox == "http":
        msg = 'the settings say sandbox = "http", which asks another server: give --sandbox bubblewrap to be one'
        raise click.UsageError(msg)
    if max_tasks > max_queue:
        msg = f"--max-tasks {max_tasks} is above --max-queue {max_queue}"
        raise click.UsageError(msg)
    size = max_body_mb << 20
    limits = Limits(max_queue, max_tasks, size, max(16 * size, 512 << 20), max_budget_s)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    try:
        token = check_token(os.environ.get(TOKEN_VARIABLE))
        listener = open_socket(host, port, token)
    except ListenError as error:
        raise RunFailedError(str(error)) from None
    except ServiceError as error:
        raise click.UsageError(str(error)) from None
    address, actual = listener.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    secret = "with a token" if token else "without a token"
    with listener, open_scoring(settings, max_queue, rules_only=rules_only) as scoring:
        pool = VerifierPool(workers or settings.verifiers.workers or settings.engine.workers, sandbox=sandbox)
        offered = ", ".join(("verifiers", *(scoring.makers if scoring else ())))
        console.print(
            f"{offered} on http://{shown}:{actual} ({pool.workers} workers, {sandbox}, {secret}; SIGTERM ends)",
            soft_wrap=True, markup=False, highlight=False,
        )  # fmt: skip
        app = create_app(
            pool, token=token, limits=limits, sandbox=sandbox, scoring=scoring, budget_s=settings.reward.budget_s
        )
        serve(app, listener, drain_s)


@contextmanager
def open_scoring(settings: Settings, queue_tasks: int, *, rules_only: bool) -> Iterator[Scoring | None]:
    """Open the judge and the reward models of the settings, loaded; None where there are none to serve.

    Raises:
        ModelError: a model cannot be had.
        RunFailedError: the judge cannot be started.
    """
    if rules_only or not (settings.judge.model or settings.reward_model.models):
        yield None
        return
    from trainer.engines import EngineError  # torch takes seconds to import
    from trainer.hybrid import makers, model_sources
    from trainer.judge import CanaryError
    from verifiers.scoring import Scoring

    with model_sources(settings) as sources:
        known = makers(settings)
        try:
            for source in sources.values():
                source.load()
        except EngineError as error:
            raise RunFailedError(str(error)) from error
        yield Scoring(sources, known, queue_tasks, unusable=(CanaryError,), away=(EngineError,))
