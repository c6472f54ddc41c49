"""Expected figures are worked by hand from the rules of UFTP 3.1.0 section 2.6.2."""

from datetime import date
from decimal import Decimal

import pytest

from datamodels import (
    IspSeries,
    MarketCalendar,
    Run,
    SettlementBasis,
    SettlementRow,
    settle_isp,
    settle_order,
)

CALENDAR = MarketCalendar()
DAY = date(2026, 5, 20)

# baseline, ordered, actual, ordered before -> delivered, deficiency
ISPS = [
    pytest.param(10_000, -4_000, 6_000, 0, -4_000, 0, id="less consumption, exactly"),
    pytest.param(10_000, -4_000, 5_000, 0, -4_000, 0, id="more than ordered is not paid"),
    pytest.param(10_000, -4_000, 7_000, 0, -3_000, 1_000, id="partly"),
    pytest.param(10_000, -4_000, 10_500, 0, 0, 4_500, id="the wrong way costs more than the order"),
    pytest.param(10_000, 4_000, 13_000, 0, 3_000, 1_000, id="more consumption, partly"),
    pytest.param(-10_000, 4_000, -6_000, 0, 4_000, 0, id="less production, exactly"),
    pytest.param(1_000, -4_000, -3_000, 0, -4_000, 0, id="across zero"),
    pytest.param(10_000, 0, 8_000, 0, 0, 0, id="an order of nothing owes nothing"),
    pytest.param(10_000, -4_000, 5_000, -3_000, -2_000, 2_000, id="the earlier order is served first"),
    pytest.param(10_000, -4_000, 8_000, -3_000, 0, 4_000, id="the earlier order's shortfall is its own"),
    pytest.param(10_000, 2_000, 8_000, -4_000, 2_000, 0, id="a later order may buy back"),
]


@pytest.mark.parametrize(("baseline", "ordered", "actual", "before", "delivered", "deficiency"), ISPS)
def test_one_isp(baseline: int, ordered: int, actual: int, before: int, delivered: int, deficiency: int) -> None:
    row = settle_isp(7, baseline, ordered, actual, before)
    assert (row.delivered_w, row.deficiency_w) == (delivered, deficiency)


def settle(actual: int, *, basis: SettlementBasis = SettlementBasis.PAY_DELIVERED, price: str = "8") -> SettlementRow:
    """An order of -4 kW over four quarters, that is 4 kWh, against a baseline of 10 kW."""
    return settle_order(
        "order-1",
        "ean.871685900000000010",
        IspSeries.from_runs(CALENDAR, DAY, [Run(40, 4, -4_000)]),
        IspSeries.of(CALENDAR, DAY, [10_000] * 96),
        IspSeries.of(CALENDAR, DAY, [actual] * 96),
        Decimal(price),
        penalty_eur_per_kwh=Decimal("0.30"),
        basis=basis,
        references={"contract": "c-1"},
    )


def test_half_delivered_pays_half_and_a_penalty() -> None:
    row = settle(8_000)
    assert (row.price, row.penalty, row.net) == (Decimal("4.0000"), Decimal("0.6000"), Decimal("3.4000"))
    assert row.delivered_share == 0.5
    assert row.contract == "c-1"
    assert [i.isp for i in row.isps] == [40, 41, 42, 43]


def test_pay_ordered_keeps_the_price() -> None:
    row = settle(8_000, basis=SettlementBasis.PAY_ORDERED)
    assert (row.price, row.penalty) == (Decimal("8.0000"), Decimal("0.6000"))


def test_the_net_may_be_negative() -> None:
    assert settle(20_000).net == Decimal("-4.2000")


def test_money_is_rounded_once_half_to_even() -> None:
    assert settle(6_000, price="1.00005").price == Decimal("1.0000")
    assert settle(6_000, price="1.00015").price == Decimal("1.0002")


def test_missing_metering_is_an_error_that_names_the_isp() -> None:
    ordered = IspSeries.from_runs(CALENDAR, DAY, [Run(40, 1, -1)])
    full, none = IspSeries.of(CALENDAR, DAY, [0] * 96), IspSeries.empty(CALENDAR, DAY)
    with pytest.raises(ValueError, match="ISP 40 was ordered, but has no metering"):
        settle_order("o", "cp", ordered, full, none, Decimal(1))
    with pytest.raises(ValueError, match="ISP 40 was ordered, but has no baseline"):
        settle_order("o", "cp", ordered, none, full, Decimal(1))
