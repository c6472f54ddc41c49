"""What each store (battery, EV, heat buffer) can reach at all, found before anything is solved.

All three are one thing: a state x[t] = a x[t-1] + u[t] with dmin[t] <= u[t] <= dmax[t] and xmin[t] <= x[t] <= xmax[t].
So one forward pass tells what is out of reach, and one backward pass tells how low and how high the state may be so
that everything later can still be met.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from optimiser.portfolio import FloatArray, Portfolio

__all__ = [
    "DEVICES",
    "Present",
    "Shortfall",
    "Stores",
    "envelope",
    "finite_boxes",
    "present_in",
    "relax",
    "shortfalls",
    "stores",
]

DEVICES = ("battery", "ev", "heat_pump")
UNITS = {"battery": "kWh", "ev": "kWh", "heat_pump": "K"}
_TOLERANCE = 1e-6


Present: TypeAlias = tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]
"""Which homes (N,) have a battery, an EV, a heat pump."""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What cannot be had: `missing` `unit` at ISP `isp` (from 0) of a home, or of a congestion point (home None)."""

    home: int | None
    device: str
    isp: int
    missing: float
    unit: str
    reason: str

    def to_json(self) -> dict[str, object]:
        return {
            "home": self.home,
            "device": self.device,
            "isp": self.isp,
            "missing": round(self.missing, 6),
            "unit": self.unit,
            "reason": self.reason,
        }


@dataclass(frozen=True, eq=False)
class Stores:
    """Batteries, EVs and heat buffers of all homes, stacked: `a`, `x0` (3,N), the others (3,N,T)."""

    a: FloatArray
    x0: FloatArray
    dmin: FloatArray
    dmax: FloatArray
    xmin: FloatArray
    xmax: FloatArray


def present_in(p: Portfolio) -> Present:
    return p.has_battery, p.has_ev, p.has_heat_pump


def stores(p: Portfolio, present: Present | None = None) -> Stores:
    """The stores of a portfolio. `present` (battery, EV, heat pump) overrides which homes have one."""
    battery, ev, heat = present or present_in(p)
    n, isps = p.load_kw.shape
    eta = np.where(battery, p.bat_efficiency, 1.0)[:, None]
    floor = np.zeros((n, isps))
    floor[:, -1] = p.bat_final_min_kwh
    cap = np.repeat(p.bat_capacity_kwh[:, None], isps, axis=1)
    has = np.stack([battery, ev, heat])
    w = np.where(heat[:, None], p.th_w, 0.0)
    thermal_gain = np.where(heat[:, None], p.th_b, 0.0) * p.hp_max_kw
    ev_gain = np.where(ev, p.ev_efficiency, 1.0)[:, None] * p.dt_h * p.ev_max_kw
    a = np.ones((3, n))
    a[2] = np.where(heat, p.th_a, 1.0)
    zero = np.zeros((n, isps))

    def where(present_: NDArray[np.bool_], values: list[FloatArray], other: float) -> FloatArray:
        return np.where(present_[..., None], np.stack(values), other)

    return Stores(
        a=a,
        x0=np.where(has, np.stack([p.bat_initial_kwh, np.zeros(n), p.th_initial]), 0.0),
        dmin=where(has, [-p.dt_h / eta * p.bat_discharge_max_kw, zero, w], 0.0),
        dmax=where(has, [p.dt_h * eta * p.bat_charge_max_kw, ev_gain, thermal_gain + w], 0.0),
        xmin=where(has, [floor, p.ev_energy_min_kwh, p.th_min], -np.inf),
        xmax=where(has, [cap, p.ev_energy_max_kwh, p.th_max], np.inf),
    )


def finite_boxes(p: Portfolio) -> tuple[FloatArray, FloatArray]:
    """Bounds (3,N,T) of the states, finite where a device is; an open comfort band ends where the pump cannot go."""
    box = stores(p)
    low, high = np.array(box.xmin, float), np.array(box.xmax, float)
    bottom = top = p.th_initial
    for t in range(p.isps):
        bottom = p.th_a * bottom + p.th_w[:, t]
        top = p.th_a * top + p.th_w[:, t] + p.th_b[:, t] * p.hp_max_kw[:, t]
        low[2, :, t] = np.where(np.isfinite(low[2, :, t]), low[2, :, t], bottom - 1.0)
        high[2, :, t] = np.where(np.isfinite(high[2, :, t]), high[2, :, t], top + 1.0)
    return low, high


def relax(p: Portfolio, present: Present | None = None) -> tuple[Portfolio, list[Shortfall]]:
    """Lower the floors and raise the ceilings that no schedule can meet to the nearest value that one can.

    Returns the portfolio itself and no shortfall where everything is within reach. One shortfall per home and device:
    the largest, at its first ISP.
    """
    s = stores(p, present)
    lo = hi = s.x0
    low = np.empty_like(s.xmin)
    high = np.empty_like(s.xmax)
    for t in range(p.isps):
        bottom, top = s.a * lo + s.dmin[..., t], s.a * hi + s.dmax[..., t]
        low[..., t] = np.minimum(s.xmin[..., t], top)
        high[..., t] = np.maximum(s.xmax[..., t], bottom)
        lo, hi = np.maximum(bottom, low[..., t]), np.minimum(top, high[..., t])
    with np.errstate(invalid="ignore"):
        below, above = np.nan_to_num(s.xmin - low, nan=0.0), np.nan_to_num(high - s.xmax, nan=0.0)
    # A final battery floor above the capacity shows as a floor above the ceiling of the same ISP.
    spill = np.maximum(low - high, 0.0)
    low, below = np.minimum(low, high), below + spill
    problems = shortfalls(below, "cannot reach its floor") + shortfalls(above, "cannot stay below its ceiling")
    if not (below.any() or above.any()):
        return p, []
    eased = replace(
        p,
        bat_final_min_kwh=np.where(np.isfinite(low[0, :, -1]), low[0, :, -1], p.bat_final_min_kwh),
        bat_capacity_kwh=np.where(np.isfinite(high[0].max(axis=1)), high[0].max(axis=1), p.bat_capacity_kwh),
        ev_energy_min_kwh=np.where(np.isfinite(low[1]), low[1], p.ev_energy_min_kwh),
        ev_energy_max_kwh=np.where(np.isfinite(high[1]), high[1], p.ev_energy_max_kwh),
        th_min=low[2],
        th_max=high[2],
    )
    return eased, problems


def envelope(s: Stores) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest state (3,N,T) at the end of each ISP from which all later bounds can still be met."""
    low, high = s.xmin.copy(), s.xmax.copy()
    a = s.a
    for t in range(low.shape[-1] - 2, -1, -1):
        low[..., t] = np.maximum(low[..., t], (low[..., t + 1] - s.dmax[..., t + 1]) / a)
        high[..., t] = np.minimum(high[..., t], (high[..., t + 1] - s.dmin[..., t + 1]) / a)
    return low, high


def shortfalls(missing: FloatArray, reason: str) -> list[Shortfall]:
    """The worst of each device in `missing` (3,N,T)."""
    found = []
    for kind, home in np.argwhere(missing.max(axis=-1) > _TOLERANCE):
        amounts = missing[kind, home]
        isp = int(np.flatnonzero(amounts >= amounts.max() - _TOLERANCE)[0])
        device = DEVICES[kind]
        found.append(Shortfall(int(home), device, isp, float(amounts[isp]), UNITS[device], reason))
    return found
