"""Parts that offers are made of: price, what is left of a request, the request that should have come."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from datamodels import (
    CongestionPoint,
    Disposition,
    FlexRequest,
    Head,
    IspSeries,
    MarketCalendar,
    Prognosis,
    RequestIsp,
)
from interop.aggregator.agreements import Agreements
from interop.aggregator.offering import ahead, relief
from interop.aggregator.pricing import Pricing

CALENDAR = MarketCalendar(isp=timedelta(hours=6))
DAY = date(2026, 5, 20)
HEAD = Head("a", "b", "m", "c", datetime(2026, 5, 19, 8, tzinfo=UTC))


def series(*power_w: int | None) -> IspSeries:
    return IspSeries(CALENDAR, DAY, power_w)


@pytest.mark.parametrize(
    ("cost_eur", "energy_kwh", "price"),
    [(1.0, 2.0, "1.30"), (0.0, 0.001, "0.01"), (-3.0, 1.0, "0.05"), (1.0001, 2.0, "1.31")],
)
def test_the_price_is_cost_markup_and_energy_rounded_up_to_a_cent(
    cost_eur: float, energy_kwh: float, price: str
) -> None:
    assert Pricing().price(cost_eur, energy_kwh) == Decimal(price)


def test_of_a_request_counts_what_is_ahead_and_not_ordered_yet() -> None:
    asked = FlexRequest(HEAD, "p", CALENDAR, DAY, 1, HEAD.created, (RequestIsp(1, 4, Disposition.REQUESTED, 30, 90),))
    rest = ahead(asked, 1, series(None, 10, 50, None))
    assert [(i.disposition, i.min_power_w, i.max_power_w) for i in rest.isps] == [
        (Disposition.AVAILABLE, 30, 90),
        (Disposition.REQUESTED, 20, 80),
        (Disposition.AVAILABLE, -20, 40),
        (Disposition.REQUESTED, 30, 90),
    ]


def test_the_request_that_should_have_come_asks_where_the_prognosis_breaks_a_limit() -> None:
    agreed = Agreements((Prognosis(HEAD, "p", 1, series(-900, -500, 0, 900)),))
    point = CongestionPoint("p", "b", DAY, import_limit_w=800, export_limit_w=600)
    need = relief(HEAD, agreed, point, 1, HEAD.created)
    assert need is not None
    assert need.requested == {1, 4}
    assert [(i.min_power_w, i.max_power_w) for i in need.isps] == [
        (300, 1700),
        (-100, 1300),
        (-600, 800),
        (-1500, -100),
    ]
    later = relief(HEAD, agreed, point, 2, HEAD.created)
    assert later is not None
    assert later.requested == {4}
    assert relief(HEAD, agreed, CongestionPoint("p", "b", DAY), 1, HEAD.created) is None, "no limit is known"
