"""OPT-06 on chosen cases: what the forward pass does with powers that are not feasible."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from optimiser import Limits, Portfolio, Tariffs
from optimiser.repair import Trajectories, repair

Case = tuple[Portfolio, Limits, Tariffs]


def powers(p: Portfolio, **given: Any) -> dict[str, Any]:
    names = ("charge_kw", "discharge_kw", "ev_kw", "hp_kw", "pv_kw")
    return {n: np.broadcast_to(given.get(n, 0.0), p.load_kw.shape).copy() for n in names}


def mend(p: Portfolio, limits: Limits | None = None, **given: Any) -> Trajectories:
    return repair(p, limits or Limits.none(p.groups, p.isps), **powers(p, **given))


def battery(**given: Any) -> Portfolio:
    return Portfolio.of(
        1.0,
        np.ones((2, 4)),
        bat_charge_max_kw=np.array([2.0, 0.0]),
        bat_discharge_max_kw=np.array([2.0, 0.0]),
        bat_capacity_kwh=np.array([3.0, 0.0]),
        bat_initial_kwh=np.array([1.0, 0.0]),
        bat_final_min_kwh=np.array([1.0, 0.0]),
        **given,
    )


def test_charge_and_discharge_at_once_cancel() -> None:
    way = mend(battery(), charge_kw=1.5, discharge_kw=1.0)
    np.testing.assert_allclose(way.battery_kw[0], [0.5, 0.5, 0.5, 0.5])
    assert way.simultaneous_kwh == pytest.approx(8.0)


def test_a_battery_stays_inside_its_capacity_and_ends_where_wanted() -> None:
    full = mend(battery(), charge_kw=2.0)
    np.testing.assert_allclose(full.battery_kwh[0], [3.0, 3.0, 3.0, 3.0])
    empty = mend(battery(), discharge_kw=2.0)
    np.testing.assert_allclose(empty.battery_kwh[0], [0.0, 0.0, 0.0, 1.0])


def test_export_beyond_the_connection_curtails_pv_first() -> None:
    way = mend(battery(pv_kw=np.full((2, 4), 5.0), exp_max_kw=np.full(2, 2.0)), pv_kw=5.0, discharge_kw=0.0)
    np.testing.assert_allclose(way.pv_kw, 3.0)
    np.testing.assert_allclose(way.net_kw, -2.0)


def test_import_beyond_the_connection_uses_pv_then_the_battery() -> None:
    p = battery(pv_kw=np.full((2, 4), 0.25), imp_max_kw=np.full(2, 0.5))
    way = mend(p)
    np.testing.assert_allclose(way.pv_kw, 0.25)
    assert way.battery_kw[0, 0] == pytest.approx(-0.25)
    assert way.unkept_kw[1, 0] == pytest.approx(0.25)


def test_a_small_excess_is_shared_by_those_who_can_give() -> None:
    p = battery(pv_kw=np.full((2, 4), 2.0))
    limits = Limits(np.full((1, 4), -1.5), np.full((1, 4), np.inf))
    way = mend(p, limits, pv_kw=2.0)
    np.testing.assert_allclose(way.net_kw.sum(axis=0), -1.5)
    np.testing.assert_allclose(way.pv_kw, 1.75)


def test_an_excess_that_the_plan_pays_for_is_left() -> None:
    p = battery(pv_kw=np.full((2, 4), 2.0))
    limits = Limits(np.full((1, 4), -1.5), np.full((1, 4), np.inf))
    way = repair(p, limits, **powers(p, pv_kw=2.0), excess_kw=np.full((1, 4), 0.5))
    np.testing.assert_allclose(way.net_kw.sum(axis=0), -2.0)


def test_idle_powers_still_meet_every_need(street: Callable[..., Case]) -> None:
    portfolio = street(homes=8, seed=3)[0]
    way = mend(portfolio)
    ev, heat = portfolio.has_ev, portfolio.has_heat_pump
    assert (way.ev_kwh[ev] >= portfolio.ev_energy_min_kwh[ev] - 1e-9).all()
    assert (way.thermal[heat] >= portfolio.th_min[heat] - 1e-9).all()
    assert not way.unkept_kw.any()
