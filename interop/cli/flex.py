"""`gridparley flex`: the trade in flexibility, as the running server sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from interop.cli.access import ask_server
from interop.cli.output import config_argument, emit, json_option, load

__all__ = ["flex"]

_HINT = "start it with gridparley serve, or correct [server] http_listen"


@click.group()
def flex() -> None:
    """Show the trade in flexibility, and take offers back."""


@flex.command()
@config_argument
@json_option
def status(config: Path) -> None:
    """Requests, offers, orders and settlements, with verdicts and money."""
    data = ask_server(load(config), "GET", "/api/v1/flex", hint=_HINT)
    emit(data, "\n".join(_lines(data)) or "nothing was traded yet")


@flex.command()
@config_argument
@click.argument("offer_id")
@json_option
def revoke(config: Path, offer_id: str) -> None:
    """Take back an offer that nobody has ordered yet (aggregators only)."""
    answer = ask_server(load(config), "POST", "/api/v1/flex/revoke", {"offer": offer_id}, hint=_HINT)
    emit(answer, f"offer {offer_id} is revoked; {answer['peer']} is told")


def _lines(data: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    for row in data["requests"]:
        isps = f"{len(row['requested'])} ISPs of {row['period']}"
        yield f"request    {row['id']} {row['peer']:<24} {_verdict(row):<9} {isps}, expires {row['expires']}"
    for row in data["offers"]:
        options = ", ".join(f"{o['reference']}: {o['energy_kwh']} kWh for {o['price']}" for o in row["options"])
        yield f"offer      {row['id']} {row['peer']:<24} {row['state']:<9} {options} {row['currency']}"
    for row in data["orders"]:
        money = f"{row['energy_kwh']} kWh for {row['price']} {row['currency']}"
        yield f"order      {row['id']} {row['peer']:<24} {_verdict(row):<9} {row['order_reference']}: {money}"
    for row in data["settlements"]:
        net = f"{row['net']} {row['currency']} for {row['period_start']} to {row['period_end']}"
        yield f"settlement {row['id']} {row['peer']:<24} {_verdict(row):<9} {net}"
        for part in row["rows"]:
            share = f"{part['delivered_share']:.0%} delivered"
            yield f"           {part['order_reference']}: {part['price']} - {part['penalty']} = {part['net']}, {share}"


def _verdict(row: dict[str, Any]) -> str:
    return {None: "open", True: "accepted", False: "rejected"}[row["accepted"]]
