"""`gridparley demo`: the main job, watched in a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from interop.demo.judge import Verdict
from interop.demo.processes import ProcessFailed
from interop.demo.run import Demo, DemoFailed, Options, default_folder
from interop.demo.world import World
from interop.scenarios import SCENARIOS

__all__ = ["demo"]

_FAILED = 1


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
@click.option("--scenario", type=click.Choice(sorted(SCENARIOS)), default="rural1", show_default=True)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the result here.")
@click.option("--keep", is_flag=True, help="Leave servers and dashboard running until Ctrl-C.")
@click.option(
    "--isp-seconds", default=1.0, show_default=True, type=click.FloatRange(0.5, 60.0), help="Length of an ISP."
)
@click.option("--dashboard", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Port on 127.0.0.1.")
@click.option("--drop-out", default="battery-1", show_default=True, help="The battery that dies half way; '' for none.")
@click.option("--dir", "folder", type=click.Path(file_okay=False, path_type=Path), help="Where the run is kept.")
def demo(
    scenario: str,
    json_file: Path | None,
    keep: bool,
    isp_seconds: float,
    dashboard: int,
    drop_out: str,
    folder: Path | None,
) -> None:
    """A grid operator's request reaches devices over their own protocols and comes back settled.

    Exit status: 0 the grid is free of congestion, the order is delivered and no message is lost; 1 it is not so, with
    the reason; 2 the run could not be started or brought to its end.
    """
    console = Console(stderr=False, highlight=False)
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
