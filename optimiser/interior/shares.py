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
from optimiser.schedules import HELD, Choices, Held, Schedules

__all__ = ["ChoosingShard"]

_HELD = 8
_SCHEDULE = ("mode", "power_kw", "own_eur")
_WIDE = 2.0  # a box for shares that none reaches
_BARELY = 1e-6
_NEW = 0.1
"""The share that a schedule begins with. Small ones take many steps to grow."""


@dataclass(eq=False)
class _Crowd:
    """Homes with equally many devices. Slots: R = devices per home x schedules held. Positions are the layout's.

    `power_kw`, `own_eur`, `mode` (T,R,h) are what is held; `used` (R,h) whether a slot holds anything; `multiplier`
    (devices, h) of the rows "sum of shares"; `within` are the homes of each kin: their stretch here, their positions
    there.
    """

    homes: IntArray
    device: IntArray  # (devices, h)
    group: IntArray
    within: list[tuple[slice, IntArray]]
    place: slice
    power_kw: FloatArray
    mode: NDArray[np.int8]
    own_eur: FloatArray
    used: NDArray[np.bool_]
    multiplier: FloatArray

    @property
    def devices(self) -> int:
        return int(self.device.shape[0])

    def of(self, flat: FloatArray) -> FloatArray:
        """(R,h) of the flat array of all shares."""
        return flat[self.place].reshape(self.used.shape)

    def summed(self, per_slot: NDArray[Any]) -> FloatArray:
        """E: (devices,h) of (R,h)."""
        return np.asarray(per_slot.reshape(self.devices, -1, per_slot.shape[1]).sum(axis=1))

    def spread(self, per_device: FloatArray) -> FloatArray:
        """E': (R,h) of (devices,h)."""
        return np.repeat(per_device, self.used.shape[0] // self.devices, axis=0)

    def drawn(self, shares: FloatArray) -> FloatArray:
        """P: (T,h) kW of (R,h)."""
        return np.asarray(np.einsum("trh,rh->th", self.power_kw, shares))

    def priced(self, balance: FloatArray) -> FloatArray:
        """P': (R,h) of (T,n)."""
        return np.asarray(np.einsum("trh,th->rh", self.power_kw, balance[:, self.homes]))


class ChoosingShard(Shard):
    """A `Shard` whose homes have devices that choose."""

    def __init__(self, p: Portfolio, tariffs: Tariffs, groups: int, nudge_eur_per_kwh: float = 0.0) -> None:
        super().__init__(p, tariffs, groups, nudge_eur_per_kwh)
        self.choices = Choices(p)
        self._crowds = self._gathered(p)
        zero = np.zeros(sum(crowd.used.size for crowd in self._crowds))
        self.shares = Box(zero, zero, self.scale, _BARELY)
        self._gradient = zero
        for worth in _openings(self.layout.buy):
            self._admit(self.choices.best(self._whole(worth))[1], self.scale / _HELD)
        for crowd in self._crowds:
            held = np.maximum(crowd.summed(crowd.used), 1.0)
            even = crowd.spread(1.0 / held)
            self.shares.xl[crowd.place] = np.where(crowd.used, even, 1.0).ravel()
            self.shares.xu[crowd.place] = np.where(crowd.used, _WIDE - even, 1.0).ravel()
            crowd.multiplier[:] = crowd.summed(self._costs(crowd) * crowd.used) / held

    def _costs(self, crowd: _Crowd) -> FloatArray:
        """What the schedules held cost at the home's own prices (R,h)."""
        return np.asarray(crowd.own_eur.sum(axis=0) + crowd.priced(self.balance))

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
                    power_kw=np.zeros((lay.isps, *shape)),
                    mode=np.zeros((lay.isps, *shape), np.int8),
                    own_eur=np.zeros((lay.isps, *shape)),
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

    def _admit(self, new: Schedules, product: float, gain: FloatArray | None = None) -> None:
        """Hold schedules that are not held yet, in place of those with the least share; `gain` (D,) says whose pay.
        `product` is what share and multiplier begin with."""
        for crowd in self._crowds:
            slots = (crowd.devices, _HELD, crowd.homes.size)
            given = {name: getattr(new, name)[crowd.device].transpose(2, 0, 1) for name in _SCHEDULE}
            used = crowd.used.reshape(slots)
            same = (crowd.mode.reshape(-1, *slots) == given["mode"][:, :, None]).all(axis=0)
            wanted = ~(same & used).any(axis=1)
            if gain is not None:
                wanted &= gain[crowd.device] > 0
            device, home = np.nonzero(wanted)
            least = np.where(used, crowd.of(self.shares.xl).reshape(slots), -1.0).argmin(axis=1)
            slot = device * _HELD + least[device, home]
            for name, value in given.items():
                getattr(crowd, name)[:, slot, home] = value[:, device, home]
            crowd.used[slot, home] = True
            self._open(crowd.place.start + slot * crowd.homes.size + home, product)

    def _open(self, at: IntArray, product: float) -> None:
        box = self.shares
        box.free[at] = True
        box.count = int(box.free.sum())
        box.xl[at], box.xu[at] = _NEW, _WIDE - _NEW
        box.zl[at], box.zu[at] = product / _NEW, min(_BARELY, product)

    # --- what the coordinator asks --------------------------------------------------------------------------------

    def state(self, price: FloatArray, certain: FloatArray) -> State:
        state = super().state(price, certain)
        least, best = self.choices.best(self._whole(self.balance))
        box = self.shares
        mean = box.complementarity() / (2 * box.count)
        level = np.empty(len(self.choices))
        for crowd in self._crowds:
            level[crowd.device] = crowd.multiplier
        self._admit(best, mean, level - least - mean)
        self.reduced_share = np.empty(box.xl.size)
        self.short_share: list[FloatArray] = []
        cost = 0.0
        for crowd in self._crowds:
            x = crowd.of(box.x)
            self.short[:, crowd.homes] += crowd.drawn(x)
            self.short_share.append(1.0 - crowd.summed(x))
            self.reduced_share[crowd.place] = (self._costs(crowd) - crowd.spread(crowd.multiplier)).ravel()
            cost += float(np.vdot(crowd.own_eur.sum(axis=0), x))
        own = State(np.zeros_like(state.net), cost, float(least.sum()), box.complementarity(), 2 * box.count)
        return state + own

    def _factor(self) -> FloatArray:
        slope = super()._factor()
        self.shares.aim(self.reduced_share)
        self._systems: list[tuple[FloatArray, FloatArray, FloatArray]] = []
        for crowd in self._crowds:
            through = self._through(crowd)
            root = np.sqrt(crowd.of(self.shares.theta)).T  # (h,R)
            system = np.matmul(crowd.power_kw.transpose(2, 1, 0), through.transpose(2, 0, 1))
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
        first = crowd.power_kw * inverse[:, None]
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
            # v follows from the home's small system, not from dy: theta would magnify the last digits of dy.
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

    def advance(self, primal: float, dual: float, kept: float) -> None:
        super().advance(primal, dual, kept)
        self.shares.advance(primal, dual, kept)
        for crowd, dp in zip(self._crowds, self._dmultiplier, strict=True):
            crowd.multiplier += dual * dp

    def powers(self) -> dict[str, NDArray[Any]]:
        """As `Shard.powers`; of each device, in the order of `Choices`, what `Held` has, as `held_..`."""
        out: dict[str, NDArray[Any]] = dict(super().powers())
        count, isps = len(self.choices), self.layout.isps
        share = np.zeros((count, _HELD))
        held = Held(share, *(np.zeros((count, _HELD, isps), kind) for kind in (np.int8, float, float)))
        for crowd in self._crowds:
            shape = (crowd.devices, _HELD, crowd.homes.size)
            x = np.where(crowd.used, crowd.of(self.shares.x), 0.0)
            held.share[crowd.device] = x.reshape(shape).transpose(0, 2, 1)
            for name in _SCHEDULE:
                mine = getattr(crowd, name).reshape(isps, *shape)
                getattr(held, name)[crowd.device] = mine.transpose(1, 3, 2, 0)
        self._systems = []
        return out | {f"held_{name}": getattr(held, name) for name in HELD}


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
