"""`gridparley scl`: devices described in SCL (IEC 61850-6)."""

from __future__ import annotations

import json
from pathlib import Path

import click

from adapters.iec61850 import read_resources
from datamodels import Resource, Severity, encode
from interop.cli.output import CliError, Exit, emit, json_option

__all__ = ["scl"]

_FIELDS = ("id", "connection", "kind", "role", "p_min_w", "p_max_w", "capacity_wh", "name")


@click.group()
def scl() -> None:
    """Read devices from IEC 61850 configuration files (ICD, IID, CID, SCD)."""


@scl.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--ied", default="", help="Name of the device, where the file describes a type (IED TEMPLATE).")
@click.option("--connection", default="", help="Grid connection (ean.… or ea1.…); default: the file's ElcRefId.")
@click.option("--host", default="", help="Where the device listens; default: the file's IP.")
@click.option("--port", default=102, show_default=True, type=click.IntRange(1, 65535))
@json_option
def import_(file: Path, ied: str, connection: str, host: str, port: int) -> None:
    """Print the resources in FILE as configuration; what is missing or lost goes to standard error.

    Exit code 1 where a device lacks what a resource needs, 4 where the file cannot be read.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CliError(f"{file}: {error.strerror}", "name an SCL file") from error
    resources, problems, losses = read_resources(data, ied=ied, connection=connection, host=host, port=port)
    for problem in problems:
        click.echo(f"{problem.severity}: {problem}", err=True)
    for loss in losses:
        click.echo(f"not carried: {loss.field} = {loss.value} ({loss.why})", err=True)
    document = {"file": str(file), "resources": resources, "problems": problems, "losses": losses}
    emit(encode(document), "\n".join(map(_toml, resources)))
    if any(p.severity is Severity.ERROR for p in problems):
        unreadable = any(p.where == "file" for p in problems)
        raise SystemExit(int(Exit.UNAVAILABLE if unreadable else Exit.FOUND))


def _toml(resource: Resource) -> str:
    """A `[[resources]]` table of the configuration; the binding as a comment, for this adapter is not live yet."""
    lines = ["[[resources]]", *(f"{name} = {_literal(getattr(resource, name))}" for name in _FIELDS)]
    if bound := resource.binding:
        lines += [f"# binding: {bound.adapter} {_literal(bound.address)}"]
        lines += [f"#   {key} = {_literal(value)}" for key, value in bound.options.items()]
    return "\n".join(lines) + "\n"


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
