"""The aggregator checks a settlement: its own prognosis per order, its own metering, the arithmetic it shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from adapters.ports import Direction
from datamodels import (
    FlexOrder,
    Head,
    IspSeries,
    MarketCalendar,
    MarketTerms,
    Prognosis,
    Quality,
    Settlement,
    SettlementRow,
)
from interop.aggregator.settling import metering, newest, verdict
from interop.effects import Put
from interop.market.book import MESSAGE, Book, Record
from interop.market.settle import rows

CALENDAR = MarketCalendar(isp=timedelta(hours=6))
DAY = date(2026, 5, 20)
TERMS = MarketTerms(CALENDAR, penalty_eur_per_kwh=Decimal("0.5"))
AT = datetime(2026, 5, 21, 8, tzinfo=UTC)


def series(*power_w: int | None) -> IspSeries:
    return IspSeries(CALENDAR, DAY, power_w)


def head(id: str, sender: str = "agr", minute: int = 0) -> Head:
    other = "dso" if sender == "agr" else "agr"
    return Head(sender, other, id, "c", AT - timedelta(days=1) + timedelta(minutes=minute))


def put(book: Book, direction: Direction, message: Any, accepted: bool | None = True) -> None:
    book.apply([Put(MESSAGE, message.head.message_id, Record(direction, "dso", message, accepted))])


def order(id: str, prognosis: str, power: IspSeries, price: str = "1") -> FlexOrder:
    return FlexOrder(head(id, "dso", 5), "p", id, Decimal(price), "EUR", power, prognosis=prognosis)


@pytest.fixture
def book() -> Book:
    """Two prognoses, an order on each for the same ISP, two connections metered."""
    book = Book()
    put(book, Direction.OUT, Prognosis(head("P1"), "p", 1, series(-4000, -4000, 0, 0)))
    put(book, Direction.IN, order("o1", "P1", series(None, 1000, None, None)))
    put(book, Direction.OUT, Prognosis(head("P2", minute=9), "p", 2, series(-4000, -2900, 0, 0)))
    put(book, Direction.IN, order("o2", "P2", series(None, 500, None, None)))
    put(book, Direction.OUT, metering(head("M1"), "ean.1", series(-2000, -1300, 0, 0), Quality.GOOD))
    put(book, Direction.OUT, metering(head("M2"), "ean.2", series(-2000, -1200, 0, 0), Quality.UNCERTAIN))
    return book


def settled(book: Book, actual: IspSeries) -> Settlement:
    """What a grid operator that reckons as we do would send."""
    orders = book.messages(FlexOrder)
    prognoses = {p.head.message_id: p for p in book.messages(Prognosis)}
    due = rows(orders, prognoses, {("p", DAY): actual}, TERMS)
    return Settlement(head("S", "dso"), DAY, DAY, "EUR", due)


def with_row(settlement: Settlement, n: int, **changes: Any) -> Settlement:
    rows = list(settlement.rows)
    rows[n] = replace(rows[n], **changes)
    return replace(settlement, rows=tuple(rows))


def test_each_order_is_checked_against_the_prognosis_it_names(book: Book) -> None:
    theirs = settled(book, series(-4000, -2500, 0, 0))
    assert verdict(theirs, book, TERMS) == (("o1", "Accepted"), ("o2", "Accepted"))


def test_another_measurement_is_disputed_with_ours(book: Book) -> None:
    theirs = settled(book, series(-4000, -2600, 0, 0))
    said = dict(verdict(theirs, book, TERMS))
    assert said["o1"].startswith("Disputed: ISP 2: baseline -4000 W, ordered 1000 W, measured -2500 W give 1000 W")
    assert "400 W delivered and 100 W missing" in said["o2"]


def test_the_newest_metering_counts(book: Book) -> None:
    put(book, Direction.OUT, metering(head("M3"), "ean.2", series(-2000, -1300, 0, 0), Quality.GOOD, 2))
    put(book, Direction.OUT, metering(head("M4"), "ean.1", series(0, 0, 0, 0), Quality.GOOD, 2), accepted=False)
    assert [m.revision for m in newest(book, DAY).values()] == [1, 2]
    theirs = settled(book, series(-4000, -2600, 0, 0))
    assert {text for _, text in verdict(theirs, book, TERMS)} == {"Accepted"}


def test_another_price_is_disputed_with_the_arithmetic(book: Book) -> None:
    theirs = with_row(settled(book, series(-4000, -2500, 0, 0)), 1, price=Decimal("0.5"), net=Decimal("0.3"))
    said = dict(verdict(theirs, book, TERMS))
    assert said["o1"] == "Accepted"
    assert said["o2"].startswith("Disputed: 0.8000 of the order delivered makes 0.8000, 0.6000 kWh missing make 0.3000")
    assert said["o2"].endswith("stated are 0.5 - 0.3000 = 0.3")


def test_orders_and_isps_that_we_do_not_know_are_disputed(book: Book) -> None:
    theirs = settled(book, series(-4000, -2500, 0, 0))
    row = theirs.rows[0]
    unknown = with_row(theirs, 0, order_reference="other")
    assert dict(verdict(unknown, book, TERMS))["other"] == "Disputed: we accepted no such order"
    extra = with_row(theirs, 0, isps=(*row.isps, replace(row.isps[0], isp=3)))
    assert dict(verdict(extra, book, TERMS))["o1"] == "Disputed: ISP 3 was not ordered"
    none = with_row(theirs, 0, isps=())
    assert dict(verdict(none, book, TERMS))["o1"] == "Disputed: ISP 2 was ordered and is not settled"


def test_a_day_that_we_have_not_metered_is_disputed(book: Book) -> None:
    other: SettlementRow = replace(settled(book, series(0, 0, 0, 0)).rows[0], period=DAY + timedelta(days=1))
    theirs = Settlement(head("S", "dso"), DAY, DAY, "EUR", (other,))
    assert verdict(theirs, book, TERMS) == (("o1", "Disputed: nothing was metered here on that day"),)
