"""`gridparley uftp`: the operator's tools for UFTP."""

from __future__ import annotations

import click

from interop.cli.uftp.check import check
from interop.cli.uftp.find import find
from interop.cli.uftp.keys import keys
from interop.cli.uftp.messages import export, send

__all__ = ["uftp"]


@click.group()
def uftp() -> None:
    """Send, check and export UFTP messages, look peers up, manage our signing keys."""


for command in (send, check, export, find, keys):
    uftp.add_command(command)
