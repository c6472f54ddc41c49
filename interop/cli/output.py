"""What all commands share: `--json`, errors that say how to mend things, and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import IO, Any, TypeVar

import click

from interop.config import Config, ConfigError, load_config

__all__ = ["CliError", "Exit", "config_argument", "emit", "json_option", "load", "wants_json"]

F = TypeVar("F", bound=Callable[..., Any])
_JSON = "interop.cli.json"


class Exit(IntEnum):
    DONE = 0
    FOUND = 1
    USAGE = 2
    CONFIG = 3
    UNAVAILABLE = 4


class CliError(click.ClickException):
    """What went wrong, and how to mend it; shown as text, or as JSON where the command was asked for that."""

    def __init__(self, message: str, hint: str = "", code: Exit = Exit.UNAVAILABLE) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = int(code)  # type: ignore[misc]  # click means it to be set, and declares it for the class
        self._json = wants_json()

    def show(self, file: IO[Any] | None = None) -> None:
        if self._json:
            click.echo(json.dumps({"error": self.message, "hint": self.hint, "exit": self.exit_code}), err=True)
        else:
            click.echo(f"gridparley: {self.message}" + (f"\n  {self.hint}" if self.hint else ""), err=True)


def wants_json() -> bool:
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(_JSON))


def json_option(command: F) -> F:
    """`--json`: the result as one JSON document on standard output, errors as one on standard error."""

    def remember(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        context.meta[_JSON] = value

    option = click.option(
        "--json", is_flag=True, is_eager=True, expose_value=False, callback=remember, help="Print JSON."
    )
    return option(command)


def config_argument(command: F) -> F:
    return click.argument("config", type=click.Path(path_type=Path, dir_okay=False))(command)


def load(path: Path) -> Config:
    """The configuration, or an error with every problem in it."""
    try:
        return load_config(path)
    except ConfigError as error:
        raise CliError(str(error), code=Exit.CONFIG) from error


def emit(data: Any, text: str) -> None:
    """Print a result: `data` as JSON where that was asked for, else `text`."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False) if wants_json() else text)
