from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from datamodels import IspSeries, MarketCalendar, SettlementBasis, SettlementRow, settle_isp, settle_order

CALENDAR = MarketCalendar()
DAY = date(2026, 5, 20)
watts = st.integers(-50_000, 50_000)
prices = st.decimals(0, 1000, places=4)
quarters = st.lists(st.tuples(watts, watts, watts), min_size=1, max_size=8)


def settle(
    rows: list[tuple[int, int, int]],
    price: Decimal,
    sign: int = 1,
    basis: SettlementBasis = SettlementBasis.PAY_DELIVERED,
) -> SettlementRow:
    rest: list[int | None] = [None] * (96 - len(rows))
    baseline, ordered, actual = (
        IspSeries(CALENDAR, DAY, (*(sign * value for value in column), *rest)) for column in zip(*rows, strict=True)
    )
    return settle_order("o", "cp", ordered, baseline, actual, price, penalty_eur_per_kwh=Decimal("0.25"), basis=basis)


@given(quarters, prices)
def test_never_more_than_the_price_and_never_a_negative_penalty(
    rows: list[tuple[int, int, int]], price: Decimal
) -> None:
    row = settle(rows, price)
    assert 0 <= row.price <= price
    assert row.penalty >= 0
    assert row.net == row.price - row.penalty
    assert settle(rows, price, basis=SettlementBasis.PAY_ORDERED).price == price


@given(quarters, prices)
def test_consumption_and_production_are_treated_alike(rows: list[tuple[int, int, int]], price: Decimal) -> None:
    one, mirrored = settle(rows, price), settle(rows, price, sign=-1)
    assert (one.price, one.penalty) == (mirrored.price, mirrored.penalty)
    assert [i.delivered_w for i in one.isps] == [-i.delivered_w for i in mirrored.isps]


@given(watts, watts, st.integers(0, 20_000))
def test_meeting_the_adjusted_baseline_leaves_nothing_missing(baseline: int, ordered: int, excess: int) -> None:
    beyond = excess if ordered > 0 else -excess
    row = settle_isp(1, baseline, ordered, baseline + ordered + beyond)
    assert (row.deficiency_w, row.delivered_w) == (0, ordered)


@given(watts, watts, watts)
def test_delivered_and_missing_cover_the_order(baseline: int, ordered: int, actual: int) -> None:
    row = settle_isp(1, baseline, ordered, actual)
    assert abs(row.delivered_w) + row.deficiency_w >= abs(ordered)
    assert row.delivered_w * ordered >= 0
    assert abs(row.delivered_w) <= abs(ordered)


@given(watts, watts, st.lists(st.integers(1, 10_000), min_size=1, max_size=4), st.sampled_from([1, -1]))
def test_orders_on_one_isp_share_what_one_order_of_their_sum_would_get(
    baseline: int, actual: int, orders: list[int], sign: int
) -> None:
    before, delivered, deficiency = 0, 0, 0
    for order in orders:
        row = settle_isp(1, baseline, sign * order, actual, before)
        before += sign * order
        delivered += row.delivered_w
        deficiency += row.deficiency_w
    whole = settle_isp(1, baseline, before, actual)
    assert (delivered, deficiency) == (whole.delivered_w, whole.deficiency_w)
