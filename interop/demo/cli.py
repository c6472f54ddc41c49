"""`gridparley demo`: the main job, watched in a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import shutil
import signal
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from interop.demo.judge import Verdict
from interop.demo.processes import ProcessFailed
from interop.demo.run import Demo, DemoFailed, Options, default_folder
from interop.demo.world import World
from interop.scenarios import SCENARIOS
from interop.usecases import USE_CASES
from interop.usecases.assumptions import AssumptionError, Assumptions
from interop.usecases.page import render

__all__ = ["demo"]

_FAILED = 1
_LIVE = frozenset({"keep", "isp_seconds", "dashboard", "drop_out", "folder"})
_SIMULATED = frozenset({"html", "days", "assumptions"})
"""Options by what a scenario must be for them to mean anything."""


class _Terminal:
    """A line per phase and a bar for the day."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.bar = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=40),
            TextColumn("{task.completed}/{task.total} ISPs"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._day = self.bar.add_task("20 May 2016", total=96, visible=False, note="")

    def phase(self, name: str, text: str) -> None:
        self._console.print(f"[bold cyan]{name:<11}[/] {text}")

    def progress(self, isp: int, of: int, text: str) -> None:
        self.bar.update(self._day, completed=isp, total=of, visible=True, note=text)


@click.command()
@click.option("--scenario", type=click.Choice(sorted({**SCENARIOS, **USE_CASES})), default="rural1", show_default=True)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the result here.")
@click.option("--keep", is_flag=True, help="Leave servers and dashboard running until Ctrl-C.")
@click.option(
    "--isp-seconds", default=1.0, show_default=True, type=click.FloatRange(0.5, 60.0), help="Length of an ISP."
)
@click.option("--dashboard", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Port on 127.0.0.1.")
@click.option("--drop-out", default="battery-1", show_default=True, help="The battery that dies half way; '' for none.")
@click.option("--dir", "folder", type=click.Path(file_okay=False, path_type=Path), help="Where the run is kept.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Where the report goes.  [NAME.html]")
@click.option("--days", type=click.IntRange(1), help="How many days of each season are simulated.")
@click.option(
    "--assumptions",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file with values in place of the shipped assumptions.",
)
@click.pass_context
def demo(
    context: click.Context,
    scenario: str,
    json_file: Path | None,
    keep: bool,
    isp_seconds: float,
    dashboard: int,
    drop_out: str,
    folder: Path | None,
    html: Path | None,
    days: int | None,
    assumptions: Path | None,
) -> None:
    """A grid operator's request reaches devices over their own protocols and comes back settled.

    The scenarios rural1 and market are played live: servers, devices and homes are processes. home, community and
    lvgrid are simulations of the same data that end with a report (--html, --days, --assumptions are theirs).

    Exit status: 0 the grid is free of congestion, the order is delivered and no message is lost (simulations: every
    check of the report passed); 1 it is not so, with the reason; 2 the run could not be started or brought to its end.
    """
    console = Console(stderr=False, highlight=False)
    _only(context, _LIVE if scenario in USE_CASES else _SIMULATED, scenario)
    if scenario in USE_CASES:
        sys.exit(_simulate(scenario, console, html or Path(f"{scenario}.html"), json_file, days, assumptions))
    where = (folder or default_folder()).resolve()
    if where.exists():
        shutil.rmtree(where) if (where / "clock.json").exists() else sys.exit(f"{where} exists and is no earlier run")
    where.mkdir(parents=True)
    world = World(SCENARIOS[scenario](), where, dashboard)
    terminal = _Terminal(console)
    options = Options(isp_seconds=isp_seconds, drop_out=drop_out)
    try:
        verdict = asyncio.run(_until_told(_run(world, options, terminal, console, keep, json_file)))
    except (DemoFailed, ProcessFailed) as error:
        console.print(f"[bold red]stopped[/]     {error}")
        sys.exit(2)
    except asyncio.CancelledError:
        sys.exit(130)
    sys.exit(_FAILED if verdict.failures else 0)


def _only(context: click.Context, others: frozenset[str], scenario: str) -> None:
    """Refuse options that say nothing about the scenario."""
    for option in context.command.params:
        if option.name in others and context.get_parameter_source(option.name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"{option.opts[0]} means nothing to scenario {scenario}")


def _simulate(
    name: str, console: Console, html: Path, json_file: Path | None, days: int | None, assumptions: Path | None
) -> int:
    """Play a use case, write its report, and show what it found."""
    case, began = USE_CASES[name], time.monotonic()
    if days is not None and days > case.most:
        raise click.UsageError(f"the data holds {case.most} days of each season for scenario {name}, not {days}")
    try:
        report = case.play(Assumptions.read(assumptions), days or case.days)
    except AssumptionError as error:
        console.print(f"[bold red]stopped[/]     {escape(str(error))}")
        return 2
    html.write_text(render(report), encoding="utf-8")
    if json_file is not None:
        json_file.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
    console.print(f"[bold]gridparley demo[/]: {report.title}\n{report.lead}\n")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for variant in report.variants:
        table.add_column(variant, justify="right")
    for row in report.indicators:
        cells = ("" if math.isnan(v) else f"{v:,.{row.digits}f}" for v in (row.values[n] for n in report.variants))
        table.add_row(f"{row.label}, {row.unit}", *cells)
    console.print(table)
    console.print(f"[dim]{report.notice}.[/]")
    for failure in report.failures:
        console.print(f"[bold red]FAILED[/]  {escape(failure)}")
    seconds = time.monotonic() - began
    console.print(f"{'' if report.failures else '[bold green]OK[/]  '}report: {html}, {seconds:.0f} s")
    return _FAILED if report.failures else 0


async def _until_told(work: Coroutine[Any, Any, Verdict]) -> Verdict:
    """Run, and on SIGINT or SIGTERM end every child before ending."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


async def _run(
    world: World, options: Options, terminal: _Terminal, console: Console, keep: bool, json_file: Path | None
) -> Verdict:
    console.print(f"[bold]gridparley demo[/]: {world.scenario.title}")
    console.print(f"dashboard   {world.parties[0].url}    this run: {world.folder}")
    for party in world.parties[1:]:
        console.print(f"            {party.url}    {party.domain}, {party.role}")
    run = Demo(world, options, terminal)
    try:
        with terminal.bar:
            verdict = await run.run()
        _show(console, world, verdict, json_file)
        if keep:
            console.print(f"\nThe dashboard stays at {world.parties[0].url}; Ctrl-C ends everything.")
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return verdict
    finally:
        await run.close()


def _show(console: Console, world: World, verdict: Verdict, json_file: Path | None) -> None:
    result = verdict.result
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("without", justify="right")
    table.add_column("with gridparley", justify="right")
    rows = {
        "congested quarter-hours": "isps_congested",
        "peak of the net, kW": "peak_kw",
        "transformer loading, %": "max_loading_pct",
    }
    for label, key in rows.items():
        table.add_row(label, str(result[key]["before"]), str(result[key]["after"]))
    console.print()
    console.print(table)
    console.print(_sentence(result))
    if len(result["aggregators"]) > 1:
        console.print(_accounts(result))
        console.print(", ".join(f"{count} {kind}" for kind, count in result["uftp"].items()), style="dim")
    console.print(f"[dim]{world.scenario.notice}.[/]")
    if verdict.failures:
        for failure in verdict.failures:
            console.print(f"[bold red]FAILED[/]  {failure}")
    else:
        console.print("[bold green]OK[/]  checked by power flow with what every device really did")


def _accounts(result: dict[str, Any]) -> Table:
    """Who sold what."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("aggregator", "orders", "ordered, kWh", "delivered, kWh", "settled, EUR"):
        table.add_column(name, justify="left" if name == "aggregator" else "right")
    for name, row in result["aggregators"].items():
        cells = (row["orders"], row["ordered_kwh"], row["delivered_kwh"], f"{row['net_eur']:.2f}")
        table.add_row(name, *map(str, cells))
    return table


def _sentence(result: dict[str, Any]) -> str:
    messages = ", ".join(f"{count} {name}" for name, count in result["messages"].items())
    devices = ", ".join(f"{count} over {name}" for name, count in result["devices"].items())
    orders = f"{result['orders']} order{'s' if result['orders'] > 1 else ''}"
    return (
        f"{orders} of {result['ordered_kwh']:g} kWh, {result['delivered_share']:.1%} delivered,"
        f" settled at {result['settlement_eur']:.2f} EUR\n"
        f"devices: {devices}; messages: {messages}; {result['seconds']:g} s"
    )
