"""OPT-08, OPT-09, OPT-10, OPT-11, OPT-12: limits, several congestion points, horizons, devices and prices."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from optimiser import InputError, Limits, Portfolio, Status, Tariffs, check, plan

Case = tuple[Portfolio, Limits, Tariffs]


def home(isps: int = 8, **given: object) -> Portfolio:
    return Portfolio.of(1.0, np.ones((1, isps)), **given)


def flat(isps: int = 8, homes: int = 1, buy: float = 0.3, sell: float = 0.1) -> Tariffs:
    return Tariffs(np.full((homes, isps), buy), np.full((homes, isps), sell))


def test_one_sided_limits_and_limits_on_some_isps(street: Callable[..., Case], judge: Callable[..., None]) -> None:
    portfolio, limits, tariffs = street()
    free = plan(portfolio, Limits.none(1, 96), tariffs)
    some = Limits(np.full((1, 96), -np.inf), np.where(np.arange(96) % 4 == 0, 8.0, np.inf)[None])
    result = plan(portfolio, some, tariffs)
    judge((portfolio, some, tariffs), result)
    assert result.group_kw[0, ::4].max() <= 8.0 + 1e-6
    assert result.cost_eur > free.cost_eur
    only_low = Limits(limits.lo_kw, np.full((1, 96), np.inf))
    assert plan(portfolio, only_low, tariffs).cost_eur <= plan(portfolio, limits, tariffs).cost_eur + 1e-7


def test_a_limit_of_zero_is_kept_by_a_battery() -> None:
    portfolio = home(
        bat_charge_max_kw=np.array([3.0]),
        bat_discharge_max_kw=np.array([3.0]),
        bat_capacity_kwh=np.array([10.0]),
        bat_initial_kwh=np.array([2.0]),
    )
    limits = Limits(np.zeros((1, 8)), np.where(np.arange(8) >= 6, 0.0, np.inf)[None])
    result = plan(portfolio, limits, flat())
    assert result.status is Status.OPTIMAL
    np.testing.assert_allclose(result.group_kw[0, 6:], 0.0, atol=1e-9)


@pytest.mark.parametrize(("lo", "hi", "where"), [(-np.inf, 0.4, "above"), (3.0, np.inf, "below")])
def test_a_limit_that_cannot_be_met_is_relaxed_by_the_least(lo: float, hi: float, where: str) -> None:
    result = plan(home(), Limits(np.full((1, 8), lo), np.full((1, 8), hi)), flat())
    assert result.status is Status.LIMIT_RELAXED
    np.testing.assert_allclose(result.violation_kw, 0.6 if where == "above" else 2.0)
    assert len(result.problems) == 8
    assert result.problems[3].to_json() == {
        "home": None,
        "device": "group 0",
        "isp": 3,
        "missing": 0.6 if where == "above" else 2.0,
        "unit": "kW",
        "reason": "the limit cannot be met",
    }
    assert result.penalty_eur == pytest.approx(5.0 * 8 * result.violation_kw[0, 0])
    assert result.gap < 1e-9
    sign = 1 if where == "above" else -1
    np.testing.assert_allclose(result.price_eur_per_kwh, sign * 5.0)


def test_contradictory_limits_are_refused_with_their_index() -> None:
    lo, hi = np.zeros((1, 8)), np.ones((1, 8))
    lo[0, 5] = 2.0
    with pytest.raises(InputError, match=r"limits\[0, 5\].*lower limit above the upper"):
        plan(home(), Limits(lo, hi), flat())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_lower_limit_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(InputError, match=r"limits\[0, 0\]"):
        plan(home(), Limits(np.full((1, 8), value), np.full((1, 8), np.inf)), flat())


def test_groups_without_limits_equal_separate_plans(street: Callable[..., Case], judge: Callable[..., None]) -> None:
    """Two streets and a congestion point of one home, together and apart."""
    streets = [street(homes=4, seed=1), street(homes=3, seed=2), street(homes=1, seed=3)]
    fields = {
        name: np.concatenate([getattr(s[0], name) for s in streets])
        for name in vars(streets[0][0])
        if name not in ("dt_h", "appliances", "modes", "group")
    }
    together = Portfolio(dt_h=0.25, group=np.repeat([0, 1, 2], [4, 3, 1]), **fields)
    limits = Limits(*(np.concatenate([getattr(s[1], side) for s in streets]) for side in ("lo_kw", "hi_kw")))
    prices = ("buy_eur_per_kwh", "sell_eur_per_kwh")
    tariffs = Tariffs(*(np.concatenate([getattr(s[2], side) for s in streets]) for side in prices))
    result = plan(together, limits, tariffs)
    judge((together, limits, tariffs), result)
    assert result.price_eur_per_kwh.shape == (3, 96)
    assert result.cost_eur == pytest.approx(sum(plan(*s).cost_eur for s in streets), abs=1e-6)
    one = Limits(np.where([[True], [False], [False]], limits.lo_kw, -np.inf), np.full((3, 96), np.inf))
    partly = plan(together, one, tariffs)
    assert partly.cost_eur <= result.cost_eur + 1e-7


def test_an_empty_congestion_point_is_refused() -> None:
    portfolio = Portfolio.of(1.0, np.ones((2, 4)), group=np.array([0, 2]))
    problems = check(portfolio, Limits.none(3, 4), flat(4, 2))
    assert [p.where for p in problems] == ["group 1"]


@pytest.mark.parametrize(("isps", "dt_h"), [(92, 0.25), (96, 0.25), (100, 0.25), (48, 0.5), (24, 1.0)])
def test_horizons(street: Callable[..., Case], judge: Callable[..., None], isps: int, dt_h: float) -> None:
    case = street(homes=4, isps=isps, dt_h=dt_h, seed=6)
    result = plan(*case)
    assert result.net_w.shape == (4, isps)
    judge(case, result)


def test_a_longer_isp_of_the_same_power_costs_more() -> None:
    costs = [plan(replace(home(), dt_h=dt), Limits.none(1, 8), flat()).cost_eur for dt in (0.25, 0.5, 1.0)]
    assert costs == pytest.approx([0.6, 1.2, 2.4])


def test_no_devices_at_all() -> None:
    result = plan(home(), Limits.none(1, 8), flat())
    np.testing.assert_allclose(result.net_kw, 1.0)
    assert result.cost_eur == pytest.approx(2.4)
    assert result.bound_eur == pytest.approx(2.4)


def test_only_pv_exports_and_is_curtailed_at_the_limit() -> None:
    portfolio = home(pv_kw=np.full((1, 8), 5.0))
    free = plan(portfolio, Limits.none(1, 8), flat())
    np.testing.assert_allclose(free.net_kw, -4.0)
    held = plan(portfolio, Limits(np.full((1, 8), -1.5), np.full((1, 8), np.inf)), flat())
    np.testing.assert_allclose(held.pv_kw, 2.5)
    np.testing.assert_allclose(held.price_eur_per_kwh, -0.1)


def test_devices_without_capacity_power_or_plug_are_absent() -> None:
    """Their other fields may hold anything."""
    nothing = home(
        bat_charge_max_kw=np.array([5.0]),
        bat_discharge_max_kw=np.array([np.nan]),
        bat_initial_kwh=np.array([3.0]),
        bat_final_min_kwh=np.array([np.nan]),
        bat_efficiency=np.array([0.0]),
        ev_energy_min_kwh=np.full((1, 8), 9.0),
        ev_efficiency=np.array([np.nan]),
        th_min=np.full((1, 8), 19.0),
        th_a=np.array([np.nan]),
        th_w=np.full((1, 8), np.nan),
    )
    result = plan(nothing, Limits.none(1, 8), flat())
    assert result.status is Status.OPTIMAL
    np.testing.assert_allclose(result.net_kw, 1.0)


def test_an_ev_that_is_full_does_not_charge() -> None:
    portfolio = home(ev_max_kw=np.full((1, 8), 7.0), ev_energy_max_kwh=np.full((1, 8), 0.0))
    assert not plan(portfolio, Limits.none(1, 8), flat()).ev_kw.any()


def test_negative_prices_and_equal_prices(judge: Callable[..., None]) -> None:
    battery = {
        "bat_charge_max_kw": np.array([2.0]),
        "bat_discharge_max_kw": np.array([2.0]),
        "bat_capacity_kwh": np.array([6.0]),
        "bat_efficiency": np.array([0.9]),
        "pv_kw": np.full((1, 8), 3.0),
    }
    portfolio = home(**battery)
    buy = np.where(np.arange(8) < 4, -0.2, 0.3)[None]
    case = portfolio, Limits.none(1, 8), Tariffs(buy, buy)
    result = plan(*case)
    assert not result.pv_kw[0, :4].any()
    judge(case, result)
    assert (result.battery_kw[0, 4:] <= 1e-9).all()


def test_every_unusable_value_is_named_with_its_index() -> None:
    load = np.ones((2, 4))
    load[1, 2] = np.nan
    pv = np.zeros((2, 4))
    pv[0, 3] = np.inf
    buy = np.full((2, 4), 0.3)
    sell = np.full((2, 4), 0.1)
    sell[1, 0] = 0.31
    portfolio = Portfolio.of(0.25, load, pv_kw=pv, imp_max_kw=np.array([5.0, -1.0]))
    problems = check(portfolio, Limits.none(1, 4), Tariffs(buy, sell))
    found = {(p.rule, p.where) for p in problems}
    assert ("input.finite", "load_kw[1, 2]") in found
    assert ("input.finite", "pv_kw[0, 3]") in found
    assert ("tariff.order", "sell_eur_per_kwh[1, 0]") in found
    assert ("input.negative", "imp_max_kw[1, 0]") in found
    with pytest.raises(InputError) as caught:
        plan(portfolio, Limits.none(1, 4), Tariffs(buy, sell))
    assert set(problems) == set(caught.value.problems)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(InputError, match=r"pv_kw: has shape \(2, 4\), not \(1, 8\)"):
        home(pv_kw=np.zeros((2, 4)))
    with pytest.raises(InputError, match="limits: are"):
        plan(home(), Limits.none(2, 8), flat())
    with pytest.raises(InputError, match="buy_eur_per_kwh"):
        plan(home(), Limits.none(1, 8), flat(9))
    with pytest.raises(InputError, match="hi_kw"):
        Limits(np.zeros((1, 8)), np.zeros((1, 7)))


def test_ratings_may_change_by_isp() -> None:
    """An opted-out hour of a battery, and an import limit of a connection in one ISP."""
    portfolio = home(
        bat_charge_max_kw=np.full((1, 8), 2.0),
        bat_discharge_max_kw=np.where(np.arange(8) == 5, 0.0, 2.0)[None],
        bat_capacity_kwh=np.array([6.0]),
        imp_max_kw=np.where(np.arange(8) == 7, 0.25, 10.0)[None],
    )
    buy = np.where(np.arange(8) < 5, 0.1, 0.5)[None]
    result = plan(portfolio, Limits.none(1, 8), Tariffs(buy, buy - 0.05))
    assert result.battery_kw[0, 5] == 0.0
    assert result.net_kw[0, 7] <= 0.25 + 1e-9


def test_input_arrays_cannot_be_changed_afterwards() -> None:
    load = np.ones((1, 4))
    portfolio = Portfolio.of(1.0, load)
    load[0, 0] = 7.0
    assert portfolio.load_kw[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        portfolio.load_kw[0, 0] = 2.0
