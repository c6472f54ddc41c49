"""From the room in the net to one request per aggregator, and to what contracts need no longer reserve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime

from datamodels import Contract, Disposition, FlexRequest, Head, MarketCalendar, RequestIsp, Reservation
from interop.gridoperator.options import Operator
from interop.gridoperator.position import Position, gate
from interop.market.book import Book, Record
from interop.market.choice import Room
from interop.market.ids import head
from interop.market.reserve import covers, held, need_of, shrunk

__all__ = ["asked", "contracts", "requests", "reservations", "split", "upcoming"]

_PHASES = ("day-ahead", "intraday")


def split(room: Room, weights: Mapping[str, int], isps: Iterable[int]) -> dict[str, tuple[RequestIsp, ...]]:
    """Share a room out over aggregators: what each is asked for, per ISP.

    Where a change is needed each may offer all of it. Elsewhere the room is shared in proportion to `weights`
    (equally where they are all 0), rounded towards no change, so that together they cannot leave it.
    """
    shares = weights if any(weights.values()) else dict.fromkeys(weights, 1)
    whole = sum(shares.values())
    found: dict[str, list[RequestIsp]] = {agr: [] for agr in shares}
    for isp in isps:
        low, high = room[isp]
        for agr, share in shares.items():
            if low > 0 or high < 0:
                found[agr].append(RequestIsp(isp, 1, Disposition.REQUESTED, low, high))
            else:
                part = RequestIsp(isp, 1, Disposition.AVAILABLE, -(-low * share // whole), high * share // whole)
                found[agr].append(part)
    return {agr: tuple(parts) for agr, parts in found.items()}


def requests(operator: Operator, book: Book, position: Position, room: Room, now: datetime) -> list[FlexRequest]:
    """One request per aggregator whose prognosis is there; none where nothing can be asked for (any more).

    A request speaks of deviations from the aggregator's own newest prognosis: what was ordered on it is part of them.
    Before the day-ahead gate the whole day is asked for; after it, ISPs that begin after the intraday lead. Each set of
    prognoses is asked for once before the gate and once after it.
    """
    calendar = operator.terms.calendar
    closes = gate(calendar, position.day)
    if now < closes:
        phase, isps, expires = _PHASES[0], sorted(room), closes
    else:
        begins = dict(enumerate(calendar.starts(position.day), 1))
        phase, isps = _PHASES[1], [k for k in sorted(room) if begins[k] > now + calendar.intraday_lead]
        expires = min([now + operator.options.request_valid, *(begins[k] for k in isps[:1])])
    if not any(k in isps for k in need_of(room)) or expires <= now:
        return []
    weights = {agr: sum(abs(p) for _, p in prognosis.power) for agr, prognosis in position.prognoses.items()}
    found = []
    for agr, parts in split(room, weights, isps).items():
        contract = _contract(operator, book, position, agr, need_of(room))
        found.append(
            FlexRequest(
                head=_head(operator, position, agr, phase, now),
                congestion_point=position.point,
                calendar=calendar,
                period=position.day,
                revision=1,
                expires=expires,
                isps=tuple(_beside(isp, position.ordered_on(agr).at(isp.start) or 0) for isp in parts),
                contract=contract.id if contract else None,
                service_type=next(iter(contract.service_types), None) if contract else None,
            )
        )
    return found


def upcoming(calendar: MarketCalendar, day: date, room: Room, now: datetime) -> Room:
    """The part of a room whose ISPs have not begun."""
    return {k: bounds for k, bounds in room.items() if calendar.start(day, k) > now}


def asked(operator: Operator, book: Book, position: Position) -> dict[str, Record]:
    """By aggregator, its newest request that was made for the position."""
    found = {}
    for agr, prognosis in position.prognoses.items():
        for phase in _PHASES:
            record = book.record(_head(operator, position, agr, phase, prognosis.head.created).message_id)
            if record is not None:
                found[agr] = record
    return found


def reservations(operator: Operator, book: Book, position: Position, room: Room, now: datetime) -> list[Reservation]:
    """Updates for contracts that reserve more than the position needs, before the day-ahead gate; they only shrink."""
    calendar = operator.terms.calendar
    if now >= gate(calendar, position.day):
        return []
    found = []
    for agr in position.prognoses:
        for contract in contracts(operator, agr):
            reserved = held(book, contract, calendar, position.point, position.day)
            need = dict(position.ordered_on(agr))
            for k, power in need_of(room).items():
                need[k] = need.get(k, 0) + power
            if reserved is None or (smaller := shrunk(reserved, need)) == reserved:
                continue
            about = head(operator.domain, agr, now, "reservation", contract.id, position.point, position.key)
            reference = f"{contract.id}-{position.day:%Y%m%d}-{about.message_id[:8]}"
            found.append(Reservation(about, position.point, contract.id, reference, smaller))
    return found


def contracts(operator: Operator, agr: str) -> list[Contract]:
    return [c for c in operator.terms.contracts if (c.dso, c.agr) == (operator.domain, agr)]


def _contract(operator: Operator, book: Book, position: Position, agr: str, need: Mapping[int, int]) -> Contract | None:
    """The contract to ask under: one whose reservation helps, else one that reserves nothing in particular."""
    known = contracts(operator, agr)
    helping = (c for c in known if covers(held(book, c, operator.terms.calendar, position.point, position.day), need))
    return next(helping, None) or next((c for c in known if not c.reserved), None)


def _beside(isp: RequestIsp, ordered_w: int) -> RequestIsp:
    """The same room, counted from the prognosis without what was ordered on it.

    An ISP that is requested against an earlier order keeps its direction, as it must: at least 1 W.
    """
    low, high = isp.min_power_w + ordered_w, isp.max_power_w + ordered_w
    if isp.disposition is Disposition.REQUESTED:
        low, high = (max(low, 1), max(high, 1)) if isp.min_power_w > 0 else (min(low, -1), min(high, -1))
    return RequestIsp(isp.start, isp.duration, isp.disposition, low, high)


def _head(operator: Operator, position: Position, agr: str, phase: str, now: datetime) -> Head:
    return head(operator.domain, agr, now, "request", position.key, phase)
