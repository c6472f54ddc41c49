"""The coordinator: prices at congestion points, from sums over homes alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from optimiser.interior.box import Box
from optimiser.interior.shard import Shard
from optimiser.portfolio import FloatArray, Limits, Portfolio

__all__ = ["Iterate", "Margins", "iterate"]

_FOLLOW = 0.995
_MOST = 100
_BARELY = 1e-6


class Margins:
    """The limits' own variables: Y within the limits, and what is over or under them at the penalty; all (G,T)."""

    def __init__(self, low: FloatArray, high: FloatArray, span: FloatArray, penalty: FloatArray, limited: Any, net: FloatArray, dual: float) -> None:
        self.shape, self.limited = low.shape, limited
        zero = np.zeros_like(low)
        off = ~limited
        lower = np.stack([np.where(off, 0.0, low), zero, zero])
        upper = np.stack([np.where(off, 0.0, high), np.where(off, 0.0, span), np.where(off, 0.0, span)])
        cost = np.stack([zero, penalty, penalty])
        inside = np.clip(net, lower[0] + 0.1 * (upper[0] - lower[0]), upper[0] - 0.1 * (upper[0] - lower[0]))
        tight = 1e-2 * (1.0 + np.abs(net))
        over, under = np.maximum(net - inside, 0.0) + tight, np.maximum(inside - net, 0.0) + tight
        start = np.stack([inside, over, under])
        duals = np.stack([np.full_like(net, dual), penalty, penalty])
        self.penalty = penalty
        barely = np.stack([np.full_like(net, dual), zero + _BARELY, zero + _BARELY])
        self.box = Box(lower.ravel(), upper.ravel(), cost.ravel(), start.ravel(), duals.ravel(), barely.ravel())
        self.sign = np.repeat([-1.0, -1.0, 1.0], low.size)

    def spread(self, price: FloatArray) -> FloatArray:
        return self.sign * np.tile(price.ravel(), 3)

    def gather(self, flat: FloatArray) -> FloatArray:
        return (self.sign * flat).reshape(3, *self.shape).sum(axis=0)

    def excess(self) -> FloatArray:
        """over + under (G,T) kW."""
        return self.box.x.reshape(3, *self.shape)[1:].sum(axis=0)


@dataclass(frozen=True, eq=False)
class Iterate:
    """`price` (G,T) is lam; `bound` the best so far, `cost` that of the iterate, in EUR."""

    number: int
    cost: float
    bound: float
    price: FloatArray


def iterate(shards: Sequence[Shard], margins: Margins, deadline: float | None) -> Any:
    """Yield an `Iterate` after each step until the caller stops or nothing moves any more."""
    box = margins.box
    groups, isps = margins.shape
    price = np.zeros(margins.shape)
    best = -np.inf
    for number in range(_MOST):
        certain = np.clip(price, -margins.penalty, margins.penalty)
        states = [s.state(price, certain) for s in shards]
        state = reduce(add, states)
        reduced = box.cost - margins.spread(price)
        bound = state.bound + box.bound(box.cost - margins.spread(certain))
        best = max(best, bound)
        yield Iterate(number, state.cost + box.objective(), best, price)
        if deadline is not None and time.monotonic() > deadline:
            return
        count = state.count + 2 * box.count
        mu = (state.product + box.complementarity()) / count
        short = np.where(margins.limited, -(state.net + margins.gather(box.x)), 0.0)
        offers = reduce(add, [s.factor() for s in shards])
        box.aim(reduced)
        solve = _system(offers.slope, margins)
        move = solve(short - offers.moved + margins.gather(box.theta * box.h))
        step = reduce(add, [s.direction(move) for s in shards])
        step = step + box.move(margins.spread(move))
        primal, dual = min(1.0, step.primal), min(1.0, step.dual)
        affine = step.product.after(primal, dual) / count
        target = mu * min(1.0, max(affine / mu, 0.0)) ** 3
        moved = reduce(add, [s.correct(target) for s in shards])
        box.correct(target, reduced)
        move = solve(short - moved + margins.gather(box.theta * box.h))
        step = reduce(add, [s.direction(move) for s in shards])
        step = step + box.move(margins.spread(move))
        primal, dual = min(1.0, _FOLLOW * step.primal), min(1.0, _FOLLOW * step.dual)
        for s in shards:
            s.advance(primal, dual)
        box.advance(primal, dual)
        price = price + dual * move
        if max(primal, dual) < 1e-6 or not np.isfinite(price).all():
            return


def _system(slope: FloatArray, margins: Margins) -> Any:
    """Solver (G,T) -> (G,T) of the coordinator's systems, one per congestion point."""
    theta = margins.box.theta.reshape(3, *margins.shape).sum(axis=0)
    factors = []
    for g, limited in enumerate(margins.limited):
        matrix = slope[g] + np.diag(theta[g])
        matrix[~limited] = 0.0
        matrix[:, ~limited] = 0.0
        matrix[~limited, ~limited] = 1.0
        matrix = (matrix + matrix.T) / 2
        lift = 1e-12 * float(np.diag(matrix).max())
        factors.append(cho_factor(matrix + lift * np.eye(len(matrix))))

    def solve(right: FloatArray) -> FloatArray:
        right = np.where(margins.limited, right, 0.0)
        return np.stack([cho_solve(f, row) for f, row in zip(factors, right, strict=True)])

    return solve
