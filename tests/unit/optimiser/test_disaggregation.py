"""OPT-15: set points that add up."""

from collections.abc import Callable

import numpy as np
import pytest

from optimiser import Limits, Portfolio, State, Tariffs, disaggregate, plan, replan
from optimiser.plans import largest_remainder

Case = tuple[Portfolio, Limits, Tariffs]


@pytest.mark.parametrize("seed", range(4))
def test_set_points_add_up_and_keep_the_ratings(street: Callable[..., Case], seed: int) -> None:
    case = street(homes=7, seed=seed)
    portfolio = case[0]
    result = plan(*case)
    points = disaggregate(portfolio, result)
    np.testing.assert_array_equal(points.net_w.sum(axis=0), result.group_w[0])
    assert points.battery_w.dtype == np.int64
    ranges = {
        "battery_w": (-portfolio.bat_discharge_max_kw, portfolio.bat_charge_max_kw),
        "ev_w": (0.0, portfolio.ev_max_kw),
        "heat_pump_w": (0.0, portfolio.hp_max_kw),
        "pv_w": (-portfolio.pv_kw, 0.0),
    }
    exact = {"battery_w": result.battery_kw, "ev_w": result.ev_kw, "heat_pump_w": result.hp_kw, "pv_w": -result.pv_kw}
    for name, (low, high) in ranges.items():
        value = getattr(points, name)
        assert (value >= low * 1000.0 - 1e-5).all(), name
        assert (value <= high * 1000.0 + 1e-5).all(), name
        assert np.abs(value - exact[name] * 1000.0).max() <= 1.0 + 1e-6
    assert np.abs(points.load_w - result.load_kw * 1000.0).max() <= 2.0


def test_homes_add_up_to_their_group(street: Callable[..., Case]) -> None:
    result = plan(*street(seed=2))
    np.testing.assert_array_equal(result.net_w.sum(axis=0), result.group_w[0])
    assert np.abs(result.net_w - result.net_kw * 1000).max() <= 1.0


def test_a_promised_power_within_rounding_is_kept_exactly(street: Callable[..., Case]) -> None:
    case = street(homes=6, seed=1)
    result = plan(*case)
    promised = result.group_w + np.where(np.arange(96) % 2, 3, -3)
    np.testing.assert_array_equal(disaggregate(case[0], result, promised).net_w.sum(axis=0), promised[0])
    with pytest.raises(ValueError, match="does not deliver"):
        disaggregate(case[0], result, result.group_w + 100)


def test_several_congestion_points_add_up_each(street: Callable[..., Case]) -> None:
    portfolio, _, tariffs = street(homes=6, seed=5)
    fields = {k: v for k, v in vars(portfolio).items() if k != "group"}
    split = Portfolio(group=np.array([0, 1, 0, 1, 1, 0]), **fields)
    result = plan(split, Limits.none(2, 96), tariffs)
    net = disaggregate(split, result).net_w
    for g in range(2):
        np.testing.assert_array_equal(net[split.group == g].sum(axis=0), result.group_w[g])


def test_a_replanned_day_with_measurements_adds_up(street: Callable[..., Case]) -> None:
    case = street(seed=1)
    before = plan(*case)
    measured = before.net_kw[:, :20] + 0.1234
    again = replan(*case, now=20, state=State.foreseen(case[0], before, 20), earlier=before, measured_net_kw=measured)
    np.testing.assert_array_equal(disaggregate(case[0], again).net_w.sum(axis=0), again.group_w[0])


def test_the_largest_remainder_rounds_up() -> None:
    exact = np.array([[1.5, -0.5], [1.4, -0.4], [1.1, -0.1]])
    np.testing.assert_array_equal(largest_remainder(exact, np.array([4, -1])), [[2, -1], [1, 0], [1, 0]])
    held = largest_remainder(exact[:, :1], np.array([5]), highest=np.array([[1], [9], [9]]))
    np.testing.assert_array_equal(held, [[1], [2], [2]])
    with pytest.raises(ValueError, match="ISP 0: 9 W is 6 W beyond"):
        largest_remainder(exact[:, :1], np.array([9]), highest=np.ones((3, 1), int))
