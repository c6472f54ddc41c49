"""OPT-21: W outside, kW inside, import positive; canonical objects in and out."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pytest

from datamodels import (
    CongestionPoint,
    Disposition,
    FlexRequest,
    Head,
    IspSeries,
    MarketCalendar,
    RequestIsp,
    Run,
    validate,
)
from optimiser import Limits, Portfolio, Tariffs, edge, offers, plan

Case = tuple[Portfolio, Limits, Tariffs]
CALENDAR = MarketCalendar("Europe/Berlin")
DAY = date(2016, 5, 20)
SPRING, AUTUMN = date(2016, 3, 27), date(2016, 10, 30)


def request(*isps: RequestIsp, day: date = DAY) -> FlexRequest:
    now = datetime(2016, 5, 19, 10, tzinfo=UTC)
    head = Head("dso.example", "agr.example", "id", "conversation", now)
    return FlexRequest(head, "ean.265987182507322951", CALENDAR, day, 1, now, isps)


def test_one_conversion_with_the_right_sign() -> None:
    assert edge.kilowatts([1500, -250]).tolist() == [1.5, -0.25]
    assert edge.watts([1.4996, -0.2504]).tolist() == [1500, -250]


def test_limits_of_congestion_points() -> None:
    points = [
        CongestionPoint("ea1.a", "dso.example", DAY, import_limit_w=60_000, export_limit_w=160_000),
        CongestionPoint("ea1.b", "dso.example", DAY),
    ]
    limits = edge.limits_of(points, 4)
    assert limits.hi_kw.tolist() == [[60.0] * 4, [np.inf] * 4]
    assert limits.lo_kw.tolist() == [[-160.0] * 4, [-np.inf] * 4]


def test_a_request_becomes_bounds_on_the_deviation() -> None:
    flex = request(
        RequestIsp(10, 2, Disposition.REQUESTED, -3000, -1000), RequestIsp(20, 3, Disposition.AVAILABLE, -500, 700)
    )
    prognosis = IspSeries.of(CALENDAR, DAY, [100.0] * 96)
    bounds = edge.request_from(flex, prognosis)
    assert np.flatnonzero(bounds.requested).tolist() == [9, 10]
    assert (bounds.min_w[9], bounds.max_w[9]) == (-3000, -1000)
    assert (bounds.min_w[19], bounds.max_w[21]) == (-500, 700)
    assert (bounds.min_w[0], bounds.max_w[0]) == (-np.inf, np.inf)
    assert bounds.prognosis_w is not None
    assert bounds.prognosis_w.tolist() == [100] * 96
    with pytest.raises(ValueError, match="complete prognosis"):
        edge.request_from(flex, IspSeries.empty(CALENDAR, DAY))
    with pytest.raises(ValueError, match="of that day"):
        edge.request_from(flex, IspSeries.of(CALENDAR, SPRING, [0] * 92))


@pytest.mark.parametrize(("day", "isps"), [(SPRING, 92), (DAY, 96), (AUTUMN, 100)])
def test_request_to_offer_and_order_to_limits(street: Callable[..., Case], day: date, isps: int) -> None:
    """The whole way: prognosis, request, options, an order of one, and the limits it becomes."""
    portfolio, limits, tariffs = street(homes=5, isps=isps, seed=3)
    baseline = plan(portfolio, limits, tariffs)
    prognosis = edge.group_series(baseline, CALENDAR, day)
    homes = [edge.home_series(baseline, CALENDAR, day, i) for i in range(5)]
    assert sum(homes[1:], homes[0]) == prognosis
    flex = request(RequestIsp(70, 4, Disposition.REQUESTED, -1500, 0), day=day)
    first, second = offers(portfolio, tariffs, baseline, edge.request_from(flex, prognosis, limits), 2)
    option = edge.offer_option(first, "1", flex)
    assert option.power.isps == flex.requested
    assert [w for _, w in option.power] == [-1500] * 4
    assert option.price == option.price.quantize(Decimal("0.01"))
    assert 0 <= float(option.price) - first.price_eur < 0.01
    assert edge.offer_option(second, "2", flex).price <= option.price
    assert option.min_activation == 1
    parts = edge.offer_option(first, "1", flex, Decimal("0.30"))
    assert (parts.min_activation, parts.price, parts.power) == (Decimal("0.30"), option.price, option.power)
    ordered = edge.ordered_limits(prognosis, [option.power], limits)
    assert ordered.hi_kw[0, 69] == pytest.approx((prognosis.power_w[69] - 1500) / 1000)
    delivered = plan(portfolio, ordered, tariffs).group_w[0]
    assert (delivered[69:73] <= np.array(prognosis.power_w[69:73]) - 1500).all()
    assert not validate(flex)


def test_orders_add_up_and_give_way_to_no_other_limit() -> None:
    prognosis = IspSeries.of(CALENDAR, DAY, [1000] * 96)
    less = IspSeries.from_runs(CALENDAR, DAY, [Run(1, 2, -300)])
    more = IspSeries.from_runs(CALENDAR, DAY, [Run(5, 1, 400)])
    limits = edge.ordered_limits(prognosis, [less, less, more], Limits(np.full((1, 96), 0.5), np.full((1, 96), 1.2)))
    assert limits.hi_kw[0, :2].tolist() == [0.4, 0.4]
    assert limits.lo_kw[0, 0] == 0.4
    assert (limits.lo_kw[0, 4], limits.hi_kw[0, 4]) == (1.4, 1.4)
    assert (limits.lo_kw[0, 10], limits.hi_kw[0, 10]) == (0.5, 1.2)
    with pytest.raises(ValueError, match="no prognosis"):
        edge.ordered_limits(IspSeries.empty(CALENDAR, DAY), [less], limits)
