"""A day lived through: nothing is foreseen, nothing is lost, limits and outages are held as far as they can be."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import optimiser
from interop.usecases.community import joint_bill
from interop.usecases.measures import bills, community_bill
from interop.usecases.play import Lived, Loss, Outage, Outlook, live, planned, unmanaged
from optimiser import Limits, Portfolio, Reach, Tariffs

T, H = 24, 1.0
BUY = 0.3 + 0.1 * np.sin(np.arange(T) / T * 2 * np.pi)
SELL = np.full(T, 0.08)


def street(seed: int = 0, homes: int = 3) -> Portfolio:
    """Homes with a battery each, a roof, a car at night and a heat pump."""
    rng = np.random.default_rng(seed)
    sun = np.maximum(np.sin((np.arange(T) - 6) / 12 * np.pi), 0) * rng.uniform(5, 9, (homes, 1))
    floor = np.zeros((homes, T))
    floor[:, 6:] = 5.0
    plugged = np.zeros((homes, T))
    plugged[:, :7] = 4.0
    band = np.full((homes, T), 2.0)
    least = -band
    least[:, -1] = 0.0
    return Portfolio.of(
        H,
        rng.uniform(0.3, 1.5, (homes, T)),
        pv_kw=sun * rng.uniform(0.5, 1, (homes, T)),
        bat_charge_max_kw=np.full(homes, 2.0),
        bat_discharge_max_kw=np.full(homes, 2.0),
        bat_capacity_kwh=np.full(homes, 6.0),
        bat_initial_kwh=np.full(homes, 3.0),
        bat_final_min_kwh=np.full(homes, 3.0),
        bat_efficiency=np.full(homes, 0.95),
        bat_wear_eur_per_kwh=np.full(homes, 0.02),
        ev_max_kw=plugged,
        ev_energy_min_kwh=floor,
        ev_energy_max_kwh=np.full((homes, T), 5.2),
        hp_max_kw=np.full(homes, 2.0),
        th_b=np.full((homes, T), H),
        th_w=-rng.uniform(0.2, 0.8, (homes, T)),
        th_min=least,
        th_max=band,
    )


def guess(truth: Portfolio) -> Callable[[int], Portfolio]:
    """What was measured, then means."""

    def seen(now: int) -> Portfolio:
        def blind(values: np.ndarray) -> np.ndarray:
            return np.concatenate([values[:, :now], np.full((len(values), T - now), 0.8)], axis=1)

        return replace(truth, load_kw=blind(truth.load_kw), pv_kw=blind(truth.pv_kw))

    return seen


def own(homes: int) -> Tariffs:
    return Tariffs(np.broadcast_to(BUY, (homes, T)), np.broadcast_to(SELL, (homes, T)))


def managed(truth: Portfolio, *, outlook: Outlook | None = None, **more: Any) -> Lived:
    free, seen = Limits.none(1, T), outlook or guess(truth)
    return live(truth, seen, free, own(truth.homes), every=4, pools=np.arange(truth.homes), **more)


def check(day: Lived) -> None:
    """Device physics, recomputed."""
    p = day.portfolio
    flow = np.where(day.battery_kw > 0, day.battery_kw * 0.95, day.battery_kw / 0.95)
    np.testing.assert_allclose(day.battery_kwh, 3.0 + H * np.cumsum(flow, axis=1), atol=1e-9)
    assert (day.battery_kwh >= -1e-9).all()
    assert (day.battery_kwh <= p.bat_capacity_kwh[:, None] + 1e-9).all()
    assert (np.abs(day.battery_kw) <= 2.0 + 1e-9).all()
    np.testing.assert_allclose(day.ev_kwh, H * np.cumsum(day.ev_kw, axis=1), atol=1e-9)
    np.testing.assert_allclose(day.thermal, np.cumsum(H * day.hp_kw + p.th_w, axis=1), atol=1e-9)
    assert (day.pv_kw <= p.pv_kw + 1e-9).all()
    assert (day.pv_kw >= -1e-9).all()
    np.testing.assert_allclose(
        day.net_kw, p.load_kw - day.shed_kw + day.ev_kw + day.hp_kw + day.battery_kw - day.pv_kw, atol=1e-9
    )


@pytest.mark.parametrize("seed", range(3))
def test_devices_keep_their_physics_and_their_promises(seed: int) -> None:
    truth = street(seed)
    for day in (managed(truth), unmanaged(truth, battery=False), unmanaged(truth, battery=True)):
        check(day)
        assert day.ev_missing_kwh.max() < 1e-6
        assert day.comfort_missing_kwh.max() < 1e-6


def test_what_is_still_to_come_changes_nothing() -> None:
    truth = street()
    later = replace(
        truth,
        load_kw=np.concatenate([truth.load_kw[:, :12], truth.load_kw[:, 12:] + 1], axis=1),
        pv_kw=np.concatenate([truth.pv_kw[:, :12], truth.pv_kw[:, 12:] * 0.2], axis=1),
    )
    a, b = managed(truth), managed(later)
    np.testing.assert_array_equal(a.net_kw[:, :12], b.net_kw[:, :12])
    assert not np.allclose(a.net_kw[:, 12:], b.net_kw[:, 12:])


def test_a_rule_stores_surplus_and_an_idle_battery_rests() -> None:
    truth = street()
    idle, rule = unmanaged(truth, battery=False), unmanaged(truth, battery=True)
    assert not idle.battery_kw.any()
    assert np.maximum(-rule.net_kw, 0).sum() < np.maximum(-idle.net_kw, 0).sum()
    assert (idle.ev_kw[:, 0] == 4.0).all(), "cars charge at once"


@pytest.mark.parametrize("seed", range(3))
def test_knowing_the_day_is_a_bound_for_everyone(seed: int) -> None:
    truth = street(seed)
    best = optimiser.plan(truth, Limits.none(1, T), own(3), gap=1e-6)
    check(planned(truth, best))
    for day in (managed(truth), unmanaged(truth, battery=False)):
        cost = bills(day.net_kw, BUY, SELL, H).sum() + day.wear_eur.sum()
        assert cost >= best.bound_eur - 0.4 * np.abs(day.leftover_kwh).sum() - 1e-6


@pytest.mark.parametrize(("seed", "fee"), [(0, 0.0), (1, 0.05), (2, BUY - SELL)])
def test_the_joint_bill_is_what_a_plan_minimises(seed: int, fee: np.ndarray | float) -> None:
    truth = street(seed)
    limits, tariffs = joint_bill(BUY, SELL, 3, fee)
    best = optimiser.plan(truth, limits, tariffs, gap=1e-6)
    day = planned(truth, best)
    bill = community_bill(day.net_kw, BUY, SELL, H, fee)
    assert best.cost_eur == pytest.approx(bill + day.wear_eur.sum(), abs=1e-6)
    alone = optimiser.plan(truth, Limits.none(1, T), own(3), gap=1e-6)
    assert best.bound_eur <= alone.cost_eur + 1e-9
    price = SELL + best.price_eur_per_kwh[0]
    assert (price >= SELL - 1e-9).all()
    assert (price <= BUY + 1e-9).all()


def test_limits_are_held_between_plans_by_batteries_then_by_curtailing() -> None:
    truth = street()
    limit = Limits(np.full((1, T), -1.0), np.full((1, T), 30.0))
    check(day := managed(truth, held=limit))
    assert day.net_kw.sum(axis=0).min() >= -1.0 - 1e-9
    assert (truth.pv_kw - day.pv_kw).sum() > 0
    assert managed(truth).net_kw.sum(axis=0).min() < -1.0
    assert not day.shed_kw.any(), "a limit of the grid sheds nobody"


def test_an_island_is_balanced_and_sheds_by_priority_what_it_cannot_serve() -> None:
    truth = street()
    order = np.array([1, 0, 2])
    check(short := managed(truth, outage=Outage(19, 21, order)))
    np.testing.assert_allclose(short.net_kw[:, 19:21].sum(axis=0), 0.0, atol=1e-9)
    assert short.shed_kw.sum() == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_array_equal(short.net_kw[:, :19], managed(truth).net_kw[:, :19])
    truth = replace(truth, load_kw=2 * truth.load_kw)
    check(long := managed(truth, outlook=lambda now: truth, outage=Outage(18, T, order)))
    np.testing.assert_allclose(long.net_kw[:, 18:].sum(axis=0), 0.0, atol=1e-9)
    assert not long.shed_kw[:, :18].any()
    least, middle, most = (long.shed_kw[k].sum() / truth.load_kw[k, 18:].sum() for k in (1, 0, 2))
    assert least > middle > most
    partly = (long.shed_kw > 1e-6) & (long.shed_kw < truth.load_kw - 1e-6)
    assert (partly.sum(axis=0) <= 1).all(), "only one priority at a time is served in part"


def test_after_an_island_its_plan_is_followed_for_an_hour() -> None:
    truth = street()
    check(day := managed(truth, outage=Outage(8, 12, np.zeros(3, np.int64))))
    assert [plan.notes != () for plan in day.plans] == [False, False, True, True, True, True, False, False]
    back = day.plans[5]
    np.testing.assert_allclose(day.ev_kw[:, 12:16], back.ev_kw[:, 12:16], atol=1e-9)
    assert day.ev_missing_kwh.max() < 1e-6


def test_what_is_out_of_control_is_left_alone() -> None:
    truth = street()
    losses = (Loss(10, T, 0, "battery", Reach.OFF), Loss(0, 6, 1, None, Reach.AUTONOMOUS))
    check(day := managed(truth, losses=losses))
    assert not day.battery_kw[0, 10:].any()
    assert not day.battery_kw[1, :6].any()
    assert day.ev_kw[1, 0] == 4.0, "it charges at once"
    np.testing.assert_array_equal(day.pv_kw[1, :6], truth.pv_kw[1, :6])
