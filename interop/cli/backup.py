"""`gridparley backup`."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import click

from interop.cli.access import open_reader
from interop.cli.output import CliError, Exit, config_argument, emit, json_option, load
from interop.store import Reader

__all__ = ["backup"]


@click.command()
@config_argument
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@json_option
def backup(config: Path, target: Path) -> None:
    """Copy the data to DIR, consistently and while the server runs, and check the copy.

    To restore, stop the server, put the files into its data_dir, and start it.
    """
    settings = load(config)
    reader = open_reader(settings)
    try:
        reader.backup(target)
    except FileExistsError as error:
        raise CliError(f"{error.filename} exists already", "choose an empty folder", Exit.USAGE) from error
    except (OSError, sqlite3.Error) as error:
        raise CliError(f"the copy failed: {error}") from error
    finally:
        reader.close()
    copy = Reader(target)
    try:
        report = copy.verify_chain()
    finally:
        copy.close()
    if not report.intact:
        raise CliError(f"event {report.broken_at} of the copy: {report.reason}", "see gridparley replay", Exit.FOUND)
    data = {"backup": str(target), "events": report.events, "head": report.head}
    emit(data, f"{target}: {report.events} events, head {report.head}\nkeep the head apart: replay --head checks it")
