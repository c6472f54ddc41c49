"""OPT-07: what homes cannot have is found, named, and planned at its best reachable value."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from optimiser import Limits, Portfolio, Status, Tariffs, diagnose, plan
from optimiser.envelopes import envelope, relax, stores

Case = tuple[Portfolio, Limits, Tariffs]
ISPS = 8
FREE = Limits.none(1, ISPS)
FLAT = Tariffs(np.full((1, ISPS), 0.3), np.full((1, ISPS), 0.1))


def home(**given: object) -> Portfolio:
    return Portfolio.of(1.0, np.ones((1, ISPS)), **given)


def ev(need: float, until: int = 4, power: float = 2.0) -> dict[str, np.ndarray]:
    isp = np.arange(ISPS)
    return {
        "ev_max_kw": np.where(isp < until, power, 0.0)[None],
        "ev_energy_min_kwh": np.where(isp >= until - 1, need, 0.0)[None],
        "ev_energy_max_kwh": np.full((1, ISPS), need + 1.0),
    }


def battery(initial: float, final: float) -> dict[str, np.ndarray]:
    return {
        "bat_charge_max_kw": np.array([0.5]),
        "bat_discharge_max_kw": np.array([0.5]),
        "bat_capacity_kwh": np.array([10.0]),
        "bat_initial_kwh": np.array([initial]),
        "bat_final_min_kwh": np.array([final]),
    }


def buffer(start: float) -> dict[str, np.ndarray]:
    return {
        "hp_max_kw": np.array([1.0]),
        "th_w": np.full((1, ISPS), -0.5),
        "th_initial": np.array([start]),
        "th_min": np.full((1, ISPS), 19.0),
        "th_max": np.full((1, ISPS), 22.0),
    }


@pytest.mark.parametrize(
    ("given", "device", "isp", "missing", "unit"),
    [
        (ev(need=10.0), "ev", 3, 2.0, "kWh"),
        (battery(1.0, 6.0), "battery", 7, 1.0, "kWh"),
        (battery(1.0, 12.0), "battery", 7, 7.0, "kWh"),
        (battery(11.0, 1.0), "battery", 0, 0.5, "kWh"),
        (buffer(17.5), "heat_pump", 0, 1.0, "K"),
        (buffer(24.0), "heat_pump", 0, 1.5, "K"),
    ],
)
def test_what_is_out_of_reach_is_named(
    given: dict[str, np.ndarray], device: str, isp: int, missing: float, unit: str
) -> None:
    problems = diagnose(home(**given), FREE, FLAT)
    assert [(p.home, p.device, p.isp, p.unit) for p in problems] == [(0, device, isp, unit)]
    assert problems[0].missing == pytest.approx(missing)
    result = plan(home(**given), FREE, FLAT)
    assert result.status is Status.HOME_INFEASIBLE


def test_the_best_reachable_value_is_planned() -> None:
    result = plan(home(**ev(need=10.0)), FREE, FLAT)
    np.testing.assert_allclose(result.ev_kw[0, :4], 2.0)
    cold = plan(home(**buffer(17.5)), FREE, FLAT)
    np.testing.assert_allclose(cold.thermal[0, :3], [18.0, 18.5, 19.0])


def test_only_the_homes_concerned_are_relaxed(street: Callable[..., Case], judge: Callable[..., None]) -> None:
    portfolio, limits, tariffs = street(homes=6, seed=4)
    driver = int(np.flatnonzero(portfolio.has_ev)[0])
    floor = portfolio.ev_energy_min_kwh.copy()
    floor[driver] = np.where(floor[driver] > 0, 200.0, 0.0)
    ceiling = np.maximum(portfolio.ev_energy_max_kwh, floor)
    asked = replace(portfolio, ev_energy_min_kwh=floor, ev_energy_max_kwh=ceiling)
    result = plan(asked, limits, tariffs)
    assert [(p.home, p.device) for p in result.problems if p.home is not None] == [(driver, "ev")]
    eased, _ = relax(asked)
    judge((eased, limits, tariffs), result)


def test_what_is_within_reach_is_left_alone(street: Callable[..., Case]) -> None:
    portfolio = street()[0]
    assert relax(portfolio) == (portfolio, [])


def test_a_connection_that_cannot_carry_the_ev_cuts_the_ev() -> None:
    """1 kW is left beside the load for four hours, 7 kWh are wanted."""
    portfolio = home(**ev(need=7.0), imp_max_kw=np.array([2.0]))
    result = plan(portfolio, FREE, FLAT)
    assert result.status is Status.HOME_INFEASIBLE
    assert [(p.device, p.isp, round(p.missing, 4)) for p in result.problems] == [("ev", 3, 3.0)]
    assert result.net_kw.max() <= 2.0 + 1e-9
    np.testing.assert_allclose(result.ev_kwh[0, 3], 4.0, atol=1e-6)


def test_a_load_above_the_connection_is_reported_and_planned_around() -> None:
    load = np.ones((1, ISPS))
    load[0, 6] = 3.5
    portfolio = Portfolio.of(1.0, load, imp_max_kw=np.array([2.0]), **battery(0.0, 0.0))
    result = plan(portfolio, FREE, FLAT)
    assert [(p.device, p.isp, round(p.missing, 6)) for p in result.problems] == [("connection", 6, 1.0)]
    assert result.net_kw[0, 6] == pytest.approx(3.0)
    assert np.delete(result.net_kw[0], 6).max() <= 2.0 + 1e-9


def test_envelopes_are_tight() -> None:
    """From the lowest state of an envelope full power just meets every floor; a little lower misses one."""
    s = stores(home(**ev(need=7.0)))
    low, high = envelope(s)
    np.testing.assert_allclose(low[1, 0], [1.0, 3.0, 5.0, 7.0, 7.0, 7.0, 7.0, 7.0])
    np.testing.assert_allclose(high[1, 0], 8.0)
    assert (low[0] == -np.inf).all()
