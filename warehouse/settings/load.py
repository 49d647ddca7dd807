"""From `preppo.toml` and the environment to one frozen `Settings`."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from warehouse.settings.model import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

PREFIX = "PREPPO__"  # PREPPO__POLICY__SAMPLES=16 sets policy.samples


class SettingsError(ValueError):
    """The settings cannot be used; the message names the key, the value and what is allowed."""


@dataclass(frozen=True)
class Loaded:
    """Settings with the folder that their relative paths start from."""

    settings: Settings
    base: Path
    file: Path | None


def load_settings(config: Path | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
    """Read `config`, or `./preppo.toml` where it exists, or the defaults; then the environment.

    Args:
        config: the TOML file; relative paths inside it start from its folder.
        environ: variables `PREPPO__SECTION__KEY=value` overrule the file; a value is read as JSON where it is
            JSON, else as text. Defaults to the process environment.

    Raises:
        SettingsError: with one line a mistake.
    """
    environ = os.environ if environ is None else environ
    file = config if config is not None else Path("preppo.toml")
    data: dict[str, Any] = {}
    if config is not None and not file.is_file():
        msg = f"{file}: no such settings file; `preppo init` writes a commented one"
        raise SettingsError(msg)
    if file.is_file():
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            msg = f"{file}: not valid TOML: {error}"
            raise SettingsError(msg) from None
    origin = str(file) if data else "environment"
    _apply_environment(data, environ)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(e, origin) for e in error.errors())) from None
    return Loaded(settings, file.resolve().parent if file.is_file() else Path.cwd(), file if file.is_file() else None)


def _apply_environment(data: dict[str, Any], environ: Mapping[str, str]) -> None:
    for name in sorted(environ):
        if not name.startswith(PREFIX):
            continue
        *sections, key = name[len(PREFIX) :].lower().split("__")
        target = data
        for section in sections:
            target = target.setdefault(section, {})
            if not isinstance(target, dict):
                msg = (
                    f"{name}: {section!r} is a list of tables, which the environment cannot set; use the settings file"
                )
                raise SettingsError(msg)
        try:
            target[key] = json.loads(environ[name])
        except json.JSONDecodeError:
            target[key] = environ[name]


def _explain(error: ErrorDetails, origin: str) -> str:
    path = [str(p) for p in error["loc"] if not str(p).startswith(("function-", "constrained-"))]
    where = ".".join(path) or "settings"
    value = error["input"]
    if error["type"] == "extra_forbidden":
        allowed = _keys_beside(error["loc"])
        return f"{origin}: unknown key `{where}` (value {_short(value)}); allowed here: {', '.join(allowed)}"
    reason = error["msg"].removeprefix("Value error, ")
    return f"{origin}: `{where}` = {_short(value)}: {reason}"


def _short(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def _keys_beside(loc: tuple[str | int, ...]) -> list[str]:
    model: Any = Settings
    for part in loc[:-1]:
        if isinstance(part, int):
            continue
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            break
        field = model.model_fields.get(str(part))
        if field is not None:
            model = _model_inside(field.annotation) or model
    return sorted(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _model_inside(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is not None:
        for argument in get_args(annotation):
            found = _model_inside(argument)
            if found is not None:
                return found
    return None
