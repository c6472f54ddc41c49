"""Instances to plan with, and a judge of plans that shares no code with the planner."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from optimiser import Limits, Plan, Portfolio, Tariffs
from optimiser.instance import read_instance
from optimiser.synthetic import neighbourhood

Case = tuple[Portfolio, Limits, Tariffs]


@pytest.fixture(scope="session")
def vectors() -> Path:
    """Reference instances and optima that are not shipped with the project."""
    root = os.environ.get("GRIDPARLEY_SHARED") or Path(__file__).parents[4] / "shared"
    folder = Path(root) / "vectors" / "optimiser"
    if not folder.is_dir():
        pytest.skip(f"reference instances are not at {folder} (set GRIDPARLEY_SHARED)")
    return folder


@pytest.fixture(scope="session")
def rural1(vectors: Path) -> Case:
    return read_instance(vectors / "rural1_export.npz")


@pytest.fixture(scope="session")
def small() -> Case:
    """Ten homes, 96 ISPs."""
    return neighbourhood(10, 3)


@pytest.fixture(scope="session")
def street() -> Callable[..., Case]:
    return make_street


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


@pytest.fixture(scope="session")
def judge() -> Callable[..., None]:
    return assert_sound


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
