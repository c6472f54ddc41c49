"""Keeping earlier plans: what did not change stays, what did is planned anew by itself, and the whole is certified.

The earlier plan's prices say what the other homes' flexibility is worth, so a home that changed is solved alone against
them: with the earlier multipliers of all others that proves a bound for the day as it is now. What the change takes
from the limits is made up for by the changed homes and the most flexible of their neighbours, in a small programme.

Between two plans for different limits, each home may do a share of the one and of the other, as both are feasible for
it and its sets are convex: a programme with one share per home finds the cheapest mixture for limits in between.
Where cost and bound lie too far apart, all is solved again, from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from optimiser import central
from optimiser.bounding import certain_bound
from optimiser.central import POWERS, Raw
from optimiser.plans import Plan, home_costs
from optimiser.portfolio import FloatArray, IntArray, Limits, Portfolio, Tariffs

__all__ = ["Kept", "alone", "patches"]

_SIGNS = (1.0, -1.0, 1.0, 1.0, -1.0)  # of POWERS in a home's net power
_HELPERS = (8, 24)
_FEW, _SHARE = 3, 0.05
"""As many homes, or this share of all, may have changed for a patch to be worth trying."""


@dataclass(frozen=True, eq=False)
class Kept:
    """Answers for the horizon at hand that may do once more: one, or two whose limits today's lie between.

    `changed` (N,) are the homes that one does not fit; None where the limits changed, so that it is but a start.
    `slack`: as many times the gap asked for is good enough for what costs so little to find.
    """

    answers: tuple[Raw, ...]
    changed: NDArray[np.bool_] | None
    slack: float

    @classmethod
    def of(
        cls, plans: tuple[Plan, ...], now: int, changed: NDArray[np.bool_] | None, slack: float = 1.0
    ) -> Kept | None:
        """Plans from ISP `now` on; None where one holds no proof, or its appliances' starts are part of it."""
        if any(len(plan.multipliers) != len(plan.net_kw) or len(plan.app_start) + len(plan.mode) for plan in plans):
            return None
        return cls(tuple(_answer(plan, slice(now, None)) for plan in plans), changed, slack)

    @property
    def promising(self) -> bool:
        return self.changed is not None and int(self.changed.sum()) <= max(_FEW, _SHARE * self.changed.size)


def _answer(plan: Plan, later: slice) -> Raw:
    return Raw(
        charge_kw=plan.bat_charge_kw[:, later],
        discharge_kw=plan.bat_discharge_kw[:, later],
        ev_kw=plan.ev_kw[:, later],
        hp_kw=plan.hp_kw[:, later],
        pv_kw=plan.pv_kw[:, later],
        excess_kw=plan.violation_kw[:, later],
        price_eur_per_kwh=plan.price_eur_per_kwh[:, later],
        bound_eur=-np.inf,
        iterations=0,
        multipliers=plan.multipliers[:, :, later],
    )


def patches(p: Portfolio, limits: Limits, tariffs: Tariffs, kept: Kept, nudge_eur_per_kwh: float) -> Iterator[Raw]:
    """The earlier answer, or the best mixture of two, with the changed homes planned anew; with few helpers first, then
    with more. None where a changed home cannot be planned by itself."""
    answers = [_within(p, limits, answer) for answer in kept.answers]
    if len(answers) == 2:
        yield _mixed(p, limits, tariffs, answers[0], answers[1])
        return
    answer = answers[0]
    homes = np.zeros(0, np.int64) if kept.changed is None else np.flatnonzero(kept.changed)
    multipliers = answer.multipliers
    if homes.size:
        _, proof = alone(p, limits, tariffs, homes, answer.price_eur_per_kwh)
        if proof is None:
            return
        multipliers = multipliers.copy()
        multipliers[homes] = proof.multipliers
    proven = certain_bound(p, limits, tariffs, answer.price_eur_per_kwh, multipliers)
    answer = replace(answer, multipliers=multipliers, bound_eur=proven)
    if not homes.size:
        yield answer
        return
    for helpers in _HELPERS:
        joint = _together(p, limits, tariffs, homes, answer, helpers, nudge_eur_per_kwh)
        if joint is not None:
            yield joint


def _within(p: Portfolio, limits: Limits, answer: Raw) -> Raw:
    """The answer without what devices did that cannot be steered any more, and prices within the penalty."""
    ratings = (p.bat_charge_max_kw, p.bat_discharge_max_kw, p.ev_max_kw, p.hp_max_kw, p.pv_kw)
    powers = {name: np.minimum(getattr(answer, name), top) for name, top in zip(POWERS, ratings, strict=True)}
    price = np.clip(answer.price_eur_per_kwh, -limits.penalty, limits.penalty)
    return replace(answer, price_eur_per_kwh=price, **powers)


def _net(p: Portfolio, answer: Raw) -> FloatArray:
    net = p.load_kw.copy()
    for sign, name in zip(_SIGNS, POWERS, strict=True):
        net += sign * getattr(answer, name)
    return net


def _mixed(p: Portfolio, limits: Limits, tariffs: Tariffs, first: Raw, second: Raw) -> Raw:
    """Each home does a share of the second answer and the rest of the first: the cheapest way to keep the limits."""
    nets = [_net(p, answer) for answer in (first, second)]
    costs = [
        home_costs(p, tariffs, net, answer.discharge_kw).sum(axis=1)
        for net, answer in zip(nets, (first, second), strict=True)
    ]
    sums = [limits.net_kw(p, net) for net in nets]
    moved, inside = nets[1] - nets[0], limits.membership[:, p.group]
    rows, room, excess_at = [], [], []
    for sign, bound in ((1.0, limits.hi_kw), (-1.0, limits.lo_kw)):
        # Neither answer need be beyond a limit for a mixture to be: some homes may go along, and others not.
        most = sign * sums[0] + limits.net_kw(p, np.maximum(sign * moved, 0.0))
        for g, t in np.argwhere(np.isfinite(bound) & (most > sign * bound)):
            rows.append(sign * moved[:, t] * inside[g])
            room.append(sign * (bound[g, t] - sums[0][g, t]))
            excess_at.append((g, t))
    excess = np.zeros(limits.lo_kw.shape)
    share: FloatArray = np.zeros(p.homes)
    if rows:
        where = tuple(np.array(excess_at).T)
        matrix: Any = sparse.hstack([sparse.csc_array(np.array(rows)), -sparse.eye_array(len(rows))])
        penalty = (p.dt_h * limits.penalty)[where]
        bounds: Any = np.column_stack([np.zeros(p.homes + len(rows)), [1.0] * p.homes + [np.inf] * len(rows)])
        cost = np.concatenate([costs[1] - costs[0], penalty])
        result = linprog(cost, A_ub=matrix, b_ub=np.array(room), bounds=bounds, method="highs-ds")
        if result.x is None:
            raise ArithmeticError(f"shares of two plans with excess at a price always exist: {result.message}")
        share = np.clip(result.x[: p.homes], 0.0, 1.0)
        np.maximum.at(excess, where, result.x[p.homes :])
    powers = {n: getattr(first, n) + share[:, None] * (getattr(second, n) - getattr(first, n)) for n in POWERS}
    same = np.array_equal(first.price_eur_per_kwh, second.price_eur_per_kwh)  # a mixture has those of one of its parts
    proofs = [
        certain_bound(p, limits, tariffs, answer.price_eur_per_kwh, answer.multipliers)
        for answer in (first, second)[same:]
    ]
    prover = second if proofs[-1] >= proofs[0] else first
    return replace(prover, **powers, excess_kw=excess, bound_eur=max(proofs))


def alone(
    p: Portfolio, limits: Limits, tariffs: Tariffs, homes: IntArray, price: FloatArray
) -> tuple[Portfolio, Raw | None]:
    """Some homes, and how they answer the prices (G,T) by themselves; None where they cannot keep their own needs."""
    part = replace(p.take(homes), group=np.zeros(homes.size, np.int64))
    felt = limits.at_groups(price)[p.group[homes]]
    own = tariffs.take(homes)
    priced = Tariffs(own.buy_eur_per_kwh + felt, own.sell_eur_per_kwh + felt)
    return part, central.solve(central.build(part, Limits.none(1, p.isps), priced), part)


def _helpers(p: Portfolio, changed: IntArray, count: int) -> IntArray:
    """The most flexible homes behind the points of those that changed."""
    near = np.isin(p.group, p.group[changed])
    power = (p.bat_charge_max_kw + p.bat_discharge_max_kw).mean(axis=1) * p.has_battery
    power = power + p.ev_max_kw.mean(axis=1) + p.hp_max_kw.mean(axis=1)
    return np.argsort(-power * near, kind="stable")[:count]


def _together(
    p: Portfolio, limits: Limits, tariffs: Tariffs, changed: IntArray, answer: Raw, helpers: int, nudge: float
) -> Raw | None:
    """The answer in which the changed homes and their helpers share what the others leave of the limits."""
    homes = np.union1d(changed, _helpers(p, changed, helpers))
    net = _net(p, answer)
    net[homes] = 0.0
    groups, own = np.unique(p.group[homes], return_inverse=True)
    part = replace(p.take(homes), group=own)
    others = limits.net_kw(p, net)
    left = Limits(limits.lo_kw - others, limits.hi_kw - others, limits.penalty, limits.membership[:, groups])
    raw = central.solve(central.build(part, left, tariffs.take(homes), time_preference_eur_per_kwh=nudge), part)
    if raw is None:
        return None
    out = {name: getattr(answer, name).copy() for name in POWERS}
    for name, values in out.items():
        values[homes] = getattr(raw, name)
    return replace(answer, **out, excess_kw=raw.excess_kw)
