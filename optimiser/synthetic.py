"""Synthetic neighbourhoods for tests and benchmarks: the same seed gives the same homes on every machine.

The order of the random draws is part of the definition: another order makes other homes.
"""

from __future__ import annotations

import numpy as np

from optimiser.portfolio import FloatArray, Limits, Portfolio, Tariffs

__all__ = ["neighbourhood"]


def neighbourhood(homes: int, seed: int) -> tuple[Portfolio, Limits, Tariffs]:
    """`homes` homes over 96 quarter-hours with PV, batteries, EVs and heat pumps, behind one congestion point."""
    rng = np.random.default_rng(seed)
    n, isps, dt = homes, 96, 0.25
    t = np.arange(isps)
    hour = t * dt

    def bump(centre: float, width: float) -> FloatArray:
        return np.asarray(np.exp(-(((hour - centre) / width) ** 2)))

    base = 0.25 + 0.35 * bump(7.5, 1.5) + 0.9 * bump(19, 2.2)
    load = base[:, None] * rng.uniform(0.5, 1.6, n) * rng.lognormal(0, 0.35, (isps, n))
    has_pv, has_battery = rng.random(n) < 0.5, rng.random(n) < 0.35
    has_ev, has_hp = rng.random(n) < 0.4, rng.random(n) < 0.4
    sun = np.where((hour < 6) | (hour > 20), 0.0, np.maximum(np.sin((hour - 6) / 14 * np.pi), 0.0) ** 1.3)
    peak = rng.uniform(2, 8, n) * has_pv
    pv = sun[:, None] * peak * rng.uniform(0.7, 1, (isps, n))

    bat_kw = np.where(has_battery, rng.uniform(2, 5, n), 0.0)
    capacity = np.where(has_battery, rng.uniform(4, 12, n), 0.0)

    arrival = np.clip(rng.normal(17.5, 1.5, n) / dt, 40, 80).astype(int)
    early = rng.random(n) < 0.3
    departure = np.clip(rng.normal(7.5, 1, n) / dt, 20, 40).astype(int)
    arrival = np.where(early, 0, arrival)
    departure = np.where(early, departure, isps)
    ev_kw = np.where(has_ev, np.where(rng.random(n) < 0.5, 7.4, 11.0), 0.0)
    need = np.minimum(rng.uniform(3, 14, n), 0.85 * ev_kw * (departure - arrival) * dt * 0.92) * has_ev
    plugged = (t[:, None] >= arrival) & (t[:, None] < departure)
    ceiling = np.where(has_ev, need + np.maximum(0.05 * need, 0.1), 0.0)

    outside = 3 + 5 * np.sin((hour - 9) / 24 * 2 * np.pi)
    heat_capacity, resistance = rng.uniform(4, 12, n), rng.uniform(4, 9, n)
    decay = np.where(has_hp, np.exp(-dt / (heat_capacity * resistance)), 0.0)
    performance = 2.6 + 0.06 * outside
    hp_kw = np.where(has_hp, np.maximum(1.5, 1.7 * (20.5 + 8) / resistance / 2.5), 0.0)
    th_min = np.where(has_hp, 19.5, -np.inf) * np.ones((isps, 1))
    th_min[-1] = np.where(has_hp, 20.2, -np.inf)

    buy = 0.22 + 0.10 * bump(18.5, 2) + 0.05 * bump(8, 1.5) - 0.06 * bump(13, 2.5) - 0.05 * bump(3, 2)
    buy = buy[:, None] * rng.uniform(0.98, 1.02, n)

    portfolio = Portfolio(
        dt_h=dt,
        load_kw=load.T,
        pv_kw=pv.T,
        group=np.zeros(n, np.int64),
        imp_max_kw=np.full(n, 17.0),
        exp_max_kw=np.full(n, 17.0),
        bat_charge_max_kw=bat_kw,
        bat_discharge_max_kw=bat_kw,
        bat_capacity_kwh=capacity,
        bat_initial_kwh=0.5 * capacity,
        bat_final_min_kwh=0.5 * capacity,
        bat_efficiency=np.full(n, 0.95),
        bat_wear_eur_per_kwh=np.full(n, 0.02),
        ev_max_kw=np.where(plugged, ev_kw, 0.0).T,
        ev_energy_min_kwh=np.where(t[:, None] >= departure - 1, need, 0.0).T,
        ev_energy_max_kwh=np.repeat(ceiling[:, None], isps, axis=1),
        ev_efficiency=np.full(n, 0.92),
        hp_max_kw=hp_kw,
        th_a=decay,
        th_b=np.where(has_hp, performance[:, None] * dt / heat_capacity, 0.0).T,
        th_w=np.where(has_hp, (1 - decay) * outside[:, None], 0.0).T,
        th_initial=np.where(has_hp, 20.5, 0.0),
        th_min=th_min.T,
        th_max=np.repeat(np.where(has_hp, 22.0, np.inf)[:, None], isps, axis=1),
    )
    evening, noon = (hour >= 17) & (hour < 22), (hour >= 10) & (hour < 16)
    limits = Limits((n * np.where(noon, -0.9, -1.5))[None], (n * np.where(evening, 0.75, 1.3))[None])
    return portfolio, limits, Tariffs(buy.T, (buy - 0.14).T)
