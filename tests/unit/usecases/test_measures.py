"""Arithmetic of indicators on days that can be worked out by hand."""

import numpy as np
import pytest

from interop.usecases.measures import (
    bills,
    community_bill,
    exchanged_kw,
    exported_kwh,
    imported_kwh,
    leftover_eur,
    peak_kw,
    self_consumption,
    self_sufficiency,
)

BUY, SELL = np.array([0.3, 0.2]), np.array([0.1, 0.05])
NET = np.array([[2.0, -1.0], [-3.0, 0.5]])


def test_bills_are_import_at_one_price_less_export_at_the_other() -> None:
    assert bills(NET, BUY, SELL, 0.5) == pytest.approx([0.5 * (2 * 0.3 - 0.05), 0.5 * (-3 * 0.1 + 0.5 * 0.2)])


def test_behind_one_meter_only_the_sum_is_paid() -> None:
    alone = 0.5 * (-1 * 0.1 - 0.5 * 0.05)
    assert community_bill(NET, BUY, SELL, 0.5) == pytest.approx(alone)
    assert community_bill(NET, BUY, SELL, 0.5, 0.02) == pytest.approx(alone + 0.5 * 2.5 * 0.02)


def test_energy_and_peak() -> None:
    assert imported_kwh(NET[0], 0.25) == 0.5
    assert exported_kwh(NET[0], 0.25) == 0.25
    assert peak_kw(NET[1]) == 3.0
    assert exchanged_kw(NET) == pytest.approx([2.0, 0.5])


def test_self_consumption_and_sufficiency() -> None:
    pv, used = np.array([4.0, 4.0]), np.array([2.0, 3.0])
    net = used - pv
    assert self_consumption(net, pv, 1.0) == pytest.approx(5 / 8)
    assert self_sufficiency(net, used, 1.0) == 1.0
    assert self_sufficiency(np.array([1.0, 0.0]), used, 1.0) == pytest.approx(0.8)
    nothing = np.zeros(2)
    assert self_consumption(net, nothing, 1.0) == self_sufficiency(net, nothing, 1.0) == 0.0
    assert self_consumption(np.array([-9.0, 0.0]), pv, 1.0) == 0.0, "a battery may export more than the roof gives"


def test_what_is_left_over_is_never_worth_more_than_trading_it() -> None:
    assert leftover_eur(np.array([2.0, -2.0]), BUY, SELL) == pytest.approx([-2 * 0.075, 2 * 0.25])
