"""How contracts were used: what was reserved, asked, offered and ordered under them, day by day (UFTP 2.6.2)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from datamodels import (
    Contract,
    ContractDay,
    ContractIsp,
    ContractSettlement,
    Disposition,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    IspSeries,
    MarketCalendar,
)
from interop.market.book import Book, Record
from interop.market.reserve import held, requested

__all__ = ["contract_settlement"]


def contract_settlement(
    book: Book, contract: Contract, calendar: MarketCalendar, points: frozenset[str], first: date, last: date
) -> ContractSettlement | None:
    """A contract's days from first to last at some congestion points, None where it reserved and moved nothing.

    Powers of several requests and orders for an ISP add up; of several offers and their options the largest counts.
    """
    days = []
    for n in range((last - first).days + 1):
        day = first + timedelta(days=n)
        isps = tuple(_isps(book, contract, calendar, points, day))
        if isps:
            days.append(ContractDay(day, isps))
    return ContractSettlement(contract.id, tuple(days)) if days else None


def _isps(
    book: Book, contract: Contract, calendar: MarketCalendar, points: frozenset[str], day: date
) -> Iterator[ContractIsp]:
    reserved = [s for p in sorted(points) if (s := held(book, contract, calendar, p, day)) is not None]
    said = [r for r in book.records() if r.accepted and _under(r, contract.id, points, day)]
    asked = [r.message for r in said if isinstance(r.message, FlexRequest)]
    offered = [o.power for r in said if isinstance(r.message, FlexOffer) for o in r.message.options]
    ordered = [r.message.power for r in said if isinstance(r.message, FlexOrder)]
    wanted = [requested(request.isps) for request in asked]
    for isp in range(1, calendar.isps(day) + 1):
        held_w = sum(s.at(isp) or 0 for s in reserved)
        found = ContractIsp(
            isp,
            held_w,
            requested_w=_sum([asks[isp] for asks in wanted if isp in asks]),
            available_w=_sum([w for request in asked if (w := _available(request, isp, held_w)) is not None]),
            offered_w=max(_at(offered, isp), key=abs, default=None),
            ordered_w=_sum(_at(ordered, isp)),
        )
        if held_w or any(v is not None for v in (found.requested_w, found.offered_w, found.ordered_w)):
            yield found


def _under(record: Record, contract: str, points: frozenset[str], day: date) -> bool:
    match record.message:
        case FlexRequest(congestion_point=point, period=period, contract=under):
            return (under, period) == (contract, day) and point in points
        case FlexOffer(congestion_point=point, contract=under, options=options):
            return under == contract and point in points and options[0].power.period == day
        case FlexOrder(congestion_point=point, contract=under, power=power):
            return (under, power.period) == (contract, day) and point in points
    return False


def _available(request: FlexRequest, isp: int, held_w: int) -> int | None:
    """The room of an Available ISP in the direction of the reservation; without one, the wider side."""
    bounds = request.bounds(isp)
    if bounds is None or bounds.disposition is not Disposition.AVAILABLE:
        return None
    if held_w:
        return bounds.max_power_w if held_w > 0 else bounds.min_power_w
    return max(bounds.min_power_w, bounds.max_power_w, key=abs)


def _at(series: list[IspSeries], isp: int) -> list[int]:
    return [power for s in series if (power := s.at(isp)) is not None]


def _sum(powers: list[int]) -> int | None:
    return sum(powers) if powers else None
