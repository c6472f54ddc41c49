"""`gridparley uftp schema`."""

from __future__ import annotations

import click

from adapters.uftp.schema import VERSIONS
from adapters.uftp.xsd import xsd

__all__ = ["schema"]


@click.command()
@click.argument("version", type=click.Choice(VERSIONS))
def schema(version: str) -> None:
    """Print the XML Schema of all messages of a version, as this program holds them to it."""
    click.echo(xsd(version).decode("utf-8"), nl=False)
