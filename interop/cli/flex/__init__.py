"""`gridparley flex`: the trade in flexibility, by hand, through the running server."""

from __future__ import annotations

import click

from interop.cli.flex.say import COMMANDS
from interop.cli.flex.tables import status

__all__ = ["flex"]


@click.group()
def flex() -> None:
    """Trade by hand: ask, offer, order, prognose, meter and settle; and see where the trade stands."""


for command in (status, *COMMANDS):
    flex.add_command(command)
