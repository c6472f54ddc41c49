"""What a contract obliges an aggregator to: reserved per day, shrunk by updates and by what is requested.

UFTP 3.1.0 appendix 3: updates and requests can only reduce an obligation, never add to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal

from datamodels import (
    Contract,
    Disposition,
    FlexOrder,
    FlexRequest,
    IspSeries,
    MarketCalendar,
    RequestIsp,
    Reservation,
)
from interop.market.book import Book

__all__ = ["covers", "direct_price", "held", "need_of", "obligation", "requested", "shrunk", "unused"]

_MONEY = Decimal("0.0001")


def held(book: Book, contract: Contract, calendar: MarketCalendar, point: str, day: date) -> IspSeries | None:
    """What a contract reserves on a day: its newest update that was not refused, else what is agreed; None: nothing."""
    for record in reversed(book.records()):
        message = record.message
        if not isinstance(message, Reservation) or message.contract != contract.id or record.accepted is False:
            continue
        if (message.congestion_point, message.power.period) == (point, day):
            return message.power
    return contract.reserved_on(calendar, day)


def requested(isps: Iterable[RequestIsp]) -> dict[int, int]:
    """Signed W that a request asks for, per requested ISP: the bound that is nearer to no change."""
    return {
        k: isp.min_power_w if isp.min_power_w > 0 else isp.max_power_w
        for isp in isps
        if isp.disposition is Disposition.REQUESTED
        for k in isp.isps
    }


def need_of(room: Mapping[int, tuple[int, int]]) -> dict[int, int]:
    """Signed W by which the net power must change, per ISP where it must (room as in `Assessment.room`)."""
    return {k: low if low > 0 else high for k, (low, high) in room.items() if low > 0 or high < 0}


def obligation(reserved: IspSeries | None, request: FlexRequest) -> IspSeries:
    """What must be offered: per ISP the smaller in size of reserved and requested; not requested, no obligation."""
    asked = requested(request.isps)
    empty = IspSeries.empty(request.calendar, request.period)
    if reserved is None:
        return empty
    values = [_smaller(p or 0, asked[k]) if k in asked else None for k, p in enumerate(reserved.power_w, 1)]
    return IspSeries(empty.calendar, empty.period, tuple(values))


def shrunk(reserved: IspSeries, need: Mapping[int, int]) -> IspSeries:
    """The part of a reservation that is still wanted; 0 W where nothing is. Addresses the same ISPs."""
    values = [None if p is None else _smaller(p, need.get(k, 0)) for k, p in enumerate(reserved.power_w, 1)]
    return IspSeries(reserved.calendar, reserved.period, tuple(values))


def unused(reserved: IspSeries, contract: str, orders: Iterable[FlexOrder]) -> IspSeries:
    """What is left of a reservation after the orders under its contract; an order the other way frees nothing."""
    used = [order.power for order in orders if order.contract == contract]
    values = []
    for isp, power in enumerate(reserved.power_w, 1):
        taken = sum(abs(p) for series in used if (p := series.at(isp) or 0) * (power or 0) > 0)
        values.append(None if power is None else _towards_zero(power, taken))
    return IspSeries(reserved.calendar, reserved.period, tuple(values))


def direct_price(contract: Contract, power: IspSeries) -> Decimal:
    """What a contract pays for power that is ordered without an offer, to 4 digits half-even."""
    kwh = sum(abs(p) for _, p in power) * Decimal(str(power.calendar.isp_hours)) / 1000
    return (kwh * contract.price_eur_per_kwh).quantize(_MONEY, ROUND_HALF_EVEN)


def covers(reserved: IspSeries | None, need: Mapping[int, int]) -> bool:
    """Whether a reservation can help with any of the need."""
    return reserved is not None and any(_smaller(reserved.at(k) or 0, power) for k, power in need.items())


def _smaller(*powers: int) -> int:
    """The smallest in size where all have one sign, else 0."""
    if all(p > 0 for p in powers) or all(p < 0 for p in powers):
        return min(powers, key=abs)
    return 0


def _towards_zero(power: int, by: int) -> int:
    rest = max(abs(power) - by, 0)
    return rest if power > 0 else -rest
