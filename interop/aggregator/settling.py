"""Settling from the aggregator's side: what its connections are metered to have done, and whether a settlement agrees
with its own books (UFTP 2.6.2, 3.10). Pure."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from adapters.ports import Direction
from datamodels import (
    FlexOrder,
    Head,
    IspSeries,
    MarketTerms,
    Metering,
    MeteringKind,
    MeterProfile,
    Prognosis,
    Quality,
    Settlement,
    SettlementRow,
)
from interop.market.book import Book
from interop.market.settle import metered, settle

__all__ = ["ean", "metering", "newest", "verdict"]

_KW = Decimal("0.001")
_TOLERANCE_W = 1
Verdict = tuple[str, str]


def ean(connection: str) -> str:
    """A connection's address as metering writes it."""
    return connection.replace("ean.", "E")


def metering(head: Head, connection: str, power: IspSeries, quality: Quality, revision: int = 1) -> Metering:
    """A connection's day as it goes to the grid operator: kW per ISP to the watt."""
    values = tuple((Decimal(p or 0) / 1000).quantize(_KW) for p in power.power_w)
    profile = MeterProfile(MeteringKind.POWER, "kW", values)
    return Metering(head, ean(connection), power.calendar, power.period, revision, (profile,), quality)


def newest(book: Book, day: date) -> dict[str, Metering]:
    """The newest metering of each connection that we sent about a day, by EAN; refused ones do not count."""
    found: dict[str, Metering] = {}
    for record in book.records():
        message = record.message
        if not isinstance(message, Metering) or message.period != day or record.direction is not Direction.OUT:
            continue
        if record.accepted is not False and message.revision >= _revision(found.get(message.ean)):
            found[message.ean] = message
    return found


def verdict(theirs: Settlement, book: Book, terms: MarketTerms) -> tuple[Verdict, ...]:
    """What we say to each row: Accepted, or Disputed with the figures of our own books."""
    own: dict[str, SettlementRow] = {}
    unknown: dict[date, str] = {}
    for day in sorted({row.period for row in theirs.rows}):
        actual = metered(newest(book, day).values())
        if actual is None:
            unknown[day] = "nothing was metered here on that day"
            continue
        settled = settle(theirs.head, day, _orders(book, theirs, day), _prognoses(book), actual, terms)
        own |= {row.order_reference: row for row in settled.rows}
    return tuple(
        (row.order_reference, _said_to(row, own.get(row.order_reference), unknown.get(row.period), terms))
        for row in theirs.rows
    )


def _orders(book: Book, theirs: Settlement, day: date) -> list[FlexOrder]:
    """The day's orders of that grid operator whose baseline we know, in the order in which they were placed."""
    known = _prognoses(book)
    return [
        order
        for order in book.messages(FlexOrder, direction=Direction.IN, accepted=True)
        if order.power.period == day and order.head.sender == theirs.head.sender and order.prognosis in known
    ]


def _prognoses(book: Book) -> dict[str, Prognosis]:
    return {p.head.message_id: p for p in book.messages(Prognosis, direction=Direction.OUT)}


def _said_to(theirs: SettlementRow, ours: SettlementRow | None, unknown: str | None, terms: MarketTerms) -> str:
    if unknown is not None:
        return f"Disputed: {unknown}"
    if ours is None:
        return "Disputed: we accepted no such order"
    stated = {isp.isp: isp for isp in theirs.isps}
    for isp in ours.isps:
        other = stated.get(isp.isp)
        if other is None:
            return f"Disputed: ISP {isp.isp} was ordered and is not settled"
        due = (isp.baseline_w, isp.ordered_w, isp.actual_w, isp.delivered_w, isp.deficiency_w)
        given = (other.baseline_w, other.ordered_w, other.actual_w, other.delivered_w, other.deficiency_w)
        if any(abs(a - b) > _TOLERANCE_W for a, b in zip(due, given, strict=True)):
            return (
                f"Disputed: ISP {isp.isp}: baseline {isp.baseline_w} W, ordered {isp.ordered_w} W, measured "
                f"{isp.actual_w} W give {isp.delivered_w} W delivered and {isp.deficiency_w} W missing; stated are "
                f"{other.baseline_w}, {other.ordered_w}, {other.actual_w}, {other.delivered_w}, {other.deficiency_w} W"
            )
    extra = sorted(set(stated) - {isp.isp for isp in ours.isps})
    if extra:
        return f"Disputed: ISP {extra[0]} was not ordered"
    if (theirs.price, theirs.penalty, theirs.net) != (ours.price, ours.penalty, ours.net):
        missing_kwh = sum(isp.deficiency_w for isp in ours.isps) * Decimal(str(terms.calendar.isp_hours)) / 1000
        return (
            f"Disputed: {ours.delivered_share:.4f} of the order delivered makes {ours.price}, {missing_kwh:.4f} kWh "
            f"missing make {ours.penalty}, net {ours.net}; stated are {theirs.price} - {theirs.penalty} = {theirs.net}"
        )
    return "Accepted"


def _revision(message: Metering | None) -> int:
    return 0 if message is None else message.revision
