"""Homes as the optimiser's arrays."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from interop.aggregator.forecast import Forecast
from interop.aggregator.homes import Appliance, Charger, Switched, Unit
from optimiser import Appliances, Modes, Portfolio, edge

__all__ = ["appliances_of", "portfolio_of", "switched_of"]

Floats = NDArray[np.float64]
D = TypeVar("D")


def portfolio_of(
    rows: Sequence[Unit],
    forecast: Forecast,
    hours: float,
    fixed_w: Mapping[str, Sequence[int]] | None = None,
    away: Mapping[str, frozenset[int]] | None = None,
    deaf: Collection[str] = (),
) -> Portfolio:
    """The optimiser's arrays: one row per unit, kW and kWh. Devices in `fixed_w` are part of their unit's load;
    batteries rest in the ISPs (1-based) for which they are `away`.

    `deaf` names devices that choose and cannot be told: an appliance does not start, modes stay as they are.
    """
    isps = len(forecast.load_kw)
    zero = np.zeros(isps)
    fixed = fixed_w or {}
    load = np.array([forecast.load_kw[:, u.home.load] if u.first else zero for u in rows])
    for n, unit in enumerate(rows):
        for device in (unit.charger, unit.heat_pump):
            if device is not None and device.id in fixed:
                load[n] += edge.kilowatts(fixed[device.id])
    ev_max, ev_low, ev_high = (np.zeros((len(rows), isps)) for _ in range(3))
    for n, unit in enumerate(rows):
        if unit.charger and unit.charger.id not in fixed:
            ev_max[n], ev_low[n], ev_high[n] = _charging(unit.charger, isps, hours)
    pumps = [u.heat_pump if u.heat_pump and u.heat_pump.id not in fixed else None for u in rows]
    demand = np.array([forecast.load_kw[:, p.load] if p else zero for p in pumps])
    buffer = np.array([p.buffer_wh / 1000 if p else 0.0 for p in pumps])
    least = np.repeat(-buffer[:, None], isps, axis=1)
    least[:, -1] = 0.0
    batteries = [u.battery for u in rows]
    rating = np.repeat(_each(batteries, lambda b: b.p_max_w / 1000)[:, None], isps, axis=1)
    for n, battery in enumerate(batteries):
        for isp in (away or {}).get(battery.id, ()) if battery is not None else ():
            rating[n, isp - 1] = 0.0
    return Portfolio.of(
        hours,
        load,
        pv_kw=np.array([forecast.pv_kw[:, u.pv.series] if u.pv else zero for u in rows]),
        bat_charge_max_kw=rating,
        bat_discharge_max_kw=rating,
        bat_capacity_kwh=_each(batteries, lambda b: b.capacity_wh / 1000),
        bat_initial_kwh=_each(batteries, lambda b: b.initial_wh / 1000),
        bat_final_min_kwh=_each(batteries, lambda b: b.final_min_wh / 1000),
        bat_efficiency=_each(batteries, lambda b: b.efficiency, 1.0),
        bat_wear_eur_per_kwh=_each(batteries, lambda b: b.wear_eur_per_kwh),
        ev_max_kw=ev_max,
        ev_energy_min_kwh=ev_low,
        ev_energy_max_kwh=ev_high,
        hp_max_kw=_each(pumps, lambda p: p.p_max_w / 1000),
        th_b=np.full((len(rows), isps), hours),
        th_w=-hours * demand,
        th_min=least,
        th_max=np.repeat(buffer[:, None], isps, axis=1),
        appliances=_appliances(appliances_of(rows), isps, deaf),
        modes=_modes(switched_of(rows), isps, hours, deaf),
    )


def appliances_of(rows: Sequence[Unit]) -> list[tuple[int, Appliance]]:
    """Each with the row of its unit, in the order of the optimiser's arrays."""
    return [(n, device) for n, unit in enumerate(rows) if unit.first for device in unit.home.appliances]


def switched_of(rows: Sequence[Unit]) -> list[tuple[int, Switched]]:
    """Each with the row of its unit, in the order of the optimiser's arrays."""
    return [(n, device) for n, unit in enumerate(rows) if unit.first for device in unit.home.switched]


def _appliances(owned: Sequence[tuple[int, Appliance]], isps: int, deaf: Collection[str]) -> Appliances:
    """On days with fewer ISPs than a window was made for, it ends with the day."""
    if not owned:
        return Appliances()
    length = np.array([len(device.power_w) for _, device in owned])
    last = np.array([min(device.last, isps) for _, device in owned]) - length
    profile = np.zeros((len(owned), length.max()))
    for k, (_, device) in enumerate(owned):
        if device.id not in deaf:
            profile[k, : length[k]] = edge.kilowatts(device.power_w)
    first = np.minimum([device.first - 1 for _, device in owned], last)
    return Appliances(np.array([n for n, _ in owned]), first, last, length, profile)


def _modes(owned: Sequence[tuple[int, Switched]], isps: int, hours: float, deaf: Collection[str]) -> Modes:
    """Before the day, devices have been in their current mode for as long as it must last."""
    if not owned:
        return Modes()
    count, most = len(owned), max(len(device.modes.modes) for _, device in owned)
    power, cost = np.zeros((count, most)), np.zeros((count, most))
    switch, stay = np.full((count, most, most), np.inf), np.ones((count, most), np.int64)
    current, run = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for d, (_, device) in enumerate(owned):
        place = {mode.id: k for k, mode in enumerate(device.modes.modes)}
        current[d] = place[device.modes.current]
        for k, mode in enumerate(device.modes.modes):
            power[d, k], cost[d, k] = edge.kilowatts(mode.power_w), float(mode.running_cost_eur_per_h)
        if device.id in deaf:
            continue
        run[d] = min(device.least_on_isps, isps)
        for move in device.modes.transitions:
            source, target = place[move.source], place[move.target]
            switch[d, source, target] = 0.0
            stay[d, target] = max(stay[d, target], -(-move.minimum_stay // timedelta(hours=hours)))
    home = np.array([n for n, _ in owned])
    return Modes(home, power, cost, switch, stay, run, current, np.full(count, isps))


def _each(devices: Sequence[D | None], value: Callable[[D], float], absent: float = 0.0) -> Floats:
    """One value per unit, `absent` where it has no such device."""
    return np.array([absent if device is None else value(device) for device in devices])


def _charging(charger: Charger, isps: int, hours: float) -> tuple[Floats, Floats, Floats]:
    """Power available (T,) kW, and floor and ceiling (T,) kWh of the energy charged since the day began.

    The ceiling lies 2 % and 0.05 kWh above the need, so that a floor met to the last digit is not a contradiction.
    """
    power, floor, ceiling = (np.zeros(isps) for _ in range(3))
    done = 0.0
    for stay in charger.stays:
        first, last = min(stay.first, isps), min(stay.last, isps)
        power[first - 1 : last] = charger.p_max_w / 1000
        need = stay.energy_wh / 1000
        ceiling[first - 1 :] = done + need * 1.02 + 0.05
        floor[last - 1 :] = done + min(need, (last - first + 1) * hours * charger.p_max_w / 1000)
        done += need
    return power, floor, ceiling
