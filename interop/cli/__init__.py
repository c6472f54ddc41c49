"""The command line, `gridparley`. Commands are imported when they are used, so that help is quick.

Exit codes: 0 done; 1 something was checked and found wrong; 2 wrong usage; 3 the configuration is wrong; 4 the data or
a running server cannot be reached or used.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path

import click

from interop import plugins

__all__ = ["main"]

_OWN = {
    "serve": "interop.cli.serve:serve",
    "init": "interop.cli.init:init",
    "doctor": "interop.cli.doctor:doctor",
    "peer": "interop.cli.peer:peer",
    "programme": "interop.cli.programme:programme",
    "ven": "interop.cli.programme:ven",
    "backup": "interop.cli.backup:backup",
    "replay": "interop.cli.replay:replay",
}


class _Lazy(click.Group):
    """Commands by "module:name"; other packages add theirs through entry points."""

    def _places(self) -> dict[str, str]:
        return {name: point.value for name, point in plugins.find(plugins.COMMANDS).items()} | _OWN

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_OWN, *sorted(set(self._places()) - set(_OWN))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = self._places().get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        try:
            command = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise click.ClickException(f"the command {cmd_name!r} cannot be loaded: {error}") from error
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        places = self._places()
        with formatter.section("Commands"):
            formatter.write_dl([(name, _summary(places[name])) for name in self.list_commands(ctx)])


def _summary(place: str) -> str:
    """First line of the docstring of "module:name", read without importing it."""
    module, _, name = place.partition(":")
    package, *rest = module.split(".")
    spec = importlib.util.find_spec(package)
    for root in spec.submodule_search_locations or () if spec else ():
        stem = Path(root, *rest)
        for path in (stem.with_suffix(".py"), stem / "__init__.py"):
            if path.is_file():
                for node in ast.parse(path.read_text(encoding="utf-8")).body:
                    if isinstance(node, ast.FunctionDef) and node.name == name:
                        return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


@click.command(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 found something wrong, 2 wrong usage, 3 wrong configuration, 4 data or server "
    "cannot be used.",
)
@click.version_option(package_name="gridparley")
def main() -> None:
    """Interoperability server for local energy flexibility: UFTP, OpenADR, Modbus/SunSpec and IEC 61850."""
