"""`preppo reward serve`: the rule verifiers over HTTP."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.errors import RunFailedError
from verifiers import VerifierPool
from verifiers.dispatch import Limits
from verifiers.service import ListenError, ServiceError, check_token, create_app, open_socket, serve
from verifiers.wire import TOKEN_VARIABLE
from warehouse.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console


def serve_verifiers(
    config: Path | None,
    console: Console,
    host: str,
    port: int,
    workers: int | None,
    sandbox: str | None,
    *,
    max_queue: int,
    max_tasks: int,
    max_body_mb: int,
    max_budget_s: float,
    drain_s: int,
) -> None:
    """Serve until told to end. Needs no home; settings come from `config`, `$PREPPO_CONFIG` or `./preppo.toml`.

    Raises:
        SettingsError: the settings cannot be used.
        click.UsageError: the options cannot be used, or a server that others can reach has no token.
        RunFailedError: the address cannot be listened on, or is taken.
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
    pool = VerifierPool(workers or settings.verifiers.workers or settings.engine.workers, sandbox=sandbox)
    address, actual = listener.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    secret = "with a token" if token else "without a token"
    console.print(
        f"verifiers on http://{shown}:{actual} ({pool.workers} workers, {sandbox}, {secret}; SIGTERM ends)",
        soft_wrap=True, markup=False, highlight=False,
    )  # fmt: skip
    serve(create_app(pool, token=token, limits=limits, sandbox=sandbox), listener, drain_s)
