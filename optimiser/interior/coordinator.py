"""The coordinator: prices at congestion points, from sums over homes alone.

Mehrotra's predictor and corrector over all homes at once. A round asks every shard the same question and adds up the
answers; the homes' own numbers never leave their shard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from optimiser.interior.box import Box
from optimiser.interior.fleet import Homes
from optimiser.interior.shard import State
from optimiser.portfolio import FloatArray, IntArray, Limits

__all__ = ["Iterate", "Margins", "iterate"]

_FOLLOW = 0.995
_MOST = 100
_STUCK = 1e-6
_BARELY = 1e-6
_FREE, _KEPT = 1e-5, 0.1
_ROUGH = 1e-3
"""This share of the variables may stop short of a step, where so much is left of them, while cost and bound are
further apart than that, relatively.

A step common to all is else as short as one variable of a million wants it, the shorter the more homes there are."""


class Margins:
    """The limits' own variables, (G,T) kW each: Y within the limits, what is over and what is under them.

    sum of net - Y - over + under = 0, with `penalty` EUR per kW and ISP on the last two. `net`: where homes start.
    """

    def __init__(
        self,
        low: FloatArray,
        high: FloatArray,
        span: FloatArray,
        penalty: FloatArray,
        limits: Limits,
        net: FloatArray,
        dual: float,
    ) -> None:
        self.shape, self.limits, self.penalty = low.shape, limits, penalty
        self.limited = limited = limits.limited
        zero = np.zeros_like(low)
        self.low, high, span = (np.where(limited, bound, 0.0) for bound in (low, high, span))
        room = 0.1 * (high - self.low)
        inside = np.clip(net, self.low + room, high - room)
        tight = 1e-2 * (1.0 + np.abs(net))
        start = [inside - self.low, np.maximum(net - inside, 0.0) + tight, np.maximum(inside - net, 0.0) + tight]
        self.cost = _flat(zero, penalty, penalty)
        # `span` only closes the box: its multiplier must not weigh in.
        self.box = Box(
            width=_flat(high - self.low, span, span),
            start=_flat(*start),
            dual_lower=_flat(zero + dual, penalty, penalty),
            dual_upper=_flat(zero + dual, zero + _BARELY, zero + _BARELY),
        )
        self._sign = np.repeat([-1.0, -1.0, 1.0], low.size)

    def resume(self, price: FloatArray, net: FloatArray, room: float, scale: float) -> None:
        """Start at a known `price` and near the homes' net power then; what lies outside is made up for on the way."""
        zero = np.zeros_like(net)
        inside = np.where(self.limited, net - self.low, 0.0)
        self.box.resume(_flat(inside, zero, zero), self.reduced(price), room, scale)
        spans = slice(net.size, None)
        self.box.zu[spans] = np.where(self.box.free[spans], _BARELY, 1.0)

    def reduced(self, price: FloatArray) -> FloatArray:
        """c - C'lam of the margins."""
        return self.cost - self.spread(price)

    def bound(self, price: FloatArray) -> float:
        """The margins' part of the lower bound (EUR) at prices within the penalty."""
        return self.box.bound(self.reduced(price)) + float(np.vdot(price, self.low))

    def short(self, net: FloatArray) -> FloatArray:
        """What the coupling rows (G,T) lack, at homes whose net power adds up to `net` (L,T)."""
        return self.low - self.limits.at_points(net) - self.gather(self.box.x)

    def spread(self, price: FloatArray) -> FloatArray:
        """C'lam for the margins."""
        return self._sign * np.tile(price.ravel(), 3)

    def gather(self, flat: FloatArray) -> FloatArray:
        """C x of the margins (G,T)."""
        return np.asarray((self._sign * flat).reshape(3, *self.shape).sum(axis=0))

    def weights(self) -> FloatArray:
        return np.asarray(self.box.theta.reshape(3, *self.shape).sum(axis=0))

    def excess(self, price: FloatArray) -> FloatArray:
        """over + under (G,T) kW, where the price is on its way to the penalty: elsewhere they are on theirs to 0."""
        return np.asarray((np.abs(price) > self.penalty / 2) * self.box.x.reshape(3, *self.shape)[1:].sum(axis=0))


def _flat(*parts: FloatArray) -> FloatArray:
    return np.stack(parts).ravel()


@dataclass(frozen=True, eq=False)
class Iterate:
    """`bound` is the best so far, EUR, `apart` how far the iterate's cost is from it; `price` (G,T) is lam.

    What the limits' rows lack counts with the penalty: else an iterate far from feasible might look good.
    """

    number: int
    bound: float
    apart: float
    price: FloatArray


def iterate(
    shards: Sequence[Homes], margins: Margins, scale: float, price: FloatArray | None = None
) -> Iterator[Iterate]:
    """Yield the start (at `price`, by default 0) and the state after each step, until the caller stops, or nothing
    moves any more. Differences are relative to the larger of |bound| and `scale` (EUR)."""
    box = margins.box
    if price is None:
        price = np.zeros(margins.shape)
    at_groups = margins.limits.at_groups
    best = -np.inf
    for number in range(_MOST):
        certain = np.clip(price, -margins.penalty, margins.penalty)
        felt = at_groups(price)
        proven = felt if np.array_equal(certain, price) else at_groups(certain)
        state = reduce(add, [shard.state(felt, proven) for shard in shards])
        best = max(best, state.bound + margins.bound(certain))
        short = margins.short(state.net)
        spent = (
            state.cost + float(margins.cost @ box.x) + float(np.vdot(margins.limited * margins.penalty, np.abs(short)))
        )
        apart = abs(spent - best) / max(abs(best), scale)
        yield Iterate(number, best, apart, price)
        try:
            with np.errstate(all="ignore"):  # numbers that have lost their meaning are found out by what they add up to
                free = int(_FREE * state.count) if apart > _ROUGH else 0
                move, primal, dual = _step(shards, margins, state, price, short, free)
        except LinAlgError:
            return
        if max(primal, dual) < _STUCK:
            return
        kept = _KEPT if free else 1.0 - _FOLLOW
        for shard in shards:
            shard.advance(primal, dual, kept)
        box.advance(primal, dual, kept)
        price = price + dual * move


def _step(
    shards: Sequence[Homes], margins: Margins, state: State, price: FloatArray, short: FloatArray, free: int
) -> tuple[FloatArray, float, float]:
    """The next change of prices (G,T), and how far everybody is to follow it: primal and dual step length. `free` of
    the homes' variables need not.

    Raises:
        LinAlgError: the numbers have lost all meaning; nothing has moved.
    """
    box = margins.box
    at_points, at_groups = margins.limits.at_points, margins.limits.at_groups
    count = state.count + 2 * box.count
    mu = (state.product + box.complementarity()) / count
    if mu <= 0.0:
        raise LinAlgError("lost in rounding: there is nothing left to gain")
    offers = reduce(add, [shard.factor() for shard in shards])
    box.aim(margins.reduced(price))
    solve = _system(offers.slope, margins)
    move = solve(short - at_points(offers.moved) + margins.gather(box.pull()))
    step = reduce(add, [shard.direction(at_groups(move)) for shard in shards]) + box.move(margins.spread(move))
    affine = step.product.after(step.primal, step.dual) / count
    target = mu * min(1.0, max(affine / mu, 0.0)) ** 3
    moved = reduce(add, [shard.correct(target) for shard in shards])
    box.correct(target)
    move = solve(short - at_points(moved) + margins.gather(box.pull()))
    step, own = reduce(add, [shard.direction(at_groups(move)) for shard in shards]), box.move(margins.spread(move))
    if not np.isfinite([step.primal, step.dual, step.product.after(1.0, 1.0), own.product.after(1.0, 1.0)]).all():
        raise LinAlgError("not finite")
    primal, dual = step.beyond(free)
    return move, _FOLLOW * min(primal, own.primal), _FOLLOW * min(dual, own.dual)


def _system(slope: FloatArray, margins: Margins) -> Callable[[FloatArray], FloatArray]:
    """Solver (G,T) -> (G,T) of the coordinator's systems, one for each set of points that share homes; 0 where there
    is no limit. `slope` is (L,T,T).

    Raises:
        LinAlgError: the numbers have lost all meaning.
    """
    contains, isps = margins.limits.membership, margins.shape[1]
    weights = margins.weights()
    factors = []
    for points in _sharing(contains):
        blocks = np.zeros((len(points), isps, len(points), isps))
        for i, first in enumerate(points):
            for j, second in enumerate(points):
                blocks[i, :, j] = slope[contains[first] & contains[second]].sum(axis=0)
        matrix = blocks.reshape(len(points) * isps, -1)
        matrix = (matrix + matrix.T) / 2 + np.diag(weights[points].ravel())
        limited = margins.limited[points].ravel()
        matrix = np.where(limited[:, None] & limited[None], matrix, np.diag(1.0 - limited))
        matrix[np.diag_indices_from(matrix)] *= 1.0 + 1e-12
        if not np.isfinite(matrix).all():
            raise LinAlgError("not finite")
        factors.append((points, cho_factor(matrix)))

    def solve(right: FloatArray) -> FloatArray:
        rows = np.where(margins.limited, right, 0.0)
        if not np.isfinite(rows).all():
            raise LinAlgError("not finite")
        out = np.empty_like(rows)
        for points, factor in factors:
            out[points] = cho_solve(factor, rows[points].ravel()).reshape(len(points), isps)
        return out

    return solve


def _sharing(contains: NDArray[np.bool_]) -> list[IntArray]:
    """The points, in sets that have no home in common."""
    _, label = connected_components(csr_array(contains.astype(int) @ contains.T.astype(int)), directed=False)
    return [np.flatnonzero(label == k) for k in range(int(label.max()) + 1)]
