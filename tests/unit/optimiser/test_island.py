"""Homes on their own: balanced in every ISP, shed by priority, stored energy kept for what matters, and back again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from optimiser import InputError, Island, Limits, Portfolio, State, Tariffs, islanded, plan
from optimiser.synthetic import neighbourhood

ISPS = 8


def pair(load: float = 1.0, pv: float = 0.0, energy: float = 4.0) -> tuple[Portfolio, Limits, Tariffs]:
    """Two homes that draw `load` each; the first has a lossless battery of 4 kWh."""
    one = np.array([1.0, 0.0])
    portfolio = Portfolio.of(
        1.0,
        np.full((2, ISPS), load),
        pv_kw=np.full((2, ISPS), pv),
        bat_capacity_kwh=4.0 * one,
        bat_initial_kwh=energy * one,
        bat_charge_max_kw=5.0 * one,
        bat_discharge_max_kw=5.0 * one,
    )
    return portfolio, Limits.none(1, ISPS), Tariffs(np.full((2, ISPS), 0.3), np.full((2, ISPS), 0.1))


def test_energy_is_kept_for_the_home_that_matters_and_the_rest_goes_dark() -> None:
    """4 kWh: the second home (higher priority) is served four hours, the first never; then all is black."""
    case = pair()
    found = islanded(
        *case,
        Island(np.ones(2, bool), 0, 6, np.array([1, 2])),
        state=State.foreseen(case[0], None, 0),
    )
    np.testing.assert_allclose(found.unserved_kwh, [6.0, 2.0], atol=1e-6)
    assert found.black.sum() == 2
    assert not found.black[:4].any()
    np.testing.assert_allclose(found.plan.group_kw[0, :6], 0.0, atol=1e-6)
    assert {s.home for s in found.plan.problems if s.device == "load"} == {0, 1}
    assert "8.00 kWh not served, 2 ISPs black" in found.plan.notes[-1]


def test_equal_priority_shares_and_enough_energy_sheds_nothing() -> None:
    case = pair(pv=0.5)
    earlier = plan(*case)
    state = replace(State.foreseen(case[0], earlier, 2), battery_kwh=np.array([4.0, 0.0]))
    found = islanded(*case, Island(np.ones(2, bool), 2, 6, np.array([1, 1])), state=state, earlier=earlier)
    assert found.unserved_kwh.max() < 1e-6
    assert not found.black.any()
    short = islanded(
        *pair(energy=0.0, pv=0.25),
        Island(np.ones(2, bool), 0, 4, np.array([3, 3])),
        state=State.foreseen(pair(energy=0.0)[0], None, 0),
    )
    np.testing.assert_allclose(short.unserved_kw[:, :4], 0.75, atol=1e-6)
    assert not short.black.any()


def test_surplus_is_stored_then_curtailed_and_the_return_is_planned_within_limits() -> None:
    case = pair(load=0.2, pv=2.0, energy=0.0)
    limits = Limits(np.full((1, ISPS), -1.0), np.full((1, ISPS), 1.0))
    found = islanded(
        case[0],
        limits,
        case[2],
        Island(np.ones(2, bool), 0, 4, np.array([1, 1])),
        state=State.foreseen(case[0], None, 0),
    )
    np.testing.assert_allclose(found.plan.battery_kwh[0, [1, 3]], 4.0, atol=1e-6)
    np.testing.assert_allclose(found.plan.group_kw[0, :4], 0.0, atol=1e-6)
    assert found.plan.violation_kw.max() < 1e-6
    assert (found.plan.pv_kw[:, :4] <= 2.0 + 1e-9).all()


def test_the_others_stay_on_the_grid_and_the_past_stays() -> None:
    portfolio, limits, tariffs = neighbourhood(14, 3)
    portfolio = replace(portfolio, group=np.arange(14) // 7)
    both = Limits(np.vstack([limits.lo_kw / 2] * 2), np.vstack([limits.hi_kw / 2] * 2))
    earlier = plan(portfolio, both, tariffs)
    members = portfolio.group == 1
    island = Island(members, 60, 80, np.arange(14))
    state = State.foreseen(portfolio, earlier, 60)
    found = islanded(portfolio, both, tariffs, island, state=state, earlier=earlier)
    told = found.plan
    np.testing.assert_allclose(told.group_kw[1, 60:80], 0.0, atol=1e-6)
    np.testing.assert_allclose(told.net_kw[:, :60], earlier.net_kw[:, :60], atol=1e-9)
    assert told.net_kw[~members, 60:80].any()
    assert not found.unserved_kw[~members].any()
    assert (told.battery_kwh[portfolio.has_battery] >= -1e-9).all()
    net = told.load_kw + told.battery_kw + told.ev_kw + told.hp_kw - told.pv_kw
    np.testing.assert_allclose(told.net_kw, net, atol=1e-8)
    assert told.bound_eur <= told.cost_eur + 1e-6


@pytest.mark.parametrize(
    ("members", "start", "end", "priority", "says"),
    [
        (np.zeros(2, bool), 0, 2, np.zeros(2, int), "members"),
        (np.ones(2, bool), 3, 3, np.zeros(2, int), "start"),
        (np.ones(2, bool), 0, ISPS + 1, np.zeros(2, int), "start"),
        (np.ones(2, bool), 0, 2, np.zeros(3, int), "priority"),
    ],
)
def test_what_is_no_island_is_refused(
    members: np.ndarray, start: int, end: int, priority: np.ndarray, says: str
) -> None:
    case = pair()
    with pytest.raises(InputError, match=says):
        islanded(*case, Island(members, start, end, priority), state=State.foreseen(case[0], None, 0))
