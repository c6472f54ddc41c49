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
_HOMES = 1024
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
    devices, way = _Devices.of(p), _Envelope.of(p)
    allowed_low, allowed_high = limits.lo_kw - excess_kw, limits.hi_kw + excess_kw
    points = _Points(limits.membership, p.group, allowed_low, allowed_high)
    state = way.start
    power, reached = np.empty((4, p.homes, p.isps)), np.empty((3, p.homes, p.isps))
    for t in range(p.isps):
        device = devices.at(t)
        # As battery, EV, heat pump, PV (negative: production).
        wanted = np.stack([charge_kw[:, t] - discharge_kw[:, t], ev_kw[:, t], hp_kw[:, t], -pv_kw[:, t]])
        drift = way.decay * state + device.drift
        bottom, top = device.range(way.low[t] - drift, way.high[t] - drift)
        now = np.clip(wanted, bottom, top)
        if connection_first:
            bottom[[_EV, _HEAT_PUMP]] = 0.0
        net = p.load_kw[:, t] + now.sum(axis=0)
        beyond = np.minimum(p.imp_max_kw[:, t] - net, 0.0) + np.maximum(-p.exp_max_kw[:, t] - net, 0.0)
        if beyond.any():
            _move(now, bottom, top, beyond)
            net = p.load_kw[:, t] + now.sum(axis=0)
        points.hold(p, now, bottom, top, t)
        state = drift + device.effect(now)
        power[:, :, t], reached[:, :, t] = now, state
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
    s, devices = stores(p, present), _Devices.of(p, present)
    out = np.empty((3, p.homes, p.isps))
    state = s.x0
    for t in range(p.isps):
        device = devices.at(t)
        state = s.a * state + device.drift + device.effect(power_kw[:, :, t])
        out[:, :, t] = state
    return out


@dataclass(frozen=True, eq=False)
class _Envelope:
    """Where states may be, `low`, `high` (T,3,N); where they begin and what is left of them an ISP later, (3,N).

    Made some homes at a time: what it is made from takes several times its room.
    """

    low: FloatArray
    high: FloatArray
    start: FloatArray
    decay: FloatArray

    @classmethod
    def of(cls, p: Portfolio) -> _Envelope:
        low, high = np.empty((p.isps, 3, p.homes)), np.empty((p.isps, 3, p.homes))
        start, decay = np.empty((3, p.homes)), np.empty((3, p.homes))
        for begin in range(0, p.homes, _HOMES):
            part = np.arange(begin, min(begin + _HOMES, p.homes))
            s = stores(p.take(part))
            low[:, :, part], high[:, :, part] = (bounds.transpose(2, 0, 1) for bounds in envelope(s))
            start[:, part], decay[:, part] = s.x0, s.a
        return cls(low, high, start, decay)


@dataclass(frozen=True, eq=False)
class _Device:
    """One ISP: ratings `least`, `most` (4,N) kW; what a kW does to a state, `up` for powers > 0 and `down` for others,
    and what a buffer does by itself, `drift` (3,N) in kWh or K."""

    least: FloatArray
    most: FloatArray
    up: FloatArray
    down: FloatArray
    drift: FloatArray

    def effect(self, power: FloatArray) -> FloatArray:
        """Change of the states (3,N) by the powers (3 or 4,N)."""
        stored = power[:_PV]
        return np.asarray(np.where(stored > 0, stored * self.up, stored * self.down))

    def range(self, rise_min: FloatArray, rise_max: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Powers (4,N) within the ratings that make the states rise by `rise_min`..`rise_max` (3,N)."""
        bottom, top = self.least.copy(), self.most.copy()
        per_up, per_down = 1.0 / np.maximum(self.up, _USELESS), 1.0 / np.maximum(self.down, _USELESS)
        highest = np.where(rise_max > 0, rise_max * per_up, rise_max * per_down)
        lowest = np.where(rise_min > 0, rise_min * per_up, rise_min * per_down)
        top[:_PV] = np.clip(highest, bottom[:_PV], top[:_PV])
        bottom[:_PV] = np.clip(lowest, bottom[:_PV], top[:_PV])
        return bottom, top


@dataclass(frozen=True, eq=False)
class _Devices:
    """The devices of all homes, ISP by ISP: all ISPs at once would take several times the room of the plan."""

    p: Portfolio
    battery: NDArray[np.bool_]
    heat: NDArray[np.bool_]
    fill: FloatArray  # (N,) kWh per kW and ISP
    empty: FloatArray
    drive: FloatArray

    @classmethod
    def of(cls, p: Portfolio, present: Present | None = None) -> _Devices:
        battery, ev, heat = present or present_in(p)
        eta = np.where(battery, p.bat_efficiency, 1.0)
        return cls(p, battery, heat, eta * p.dt_h, p.dt_h / eta, np.where(ev, p.ev_efficiency, 1.0) * p.dt_h)

    def at(self, t: int) -> _Device:
        p, zero = self.p, np.zeros(self.p.homes)
        warm = np.where(self.heat, p.th_b[:, t], 0.0)
        charge = np.where(self.battery, p.bat_charge_max_kw[:, t], 0.0)
        discharge = np.where(self.battery, p.bat_discharge_max_kw[:, t], 0.0)
        return _Device(
            least=np.stack([-discharge, zero, zero, -p.pv_kw[:, t]]),
            most=np.stack([charge, p.ev_max_kw[:, t], p.hp_max_kw[:, t], zero]),
            up=np.stack([self.fill, self.drive, warm]),
            down=np.stack([self.empty, self.drive, warm]),
            drift=np.stack([zero, zero, np.where(self.heat, p.th_w[:, t], 0.0)]),
        )


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
