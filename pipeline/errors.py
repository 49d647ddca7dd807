"""Mistakes as one clear line, and exit codes that scripts can rely on."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trainer.engines.weights import ModelError
from trainer.exports.errors import ExportError, HubError
from trainer.ppo.prompts import PpoError
from warehouse.curation.overrides import OverrideError
from warehouse.home import HomeError
from warehouse.ingest.raw import InputError
from warehouse.output import OutputError
from warehouse.queries import QueryError
from warehouse.release_rows import ReleaseError
from warehouse.settings import SettingsError
from warehouse.signal_lines import SignalsError
from warehouse.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

INTERRUPTED = 130
EXIT_CODES = {
    0: "done",
    1: "a stage or a comparison failed",
    2: "wrong usage, settings or sources",
    3: "not found: no such prompt, batch or release, or an empty home",
    4: "the budget of the run is spent; what was generated is kept",
    INTERRUPTED: "interrupted",
}


_MISTAKES = (
    SettingsError,
    InputError,
    HomeError,
    ModelError,
    OverrideError,
    OutputError,
    QueryError,
    ExportError,
    SignalsError,
)


class NothingFoundError(LookupError):
    """What was asked for does not exist; the message says what does."""


class RunFailedError(RuntimeError):
    """A stage failed; what was committed before stays."""


class RunStoppedError(RuntimeError):
    """The budget of a run is spent; what was generated is kept."""


@contextmanager
def guarded(console: Console) -> Iterator[None]:
    """Turn the errors that people can do something about into one message and an exit code."""
    try:
        yield
    except _MISTAKES as error:
        _stop(console, str(error), 2)
    except LookupError as error:
        _stop(console, str(error.args[0]) if error.args else str(error), 3)
    except ReleaseError as error:
        _stop(console, str(error), 3)
    except (StoreError, RunFailedError, HubError, PpoError) as error:
        _stop(console, str(error), 1)
    except RunStoppedError as error:
        _stop(console, str(error), 4)
    except KeyboardInterrupt:
        _stop(console, "interrupted; `preppo run` goes on from here", INTERRUPTED)


def _stop(console: Console, message: str, code: int) -> None:
    for line in message.splitlines():
        console.print(f"preppo: {line}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)
