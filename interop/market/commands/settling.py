"""Settling by hand: what was ordered from an aggregator on days that are over, settled as the book has it now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from adapters.ports import Direction
from datamodels import FlexOrder, IspSeries, Metering, Prognosis, Role, Settlement, dumps
from interop.desk import DeskContext
from interop.market.book import Book
from interop.market.commands.checks import as_role, peer_of
from interop.market.drawn import contract_settlement
from interop.market.ids import head
from interop.market.portfolio import aggregators_at, dso_view
from interop.market.settle import metered, rows

__all__ = ["SettleBody", "settlement"]


@dataclass(frozen=True, slots=True)
class SettleBody:
    """Which days to settle, both included (without `last` it is one day), and with whom, unless there is only one."""

    first: date
    last: date | None = None
    peer: str = ""


def settlement(book: Book, context: DeskContext, body: SettleBody, now: datetime) -> Settlement:
    """A FlexSettlement (UFTP 3.10) of every accepted order of these days; the last one sent, where it says the same."""
    as_role(context, Role.DSO, "settles")
    first, last = body.first, body.last or body.first
    if last < first:
        raise ValueError(f"the last day {last} lies before the first, {first}")
    agr = peer_of(context, body.peer, Role.AGR).domain
    calendar = context.terms.calendar
    if now < calendar.day_span(last)[1]:
        raise ValueError(f"{last} is not over (market time is {now:%Y-%m-%d %H:%M}Z): it cannot be settled yet")
    orders = [
        order
        for order in book.messages(FlexOrder, direction=Direction.OUT, accepted=True)
        if order.head.recipient == agr and first <= order.power.period <= last
    ]
    if not orders:
        raise ValueError(f"nothing was ordered from {agr} for {first} to {last}")
    places = sorted({(order.congestion_point, order.power.period) for order in orders})
    actual = {spot: _actual(book, agr, *spot) for spot in places}
    prognoses = {p.head.message_id: p for p in book.messages(Prognosis, direction=Direction.IN, accepted=True)}
    settled = rows(orders, prognoses, actual, context.terms)
    drawn = tuple(
        used
        for contract in context.terms.contracts
        if (contract.dso, contract.agr) == (context.domain, agr)
        if (used := contract_settlement(book, contract, calendar, frozenset(p for p, _ in places), first, last))
    )
    for earlier in reversed(book.messages(Settlement, direction=Direction.OUT)):
        if (earlier.head.recipient, earlier.period_start, earlier.period_end) == (agr, first, last):
            if (earlier.rows, earlier.contracts) == (settled, drawn):
                return earlier
            break
    about = head(context.domain, agr, now, "settlement", first, last, dumps((settled, drawn)))
    return Settlement(about, first, last, calendar.currency, settled, drawn)


def _actual(book: Book, agr: str, point: str, day: date) -> IspSeries:
    """What the aggregator's connections used: by the newest metering of each."""
    newest = {
        m.ean[1:]: m
        for m in book.messages(Metering, direction=Direction.IN, accepted=True)
        if (m.head.sender, m.period) == (agr, day)
    }
    view = dso_view(book, point, day)
    if view is not None:
        theirs = {address.removeprefix("ean.") for address in aggregators_at(view).get(agr, ())}
        if lacking := sorted(theirs - newest.keys()):
            raise ValueError(
                f"{len(lacking)} of the {len(theirs)} connections of {agr} behind {point} are not metered on {day}"
            )
        newest = {ean: metering for ean, metering in newest.items() if ean in theirs}
    total = metered(newest.values())
    if total is None:
        raise ValueError(f"{agr} has metered nothing on {day} that tells power")
    return total
