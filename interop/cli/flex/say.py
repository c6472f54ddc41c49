"""The commands that say something in the trade: options for simple cases, `--file` for all of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from interop.cli.access import ask_server
from interop.cli.flex import words
from interop.cli.output import CliError, Exit, config_argument, emit, json_option, load

__all__ = ["COMMANDS", "HINT"]

F = TypeVar("F", bound=Callable[..., Any])
HINT = "start it with gridparley serve, or correct [server] http_listen"
_SAID = {True: "is in the outbox for", False: "was said before, to"}

file_option = click.option(
    "--file", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="JSON body; options add to it."
)
point_option = click.option("--congestion-point", default=None, help="Its address.  [default: the only one]")
day_option = click.option("--day", metavar="DATE", callback=words.day, help="Day of delivery (local).")
isps_option = click.option("--isps", metavar="45-52", callback=words.isps, help="ISPs of that day, counted from 1.")
reduce_option = click.option("--reduce", metavar="20kW", callback=words.power, help="Less consumption, more feed-in.")
raise_option = click.option("--increase", metavar="20kW", callback=words.power, help="More consumption, less feed-in.")
contract_option = click.option("--contract", default=None, help="Id of the contract it is under.")
expires_option = click.option("--expires", metavar="TIME", callback=words.instant, help="Market time with an offset.")
price_option = click.option("--price", metavar="EUR", default=None, help="For all of it.")
peer_option = click.option("--peer", default=None, help="Domain of the counterpart.  [default: the only one]")


def _say(config: Path, verb: str, file: Path | None, **words: Any) -> None:
    """Hand a command to the server: the file's words, with those of the options laid over them."""
    body: Any = {}
    if file is not None:
        try:
            body = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CliError(f"{file} is no JSON: {error}", code=Exit.USAGE) from error
        if not isinstance(body, dict):
            raise CliError(f"{file} holds no JSON object", "gridparley flex COMMAND --help", Exit.USAGE)
    body |= {name: value for name, value in words.items() if value not in (None, (), [])}
    row = ask_server(load(config), "POST", f"/api/v1/flex/{verb}", body, hint=HINT)
    emit(row, f"{row['kind']} {row['id']} {_SAID[row['new']]} {row['peer']}")


def _change(reduce: int | None, increase: int | None) -> int | None:
    """Signed W of `--reduce` or `--increase`."""
    given = [w for w in (reduce, increase) if w is not None]
    if len(given) > 1:
        raise click.UsageError("give --reduce or --increase, not both")
    if any(w <= 0 for w in given):
        raise click.UsageError("--reduce and --increase are above 0")
    return -reduce if reduce is not None else increase


def _stretches(isps: list[tuple[int, int]] | None, power_w: int | None) -> list[dict[str, int]]:
    if isps is None and power_w is None:
        return []
    if isps is None or power_w is None:
        raise click.UsageError("--isps goes with --reduce or --increase")
    return [{"start": start, "duration": duration, "power_w": power_w} for start, duration in isps]


@click.command()
@config_argument
@peer_option
@point_option
@day_option
@isps_option
@reduce_option
@raise_option
@click.option("--at-most", metavar="30kW", callback=words.power, help="How far it may go.  [default: just as asked]")
@expires_option
@contract_option
@click.option("--service-type", default=None)
@click.option("--revises", default=None, help="Id of the request that this one replaces.")
@file_option
@json_option
def request(
    config: Path,
    peer: str | None,
    congestion_point: str | None,
    day: str | None,
    isps: list[tuple[int, int]] | None,
    reduce: int | None,
    increase: int | None,
    at_most: int | None,
    expires: str | None,
    contract: str | None,
    service_type: str | None,
    revises: str | None,
    file: Path | None,
) -> None:
    """Ask an aggregator for flexibility (DSO).

    File: {"period", "isps": [{"start", "duration", "disposition", "min_power_w", "max_power_w"}], "peer",
    "congestion_point", "expires", "contract", "service_type", "revises"}.
    """
    wanted = _change(reduce, increase)
    far = None if wanted is None else max(at_most or 0, abs(wanted)) * (1 if wanted > 0 else -1)
    asked = [
        {"start": s["start"], "duration": s["duration"], "min_power_w": min(s["power_w"], far or 0)}
        | {"max_power_w": max(s["power_w"], far or s["power_w"])}
        for s in _stretches(isps, wanted)
    ]
    _say(
        config,
        "request",
        file,
        period=day,
        isps=asked,
        peer=peer,
        congestion_point=congestion_point,
        expires=expires,
        contract=contract,
        service_type=service_type,
        revises=revises,
    )


@click.command()
@config_argument
@click.option("--request", "asked", default=None, help="Id of the request that it answers.")
@day_option
@point_option
@isps_option
@reduce_option
@raise_option
@price_option
@click.option("--min-activation", metavar="0.5", default=None, help="Smallest part to buy.  [default: all of it]")
@expires_option
@contract_option
@file_option
@json_option
def offer(
    config: Path,
    asked: str | None,
    day: str | None,
    congestion_point: str | None,
    isps: list[tuple[int, int]] | None,
    reduce: int | None,
    increase: int | None,
    price: str | None,
    min_activation: str | None,
    expires: str | None,
    contract: str | None,
    file: Path | None,
) -> None:
    """Offer flexibility: one option by options, several in a file (AGR). Without --request, unsolicited for --day.

    File: {"request", "period", "congestion_point", "expires", "contract", "options": [{"reference", "price",
    "min_activation", "isps": [{"start", "duration", "power_w"}]}]}.
    """
    option: dict[str, Any] = {"isps": _stretches(isps, _change(reduce, increase)), "price": price}
    option |= {"min_activation": min_activation} if min_activation else {}
    if bool(option["isps"]) != bool(price):
        raise click.UsageError("an option needs --isps, --reduce or --increase, and --price")
    _say(
        config,
        "offer",
        file,
        request=asked,
        period=day,
        congestion_point=congestion_point,
        expires=expires,
        contract=contract,
        options=[option] if price else None,
    )


@click.command()
@config_argument
@click.argument("offer", required=False)
@click.option("--option", default=None, help="Reference of the option.  [default: the only one]")
@click.option("--factor", metavar="0.5", default=None, help="Part of the option.  [default: all of it]")
@contract_option
@day_option
@point_option
@isps_option
@reduce_option
@raise_option
@price_option
@file_option
@json_option
def order(
    config: Path,
    offer: str | None,
    option: str | None,
    factor: str | None,
    contract: str | None,
    day: str | None,
    congestion_point: str | None,
    isps: list[tuple[int, int]] | None,
    reduce: int | None,
    increase: int | None,
    price: str | None,
    file: Path | None,
) -> None:
    """Order an offer, or draw on a contract without one (DSO).

    File: {"offer", "option", "factor"} or {"contract", "period", "congestion_point", "price", "isps": [{"start",
    "duration", "power_w"}]}.
    """
    _say(
        config,
        "order",
        file,
        offer=offer,
        option=option,
        factor=factor,
        contract=contract,
        period=day,
        congestion_point=congestion_point,
        isps=_stretches(isps, _change(reduce, increase)),
        price=price,
    )


@click.command()
@config_argument
@contract_option
@day_option
@point_option
@click.option(
    "--stretch",
    "stretches",
    metavar="45-52=-5kW",
    multiple=True,
    callback=words.stretches,
    help="ISPs and the power that stays reserved in them, signed; 0 lets it go. May be repeated.",
)
@file_option
@json_option
def reserve(
    config: Path,
    contract: str | None,
    day: str | None,
    congestion_point: str | None,
    stretches: tuple[list[dict[str, int]], ...],
    file: Path | None,
) -> None:
    """Say how much of a contract's reservation is still wanted on a day (DSO).

    File: {"contract", "period", "congestion_point", "isps": [{"start", "duration", "power_w"}]}.
    """
    isps = [s for part in stretches for s in part]
    _say(config, "reserve", file, contract=contract, period=day, congestion_point=congestion_point, isps=isps)


@click.command()
@config_argument
@day_option
@point_option
@click.option(
    "--stretch",
    "stretches",
    metavar="1-96=20kW",
    multiple=True,
    callback=words.stretches,
    help="ISPs and their net power (consumption positive). Repeated, until the day is complete.",
)
@file_option
@json_option
def prognosis(
    config: Path,
    day: str | None,
    congestion_point: str | None,
    stretches: tuple[list[dict[str, int]], ...],
    file: Path | None,
) -> None:
    """Tell the grid operator the expected net power of a whole day (AGR).

    File: {"period", "congestion_point", "isps": [{"start", "duration", "power_w"}]}.
    """
    isps = [s for part in stretches for s in part]
    _say(config, "prognosis", file, period=day, congestion_point=congestion_point, isps=isps)


@click.command()
@config_argument
@click.option("--connection", default=None, help="Its EAN (ean.…).")
@day_option
@point_option
@click.option("--power", metavar="18.5", default=None, help="kW, the same all day.")
@file_option
@json_option
def metering(
    config: Path,
    connection: str | None,
    day: str | None,
    congestion_point: str | None,
    power: str | None,
    file: Path | None,
) -> None:
    """Tell the grid operator what one connection was metered to do on a day that is over (AGR).

    File: {"connection", "period", "congestion_point", "profiles": [{"kind", "values": one per ISP}]}; kinds are Power
    (kW), ImportEnergy, ExportEnergy, ImportMeterReading and ExportMeterReading (kWh).
    """
    _say(
        config,
        "metering",
        file,
        connection=connection,
        period=day,
        congestion_point=congestion_point,
        flat_kw=power,
    )


@click.command()
@config_argument
@click.option("--first", metavar="DATE", callback=words.day, help="First day to settle.")
@click.option("--last", metavar="DATE", callback=words.day, help="Last day.  [default: the first]")
@peer_option
@file_option
@json_option
def settle(config: Path, first: str | None, last: str | None, peer: str | None, file: Path | None) -> None:
    """Draw up and send the settlement of days that are over (DSO).

    File: {"first", "last", "peer"}.
    """
    _say(config, "settle", file, first=first, last=last, peer=peer)


@click.command()
@config_argument
@click.argument("offer_id")
@json_option
def revoke(config: Path, offer_id: str) -> None:
    """Take back an offer that nobody has ordered yet (AGR)."""
    _say(config, "revoke", None, offer=offer_id)


@click.command()
@config_argument
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False, exists=True), required=True, help="JSON body.")
@json_option
def publish(config: Path, file: Path) -> None:
    """Publish a portfolio to the common reference operator (AGR, DSO).

    File: {"connections": [{"address", "start", "end"}]} of an AGR, {"points": [{"address", "start", "end",
    "mutex_offers", "day_ahead_redispatch_by", "intraday_redispatch_by", "connections": […]}]} of a DSO.
    """
    _say(config, "publish", file)


@click.command()
@config_argument
@day_option
@point_option
@json_option
def query(config: Path, day: str | None, congestion_point: str | None) -> None:
    """Ask the common reference operator who is connected where on a day (AGR, DSO)."""
    _say(config, "query", None, period=day, congestion_point=congestion_point)


COMMANDS: tuple[click.Command, ...] = (
    request,
    offer,
    order,
    revoke,
    reserve,
    prognosis,
    metering,
    settle,
    publish,
    query,
)
