"""When appliances start: the integer part, kept as small as the gap allows.

The relaxation splits a start over several ISPs only where limits bind, so most starts come out whole. Those stay; the
split ones go to HiGHS's branch and bound; and where that leaves too wide a gap and the instance is small, all do.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from optimiser import central
from optimiser.plans import gap_of
from optimiser.portfolio import Appliances, FloatArray, IntArray, Limits, Portfolio, Tariffs

__all__ = ["choose_starts", "with_starts"]

_WHOLE = 1.0 - 1e-6
_SMALL = (40, 60)  # homes, appliances up to which the whole integer programme is worth trying
_DEFAULT_BUDGET_S = 20.0


def with_starts(p: Portfolio, starts: IntArray) -> Portfolio:
    """The portfolio whose load includes its appliances, begun at `starts` (M,)."""
    return replace(p, load_kw=p.load_kw + p.appliances.run_kw(starts, p.homes, p.isps), appliances=Appliances())


def choose_starts(
    p: Portfolio, limits: Limits, tariffs: Tariffs, *, gap: float, budget_s: float | None
) -> tuple[IntArray, float]:
    """Start of each appliance (M,) and the best proven lower bound in EUR.

    Where the homes cannot be supplied at all, each appliance starts at its first chance and the bound is -inf.
    """
    deadline = time.monotonic() + (_DEFAULT_BUDGET_S if budget_s is None else budget_s)
    model = central.build(p, limits, tariffs)
    relaxed = central.solve(model, p, budget_s=budget_s)
    if relaxed is None:
        return p.appliances.first.copy(), -np.inf
    best = relaxed.bound_eur
    if relaxed.timed_out:
        return p.appliances.first.copy(), best
    starts = _rounded(model, relaxed.shares)
    split = np.array([relaxed.shares[model.starts[:, 0] == k].max() < _WHOLE for k in range(len(p.appliances))])
    if not split.any():
        return starts, best
    starts, cost, _ = _branch(model, starts, split, gap / 4, deadline)
    small = p.homes <= _SMALL[0] and len(p.appliances) <= _SMALL[1]
    if small and gap_of(cost, best, p, tariffs) > gap and time.monotonic() < deadline:
        every = np.ones(len(p.appliances), bool)
        other, other_cost, proven = _branch(model, starts, every, gap / 4, deadline)
        best = max(best, proven)
        if other_cost < cost:
            starts = other
    return starts, best


def _branch(
    model: central.Model, starts: IntArray, free: np.ndarray, gap: float, deadline: float
) -> tuple[IntArray, float, float]:
    """Branch and bound over the `free` appliances, the others held at `starts`: starts, cost, proven bound."""
    share, appliance = model.columns["share"], model.starts[:, 0]
    lower, upper, whole = model.lower.copy(), model.upper.copy(), np.zeros(model.cost.size, np.int64)
    held = ~free[appliance]
    lower[share[held]] = upper[share[held]] = (model.starts[:, 1] == starts[appliance])[held]
    whole[share[~held]] = 1
    result = milp(
        model.cost,
        integrality=whole,
        bounds=Bounds(lower, upper),
        constraints=LinearConstraint(model.matrix, model.rhs, model.rhs),
        options={"mip_rel_gap": gap, "time_limit": max(deadline - time.monotonic(), 1e-3)},
    )
    if result.x is None:
        return starts, np.inf, -np.inf
    proven = result.mip_dual_bound if result.mip_dual_bound is not None else -np.inf
    return _rounded(model, result.x[share]), float(result.fun), float(proven)


def _rounded(model: central.Model, shares: FloatArray) -> IntArray:
    """The start with the largest share of each appliance, the earliest of equals."""
    appliance, begin = model.starts[:, 0], model.starts[:, 1]
    starts = np.full(int(appliance.max()) + 1, -1, np.int64)
    for k in range(len(starts)):
        mine = np.flatnonzero(appliance == k)
        starts[k] = begin[mine[np.argmax(np.round(shares[mine], 9))]]
    return starts
