"""Settling from the aggregator's side: what its connections are metered to have done, and whether a settlement agrees
with its own books (UFTP 2.6.2, 3.10). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
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
from interop.aggregator.agreements import Agreements
from interop.market.book import Book
from interop.market.settle import metered, rows

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
    actual = {day: metered(newest(book, day).values()) for day in {row.period for row in theirs.rows}}
    ours = [
        (order, baseline) for order, baseline in _orders(book, theirs.head.sender) if actual.get(order.power.period)
    ]
    own = rows(
        [replace(o, prognosis=baseline.head.message_id) for o, baseline in ours],
        {baseline.head.message_id: baseline for _, baseline in ours},
        {(o.congestion_point, o.power.period): power for o, _ in ours if (power := actual[o.power.period])},
        terms,
    )
    by_reference = {row.order_reference: row for row in own}
    return tuple(
        (
            row.order_reference,
            _said_to(row, by_reference.get(row.order_reference), terms)
            if actual[row.period] is not None
            else "Disputed: nothing was metered here on that day",
        )
        for row in theirs.rows
    )


def _orders(book: Book, grid_operator: str) -> Iterator[tuple[FlexOrder, Prognosis]]:
    """The orders that we accepted from a grid operator, with their baselines."""
    for order in book.messages(FlexOrder, direction=Direction.IN, accepted=True):
        baseline = Agreements.of(book, order.congestion_point, order.power.period).baseline(order)
        if order.head.sender == grid_operator and baseline is not None:
            yield order, baseline


def _said_to(theirs: SettlementRow, ours: SettlementRow | None, terms: MarketTerms) -> str:
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
