"""`gridparley uftp`: the operator's tools for UFTP."""

from __future__ import annotations

import click

from interop.cli.uftp.check import check
from interop.cli.uftp.find import find
from interop.cli.uftp.keys import keys
from interop.cli.uftp.messages import export, send
from interop.cli.uftp.schema import schema

__all__ = ["uftp"]


@click.group()
def uftp() -> None:
    """Send, check and export UFTP messages, look peers up, manage our signing keys, print the schema."""


for command in (send, check, export, find, keys, schema):
    uftp.add_command(command)
