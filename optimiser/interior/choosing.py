"""Homes with devices that choose, in the interior point: shares of schedules beside the continuous variables.

The convex hull of a device's schedules is what the relaxation lets it do. Of its schedules only a few are held, each
with a share s >= 0, sum of s = 1; at every iterate the best schedule at the home's own prices joins them (dynamic
programming, `optimiser.schedules`), so the certified bound counts with all schedules there are.

With M the homes' systems, P the schedules' powers and E the rows "sum of shares", a direction solves

    M dy - P v = r,   E v = q,   v = Theta (E'dp - P'dy)

which one small system per home, I + Theta^1/2 P'M^-1 P Theta^1/2, reduces to the systems without shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimiser.interior.box import Box, Step
from optimiser.interior.shard import Shard, State
from optimiser.portfolio import FloatArray, IntArray, Portfolio, Tariffs
from optimiser.schedules import Choices, Schedules

__all__ = ["ChoosingShard"]

_HELD = 8
_WIDE = 2.0  # a box for shares that none reaches
_BARELY = 1e-6
_NEW = 0.1
KAPPA = 1.0


@dataclass(eq=False)
class _Crowd:
    """Homes with equally many devices. Slots: R = devices per home x schedules held. Positions are the layout's.

    `power` (T,R,h) kW, `own` (R,h) EUR, `mode` (T,R,h) of what is held; `used` (R,h) whether a slot holds anything;
    `multiplier` (devices, h) of the rows "sum of shares"; `within` are the homes of each kin: their stretch here, their
    positions there.
    """

    homes: IntArray
    device: IntArray  # (devices, h)
    group: IntArray
    within: list[tuple[slice, IntArray]]
    place: slice
    power: FloatArray
    mode: NDArray[np.int8]
    own: FloatArray
    used: NDArray[np.bool_]
    multiplier: FloatArray

    @property
    def devices(self) -> int:
        return int(self.device.shape[0])

    def of(self, flat: FloatArray) -> FloatArray:
        """(R,h) of the flat array of all shares."""
        return flat[self.place].reshape(self.own.shape)

    def summed(self, per_slot: FloatArray) -> FloatArray:
        """E: (devices,h) of (R,h)."""
        return np.asarray(per_slot.reshape(self.devices, -1, per_slot.shape[1]).sum(axis=1))

    def spread(self, per_device: FloatArray) -> FloatArray:
        """E': (R,h) of (devices,h)."""
        return np.repeat(per_device, self.own.shape[0] // self.devices, axis=0)

    def drawn(self, shares: FloatArray) -> FloatArray:
        """P: (T,h) kW of (R,h)."""
        return np.asarray(np.einsum("trh,rh->th", self.power, shares))

    def priced(self, balance: FloatArray) -> FloatArray:
        """P': (R,h) of (T,n)."""
        return np.asarray(np.einsum("trh,th->rh", self.power, balance[:, self.homes]))


class ChoosingShard(Shard):
    """A `Shard` whose homes have devices that choose."""

    def __init__(self, p: Portfolio, tariffs: Tariffs, groups: int, nudge_eur_per_kwh: float = 0.0) -> None:
        super().__init__(p, tariffs, groups, nudge_eur_per_kwh)
        self.choices = Choices(p)
        self._crowds = self._gathered(p)
        total = sum(crowd.own.size for crowd in self._crowds)
        zero = np.zeros(total)
        self.shares = Box(zero, zero, self.scale, _BARELY)
        self._gradient = zero
        for worth in _openings(self.layout.buy):
            self._admit(self.choices.best(self._whole(worth))[1], 1.0 / _HELD)
        for crowd in self._crowds:
            even = crowd.spread(1.0 / np.maximum(crowd.summed(crowd.used.astype(float)), 1.0))
            self.shares.xl[crowd.place] = np.where(crowd.used, even, 1.0).ravel()
            self.shares.xu[crowd.place] = np.where(crowd.used, _WIDE - even, 1.0).ravel()
            crowd.multiplier[:] = crowd.summed((crowd.own + crowd.priced(self.balance)) * crowd.used) / np.maximum(
                crowd.summed(crowd.used.astype(float)), 1.0
            )

    def _gathered(self, p: Portfolio) -> list[_Crowd]:
        lay = self.layout
        position = np.argsort(lay.order)
        owner = position[self.choices.home]
        number = np.bincount(owner, minlength=lay.count)
        crowds, begin = [], 0
        for devices in np.unique(number[number > 0]):
            homes = np.flatnonzero(number == devices)
            slots = int(devices) * _HELD
            order = np.argsort(owner, kind="stable")
            device = order[np.isin(owner[order], homes)].reshape(homes.size, devices).T
            within = []
            for kin in lay.kins:
                here = np.flatnonzero((homes >= kin.homes.start) & (homes < kin.homes.stop))
                stretch = slice(int(here[0]), int(here[-1]) + 1) if here.size else slice(0, 0)
                within.append((stretch, homes[stretch] - kin.homes.start))
            shape = (slots, homes.size)
            crowds.append(
                _Crowd(
                    homes=homes,
                    device=device,
                    group=lay.group[homes],
                    within=within,
                    place=slice(begin, begin + slots * homes.size),
                    power=np.zeros((lay.isps, *shape)),
                    mode=np.zeros((lay.isps, *shape), np.int8),
                    own=np.zeros(shape),
                    used=np.zeros(shape, bool),
                    multiplier=np.zeros((int(devices), homes.size)),
                )
            )
            begin += slots * homes.size
        return crowds

    def _whole(self, per_position: FloatArray) -> FloatArray:
        """(N,T) in the portfolio's order of (T,n)."""
        out = np.empty((self.layout.count, self.layout.isps))
        out[self.layout.order] = per_position.T
        return out

    def _admit(self, new: Schedules, share: float, least=None, mu=0.0) -> None:
        """Hold a schedule for each device that does not hold it yet, in place of the one with the least share."""
        for crowd in self._crowds:
            power = new.power_kw[crowd.device].transpose(2, 0, 1)  # (T,devices,h)
            mode = new.mode[crowd.device].transpose(2, 0, 1)
            held = crowd.mode.reshape(len(mode), crowd.devices, _HELD, -1)
            used = crowd.used.reshape(crowd.devices, _HELD, -1)
            known = ((held == mode[:, :, None]).all(axis=0) & used).any(axis=1)
            x = crowd.of(self.shares.xl).reshape(used.shape)
            slot = np.where(used, x, -1.0).argmin(axis=1)
            ok = ~known
            if least is not None:
                ok &= least[crowd.device] < crowd.multiplier - KAPPA * mu
            device, home = np.nonzero(ok)
            self.admitted = getattr(self, "admitted", 0) + device.size
            at = device * _HELD + slot[device, home]
            crowd.power[:, at, home] = power[:, device, home]
            crowd.mode[:, at, home] = mode[:, device, home]
            crowd.own[at, home] = new.own_eur[crowd.device[device, home]]
            crowd.used[at, home] = True
            flat = crowd.place.start + at * crowd.homes.size + home
            self._open(flat, share, mu)

    def _open(self, at: IntArray, share: float, mu) -> None:
        box = self.shares
        box.free[at] = True
        box.count = int(box.free.sum())
        box.xl[at], box.xu[at] = share, _WIDE - share
        box.zl[at], box.zu[at] = (mu / share if mu else self.scale), min(_BARELY, mu) if mu else _BARELY

    # --- what the coordinator asks --------------------------------------------------------------------------------

    def state(self, price: FloatArray, certain: FloatArray) -> State:
        state = super().state(price, certain)
        least, best = self.choices.best(self._whole(self.balance))
        box = self.shares
        mu = box.complementarity() / (2 * box.count)
        self._admit(best, _NEW, least, mu)
        self.reduced_share = np.empty(box.xl.size)
        self.short_share: list[FloatArray] = []
        cost = 0.0
        for crowd in self._crowds:
            x = crowd.of(box.x)
            self.short[:, crowd.homes] += crowd.drawn(x)
            self.short_share.append(1.0 - crowd.summed(x))
            reduced = crowd.own + crowd.priced(self.balance) - crowd.spread(crowd.multiplier)
            self.reduced_share[crowd.place] = reduced.ravel()
            cost += float(np.vdot(crowd.own, x))
        own = State(np.zeros_like(state.net), cost, float(least.sum()), box.complementarity(), 2 * box.count)
        return state + own

    def _factor(self) -> FloatArray:
        slope = super()._factor()
        self.shares.aim(self.reduced_share)
        self._systems: list[tuple[FloatArray, FloatArray, FloatArray]] = []
        for crowd in self._crowds:
            through = self._through(crowd)
            root = np.sqrt(crowd.of(self.shares.theta)).T  # (h,R)
            system = np.matmul(crowd.power.transpose(2, 1, 0), through.transpose(2, 0, 1))
            system *= root[:, :, None] * root[:, None]
            slots = np.arange(system.shape[1])
            system[:, slots, slots] += 1.0
            inverse = np.linalg.inv(system) * (root[:, :, None] * root[:, None])
            some = inverse.reshape(len(inverse), -1, crowd.devices, _HELD).sum(axis=3)  # S^-1 E'
            both = np.linalg.inv(some.reshape(len(some), crowd.devices, _HELD, -1).sum(axis=2))
            self._systems.append((inverse, some, both))
            answer = inverse - some @ both @ some.transpose(0, 2, 1)
            flowing = through * self.flow[:, None, crowd.homes]  # (T,R,h)
            moved = np.matmul(flowing.transpose(2, 0, 1), answer).transpose(1, 2, 0)
            for group in np.unique(crowd.group):
                here = crowd.group == group
                left, right = (each[:, :, here].reshape(len(each), -1) for each in (moved, flowing))
                slope[group] += left @ right.T
        return slope

    def _through(self, crowd: _Crowd) -> FloatArray:
        """M^-1 P (T,R,h), the rows of the balances."""
        inverse = self.inverse_weight[:, crowd.homes]
        first = crowd.power * inverse[:, None]
        for (here, there), lever, chain in zip(crowd.within, self.lever, self.chains, strict=True):
            if there.size:
                own = lever[:, :, None, there]
                y = chain.take(there).solve(-own * first[:, None, :, here])
                first[:, :, here] -= (own * y).sum(axis=1) * inverse[:, None, here]
        return first

    def _solve(self, balance: FloatArray, stored: list[FloatArray]) -> tuple[FloatArray, list[FloatArray]]:
        pulled = self.shares.pull()
        balance = balance.copy()
        for crowd in self._crowds:
            balance[:, crowd.homes] -= crowd.drawn(crowd.of(pulled))
        first, _ = super()._solve(balance, stored)
        self._dmultiplier: list[FloatArray] = []
        for crowd, (inverse, some, both), short in zip(self._crowds, self._systems, self.short_share, strict=True):
            lacking = (short + crowd.summed(crowd.of(pulled))).T[:, :, None]  # q (h,devices,1)
            priced = crowd.priced(first).T[:, :, None]  # P'M^-1 r (h,R,1)
            dp = both @ (lacking + some.transpose(0, 2, 1) @ priced)
            self._dmultiplier.append(np.ascontiguousarray(dp[:, :, 0].T))
            v = (some @ dp - inverse @ priced)[:, :, 0].T
            theta = crowd.of(self.shares.theta)
            self._gradient[crowd.place] = (v / np.where(theta > 0, theta, 1.0)).ravel()
            balance[:, crowd.homes] += crowd.drawn(v)
        return super()._solve(balance, stored)

    def direction(self, move: FloatArray) -> Step:
        step = super().direction(move)
        return step + self.shares.move(self._gradient)

    def correct(self, target: float) -> FloatArray:
        self.shares.correct(target)
        return super().correct(target)

    def advance(self, primal: float, dual: float) -> None:
        super().advance(primal, dual)
        self.shares.advance(primal, dual)
        for crowd, dp in zip(self._crowds, self._dmultiplier, strict=True):
            crowd.multiplier += dual * dp

    def powers(self) -> dict[str, NDArray[Any]]:
        """As `Shard.powers`; of each device, in the order of `Choices`, the schedules held: `share` (D,held), what each
        costs by itself `share_eur` (D,held), `share_kw` and `share_mode` (D,held,T)."""
        out: dict[str, NDArray[Any]] = dict(super().powers())
        count, isps = len(self.choices), self.layout.isps
        out["share"], out["share_eur"] = np.zeros((count, _HELD)), np.zeros((count, _HELD))
        out["share_kw"] = np.zeros((count, _HELD, isps))
        out["share_mode"] = np.zeros((count, _HELD, isps), np.int8)
        for crowd in self._crowds:
            shape = (crowd.devices, _HELD, crowd.homes.size)
            x = np.where(crowd.used, crowd.of(self.shares.x), 0.0)
            out["share"][crowd.device] = x.reshape(shape).transpose(0, 2, 1)
            out["share_eur"][crowd.device] = crowd.own.reshape(shape).transpose(0, 2, 1)
            for name, held in (("share_kw", crowd.power), ("share_mode", crowd.mode)):
                out[name][crowd.device] = held.reshape(isps, *shape).transpose(1, 3, 2, 0)
        self._systems = []
        return out


def _openings(buy: FloatArray) -> list[FloatArray]:
    """Prices (T,n) for which each device's best schedule is held from the beginning: the tariff, and the tariff with
    one part of the day after the other made cheap, so that the first shares reach over all of it."""
    isps = len(buy)
    parts = _HELD // 2
    out = [buy]
    for part in range(parts):
        cheap = np.ones((isps, 1))
        cheap[part * isps // parts : (part + 1) * isps // parts] = 0.3
        out.append(buy * cheap)
    return out
