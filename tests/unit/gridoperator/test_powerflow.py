"""Power flow of rural1 against known facts of that net, and what it makes of a prognosis."""

from __future__ import annotations

import numpy as np
import pytest

from datamodels import IspSeries
from interop.gridoperator.congestion import Allocation, assess
from interop.gridoperator.history import History
from interop.gridoperator.net import Net
from interop.gridoperator.powerflow import Grid
from interop.gridoperator.represented import digits
from interop.scenarios import SCENARIOS


@pytest.fixture(scope="module")
def scenario():
    return SCENARIOS["rural1"]()


def by_bus(scenario, key: str, values: np.ndarray) -> np.ndarray:
    out = np.zeros((len(values), len(scenario.network["bus"])))
    for element in scenario.network[key]:
        out[:, element["bus"]] += values[:, element["id"]]
    return out


def test_the_unmanaged_day_overloads_the_transformer_twelve_times(scenario):
    """Published for this net and day: 12 quarter-hours beyond 160 kVA, 147 % at the worst, lines at most 40 %."""
    grid, day = Grid(scenario.network), scenario.day
    flow = grid.run(
        by_bus(scenario, "load", day.load_kw) - by_bus(scenario, "pv", day.pv_kw),
        by_bus(scenario, "load", day.load_kvar),
    )
    assert flow.congested.sum() == 12
    assert flow.trafo_loading.max() == pytest.approx(1.4698, abs=1e-3)
    assert flow.line_loading.max() < 0.41
    assert 1.011 < flow.voltage_pu.min() < flow.voltage_pu.max() < 1.060


def allocation(scenario) -> Allocation:
    share = by_bus(scenario, "pv", np.array([[pv["p_rated_kw"] for pv in scenario.network["pv"]]]))[0]
    return Allocation(
        by_bus(scenario, "load", scenario.day.load_kw),
        by_bus(scenario, "load", scenario.day.load_kvar),
        share / share.sum(),
    )


def test_spreading_keeps_the_sum(scenario):
    for net in (-200.0, 0.0, 150.0):
        spread = allocation(scenario).spread(np.full(96, net))
        assert spread.sum(axis=1) == pytest.approx(np.full(96, net))


def test_where_the_net_is_congested_the_room_has_one_direction_and_its_edge_is_what_the_grid_carries(scenario):
    grid, where = Grid(scenario.network), allocation(scenario)
    net_kw = (scenario.day.load_kw.sum(axis=1) - scenario.day.pv_kw.sum(axis=1)).astype(float)
    expected = IspSeries.of(scenario.calendar, scenario.period, net_kw * 1000)
    found = assess(grid, where, expected, reserve=0.97)
    room = found.room(expected)
    assert len(room) == 96
    wanted = {isp: low for isp, (low, high) in room.items() if low > 0 or high < 0}
    assert set(np.flatnonzero(found.congested) + 1) <= wanted.keys()
    assert all(low > 0 for low in wanted.values()), "export congestion asks for more consumption"
    at_edge = net_kw.copy()
    for isp, low in wanted.items():
        at_edge[isp - 1] += low / 1000
    relieved = grid.run(where.spread(at_edge), where.reactive_kvar)
    loading = relieved.trafo_loading[[isp - 1 for isp in wanted]]
    assert loading == pytest.approx(np.full(len(wanted), 0.97), abs=2e-3)


def test_a_quiet_day_needs_no_change(scenario):
    grid, where = Grid(scenario.network), allocation(scenario)
    quiet = IspSeries.of(scenario.calendar, scenario.period, [20_000] * 96)
    found = assess(grid, where, quiet)
    assert not found.congested.any()
    assert all(low <= 0 <= high for low, high in found.room(quiet).values())


def test_what_nobody_represents_stays_at_its_usual_power(scenario):
    home = next(h for h in scenario.homes if h.id == "home-12")
    tables = scenario.network | {"connection": [{"address": h.connection, "bus": h.bus} for h in scenario.homes]}
    series = scenario.history
    net = Net(tables, History(scenario.calendar, series.start, series.load_kw, series.load_kvar, series.pv_kw))
    everyone = frozenset(digits(h.connection) for h in scenario.homes)
    assert net.unrepresented(everyone) == net.unrepresented(None) == frozenset()
    alone = net.unrepresented(everyone - {digits(home.connection)})
    assert alone == {home.bus}
    usual, without = net.allocation(scenario.period), net.allocation(scenario.period, alone)
    column = net.grid.buses.index(home.bus)
    assert without.spread(np.full(96, 50.0))[:, column] == pytest.approx(usual.load_kw[:, column])
    assert without.spread(np.full(96, 50.0)).sum(axis=1) == pytest.approx(50.0 + usual.load_kw[:, column])
