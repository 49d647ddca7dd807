"""What every command of `preppo` shares: the consoles, what the global options say, and mistakes as one clear line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from pipeline.errors import EXIT_CODES, NothingFoundError, guarded
from warehouse.home import Home
from warehouse.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from assets.project import Project

out = Console(width=None if sys.stdout.isatty() else 140)  # piped output has no width of its own
err = Console(stderr=True)


class Session:
    """What the global options say. Opens things only when a command needs them."""

    def __init__(self, config: Path | None, home: Path | None) -> None:
        self.config, self._home = config, home

    @property
    def home(self) -> Home:
        """Return the home, whether or not anything is in it."""
        return Home(self._home)

    @property
    def store(self) -> Store:
        """Return the tables of a home that exists.

        Raises:
            NothingFoundError: nothing was ever curated here.
        """
        if not (self.home.tables / "commits").is_dir():
            msg = f"{self.home.root} holds nothing yet; `preppo run` fills it (another home: --home or PREPPO_HOME)"
            raise NothingFoundError(msg)
        return Store(self.home)

    def project(self) -> Project:
        """Return the settings with their home."""
        from assets.project import open_project

        return open_project(self.config, self._home)


def _kept_lines(text: str | None) -> str | None:
    r"""Return a help text whose \b, two characters in a raw docstring, is the mark that keeps lines as they are."""
    return None if text is None else text.replace("\\b\n", "\b\n")


class Command(click.Command):
    """A command whose mistakes come out as one clear line, with an exit code that scripts can rely on."""

    def __init__(self, name: str | None = None, **about: Any) -> None:
        super().__init__(name, **about | {"help": _kept_lines(about.get("help"))})

    def invoke(self, ctx: click.Context) -> Any:
        with guarded(err):
            return super().invoke(ctx)


class Group(click.Group):
    command_class = Command
    group_class = type

    def __init__(self, name: str | None = None, **about: Any) -> None:
        super().__init__(name, **about | {"help": _kept_lines(about.get("help"))})


EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + "."
