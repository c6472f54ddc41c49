"""Column generation: homes that answer prices and keep everything else to themselves.

The coordinator sends a price mu (T,) EUR/kWh on import per congestion point; a member answers with the net power of its
best schedule at that price and what this costs without mu. A restricted master programme mixes the answers ("columns"):

    min  sum cost w + D pen (over + under)    sum of w = 1 per member,   lo - under <= sum net w <= hi + over

The next price comes from the same programme with prices held within `reach` of the best so far (boxstep), half-way from
there: free prices jump between the penalties, and hundreds of rounds say little. The members' least costs at any price
certify a bound: sum least - D sum(max(mu,0) hi + min(mu,0) lo).

A member need not be one home. Who falls silent is left out: the plan then counts on its baseline, the answer to the
first round (mu = 0), which is what it does when nobody asks anything of it. Bounds found before stay valid, because
less choice never makes the optimum cheaper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, linprog

from optimiser.portfolio import FloatArray, Limits
from optimiser.quiet import milp

__all__ = ["Agreement", "Award", "Column", "Member", "Negotiation", "negotiate"]

_REACH = 0.1
"""EUR/kWh: how far prices may first move, about a third of what a household pays for a kWh."""
_WIDER, _NARROWER = 1.5, 0.9
_EXPECTED = 0.3
_IDLE = 12
"""A column that this many masters in a row had no use for is dropped (the first stays)."""
_SMALL = 1e-9
_INTEGER_S = 20.0


@dataclass(frozen=True, eq=False)
class Column:
    """An answer to a price: net power (T,) kW, its cost (EUR, without mu), and `least_eur`, below which no schedule of
    the member has cost + D mu.net."""

    net_kw: FloatArray
    cost_eur: float
    least_eur: float

    def finite(self) -> bool:
        return bool(np.isfinite(self.net_kw).all() and np.isfinite([self.cost_eur, self.least_eur]).all())


@dataclass(frozen=True)
class Member:
    """`whole`: it can carry out one of its columns, not a mixture of several."""

    id: str
    group: int = 0
    whole: bool = False


@dataclass(frozen=True, eq=False)
class Award:
    """What a member is asked to do: its columns by round and their shares (sum 1), the sum of which is `net_kw`.

    It costs at most `cost_eur`: homes' costs are convex, so a mixture costs no more than its parts.
    """

    shares: Mapping[int, float]
    net_kw: FloatArray
    cost_eur: float


@dataclass(frozen=True, eq=False)
class Agreement:
    """`left_out` members fell silent and are counted with their baseline; `absent` ones never answered and are not
    counted at all. `cost_eur` includes the penalty for `violation_kw` (G,T)."""

    awards: Mapping[str, Award]
    price_eur_per_kwh: FloatArray  # (G,T)
    point_kw: FloatArray  # (G,T)
    violation_kw: FloatArray
    cost_eur: float
    bound_eur: float
    gap: float
    rounds: int
    left_out: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(eq=False)
class _Held:
    """A column in the master: of which member (index) and round, and for how many masters it was of no use."""

    member: int
    round: int
    column: Column
    idle: int = 0


@dataclass(eq=False)
class _Point:
    """A solution of the master. `price` (G,T) EUR/kWh."""

    held: Sequence[_Held]
    shares: FloatArray
    value: float
    price: FloatArray


class Negotiation:
    """The coordinator's side: ask the prices `felt`, `take` the answers, until `gap` pleases; then `agreement`.

    `limits` (G,T) bound the members' sum. Nothing here waits or sends: whoever drives it brings the answers.
    """

    def __init__(self, members: Sequence[Member], limits: Limits, dt_h: float) -> None:
        self.members, self.limits, self.dt_h = members, limits, dt_h
        self.round = 0
        self.price: FloatArray = np.zeros(limits.lo_kw.shape)
        self.bound_eur = -np.inf
        self._held: list[_Held] = []
        self._first: dict[int, Column] = {}
        self._out: dict[int, None] = {}
        self._absent: list[int] = []
        self._point: _Point | None = None
        self._centre, self._reach, self._hoped = self.price, _REACH, np.inf

    @property
    def asked(self) -> list[Member]:
        """Who takes part in this round."""
        out = {*self._out, *self._absent}
        return [member for n, member in enumerate(self.members) if n not in out]

    def felt(self, member: Member) -> FloatArray:
        """The price (T,) to ask a member now: those of all congestion points around it together."""
        return np.asarray(self.limits.at_groups(self.price)[member.group])

    @property
    def cost_eur(self) -> float:
        """Of the best mixture so far; infinite before the first round."""
        return np.inf if self._point is None else self._point.value

    @property
    def gap(self) -> float:
        """(cost - bound) over the bound, or over 5 % of the baselines' costs where the optimum is near zero."""
        if not np.isfinite(self.bound_eur):
            return float("inf")
        scale = 0.05 * sum(abs(column.cost_eur) for column in self._first.values())
        return max(self.cost_eur - self.bound_eur, 0.0) / max(abs(self.bound_eur), scale, _SMALL)

    def take(self, answers: Mapping[str, Column]) -> None:
        """The answers to `price` by member; who is missing, or answers with what is no number, is left out."""
        least = 0.0
        for n, member in enumerate(self.members):
            if n in self._out or n in self._absent:
                continue
            answer = answers.get(member.id)
            if answer is None or not answer.finite() or len(answer.net_kw) != self.price.shape[1]:
                (self._absent.append(n) if self.round == 0 else self._out.update({n: None}))
                continue
            if self.round == 0:
                self._first[n] = answer
            self._held.append(_Held(n, self.round, answer))
            least += answer.least_eur
        self._held = [h for h in self._held if h.member not in self._out or h.round == 0]
        least += sum(self._at(self._first[n], n) for n in self._out)
        certain = np.clip(self.price, -self.limits.penalty, self.limits.penalty)
        assert np.allclose(certain, self.price), "prices beyond the penalty certify nothing"
        bound = least - self.dt_h * float(_times(np.maximum(certain, 0), self.limits.hi_kw).sum())
        bound -= self.dt_h * float(_times(np.minimum(certain, 0), self.limits.lo_kw).sum())
        gained = bound - self.bound_eur
        if gained > _EXPECTED * (self._hoped - self.bound_eur):
            self._reach *= _WIDER
        elif gained <= 0:
            self._reach *= _NARROWER
        if gained > 0:
            self.bound_eur, self._centre = bound, self.price
        pen = self.limits.penalty
        self._point = self._master(-pen, pen)
        near = self._master(np.maximum(self._centre - self._reach, -pen), np.minimum(self._centre + self._reach, pen))
        for held, *shares in zip(self._held, self._point.shares, near.shares, strict=True):
            held.idle = 0 if max(shares) > _SMALL else held.idle + 1
        self._held = [h for h in self._held if h.idle < _IDLE or h.round == 0]
        self.round += 1
        self._hoped, self.price = near.value, (self._centre + near.price) / 2

    def agreement(self) -> Agreement:
        """Awards that every member can carry out, from the columns there are."""
        if self._point is None:
            raise ValueError("nobody has been asked yet")
        whole = np.array([member.whole for member in self.members])
        point = self._chosen(whole) if whole.any() else self._point
        mixed: dict[str, Award] = {}
        for n, member in enumerate(self.members):
            own = [(h, s) for h, s in zip(point.held, point.shares, strict=True) if h.member == n and s > _SMALL]
            total = sum(s for _, s in own)
            if not own:
                continue
            mixed[member.id] = Award(
                {h.round: float(s / total) for h, s in own},
                np.asarray(sum(s / total * h.column.net_kw for h, s in own)),
                float(sum(s / total * h.column.cost_eur for h, s in own)),
            )
        group_kw = np.zeros((self.limits.membership.shape[1], self.price.shape[1]))
        for member in self.members:
            if member.id in mixed:
                group_kw[member.group] += mixed[member.id].net_kw
        point_kw = self.limits.at_points(group_kw)
        violation = self.limits.excess_kw(point_kw)
        violation[violation < _SMALL] = 0.0
        cost = sum(award.cost_eur for award in mixed.values())
        cost += self.dt_h * float((self.limits.penalty * violation).sum())
        self._point = replace(point, value=cost)
        out = tuple(self.members[n].id for n in self._out)
        return Agreement(
            {id: award for id, award in mixed.items() if id not in out},
            point.price,
            point_kw,
            violation,
            cost,
            self.bound_eur,
            self.gap,
            self.round,
            out,
            tuple(self.members[n].id for n in self._absent),
        )

    def _at(self, column: Column, member: int) -> float:
        """Cost of a column with mu."""
        return column.cost_eur + self.dt_h * float(self.felt(self.members[member]) @ column.net_kw)

    def _master(self, low: FloatArray, high: FloatArray) -> _Point:
        """The master for prices within `low`..`high` (G,T): what is over a limit costs `high`, what is under it -`low`.

        Within the penalties that is the programme above; within less it bounds how far the best bound can rise.
        """
        if not self._held:
            return _Point([], np.zeros(0), 0.0, np.zeros_like(self.price))
        rows = self._rows()
        width = len(self._held)
        some: Any = {"A_ub": rows.limit, "b_ub": rows.right} if rows.right.size else {}  # scipy's stubs: no sparse
        equal: Any = rows.convex
        found: Any = linprog(rows.cost(high, low), A_eq=equal, b_eq=np.ones(equal.shape[0]), method="highs", **some)
        if found.status != 0:
            raise ArithmeticError(f"HiGHS gave up on the master of {width} columns: {found.message}")
        price = rows.price(np.asarray(found.ineqlin.marginals).ravel(), self.price.shape) / self.dt_h
        return _Point(tuple(self._held), found.x[:width], float(found.fun), np.clip(price, low, high))

    def _chosen(self, whole: NDArray[np.bool_]) -> _Point:
        """The master where members marked `whole` (members,) get one column each."""
        rows = self._rows()
        width = len(self._held)
        cost = rows.cost(self.limits.penalty, -self.limits.penalty)
        integrality = np.zeros(cost.size, int)
        integrality[:width] = whole[[h.member for h in self._held]]
        found = milp(
            cost,
            constraints=[LinearConstraint(rows.convex, 1.0, 1.0), LinearConstraint(rows.limit, -np.inf, rows.right)],
            integrality=integrality,
            bounds=Bounds(0.0, np.inf),
            options={"time_limit": _INTEGER_S},
        )
        if found.x is None:
            raise ArithmeticError(f"HiGHS found no choice among {width} columns: {found.message}")
        assert self._point is not None
        return _Point(tuple(self._held), np.asarray(found.x[:width]), float(found.fun or 0.0), self._point.price)

    def _rows(self) -> _Rows:
        held, limits = self._held, self.limits
        limited = limits.limited
        member = np.array([h.member for h in held])
        group = np.array([self.members[n].group for n in member])
        at = np.argwhere(limited)
        net = np.where(limits.membership[at[:, :1], group], np.array([h.column.net_kw for h in held]).T[at[:, 1]], 0.0)
        upper, lower = np.isfinite(limits.hi_kw[limited]), np.isfinite(limits.lo_kw[limited])
        one = sparse.identity(len(at), format="csr")
        both = sparse.hstack([sparse.csr_matrix(net), -one, one], format="csr")
        limit = sparse.vstack([both[upper], -both[lower]], format="csc")
        right = np.concatenate([limits.hi_kw[limited][upper], -limits.lo_kw[limited][lower]])
        present, place = np.unique(member, return_inverse=True)
        shape = (present.size, len(held) + 2 * len(at))
        convex = sparse.csc_matrix((np.ones(len(held)), (place, np.arange(len(held)))), shape=shape)
        own = np.array([h.column.cost_eur for h in held])
        return _Rows(limit, right, convex, own, limited, upper, lower, self.dt_h)


@dataclass(eq=False)
class _Rows:
    """The master's matrices. Columns: held columns, then what is over and what is under at each limited (g,t)."""

    limit: sparse.csc_matrix
    right: FloatArray
    convex: sparse.csc_matrix
    own: FloatArray
    limited: NDArray[np.bool_]
    upper: NDArray[np.bool_]
    lower: NDArray[np.bool_]
    dt_h: float

    def cost(self, high: FloatArray, low: FloatArray) -> FloatArray:
        return np.concatenate([self.own, self.dt_h * high[self.limited], -self.dt_h * low[self.limited]])

    def price(self, marginals: FloatArray, shape: tuple[int, ...]) -> FloatArray:
        """Multipliers of the rows as prices (G,T) per kW and ISP: positive at an upper limit, negative at a lower."""
        at, count = np.zeros(self.upper.size), int(self.upper.sum())
        at[self.upper] -= marginals[:count]
        at[self.lower] += marginals[count:]
        price = np.zeros(shape)
        price[self.limited] = at
        return price


def _times(price: FloatArray, limit: FloatArray) -> FloatArray:
    """price * limit, 0 where there is no price (and perhaps no limit)."""
    return np.where(price == 0, 0.0, price * np.where(np.isfinite(limit), limit, 0.0))


Answerer = Callable[[FloatArray], Column | None]
"""Answers a price (T,); None is silence."""


def negotiate(
    members: Mapping[Member, Answerer], limits: Limits, dt_h: float, *, gap: float = 1e-3, rounds: int = 60
) -> Agreement:
    """A whole negotiation with members that can be called; ends at `gap`, or after so many rounds."""
    talk = Negotiation(list(members), limits, dt_h)
    while talk.round < rounds and talk.gap > gap:
        answers = {member.id: members[member](talk.felt(member)) for member in talk.asked}
        talk.take({id: answer for id, answer in answers.items() if answer is not None})
    return talk.agreement()
