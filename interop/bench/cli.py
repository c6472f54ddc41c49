"""`gridparley bench`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from interop.bench.registry import Bench, load_all
from interop.bench.report import CannotMeasure, Report, Row, Scale
from interop.cli.output import CliError, Exit
from interop.settings import nearest

__all__ = ["bench"]


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the result here.")
@click.option("--quick", is_flag=True, help="A few seconds each: shows that it works, its figures mean little.")
@click.option("--large", is_flag=True, help="Also what takes many minutes and 8 GB.")
def bench(name: str, json_file: Path | None, quick: bool, large: bool) -> None:
    """Measure ours and its peers in turn: NAME is a bench, `all`, or `list`.

    Exit code 0 when it could be measured, whatever the figures; 1 when it could not. With `all`, the file holds a list.
    """
    benches = load_all()
    if name == "list":
        for known in benches.values():
            click.echo(f"{known.name:<10} {known.summary}")
        return
    if name != "all" and name not in benches:
        raise CliError(f"no bench is called {name!r}", nearest(name, [*benches, "all", "list"]), Exit.USAGE)
    wanted = list(benches.values()) if name == "all" else [benches[name]]
    reports, failures = _run(wanted, Scale(quick, large))
    if json_file is not None and reports:
        data = [report.as_dict() for report in reports]
        json_file.write_text(json.dumps(data if name == "all" else data[0], indent=2) + "\n", encoding="utf-8")
    if failures:
        raise CliError("; ".join(failures), "the others, if any, were measured", Exit.FOUND)


def _run(wanted: Sequence[Bench], scale: Scale) -> tuple[list[Report], list[str]]:
    console = Console(highlight=False)
    waiting = Console(stderr=True, highlight=False)
    reports, failures = list[Report](), list[str]()
    for one in wanted:
        try:
            with waiting.status(f"{one.name}: {one.summary}"):
                report = asyncio.run(one.run(scale))
        except (CannotMeasure, OSError) as error:
            failures.append(f"{one.name} could not be measured: {error}")
            continue
        reports.append(report)
        show(console, report)
    return reports, failures


def show(console: Console, report: Report) -> None:
    """Print a report as a table, and under it how it was measured."""
    table = Table(title=report.bench, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading, justify in _HEADINGS.items():
        table.add_column(heading, justify="right" if justify else "left")
    for row in report.rows:
        table.add_row(*_cells(row))
    console.print(table)
    console.print(f"[dim]{report.how}[/]\n", soft_wrap=not sys.stdout.isatty())


_HEADINGS = {"case": 0, "ours": 1, "peer": 1, "unit": 0, "ours/peer": 1, "target": 0, "": 0}


def _cells(row: Row) -> tuple[str, ...]:
    data = row.as_dict()
    sign = {True: "[green]holds[/]", False: "[red]missed[/]", None: ""}[row.holds]
    against = f"{row.case} ({row.peer_name})" if row.peer_name else row.case
    numbers = ["-" if data[key] is None else f"{data[key]:g}" for key in ("ours", "peer", "ratio")]
    return against, numbers[0], numbers[1], row.unit, numbers[2], data["target"] or "", sign
