"""OPT-16: the same day again, from where it stands."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from optimiser import Appliances, InputError, Limits, Plan, Portfolio, Reach, State, Status, Tariffs, plan, replan

Case = tuple[Portfolio, Limits, Tariffs]
NOW = 40


@pytest.fixture(scope="module")
def case(street: Callable[..., Case]) -> Case:
    return street(homes=6, seed=3)


@pytest.fixture(scope="module")
def morning(case: Case) -> Plan:
    return plan(*case)


def test_without_news_the_plan_stays_as_good(case: Case, morning: Plan, judge: Callable[..., None]) -> None:
    for now in (0, 1, NOW, 95):
        state = State.foreseen(case[0], morning, now)
        again = replan(*case, now=now, state=state, earlier=morning)
        assert again.cost_eur == pytest.approx(morning.cost_eur, abs=1e-5)
        assert again.status is Status.OPTIMAL
        assert again.gap < 1e-6
        judge(case, again)


def test_the_past_is_unchanged(case: Case, morning: Plan) -> None:
    portfolio, limits, tariffs = case
    dearer = Tariffs(tariffs.buy_eur_per_kwh[:, ::-1], tariffs.sell_eur_per_kwh[:, ::-1])
    again = replan(portfolio, limits, dearer, now=NOW, state=State.foreseen(portfolio, morning, NOW), earlier=morning)
    for name in ("net_kw", "battery_kw", "ev_kw", "hp_kw", "pv_kw", "battery_kwh", "ev_kwh", "thermal"):
        np.testing.assert_array_equal(getattr(again, name)[:, :NOW], getattr(morning, name)[:, :NOW])
    assert not np.array_equal(again.net_kw[:, NOW:], morning.net_kw[:, NOW:])


def test_what_was_measured_replaces_the_past(case: Case, morning: Plan) -> None:
    measured = morning.net_kw[:, :NOW] + 0.5
    state = State.foreseen(case[0], morning, NOW)
    again = replan(*case, now=NOW, state=state, earlier=morning, measured_net_kw=measured)
    np.testing.assert_array_equal(again.net_kw[:, :NOW], measured)
    assert again.cost_eur > morning.cost_eur
    alone = replan(*case, now=NOW, state=state, measured_net_kw=measured)
    np.testing.assert_array_equal(alone.net_kw[:, :NOW], measured)


def test_a_deviation_late_in_the_day_is_made_up(case: Case, morning: Plan, judge: Callable[..., None]) -> None:
    """Batteries hold 1 kWh less than foreseen and the evening load is higher."""
    portfolio, limits, tariffs = case
    state = State.foreseen(portfolio, morning, 70)
    emptier = replace(state, battery_kwh=np.maximum(state.battery_kwh - 1.0, 0.0))
    load = portfolio.load_kw.copy()
    load[:, 75:] *= 1.2
    changed = replace(portfolio, load_kw=load), limits, tariffs
    again = replan(*changed, now=70, state=emptier, earlier=morning)
    assert again.status is Status.OPTIMAL
    assert again.cost_eur > morning.cost_eur
    battery = portfolio.has_battery
    assert (again.battery_kwh[battery, -1] >= portfolio.bat_final_min_kwh[battery] - 1e-6).all()
    assert (again.group_kw[0, 70:] <= limits.hi_kw[0, 70:] + 1e-6).all()


def test_a_battery_that_breaks_idles_and_the_others_take_over(case: Case, morning: Plan) -> None:
    portfolio, limits, _ = case
    home = int(np.flatnonzero(portfolio.has_battery)[0])
    state = State.foreseen(portfolio, morning, NOW).lose(home, "battery", Reach.OFF)
    again = replan(*case, now=NOW, state=state, earlier=morning)
    assert not again.battery_kw[home, NOW:].any()
    np.testing.assert_allclose(again.battery_kwh[home, NOW:], state.battery_kwh[home])
    assert again.group_kw[0, NOW:].max() <= limits.hi_kw.max() + 1e-6
    short = portfolio.bat_final_min_kwh[home] - state.battery_kwh[home]
    found = [p for p in again.problems if p.home == home]
    assert [p.device for p in found] == (["battery"] if short > 1e-6 else [])


def test_a_heat_pump_that_breaks_cools_down_and_is_reported(case: Case, morning: Plan) -> None:
    portfolio = case[0]
    home = int(np.flatnonzero(portfolio.has_heat_pump)[0])
    state = State.foreseen(portfolio, morning, NOW).lose(home, "heat_pump", Reach.OFF)
    again = replan(*case, now=NOW, state=state, earlier=morning)
    assert not again.hp_kw[home, NOW:].any()
    assert again.thermal[home, -1] < portfolio.th_min[home, -1]
    (problem,) = [p for p in again.problems if p.home == home]
    assert (problem.device, problem.unit, again.status) == ("heat_pump", "K", Status.HOME_INFEASIBLE)
    assert problem.missing == pytest.approx(portfolio.th_min[home, -1] - again.thermal[home, -1])


def test_a_home_that_cannot_be_reached_does_as_it_likes(case: Case, morning: Plan) -> None:
    """Its EV charges at once, its PV is not curtailed, and the balance of its net power still closes."""
    portfolio = case[0]
    home = int(np.flatnonzero(portfolio.has_ev & (portfolio.pv_kw > 0).any(axis=1))[0])
    fresh = State.foreseen(portfolio, None, 0).lose(home)
    again = replan(*case, now=0, state=fresh, earlier=morning)
    np.testing.assert_array_equal(again.pv_kw[home], portfolio.pv_kw[home])
    need = portfolio.ev_energy_min_kwh[home].max()
    full = need / (portfolio.ev_max_kw[home, 0] * portfolio.ev_efficiency[home] * portfolio.dt_h)
    np.testing.assert_allclose(again.ev_kw[home, : int(full)], portfolio.ev_max_kw[home, 0])
    assert again.ev_kwh[home, -1] == pytest.approx(need)
    assert not again.battery_kw[home].any()
    parts = again.load_kw + again.battery_kw + again.ev_kw + again.hp_kw - again.pv_kw
    np.testing.assert_allclose(parts, again.net_kw, atol=1e-9)
    np.testing.assert_allclose(again.load_kw, portfolio.load_kw, atol=1e-9)
    assert not [p for p in again.problems if p.home == home and p.device == "ev"]


def test_an_ev_that_left_without_its_energy_is_reported(case: Case, morning: Plan) -> None:
    portfolio = case[0]
    home = int(np.flatnonzero(portfolio.has_ev)[0])
    gone = int(np.flatnonzero(portfolio.ev_energy_min_kwh[home] > 0)[0])
    ev = State.foreseen(portfolio, morning, gone + 2).ev_kwh.copy()
    ev[home] -= 2.0
    absent = replace(portfolio, ev_max_kw=np.where(np.arange(6)[:, None] == home, 0.0, portfolio.ev_max_kw))
    plugged = replace(absent, ev_max_kw=np.where(np.arange(96) < gone, portfolio.ev_max_kw, absent.ev_max_kw))
    state = replace(State.foreseen(portfolio, morning, gone + 2), ev_kwh=ev)
    again = replan(plugged, *case[1:], now=gone + 2, state=state, earlier=morning)
    (problem,) = [p for p in again.problems if p.home == home]
    assert (problem.device, problem.isp, round(problem.missing, 6)) == ("ev", gone + 2, 2.0)


def test_appliances_that_started_run_on_and_others_may_still_move() -> None:
    isps = 10
    appliances = Appliances(
        np.zeros(3, int), np.array([0, 0, 1]), np.array([2, 8, 2]), np.full(3, 2), np.full((3, 2), 1.5)
    )
    portfolio = Portfolio.of(1.0, np.ones((1, isps)), appliances=appliances)
    buy = np.where(np.arange(isps) >= 6, 0.2, 0.3)[None]
    free, tariffs = Limits.none(1, isps), Tariffs(buy, buy - 0.1)
    before = plan(portfolio, free, tariffs)
    before = replace(before, app_start=np.array([1, 7, -1]))
    cheap = Tariffs(np.where(np.arange(isps) == 4, 0.01, 0.3)[None], np.zeros((1, isps)))
    again = replan(portfolio, free, cheap, now=3, state=State.foreseen(portfolio, before, 3), earlier=before)
    assert again.app_start[0] == 1
    assert again.app_start[1] in (3, 4)
    assert again.app_start[2] == -1
    assert [(p.device, p.reason) for p in again.problems] == [("appliance", "its window closed before it was started")]


def test_the_last_isp_can_be_replanned(case: Case, morning: Plan) -> None:
    state = State.foreseen(case[0], morning, 95)
    again = replan(*case, now=95, state=replace(state, battery_kwh=state.battery_kwh * 0), earlier=morning)
    assert again.net_kw.shape == morning.net_kw.shape
    assert {p.device for p in again.problems if p.home is not None} == {"battery"}


@pytest.mark.parametrize("now", [-1, 96])
def test_a_now_outside_the_horizon_is_refused(case: Case, morning: Plan, now: int) -> None:
    with pytest.raises(InputError, match=r"outside 0\.\.95"):
        replan(*case, now=now, state=State.foreseen(case[0], None, 0), earlier=morning)


def test_an_unknown_past_or_state_is_refused(case: Case, morning: Plan) -> None:
    state = State.foreseen(case[0], morning, NOW)
    with pytest.raises(InputError, match="the past is unknown"):
        replan(*case, now=NOW, state=state)
    with pytest.raises(InputError, match="measured_net_kw"):
        replan(*case, now=NOW, state=state, measured_net_kw=np.zeros((6, 3)))
    hole = state.battery_kwh.copy()
    home = int(np.flatnonzero(case[0].has_battery)[0])
    hole[home] = np.nan
    with pytest.raises(InputError, match=rf"battery_kwh\[{home}\]"):
        replan(*case, now=NOW, state=replace(state, battery_kwh=hole), earlier=morning)
    with pytest.raises(ValueError, match="no device 'fridge'"):
        state.lose(0, "fridge")


def test_replanning_rural1_at_noon_is_fast(rural1: Case) -> None:
    """On an idle core 0.04 s; the bound is generous."""
    baseline = plan(*rural1)
    state = State.foreseen(rural1[0], baseline, 48)
    assert min(replan(*rural1, now=48, state=state, earlier=baseline).cpu_s for _ in range(3)) < 0.2
