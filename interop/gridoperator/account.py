"""The settlement run: per aggregator, over its own connections, once the days are over and metered (UFTP 3.10)."""

from __future__ import annotations

import calendar as months
from collections.abc import Iterable, Mapping
from datetime import date, datetime

from adapters.ports import Direction
from datamodels import FlexOrder, Head, IspSeries, Metering, Prognosis, Settlement
from interop.gridoperator.options import Operator, SettledPer
from interop.gridoperator.represented import digits, represented
from interop.gridoperator.request import contracts
from interop.market.book import Book
from interop.market.drawn import contract_settlement
from interop.market.ids import head
from interop.market.settle import metered, rows

__all__ = ["settlements"]


def settlements(operator: Operator, book: Book, now: datetime) -> list[Settlement]:
    """Settlements that are due: never sent, or sent before newer metering or a late answer changed their rows."""
    by_period: dict[tuple[str, date, date], list[FlexOrder]] = {}
    for order in book.messages(FlexOrder, direction=Direction.OUT, accepted=True):
        first, last = _period(operator.options.settlement, order.power.period)
        if operator.terms.calendar.day_span(last)[1] <= now:
            by_period.setdefault((order.head.recipient, first, last), []).append(order)
    due = []
    meterings = _newest(book.messages(Metering, direction=Direction.IN, accepted=True)) if by_period else {}
    for (agr, first, last), orders in sorted(by_period.items(), key=lambda item: item[0]):
        settlement = _settlement(operator, book, agr, (first, last), orders, meterings, now)
        if settlement is not None:
            due.append(settlement)
    return due


def _settlement(
    operator: Operator,
    book: Book,
    agr: str,
    period: tuple[date, date],
    orders: list[FlexOrder],
    meterings: Mapping[tuple[str, date, str], Metering],
    now: datetime,
) -> Settlement | None:
    """The settlement of a period as the book has it now; None where metering lacks, or where it was sent so."""
    used: dict[str, Metering] = {}
    actual: dict[tuple[str, date], IspSeries] = {}
    for place in sorted({(order.congestion_point, order.power.period) for order in orders}):
        theirs = _theirs(operator, book, agr, place, meterings)
        total = metered(theirs or ())
        if theirs is None or total is None:
            return None
        actual[place] = total
        used |= {m.head.message_id: m for m in theirs}
    about = _head(operator, agr, period, [o.head.message_id for o in orders], used, now)
    if book.record(about.message_id) is not None:
        return None
    prognoses = {p.head.message_id: p for p in book.messages(Prognosis, direction=Direction.IN, accepted=True)}
    settled = rows(orders, prognoses, actual, operator.terms)
    points = frozenset(point for point, _ in actual)
    drawn = [
        contract_settlement(book, contract, operator.terms.calendar, points, *period)
        for contract in contracts(operator, agr)
    ]
    settlement = Settlement(
        about, *period, operator.terms.calendar.currency, settled, tuple(used for used in drawn if used is not None)
    )
    before = _last(book, agr, period)
    said_so = before is not None and (before.rows, before.contracts) == (settlement.rows, settlement.contracts)
    return None if said_so else settlement


def _theirs(
    operator: Operator,
    book: Book,
    agr: str,
    place: tuple[str, date],
    meterings: Mapping[tuple[str, date, str], Metering],
) -> list[Metering] | None:
    """The newest metering of each connection that an aggregator represents; None while any of them lacks."""
    day = place[1]
    who = represented(operator, book, *place)
    if agr in who.connections:
        wanted = {(ean, day, agr) for ean in who.connections[agr]}
        return [meterings[key] for key in sorted(wanted)] if wanted and wanted <= meterings.keys() else None
    listed = set(map(digits, operator.options.connections))
    there = {ean for ean, metered_on, _ in meterings if metered_on == day}
    if not listed or not listed <= there:
        return None
    return [m for (ean, on, sender), m in sorted(meterings.items()) if ean in listed and (on, sender) == (day, agr)]


def _newest(meterings: Iterable[Metering]) -> dict[tuple[str, date, str], Metering]:
    """By connection, day and sender; the rules of the standard let no lower revision follow a higher one."""
    return {(digits(m.ean), m.period, m.head.sender): m for m in meterings}


def _period(settled: SettledPer, day: date) -> tuple[date, date]:
    if settled is SettledPer.DAILY:
        return day, day
    return day.replace(day=1), day.replace(day=months.monthrange(day.year, day.month)[1])


def _head(
    operator: Operator,
    agr: str,
    period: tuple[date, date],
    orders: Iterable[str],
    used: Iterable[str],
    now: datetime,
) -> Head:
    """Depends on everything that is settled, so that a correction is a new message and a repetition is none."""
    return head(operator.domain, agr, now, "settlement", *period, *sorted(orders), "by", *sorted(used))


def _last(book: Book, agr: str, period: tuple[date, date]) -> Settlement | None:
    sent = book.messages(Settlement, direction=Direction.OUT)
    return next(
        (s for s in reversed(sent) if s.head.recipient == agr and (s.period_start, s.period_end) == period), None
    )
