"""Where each variable of a shard of homes lives: time first, homes sorted by how many stores they have.

A store is a battery, an EV or a heat buffer: x[t] = a x[t-1] + up u[t] - down d[t] + w[t], filled by the power u and,
for a battery, emptied by d. Homes with equally many stores share their arrays (T, stores, homes): what kind of device
fills a slot makes no difference to the solver. Batteries stand in slot 0.

    balance   m - e - sum of u + d + g = load          per home and ISP
    stores    x[t] - a x[t-1] - up u + down d = w       per store and ISP

All variables are counted from their lower bound, so x is what a store holds above its floor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optimiser.envelopes import finite_boxes
from optimiser.envelopes import stores as store_boxes
from optimiser.portfolio import FloatArray, IntArray, Portfolio, Tariffs

__all__ = ["Kin", "Layout", "Views"]

_BATTERY, _EV, _HEAT = range(3)
_FILLING = ("charge_kw", "ev_kw", "hp_kw")
_MILD = 0.7  # kW: where powers begin


@dataclass(frozen=True, eq=False)
class Kin:
    """Homes with equally many stores.

    `homes` is their stretch in the layout's order, `kind` (stores, homes) what fills each slot, `batteries` the
    first of them, whose slot 0 is a battery. `a` (stores, homes), `up` (T, stores, homes),
    `down` (batteries,), `rest` (T, stores, homes) right-hand side.
    """

    homes: slice
    kind: IntArray
    batteries: slice
    a: FloatArray
    up: FloatArray
    down: FloatArray
    rest: FloatArray
    members: tuple[IntArray, ...]  # positions per group

    @property
    def stores(self) -> int:
        return int(self.kind.shape[0])

    @property
    def count(self) -> int:
        return int(self.kind.shape[1])

    @property
    def discharging(self) -> int:
        return int(self.batteries.stop)


@dataclass(frozen=True, eq=False)
class Views:
    """A flat array seen as its blocks."""

    m: FloatArray  # (T,n)
    e: FloatArray  # (T,n)
    g: FloatArray  # (T, homes with PV)
    u: Sequence[FloatArray]  # per kin (T, stores, homes)
    x: Sequence[FloatArray]
    d: Sequence[FloatArray]  # per kin (T, batteries)


class Layout:
    """The homes of a portfolio as blocks of boxed variables."""

    def __init__(self, p: Portfolio, tariffs: Tariffs, groups: int, nudge_eur_per_kwh: float = 0.0) -> None:
        self.isps, self.count, self.groups, self.dt_h = p.isps, p.homes, groups, p.dt_h
        present = np.stack([_has_battery(p), p.has_ev, p.has_heat_pump])
        number = present.sum(axis=0)
        self.order: IntArray = np.lexsort((p.group, ~present[_BATTERY], number))
        self.group: IntArray = p.group[self.order]
        self.load = _timed(p.load_kw, self.order)
        self.pv: IntArray = np.flatnonzero(np.asarray((p.pv_kw > 0).any(axis=1))[self.order])
        self.kins = tuple(self._kin(p, present, number, k) for k in range(1, 4) if (number == k).any())
        self._place()
        self._fill(p, tariffs, nudge_eur_per_kwh)

    # --- shape ----------------------------------------------------------------------------------------------------

    def views(self, flat: FloatArray) -> Views:
        cut = [flat[a:b].reshape(shape) for a, b, shape in self._blocks]
        kins = len(self.kins)
        return Views(cut[0], cut[1], cut[2], cut[3 : 3 + kins], cut[3 + kins : 3 + 2 * kins], cut[3 + 2 * kins :])

    def _place(self) -> None:
        t = self.isps
        shapes: list[tuple[int, ...]] = [(t, self.count), (t, self.count), (t, self.pv.size)]
        shapes += [(t, kin.stores, kin.count) for kin in self.kins] * 2
        shapes += [(t, kin.discharging) for kin in self.kins]
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        self._blocks = list(zip(np.concatenate([[0], ends[:-1]]).tolist(), ends.tolist(), shapes, strict=True))
        self.size = int(ends[-1])

    def _kin(self, p: Portfolio, present: np.ndarray, number: IntArray, k: int) -> Kin:
        place = np.flatnonzero(number[self.order] == k)
        homes = self.order[place]
        kind = np.argsort(~present[:, homes], axis=0, kind="stable")[:k]
        batteries = slice(0, int((kind[0] == _BATTERY).sum()))
        box = store_boxes(p)
        slot = (kind, homes[None, :].repeat(k, axis=0))
        a = np.stack([np.ones(p.homes), np.ones(p.homes), p.th_a])[slot]
        dt = p.dt_h
        up = np.stack(
            [
                np.broadcast_to((dt * p.bat_efficiency)[:, None], p.load_kw.shape),
                np.broadcast_to((dt * p.ev_efficiency)[:, None], p.load_kw.shape),
                p.th_b,
            ]
        )[slot]
        rest = np.where((kind == _HEAT)[:, :, None], p.th_w[homes][None], 0.0)
        rest[:, :, 0] += a * box.x0[slot]
        return Kin(
            homes=slice(int(place[0]), int(place[-1]) + 1),
            kind=kind,
            batteries=batteries,
            a=a,
            up=_first(up),
            down=dt / p.bat_efficiency[homes[batteries]],
            rest=_first(rest),
            members=tuple(np.flatnonzero(p.group[homes] == g) for g in range(self.groups)),
        )

    # --- numbers --------------------------------------------------------------------------------------------------

    def _fill(self, p: Portfolio, tariffs: Tariffs, nudge: float) -> None:
        order, dt = self.order, self.dt_h
        self.buy, self.sell = (
            dt * _timed(price, order) for price in (tariffs.buy_eur_per_kwh, tariffs.sell_eur_per_kwh)
        )
        self.wear = [dt * p.bat_wear_eur_per_kwh[order[kin.homes][kin.batteries]] for kin in self.kins]
        self.nudge = nudge * dt * np.arange(self.isps) / self.isps if nudge else None

    def boxes(self, p: Portfolio) -> tuple[FloatArray, FloatArray]:
        """Widths of the variables' boxes and a start, flat; the floors of the stores go into `rest`."""
        order = self.order
        upper, start = np.zeros(self.size), np.zeros(self.size)
        top, begin = self.views(upper), self.views(start)
        top.m[:], top.e[:] = _timed(p.imp_max_kw, order), _timed(p.exp_max_kw, order)
        top.g[:] = _timed(p.pv_kw, order[self.pv])
        begin.g[:] = 0.9 * top.g
        low, high = finite_boxes(p)
        for n, kin in enumerate(self.kins):
            homes = order[kin.homes]
            discharging = homes[kin.batteries]
            top.d[n][:] = _timed(p.bat_discharge_max_kw, discharging)
            for slot in range(kin.stores):
                for kind, power in enumerate((p.bat_charge_max_kw, p.ev_max_kw, p.hp_max_kw)):
                    here = np.flatnonzero(kin.kind[slot] == kind)
                    top.u[n][:, slot, here] = _timed(power, homes[here])
                    floor = _timed(low[kind], homes[here])
                    top.x[n][:, slot, here] = _timed(high[kind], homes[here]) - floor
                    kin.rest[:, slot, here] -= floor
                    kin.rest[1:, slot, here] += kin.a[slot, here] * floor[:-1]
            begin.x[n][:] = top.x[n] / 2
            begin.u[n][:] = np.minimum(top.u[n] / 2, _MILD)
            begin.d[n][:] = np.minimum(top.d[n] / 2, _MILD)
        net = self.load - self.rows(start)[0]
        begin.m[:] = np.maximum(net, 0.0) + 0.3
        begin.e[:] = np.maximum(-net, 0.0) + 0.3
        return upper, start

    # --- the two linear maps --------------------------------------------------------------------------------------

    def rows(self, flat: FloatArray) -> tuple[FloatArray, list[FloatArray]]:
        """A x: balances (T,n) and stores per kin (T, stores, homes)."""
        v = self.views(flat)
        balance = v.m - v.e
        balance[:, self.pv] += v.g
        stored = []
        for n, kin in enumerate(self.kins):
            here = balance[:, kin.homes]
            here -= v.u[n].sum(axis=1)
            row = v.x[n] - kin.up * v.u[n]
            row[1:] -= kin.a * v.x[n][:-1]
            if kin.discharging:
                here[:, kin.batteries] += v.d[n]
                row[:, 0, kin.batteries] += kin.down * v.d[n]
            stored.append(row)
        return balance, stored

    def columns(self, balance: FloatArray, stored: Sequence[FloatArray], price: FloatArray) -> FloatArray:
        """A'y + C'lam as a flat array; `price` (T,n) is lam of each home's group."""
        out = np.empty(self.size)
        v = self.views(out)
        np.add(balance, price, out=v.m)
        np.negative(v.m, out=v.e)
        np.take(balance, self.pv, axis=1, out=v.g)
        for n, kin in enumerate(self.kins):
            here = balance[:, kin.homes]
            np.multiply(kin.up, stored[n], out=v.u[n])
            np.negative(v.u[n], out=v.u[n])
            v.u[n][:] -= here[:, None, :]
            v.x[n][:] = stored[n]
            v.x[n][:-1] -= kin.a * stored[n][1:]
            if kin.discharging:
                np.multiply(kin.down, stored[n][:, 0, kin.batteries], out=v.d[n])
                v.d[n][:] += here[:, kin.batteries]
        return out

    def reduced(
        self, balance: FloatArray, stored: Sequence[FloatArray], price: FloatArray, nudged: bool = True
    ) -> FloatArray:
        """c - A'y - C'lam as a flat array; with the nudge towards early ISPs, or without."""
        out = self.columns(-balance, [-row for row in stored], -price)
        v = self.views(out)
        v.m[:] += self.buy
        v.e[:] -= self.sell
        for d, wear in zip(v.d, self.wear, strict=True):
            d[:] += wear
        if nudged and self.nudge is not None:
            for u, kin in zip(v.u, self.kins, strict=True):
                u[:] += np.where(kin.kind != _HEAT, self.nudge[:, None, None], 0.0)
        return out

    def cost(self, flat: FloatArray) -> float:
        """c.x in EUR, without the nudge."""
        v = self.views(flat)
        wear = sum(float((d @ each).sum()) for d, each in zip(v.d, self.wear, strict=True))
        return float(np.vdot(self.buy, v.m) - np.vdot(self.sell, v.e)) + wear

    def right(self, balance: FloatArray, stored: Sequence[FloatArray]) -> float:
        """b'y."""
        return float(np.vdot(self.load, balance)) + sum(
            float(np.vdot(kin.rest, row)) for kin, row in zip(self.kins, stored, strict=True)
        )

    def sums(self, per_home: FloatArray) -> FloatArray:
        """(G,T) of (T,n)."""
        if self.groups == 1:
            return np.asarray(per_home.sum(axis=1)[None])
        out = np.zeros((self.groups, self.isps))
        np.add.at(out, self.group, per_home.T)
        return out

    def multipliers(self, balance: FloatArray, stored: Sequence[FloatArray]) -> FloatArray:
        """Multipliers (N,4,T) of balance, battery, EV and heat buffer, in the portfolio's order; 0 without a device."""
        out = np.zeros((self.count, 4, self.isps))
        out[self.order, 0] = balance.T
        for kin, rows in zip(self.kins, stored, strict=True):
            homes = self.order[kin.homes]
            for slot in range(kin.stores):
                out[homes, 1 + kin.kind[slot]] = rows[:, slot].T
        return out

    def duals(self, multipliers: FloatArray) -> tuple[FloatArray, list[FloatArray]]:
        """The inverse of `multipliers`."""
        stored = [
            np.stack([multipliers[self.order[kin.homes], 1 + kind].T for kind in kin.kind], axis=1) for kin in self.kins
        ]
        return np.ascontiguousarray(multipliers[self.order, 0].T), stored

    def flat(self, powers: Mapping[str, FloatArray]) -> FloatArray:
        """The inverse of `powers`: stores as they follow from them, import and export as the balance wants it."""
        out = np.zeros(self.size)
        v = self.views(out)
        v.g[:] = powers["pv_kw"][self.order[self.pv]].T
        filling = np.stack([powers[name] for name in _FILLING])
        for n, kin in enumerate(self.kins):
            homes = self.order[kin.homes]
            for slot, kind in enumerate(kin.kind):
                v.u[n][:, slot] = filling[kind, homes].T
            v.d[n][:] = powers["discharge_kw"][homes[kin.batteries]].T
            held = kin.rest + kin.up * v.u[n]
            held[:, 0, kin.batteries] -= kin.down * v.d[n]
            for t in range(1, self.isps):
                held[t] += kin.a * held[t - 1]
            v.x[n][:] = held
        net = self.load - self.rows(out)[0]
        v.m[:], v.e[:] = np.maximum(net, 0.0), np.maximum(-net, 0.0)
        return out

    def powers(self, flat: FloatArray) -> dict[str, FloatArray]:
        """Device powers (N,T) kW in the portfolio's order."""
        v = self.views(flat)
        out = {name: np.zeros((self.count, self.isps)) for name in (*_FILLING, "discharge_kw", "pv_kw")}
        out["pv_kw"][self.order[self.pv]] = v.g.T
        for n, kin in enumerate(self.kins):
            homes = self.order[kin.homes]
            for slot in range(kin.stores):
                for kind, name in enumerate(_FILLING):
                    here = np.flatnonzero(kin.kind[slot] == kind)
                    out[name][homes[here]] = v.u[n][:, slot, here].T
            out["discharge_kw"][homes[kin.batteries]] = v.d[n].T
        return out


def _has_battery(p: Portfolio) -> np.ndarray:
    return np.asarray(p.has_battery & ((p.bat_charge_max_kw + p.bat_discharge_max_kw) > 0).any(axis=1))


def _timed(per_home: FloatArray, homes: IntArray) -> FloatArray:
    return np.ascontiguousarray(per_home[homes].T)


def _first(last: FloatArray) -> FloatArray:
    """(stores, homes, T) as (T, stores, homes)."""
    return np.ascontiguousarray(last.transpose(2, 0, 1))
