"""Make a solver's powers exactly feasible: one forward pass that keeps every store inside its envelope.

Each device is a signed power with a range that follows from its rating and from where its state must be next. The
wanted power is clipped to the range; then the connection, and then the congestion point, take or give what the ranges
still allow: PV first, then battery, EV, heat pump. The result is feasible whatever came in, as far as feasible exists.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from optimiser.envelopes import Present, envelope, present_in, stores
from optimiser.portfolio import FloatArray, IntArray, Limits, Portfolio

__all__ = ["PER_HOME", "Trajectories", "repair", "states_from"]

_KW = 1e-9
_USELESS = 1e-12  # a gain per kW below this moves nothing
_BATTERY, _EV, _HEAT_PUMP, _PV = range(4)
_GIVING_ORDER = (_PV, _BATTERY, _EV, _HEAT_PUMP)


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Feasible powers (N,T) kW and the states they lead to, at the end of each ISP.

    `battery_kw` is signed (charging positive): charge and discharge at once is cancelled, `simultaneous_kwh` says how
    much. `unkept_kw` (N,T) is what the connection was exceeded by where no device could give way.
    """

    battery_kw: FloatArray
    ev_kw: FloatArray
    hp_kw: FloatArray
    pv_kw: FloatArray
    net_kw: FloatArray
    battery_kwh: FloatArray
    ev_kwh: FloatArray
    thermal: FloatArray
    unkept_kw: FloatArray
    simultaneous_kwh: float


PER_HOME = tuple(f.name for f in fields(Trajectories) if f.name != "simultaneous_kwh")


def repair(
    p: Portfolio,
    limits: Limits,
    *,
    charge_kw: FloatArray,
    discharge_kw: FloatArray,
    ev_kw: FloatArray,
    hp_kw: FloatArray,
    pv_kw: FloatArray,
    excess_kw: FloatArray | float = 0.0,
    connection_first: bool = False,
) -> Trajectories:
    """Feasible trajectories near the given powers, (N,T) kW.

    `excess_kw` (G,T) is what the plan means to exceed the limits by; only what goes beyond is spread over the members.
    `connection_first` lets EV and heat pump miss their floors rather than overload the connection.
    """
    isps = p.isps
    s = stores(p)
    # Powers are stacked as battery, EV, heat pump, PV (negative: production); time goes first, as the pass does.
    wanted = np.stack([charge_kw - discharge_kw, ev_kw, hp_kw, -pv_kw]).transpose(2, 0, 1)
    low, high = (bounds.transpose(2, 0, 1) for bounds in envelope(s))
    device = _Devices.of(p)
    allowed_low, allowed_high = limits.lo_kw - excess_kw, limits.hi_kw + excess_kw
    points = _Points(limits.membership, p.group, allowed_low, allowed_high)
    state = s.x0
    powers, states = np.empty((isps, 4, p.homes)), np.empty((isps, 3, p.homes))
    for t in range(isps):
        drift = s.a * state + device.drift[t]
        bottom, top = device.range(t, low[t] - drift, high[t] - drift)
        now = np.clip(wanted[t], bottom, top)
        if connection_first:
            bottom[[_EV, _HEAT_PUMP]] = 0.0
        net = p.load_kw[:, t] + now.sum(axis=0)
        beyond = np.minimum(p.imp_max_kw[:, t] - net, 0.0) + np.maximum(-p.exp_max_kw[:, t] - net, 0.0)
        if beyond.any():
            _move(now, bottom, top, beyond)
            net = p.load_kw[:, t] + now.sum(axis=0)
        points.hold(p, now, bottom, top, t)
        state = drift + device.effect(now, t)
        powers[t], states[t] = now, state
    power, reached = np.ascontiguousarray(powers.transpose(1, 2, 0)), np.ascontiguousarray(states.transpose(1, 2, 0))
    net_kw = p.load_kw + power.sum(axis=0)
    unkept = np.maximum(np.maximum(net_kw - p.imp_max_kw, -p.exp_max_kw - net_kw), 0.0)
    return Trajectories(
        battery_kw=power[0],
        ev_kw=power[1],
        hp_kw=power[2],
        pv_kw=-power[3],
        net_kw=net_kw,
        battery_kwh=reached[0],
        ev_kwh=reached[1],
        thermal=reached[2],
        unkept_kw=np.where(unkept > _KW, unkept, 0.0),
        simultaneous_kwh=float(np.minimum(charge_kw, discharge_kw).clip(min=0.0).sum() * p.dt_h),
    )


def states_from(p: Portfolio, power_kw: FloatArray, present: Present) -> FloatArray:
    """States (3,N,T) that powers of battery (charging positive), EV and heat pump (3,N,T) lead to; clips nothing."""
    s, device = stores(p, present), _Devices.of(p, present)
    power = np.ascontiguousarray(power_kw.transpose(2, 0, 1))
    out = np.empty((p.isps, 3, p.homes))
    state = s.x0
    for t in range(p.isps):
        state = s.a * state + device.drift[t] + device.effect(power[t], t)
        out[t] = state
    return np.ascontiguousarray(out.transpose(1, 2, 0))


@dataclass(frozen=True, eq=False)
class _Devices:
    """Ratings `least`, `most` (T,4,N) kW; what a kW does to a state, `up` for powers > 0 and `down` for others, and
    what a buffer does by itself, `drift` (T,3,N) in kWh or K per ISP."""

    least: FloatArray
    most: FloatArray
    up: FloatArray
    down: FloatArray
    per_up: FloatArray
    per_down: FloatArray
    drift: FloatArray

    @classmethod
    def of(cls, p: Portfolio, present: Present | None = None) -> _Devices:
        battery, ev, heat = (has[:, None] for has in present or present_in(p))
        zero = np.zeros_like(p.load_kw)
        eta = np.where(battery, p.bat_efficiency[:, None], 1.0) + zero
        ev_gain = np.where(ev, p.ev_efficiency[:, None], 1.0) * p.dt_h + zero
        heat_gain = np.where(heat, p.th_b, 0.0)
        up, down = np.stack([eta * p.dt_h, ev_gain, heat_gain]), np.stack([p.dt_h / eta, ev_gain, heat_gain])
        charge, discharge = np.where(battery, p.bat_charge_max_kw, 0.0), np.where(battery, p.bat_discharge_max_kw, 0.0)
        arrays = [
            np.stack([-discharge, zero, zero, -p.pv_kw]),
            np.stack([charge, p.ev_max_kw, p.hp_max_kw, zero]),
            up,
            down,
            1.0 / np.maximum(up, _USELESS),
            1.0 / np.maximum(down, _USELESS),
            np.stack([zero, zero, np.where(heat, p.th_w, 0.0)]),
        ]
        return cls(*(np.ascontiguousarray(a.transpose(2, 0, 1)) for a in arrays))

    def effect(self, power: FloatArray, t: int) -> FloatArray:
        """Change of the states (3,N) by the powers (4,N) of ISP t."""
        stored = power[:_PV]
        return np.asarray(np.where(stored > 0, stored * self.up[t], stored * self.down[t]))

    def range(self, t: int, rise_min: FloatArray, rise_max: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Powers (4,N) within the ratings that make the states rise by `rise_min`..`rise_max` (3,N)."""
        bottom, top = self.least[t].copy(), self.most[t].copy()
        highest = np.where(rise_max > 0, rise_max * self.per_up[t], rise_max * self.per_down[t])
        lowest = np.where(rise_min > 0, rise_min * self.per_up[t], rise_min * self.per_down[t])
        top[:_PV] = np.clip(highest, bottom[:_PV], top[:_PV])
        bottom[:_PV] = np.clip(lowest, bottom[:_PV], top[:_PV])
        return bottom, top


def _move(now: FloatArray, bottom: FloatArray, top: FloatArray, change: FloatArray) -> None:
    """Move the powers (4,N) in place so that each home's net changes by `change` (N,), as far as ranges allow."""
    for device in _GIVING_ORDER:
        step = np.clip(change, bottom[device] - now[device], top[device] - now[device])
        now[device] += step
        change = change - step


@dataclass(frozen=True, eq=False)
class _Points:
    """Congestion points and what each may carry, (G,T) kW; the innermost are helped first."""

    contains: NDArray[np.bool_]
    group: IntArray
    low: FloatArray
    high: FloatArray

    def hold(self, p: Portfolio, now: FloatArray, bottom: FloatArray, top: FloatArray, t: int) -> None:
        """Move the powers (4,N) of ISP t in place until every point keeps its bounds, as far as ranges allow."""
        if not (np.isfinite(self.low[:, t]) | np.isfinite(self.high[:, t])).any():
            return
        for point in np.argsort(self.contains.sum(axis=1), kind="stable"):
            total = self._totals(p.load_kw[:, t] + now.sum(axis=0))
            lacking = np.minimum(self.high[:, t] - total, 0.0) + np.maximum(self.low[:, t] - total, 0.0)
            if abs(lacking[point]) > _KW:
                self._share(p, now, bottom, top, t, int(point), float(lacking[point]))

    def _totals(self, net: FloatArray) -> FloatArray:
        groups = np.bincount(self.group, net, minlength=self.contains.shape[1])
        return np.asarray(self.contains.astype(float) @ groups)

    def _share(
        self, p: Portfolio, now: FloatArray, bottom: FloatArray, top: FloatArray, t: int, point: int, change: float
    ) -> None:
        """Move a point's power by `change` kW, shared in proportion to what each member can give, and no further than
        the points within it can carry."""
        inside = self.contains[point]
        member = inside[self.group]
        within = [g for g, groups in enumerate(self.contains) if g != point and not (groups & ~inside).any()]
        for device in _GIVING_ORDER:
            net = p.load_kw[:, t] + now.sum(axis=0)
            if change < 0:
                room = np.minimum(np.maximum(bottom[device] - now[device], -p.exp_max_kw[:, t] - net), 0.0) * member
            else:
                room = np.maximum(np.minimum(top[device] - now[device], p.imp_max_kw[:, t] - net), 0.0) * member
            total = self._totals(net)
            for g in within:
                here = self.contains[g][self.group]
                wanted = float(room[here].sum())
                bound = self.low[g, t] - total[g] if change < 0 else self.high[g, t] - total[g]
                if abs(wanted) > _KW:
                    room[here] *= min(1.0, max(bound / wanted, 0.0))
            available = float(room.sum())
            if available == 0.0:
                continue
            step = room * min(1.0, change / available)
            now[device] += step
            change -= float(step.sum())
