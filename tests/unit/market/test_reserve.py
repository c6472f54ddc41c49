"""What a contract obliges to, and what is left of it (UFTP appendix 3)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ports import Direction
from datamodels import (
    Contract,
    Disposition,
    FlexOrder,
    FlexRequest,
    IspSeries,
    MarketCalendar,
    RequestIsp,
    Reservation,
    Run,
)
from interop.effects import Put
from interop.market.book import MESSAGE, Book, Record
from interop.market.ids import head
from interop.market.reserve import covers, held, obligation, shrunk, unused

CALENDAR, DAY, NOW = MarketCalendar(), date(2030, 6, 4), datetime(2030, 6, 3, 8, tzinfo=UTC)
DSO, AGR, POINT = "dso.example.org", "agr.example.org", "ea1.2030-01.org.example:cp"
CONTRACT = Contract("C-1", DSO, AGR, reserved=(Run(40, 4, 10_000),))
watts = st.integers(-20_000, 20_000)


def series(*runs: Run) -> IspSeries:
    return IspSeries.from_runs(CALENDAR, DAY, runs)


def request(*isps: RequestIsp) -> FlexRequest:
    return FlexRequest(
        head(DSO, AGR, NOW, "request"), POINT, CALENDAR, DAY, 1, NOW + timedelta(hours=2), isps, contract="C-1"
    )


@given(watts, watts)
def test_the_obligation_is_the_smaller_of_reserved_and_requested(reserved: int, asked: int) -> None:
    low, high = (asked, 90_000) if asked > 0 else (-90_000, asked)
    made = request(RequestIsp(40, 1, Disposition.REQUESTED, low, high))
    due = obligation(series(Run(40, 2, reserved)), made)
    assert due.isps == {40}, "where nothing is requested, nothing is owed"
    if reserved * asked > 0:
        assert due.at(40) == min(reserved, asked, key=abs)
    else:
        assert due.at(40) == 0


def test_available_isps_and_missing_reservations_oblige_to_nothing() -> None:
    made = request(
        RequestIsp(40, 1, Disposition.REQUESTED, 5000, 9000), RequestIsp(41, 1, Disposition.AVAILABLE, -5000, 5000)
    )
    assert obligation(series(Run(41, 1, 9000)), made).isps == {40}
    assert obligation(None, made).isps == frozenset()


@given(watts, watts)
def test_an_update_only_shrinks(reserved: int, need: int) -> None:
    smaller = shrunk(series(Run(40, 2, reserved)), {40: need})
    assert smaller.isps == {40, 41}
    assert smaller.at(41) == 0
    assert abs(smaller.at(40) or 0) <= min(abs(reserved), abs(need))
    assert (smaller.at(40) or 0) * reserved >= 0
    assert shrunk(smaller, {40: need}) == smaller


@pytest.mark.parametrize("accepted", [True, None, False])
def test_the_newest_update_counts_unless_it_was_refused(accepted: bool | None) -> None:
    book = Book()
    update = Reservation(head(DSO, AGR, NOW, "update"), POINT, "C-1", "ref", series(Run(40, 4, 3000)))
    book.apply([Put(MESSAGE, "update", Record(Direction.OUT, AGR, update, accepted))])
    found = held(book, CONTRACT, CALENDAR, POINT, DAY)
    assert found is not None
    assert found.at(40) == (10_000 if accepted is False else 3000)
    tomorrow = held(book, CONTRACT, CALENDAR, POINT, DAY + timedelta(days=1))
    assert tomorrow is not None
    assert tomorrow.at(40) == 10_000
    assert held(book, Contract("C-2", DSO, AGR), CALENDAR, POINT, DAY) is None


def test_what_was_ordered_under_the_contract_is_used_up() -> None:
    def order(contract: str | None, power: int) -> FlexOrder:
        about = head(DSO, AGR, NOW, "order", contract, power)
        return FlexOrder(about, POINT, "r", Decimal(1), "EUR", series(Run(40, 2, power)), contract=contract)

    reserved = series(Run(40, 4, 10_000))
    left = unused(reserved, "C-1", [order("C-1", 4000), order("C-1", -7000), order(None, 9000), order("C-1", 1000)])
    assert (left.at(40), left.at(42), left.at(44)) == (5000, 10_000, None)
    assert unused(reserved, "C-1", [order("C-1", 40_000)]).at(40) == 0
    assert unused(-reserved, "C-1", [order("C-1", -4000)]).at(40) == -6000


def test_a_reservation_helps_where_it_points_the_way_that_is_needed() -> None:
    assert covers(series(Run(40, 4, 10_000)), {41: 500})
    assert not covers(series(Run(40, 4, 10_000)), {41: -500, 50: 500})
    assert not covers(None, {41: 500})
