"""`gridparley flex status`: the trade as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from interop.cli.access import ask_server
from interop.cli.flex.say import HINT
from interop.cli.output import config_argument, emit, json_option, load

__all__ = ["status"]

Row = dict[str, Any]
_WIDEST = 500


@click.command()
@config_argument
@click.option("--all", "everything", is_flag=True, help="Prognoses, meterings and questions too.")
@json_option
def status(config: Path, everything: bool) -> None:
    """Where the trade stands: requests, offers, orders and settlements, with states and money."""
    data: dict[str, list[Row]] = ask_server(load(config), "GET", "/api/v1/flex", hint=HINT)
    shown = [kind for kind in _TABLES if data[kind] and (everything or kind not in _MORE)]
    emit(data, _printed(table for kind in shown for table in [_table(kind, data[kind])]) or "nothing was traded yet")


def _printed(tables: Iterable[Table]) -> str:
    """Tables as wide as their content needs: an id or a reference that is cut is of no use to the next command."""
    out = StringIO()
    console = Console(file=out, width=_WIDEST)
    for table in tables:
        console.print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _table(kind: str, rows: list[Row]) -> Table:
    """Rows of a kind; columns in which nothing stands are left out."""
    columns, cells = _TABLES[kind]
    names, lines = ("id", "peer", "state", *columns), list[tuple[str, ...]]()
    for row in rows:
        way = ">" if row["direction"] == "out" else "<"
        for n, line in enumerate(cells(row)):
            head = (row["id"], f"{way} {row['peer']}", row["state"]) if n == 0 else ("", "", "")
            lines.append((*head, *line))
    used = [k for k in range(len(names)) if any(line[k] for line in lines)]
    shown = Table(*(names[k] for k in used), title=kind, title_justify="left", box=None, pad_edge=False)
    for line in lines:
        shown.add_row(*(line[k] for k in used))
    return shown


def _request(row: Row) -> Iterator[tuple[str, ...]]:
    call = row["call"] or {}
    energies = (call.get(name) for name in ("asked_kwh", "delivered_kwh", "missed_kwh"))
    called = ["" if energy is None else str(energy) for energy in energies]
    yield row["period"], _isps(row["requested"]), _short(row["expires"]), row["contract"] or "", *called


def _offer(row: Row) -> Iterator[tuple[str, ...]]:
    for n, option in enumerate(row["options"]):
        until = _short(row["expires"]) if n == 0 else ""
        yield (
            option["reference"],
            f"{option['energy_kwh']} kWh",
            f"{option['price']} {row['currency']}",
            option["price_per_kwh"] or "",
            option["min_activation"],
            until,
        )


def _order(row: Row) -> Iterator[tuple[str, ...]]:
    money = f"{row['price']} {row['currency']}"
    yield row["order_reference"], row["period"], f"{row['energy_kwh']} kWh", row["activation_factor"], money


def _settlement(row: Row) -> Iterator[tuple[str, ...]]:
    for part in row["rows"]:
        sum_ = f"{part['price']} - {part['penalty']} = {part['net']} {row['currency']}"
        yield part["order_reference"], part["period"], f"{part['delivered_share']:.0%}", sum_, part["disposition"] or ""
    yield "all", "", "", f"{row['net']} {row['currency']}", ""


def _energy(row: Row) -> Iterator[tuple[str, ...]]:
    kwh = "" if row["energy_kwh"] is None else f"{row['energy_kwh']} kWh"
    yield row["period"], str(row.get("revision", "")), kwh


def _about(row: Row) -> Iterator[tuple[str, ...]]:
    yield row["kind"], row["period"] or "", row["about"]


_MORE = ("prognoses", "meterings", "reference")
_TABLES: dict[str, tuple[tuple[str, ...], Callable[[Row], Iterator[tuple[str, ...]]]]] = {
    "reference": (("kind", "day", "about"), _about),
    "prognoses": (("day", "revision", "energy"), _energy),
    "reservations": (("day", "", "energy"), _energy),
    "requests": (("day", "requested ISPs", "expires", "contract", "called kWh", "delivered", "missed"), _request),
    "offers": (("option", "energy", "price", "per kWh", "least", "expires"), _offer),
    "orders": (("reference", "day", "energy", "factor", "price"), _order),
    "meterings": (("day", "revision", "energy"), _energy),
    "settlements": (("order", "day", "delivered", "price - penalty = net", "verdict"), _settlement),
}


def _short(instant: str) -> str:
    return f"{datetime.fromisoformat(instant):%Y-%m-%d %H:%M}Z"


def _isps(numbers: list[int]) -> str:
    """Numbers as stretches: 41-44, 60."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1][-1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
