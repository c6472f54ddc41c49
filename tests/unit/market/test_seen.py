"""What the common reference operator showed us, for a page: counts of the latest day that was asked about."""

from __future__ import annotations

from datetime import date
from typing import Any

from support.byhand import DAY, Market, Party
from support.market import AGR, P1, ean

from datamodels import AgrView, ConnectedAt, DsoView, PointView, PortfolioView, RedispatchBy
from interop.effects import Put
from interop.market.book import Book
from interop.market.machine import VIEW
from interop.market.seen import seen


def told(market: Market, party: Party, day: date, view: PortfolioView) -> None:
    asked = party.say("query", market.cro, period=day.isoformat())
    party.book.apply([Put(VIEW, asked.head.message_id, view)])


def only(book: Book) -> dict[str, Any]:
    found = seen(book)
    assert found["day"] == DAY.isoformat()
    (point,) = found["points"]
    assert ean(1) not in repr(found)
    return dict(point)


def test_nothing_was_asked() -> None:
    assert seen(Book()) == {"day": None, "points": [], "aggregators": [], "updates": []}


def test_the_latest_day_and_the_newest_answer_count() -> None:
    market = Market()
    told(market, market.dso, date(2030, 6, 1), DsoView("UTC", DAY, P1, (ConnectedAt(ean(1)),)))
    told(market, market.dso, DAY, DsoView("UTC", DAY, P1, ()))
    told(market, market.dso, DAY, DsoView("UTC", DAY, P1, (ConnectedAt(ean(1), AGR), ConnectedAt(ean(2)))))
    point = only(market.dso.book)
    assert (point["connections"], point["unrepresented"]) == (2, 1)
    assert point["aggregators"] == [{"domain": AGR, "connections": 1}]
    point_view = PointView(P1, "dso.example.org", False, RedispatchBy.AGR, (ean(1), ean(2)))
    told(market, market.agr, DAY, AgrView("UTC", DAY, (point_view,)))
    point = only(market.agr.book)
    assert (point["dso"], point["mutex_offers"], point["connections"]) == ("dso.example.org", False, 2)
