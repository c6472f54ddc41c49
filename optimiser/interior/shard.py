"""Some homes, solved among themselves: everything the coordinator asks of them, and only sums in the answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimiser.central import POWERS, Raw
from optimiser.interior import loops as loops  # registers what is compiled
from optimiser.interior.box import Box, Step
from optimiser.interior.chain import Chain
from optimiser.interior.layout import Layout
from optimiser.portfolio import FloatArray, IntArray, Portfolio, Tariffs

__all__ = ["Offer", "Shard", "State"]


@dataclass(slots=True)
class State:
    """Sums over the homes: net power (G,T) kW of the iterate, its cost, a lower bound and the complementarity."""

    net: FloatArray
    cost: float
    bound: float
    product: float
    count: int

    def __add__(self, other: State) -> State:
        return State(
            self.net + other.net,
            self.cost + other.cost,
            self.bound + other.bound,
            self.product + other.product,
            self.count + other.count,
        )


@dataclass(slots=True)
class Offer:
    """How the homes' net power answers a price: `moved` (G,T) at no change of price, `slope` (G,T,T) per unit."""

    moved: FloatArray
    slope: FloatArray

    def __add__(self, other: Offer) -> Offer:
        return Offer(self.moved + other.moved, self.slope + other.slope)


_DUAL = 0.5


class Shard:
    """Primal-dual interior point of a set of homes, given the coordinator's prices lam (G,T), EUR per kW and ISP."""

    notes: tuple[str, ...] = ()

    def __init__(self, p: Portfolio, tariffs: Tariffs, groups: int, nudge_eur_per_kwh: float = 0.0) -> None:
        self.layout = lay = Layout(p, tariffs, groups, nudge_eur_per_kwh)
        self.scale = _DUAL * float(np.abs(lay.buy).mean()) or 1e-3
        self.box = Box(*lay.boxes(p), self.scale, self.scale)
        self.balance = (lay.buy + lay.sell) / 2
        v = lay.views(self.box.x)
        self.net = lay.sums(v.m - v.e)
        self.stored = [np.zeros(kin.rest.shape) for kin in lay.kins]
        self.price = np.zeros((lay.groups, lay.isps))

    def resume(self, point: Raw, homes: IntArray, prices: FloatArray, room_kw: float) -> None:
        """Start near a known answer for `homes`, these homes, at the coordinator's `prices` (G,T) of then.

        `room_kw` is how far from its bounds a power begins: the more is to change, the further.
        """
        lay = self.layout
        x = lay.flat({name: getattr(point, name)[homes] for name in POWERS})
        self.balance, self.stored = lay.duals(point.multipliers[homes])
        reduced = lay.reduced(self.balance, self.stored, self._per_home(prices))
        self.box.resume(x, reduced, room_kw, self.scale)
        v = lay.views(self.box.x)
        self.net = lay.sums(v.m - v.e)

    def _per_home(self, price: FloatArray) -> FloatArray:
        return np.ascontiguousarray(price[self.layout.group].T)

    def state(self, price: FloatArray, certain: FloatArray) -> State:
        """Where the iterate stands at `price`; the bound is for `certain`, prices within the penalty."""
        lay, box = self.layout, self.box
        self.price = price
        self.reduced = proven = lay.reduced(self.balance, self.stored, self._per_home(price))
        if certain is not price or lay.nudge is not None:
            proven = lay.reduced(self.balance, self.stored, self._per_home(certain), nudged=False)
        bound = lay.right(self.balance, self.stored) + box.bound(proven)
        x = box.x
        v = lay.views(x)
        balance, stored = lay.rows(x)
        self.short = lay.load - balance
        self.short_stored = [kin.rest - row for kin, row in zip(lay.kins, stored, strict=True)]
        return State(lay.sums(v.m - v.e), lay.cost(x), bound, box.complementarity(), 2 * box.count)

    def factor(self) -> Offer:
        """Factor every home; how their sum answers a price, in the affine direction."""
        slope = self._factor()
        return Offer(self._response(), slope)

    def _factor(self) -> FloatArray:
        lay, box = self.layout, self.box
        box.aim(self.reduced)
        theta = lay.views(box.theta)
        self.flow = theta.m + theta.e
        weight = self.flow.copy()
        weight[:, lay.pv] += theta.g
        self.lever: list[FloatArray] = []
        self.chains: list[Chain] = []
        for n, kin in enumerate(lay.kins):
            here = weight[:, kin.homes]
            here += theta.u[n].sum(axis=1)
            if kin.discharging:
                here[:, kin.batteries] += theta.d[n]
        self.inverse_weight = 1.0 / weight
        slope = np.zeros((lay.groups, lay.isps, lay.isps))
        own = self.flow - self.flow * self.flow * self.inverse_weight
        diagonal = np.einsum("gtt->gt", slope)
        diagonal += lay.sums(own)
        for n, kin in enumerate(lay.kins):
            lever = kin.up * theta.u[n]
            square = kin.up * lever
            if kin.discharging:
                falling = kin.down * theta.d[n]
                lever[:, 0, kin.batteries] += falling
                square[:, 0, kin.batteries] += kin.down * falling
            square += theta.x[n]
            beside = np.zeros_like(lever)
            np.multiply(kin.a, theta.x[n][:-1], out=beside[1:])
            square[1:] += kin.a * beside[1:]
            np.negative(beside, out=beside)
            inverse = self.inverse_weight[:, kin.homes]
            blocks = lever[:, :, None] * (lever * -inverse[:, None])[:, None]
            place = np.arange(kin.stores)
            blocks[:, place, place] += square
            chain = Chain(blocks, beside)
            self.lever.append(lever)
            self.chains.append(chain)
            phi = lever * (self.flow[:, kin.homes] * inverse)[:, None]
            slope -= chain.coupled(phi, kin.members)
        return slope

    def _response(self) -> FloatArray:
        """Net power (G,T) that the homes move by at no change of price: C dx for dlam = 0."""
        lay, box = self.layout, self.box
        weighed = box.pull()
        balance, stored = lay.rows(weighed)
        self.right = self.short + balance
        self.right_stored = [short + row for short, row in zip(self.short_stored, stored, strict=True)]
        moved, _ = self._solve(self.right, self.right_stored)
        v = lay.views(weighed)
        return lay.sums(self.flow * moved - v.m + v.e)

    def _solve(self, balance: FloatArray, stored: list[FloatArray]) -> tuple[FloatArray, list[FloatArray]]:
        lay = self.layout
        first = balance * self.inverse_weight
        out = []
        for n, kin in enumerate(lay.kins):
            y = self.chains[n].solve(stored[n] - self.lever[n] * first[:, None, kin.homes])
            first[:, kin.homes] -= (self.lever[n] * y).sum(axis=1) * self.inverse_weight[:, kin.homes]
            out.append(y)
        return first, out

    def direction(self, move: FloatArray) -> Step:
        """Follow a change of price (G,T); how far the whole direction can go."""
        lay, box = self.layout, self.box
        price = self._per_home(move)
        self.dy, self.dstored = self._solve(self.right - self.flow * price, self.right_stored)
        return box.move(lay.columns(self.dy, self.dstored, price))

    def correct(self, target: float) -> FloatArray:
        """Aim at complementarity `target` with second-order terms; net power (G,T) moved at no change of price."""
        self.box.correct(target)
        return self._response()

    def advance(self, primal: float, dual: float, kept: float) -> None:
        """Go so far; `kept`: see `Box.advance`."""
        self.box.advance(primal, dual, kept)
        self.balance += dual * self.dy
        for y, dy in zip(self.stored, self.dstored, strict=True):
            y += dual * dy

    def powers(self) -> dict[str, FloatArray]:
        """Device powers (N,T) kW of the iterate, and its `multipliers` (N,4,T).

        What only the last step needed is given up: the repair has use for the memory.
        """
        self.box.ease()
        self.chains, self.lever, self.right_stored, self.dstored = [], [], [], []
        self.flow = self.inverse_weight = self.right = self.dy = np.empty((0, 0))
        multipliers = self.layout.multipliers(self.balance, self.stored)
        return self.layout.powers(self.box.x) | {"multipliers": multipliers}
