"""Power flow of rural1 against known facts of that net, and what it makes of a prognosis."""

from __future__ import annotations

import numpy as np
import pytest

from datamodels import Disposition, IspSeries
from interop.gridoperator.congestion import Allocation, assess
from interop.gridoperator.powerflow import Grid
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


def test_congested_isps_are_requested_with_one_direction_and_the_edge_is_what_the_grid_carries(scenario):
    grid, where = Grid(scenario.network), allocation(scenario)
    net_kw = (scenario.day.load_kw.sum(axis=1) - scenario.day.pv_kw.sum(axis=1)).astype(float)
    prognosis = IspSeries.of(scenario.calendar, scenario.period, net_kw * 1000)
    found = assess(grid, where, prognosis, reserve=0.97)
    request = found.request(prognosis)
    assert len(request) == 96
    wanted = [isp for isp in request if isp.disposition is Disposition.REQUESTED]
    assert set(np.flatnonzero(found.congested) + 1) <= {isp.start for isp in wanted}
    assert all(isp.min_power_w > 0 for isp in wanted), "export congestion asks for more consumption"
    at_edge = net_kw.copy()
    for isp in wanted:
        at_edge[isp.start - 1] += isp.min_power_w / 1000
    relieved = grid.run(where.spread(at_edge), where.reactive_kvar)
    loading = relieved.trafo_loading[[isp.start - 1 for isp in wanted]]
    assert loading == pytest.approx(np.full(len(wanted), 0.97), abs=2e-3)


def test_a_quiet_day_is_not_requested(scenario):
    grid, where = Grid(scenario.network), allocation(scenario)
    quiet = IspSeries.of(scenario.calendar, scenario.period, [20_000] * 96)
    found = assess(grid, where, quiet)
    assert not found.congested.any()
    assert {isp.disposition for isp in found.request(quiet)} == {Disposition.AVAILABLE}
