"""`gridparley event`: tell a resource, or a whole congestion point, what to do now."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from datamodels import DispatchKind, SignalKind
from interop.cli.access import ask_server
from interop.cli.output import CliError, Exit, config_argument, emit, json_option, load
from interop.config import Config

__all__ = ["event", "instant"]


def instant(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """ISO 8601 with an offset, in market time."""
    if value is None:
        return None
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a time; write it as 2026-01-31T10:15:00+01:00") from None
    if instant.tzinfo is None:
        raise click.BadParameter(f"{value} has no time zone; add an offset, or Z for UTC")
    return instant.isoformat()


_start = click.option("--start", metavar="TIME", callback=instant, help="Market time with an offset. [default: now]")
_priority = click.option("--priority", type=click.IntRange(0), default=1, show_default=True, help="1 goes first.")
_id = click.option("--id", "id", default="", help="A name of your own; said again, it revises. [default: derived]")


@click.group()
def event() -> None:
    """Direct dispatch and limits, through the running server."""


@event.command()
@config_argument
@click.argument("resource")
@click.option("--kind", type=click.Choice([str(kind) for kind in DispatchKind], case_sensitive=False), required=True)
@click.option("--value", type=int, required=True, help="W (consumption positive), Wh for SOC_TARGET, 0..3 for LEVEL.")
@_start
@click.option("--minutes", type=click.IntRange(1), required=True, help="How long it holds.")
@_priority
@_id
@json_option
def create(
    config: Path, resource: str, kind: str, value: int, start: str | None, minutes: int, priority: int, id: str
) -> None:
    """Tell one resource what to do; it goes before what the desk plans for that time."""
    body: dict[str, Any] = {"resource": resource, "kind": kind, "value": value, "minutes": minutes}
    body |= {"priority": priority, "id": id} | ({"start": start} if start else {})
    row = _ask(load(config), "POST", "/api/v1/dispatches", body)
    emit(row, f"{row['id']}: {row['resource']} {row['kind']} {value} until {row['end']} is {row['status']}")


@event.command()
@config_argument
@click.option("--import-w", type=click.IntRange(0), help="Highest net consumption, W.")
@click.option("--export-w", type=click.IntRange(0), help="Highest net production, W.")
@_start
@click.option("--minutes", type=click.IntRange(0), required=True, help="How long it holds; 0 is until it is cancelled.")
@click.option("--congestion-point", default="", help="Where it holds. [default: the only one configured]")
@_priority
@json_option
def limit(
    config: Path,
    import_w: int | None,
    export_w: int | None,
    start: str | None,
    minutes: int,
    congestion_point: str,
    priority: int,
) -> None:
    """Impose a limit on the net power of a congestion point."""
    limits = {SignalKind.IMPORT_LIMIT: import_w, SignalKind.EXPORT_LIMIT: export_w}
    if import_w is None and export_w is None:
        raise click.UsageError("give --import-w, --export-w, or both")
    read = load(config)
    target = {"kind": "congestion_point", "id": congestion_point or _only_point(read)}
    rest: dict[str, Any] = {"minutes": minutes, "priority": priority, "targets": [target]}
    rest |= {"start": start} if start else {}
    rows = [
        _ask(read, "POST", "/api/v1/signals", {"kind": str(kind), "value": value} | rest)
        for kind, value in limits.items()
        if value is not None
    ]
    emit(rows, "\n".join(map(_signal, rows)))


@event.command(name="list")
@config_argument
@click.option("--all", "everything", is_flag=True, help="Also what the desk itself tells resources.")
@json_option
def list_(config: Path, everything: bool) -> None:
    """List direct dispatches and signals, with their standing."""
    read = load(config)
    dispatches = [d for d in _ask(read, "GET", "/api/v1/dispatches") if everything or d["source"] == "operator"]
    signals = _ask(read, "GET", "/api/v1/signals")
    lines = [*map(_dispatch, dispatches), *map(_signal, signals)]
    emit({"dispatches": dispatches, "signals": signals}, "\n".join(lines) or "no events; gridparley event create")


@event.command()
@config_argument
@click.argument("id")
@json_option
def cancel(config: Path, id: str) -> None:
    """End a direct dispatch or a signal of ours before its time."""
    read = load(config)
    is_dispatch = any(row["id"] == id for row in _ask(read, "GET", "/api/v1/dispatches"))
    path = "dispatches" if is_dispatch else "signals"
    row = _ask(read, "DELETE", f"/api/v1/{path}/{quote(id, safe='')}")
    emit(row, _dispatch(row) if is_dispatch else _signal(row))


def _ask(config: Config, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    return ask_server(
        config, method, path, body, hint="start it with gridparley serve, or correct [server] http_listen"
    )


def _only_point(config: Config) -> str:
    points = [point.address for point in config.market.congestion_points]
    if len(points) != 1:
        known = ", ".join(points) or "none is configured"
        raise CliError("which congestion point?", f"add --congestion-point; known: {known}", Exit.USAGE)
    return points[0]


def _dispatch(row: dict[str, Any]) -> str:
    value = "" if row["value"] is None else row["value"]
    status = "WITHDRAWN" if row["withdrawn"] else row["status"]
    return f"{row['id']:<38} {row['resource']:<20} {row['kind']:<13} {value:>8} {row['start']} {row['end']} {status}"


def _signal(row: dict[str, Any]) -> str:
    where = ", ".join(target["id"] for target in row["targets"]) or "everybody"
    values = ", ".join(interval["value"] for interval in row["intervals"])
    end = row["end"] or "until cancelled"
    return f"{row['id']:<38} {where:<20} {row['kind']:<13} {values:>8} {row['start']} {end} {row['status']}"
