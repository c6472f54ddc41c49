"""Homes to plan for, and a judge of plans that shares no code with the planner."""

from __future__ import annotations

import numpy as np
import pytest

from optimiser import Limits, Plan, Portfolio, Tariffs

Case = tuple[Portfolio, Limits, Tariffs]


def make_street(homes: int = 6, isps: int = 96, dt_h: float = 0.25, seed: int = 0) -> Case:
    """Homes with every mix of devices over any horizon; limits bind."""
    rng = np.random.default_rng(seed)
    hour = (np.arange(isps) + 0.5) * 24 / isps
    load = rng.uniform(0.3, 1.5, (homes, isps))
    has = rng.random((4, homes)) < 0.6
    sun = np.maximum(np.sin((hour - 6) / 12 * np.pi), 0) * (hour > 6) * (hour < 18)
    ev_kw = np.where(((hour > 18) | (hour < 7))[None] & has[1][:, None], 7.4, 0.0)
    need = np.where(has[1], rng.uniform(4, 9, homes), 0.0)
    leaves = int(np.flatnonzero(hour < 7)[-1])
    floor = np.where(np.arange(isps)[None] >= leaves, need[:, None], 0.0)
    buy = 0.25 + 0.1 * np.sin(hour / 24 * 4 * np.pi) + rng.uniform(0, 0.02, (homes, 1))
    hp = np.where(has[3], 3.0, 0.0)
    portfolio = Portfolio.of(
        dt_h,
        load,
        pv_kw=sun * np.where(has[0], 6.0, 0.0)[:, None],
        imp_max_kw=np.full(homes, 20.0),
        exp_max_kw=np.full(homes, 15.0),
        bat_charge_max_kw=np.where(has[2], 4.0, 0.0),
        bat_discharge_max_kw=np.where(has[2], 3.0, 0.0),
        bat_capacity_kwh=np.where(has[2], 8.0, 0.0),
        bat_initial_kwh=np.where(has[2], 3.0, 0.0),
        bat_final_min_kwh=np.where(has[2], 4.0, 0.0),
        bat_efficiency=np.full(homes, 0.94),
        bat_wear_eur_per_kwh=np.full(homes, 0.01),
        ev_max_kw=ev_kw,
        ev_energy_min_kwh=floor,
        ev_energy_max_kwh=np.repeat(need[:, None] + 0.5, isps, axis=1),
        ev_efficiency=np.full(homes, 0.9),
        hp_max_kw=hp,
        th_a=np.full(homes, 0.99**dt_h),
        th_b=np.full((homes, isps), 0.6 * dt_h),
        th_w=np.full((homes, isps), -0.4 * dt_h),
        th_initial=np.full(homes, 21.0),
        th_min=np.full((homes, isps), 19.0),
        th_max=np.full((homes, isps), 23.0),
    )
    limits = Limits(np.full((1, isps), -1.5 * homes), np.full((1, isps), 2.2 * homes))
    return portfolio, limits, Tariffs(buy, buy - 0.15)


def anything(homes: int, isps: int, seed: int, dt_h: float = 1.0) -> Case:
    """Homes as the dice fall: devices that are tiny, full or useless, needs at the edge, prices below zero, no room to
    sell at a gain, connections and limits that hardly suffice. Some needs are out of reach."""
    rng = np.random.default_rng(seed)

    def some(share: float, low: float, high: float) -> np.ndarray:
        return np.where(rng.random(homes) < share, rng.uniform(low, high, homes), 0.0)

    def each(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (homes, isps))

    load = each(0.0, 1.0) * rng.choice([0.0, 1.0, 3.0], (homes, 1)) - some(0.2, 0.0, 1.0)[:, None]
    capacity = some(0.6, 0.01, 10.0)
    begin, end = np.sort(rng.integers(0, isps + 1, (2, homes)), axis=0)
    plugged = (np.arange(isps) >= begin[:, None]) & (np.arange(isps) < end[:, None])
    ev = np.where(plugged, some(0.6, 1.0, 11.0)[:, None], 0.0)
    need = rng.choice([0.0, 0.3, 0.9], homes) * 0.9 * dt_h * ev.sum(axis=1)
    floor = np.where(np.arange(isps) >= end[:, None] - 1, need[:, None], 0.0)
    pump = some(0.6, 0.5, 3.0)
    buy = each(-0.1 * (rng.random() < 0.3), 0.4)
    most = rng.choice([4.0, 12.0, 50.0], homes)
    portfolio = Portfolio.of(
        dt_h,
        load,
        pv_kw=each(0.0, 1.0) * some(0.5, 0.5, 6.0)[:, None],
        imp_max_kw=most,
        exp_max_kw=most,
        bat_charge_max_kw=np.where(capacity > 0, rng.uniform(0.1, 5.0, homes), 0.0),
        bat_discharge_max_kw=np.where(capacity > 0, rng.choice([0.0, 3.0], homes), 0.0),
        bat_capacity_kwh=capacity,
        bat_initial_kwh=capacity * rng.choice([0.0, 0.5, 1.0], homes),
        bat_final_min_kwh=capacity * rng.choice([0.0, 0.5], homes),
        bat_efficiency=rng.uniform(0.8, 1.0, homes),
        bat_wear_eur_per_kwh=rng.uniform(0.0, 0.05, homes),
        ev_max_kw=ev,
        ev_energy_min_kwh=floor,
        ev_energy_max_kwh=np.repeat(1.01 * need[:, None] + 0.05, isps, axis=1),
        ev_efficiency=np.full(homes, 0.9),
        hp_max_kw=pump,
        th_a=rng.uniform(0.9, 1.0, homes),
        th_b=each(0.2, 1.0),
        th_w=each(-0.5, 0.2),
        th_initial=rng.uniform(0.0, 2.0, homes),
        th_min=np.full((homes, isps), -3.0),
        th_max=np.full((homes, isps), 4.0),
    )
    room = homes * rng.uniform(0.2, 3.0)
    low = np.where(rng.random(isps) < 0.5, -room, -np.inf)
    high = np.where(rng.random(isps) < 0.7, room, np.inf)
    return portfolio, Limits(low[None], high[None]), Tariffs(buy, buy - rng.choice([0.0, 0.1]))


def assert_sound(case: Case, plan: Plan, *, since: int = 0, tolerance: float = 1e-6) -> None:
    """Every device, connection and figure of a plan, recomputed step by step from its powers (ISPs from `since`)."""
    p, limits, tariffs = case
    assert plan.battery_kw.shape == p.load_kw.shape
    charge, discharge = np.maximum(plan.battery_kw, 0), np.maximum(-plan.battery_kw, 0)
    later = slice(since, None)

    def within(value: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        assert (value >= low - tolerance).all()
        assert (value <= high + tolerance).all()

    battery, ev, heat = p.bat_capacity_kwh > 0, (p.ev_max_kw > 0).any(axis=1), (p.hp_max_kw > 0).any(axis=1)
    within(charge[:, later], np.zeros(()), np.where(battery[:, None], p.bat_charge_max_kw, 0)[:, later])
    within(discharge[:, later], np.zeros(()), np.where(battery[:, None], p.bat_discharge_max_kw, 0)[:, later])
    within(plan.ev_kw[:, later], np.zeros(()), p.ev_max_kw[:, later])
    within(plan.hp_kw[:, later], np.zeros(()), p.hp_max_kw[:, later])
    within(plan.pv_kw[:, later], np.zeros(()), p.pv_kw[:, later])
    net = plan.load_kw + plan.battery_kw + plan.ev_kw + plan.hp_kw - plan.pv_kw
    np.testing.assert_allclose(plan.net_kw[:, later], net[:, later], atol=1e-9)
    within(plan.net_kw[:, later], -p.exp_max_kw[:, later], p.imp_max_kw[:, later])
    energy, driven, warmth = p.bat_initial_kwh, np.zeros(p.homes), p.th_initial
    floor = np.zeros((p.homes, p.isps))
    floor[:, -1] = p.bat_final_min_kwh
    for t in range(p.isps):
        if t < since:
            energy, driven, warmth = plan.battery_kwh[:, t], plan.ev_kwh[:, t], plan.thermal[:, t]
            continue
        stored = p.bat_efficiency[battery] * charge[battery, t] - discharge[battery, t] / p.bat_efficiency[battery]
        energy = energy.copy()
        energy[battery] += p.dt_h * stored
        within(energy[battery], floor[battery, t], p.bat_capacity_kwh[battery])
        driven = driven + p.dt_h * p.ev_efficiency * plan.ev_kw[:, t]
        within(driven[ev], p.ev_energy_min_kwh[ev, t], p.ev_energy_max_kwh[ev, t])
        warmth = p.th_a * warmth + p.th_b[:, t] * plan.hp_kw[:, t] + p.th_w[:, t]
        within(warmth[heat], p.th_min[heat, t], p.th_max[heat, t])
        np.testing.assert_allclose(plan.battery_kwh[battery, t], energy[battery], atol=1e-8)
        np.testing.assert_allclose(plan.ev_kwh[ev, t], driven[ev], atol=1e-8)
        np.testing.assert_allclose(plan.thermal[heat, t], warmth[heat], atol=1e-8)
    bill = p.dt_h * np.where(plan.net_kw > 0, tariffs.buy_eur_per_kwh, tariffs.sell_eur_per_kwh) * plan.net_kw
    wear = p.dt_h * p.bat_wear_eur_per_kwh[:, None] * discharge
    contains = np.eye(p.groups) if limits.contains is None else limits.contains
    group = np.stack([plan.net_kw[(row > 0)[p.group]].sum(axis=0) for row in contains])
    outside = np.clip(np.maximum(group - limits.hi_kw, limits.lo_kw - group), 0, None)
    penalty = float((p.dt_h * limits.penalty * outside).sum())
    assert plan.cost_eur == pytest.approx(float(bill.sum() + wear.sum()) + penalty, abs=1e-6)
    np.testing.assert_allclose(plan.violation_kw, outside, atol=1e-8)
    assert plan.bound_eur <= plan.cost_eur + 1e-6 * max(1.0, abs(plan.cost_eur))
