"""`gridparley serve`."""

from __future__ import annotations

from pathlib import Path

import click

from interop import loop
from interop.cli.output import CliError, config_argument, emit, json_option, load
from interop.logs import set_up
from interop.server import Server, run
from interop.store import StoreError

__all__ = ["serve"]


@click.command()
@config_argument
@json_option
def serve(config: Path) -> None:
    """Run the server until it is told to stop (SIGTERM, Ctrl-C)."""
    settings = load(config)
    set_up(settings.server.log_level, settings.server.log_file)
    try:
        loop.run(run(settings, _announce))
    except (StoreError, OSError) as error:
        raise CliError(str(error), f"gridparley doctor {config} looks for the cause") from error
    except (LookupError, ValueError) as error:
        raise CliError(f"{config}: {error}", f"gridparley doctor {config} looks for the cause") from error


def _announce(server: Server) -> None:
    data = {"ready": True, "http": f"http://{server.http_address}", "domain": server.config.party.domain}
    emit(data, f"{data['domain']} is ready; operators: {data['http']}")
