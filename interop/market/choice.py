"""The grid operator's choice: the cheapest combination of offers that brings the net within its limits (UFTP 2.6, 3.8).

At most one option of an offer, activated in part where the parties allow it, over any number of offers. A small
mixed-integer programme finds it: activation counts in hundredths, so what is chosen can be ordered as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint

from datamodels import FlexOffer, IspSeries, OfferOption
from optimiser.quiet import milp

__all__ = ["Choice", "Pick", "Room", "choose"]

Room = Mapping[int, tuple[int, int]]
"""Per ISP, the least and the most (W) by which the net power may change; see `Assessment.room`."""

Floats = NDArray[np.float64]
_MONEY = Decimal("0.0001")
_WHOLE = Decimal("1.00")
_ROUNDING_W = 1
"""Every offer may miss a bound by so much: whole watts are rounded, by whoever makes it and where a part is taken."""
_TIME_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Pick:
    """An option to be ordered, and the part of it, in hundredths."""

    offer: FlexOffer
    option: OfferOption
    factor: Decimal = _WHOLE

    @property
    def price(self) -> Decimal:
        """Price of that part, to 4 digits half-even (whole options cost what they were offered for)."""
        whole = self.option.price
        return whole if self.factor == 1 else (whole * self.factor).quantize(_MONEY, ROUND_HALF_EVEN)

    @property
    def power(self) -> IspSeries:
        """Power of that part, to whole W half-even."""
        return self.option.power if self.factor == 1 else self.option.power.scaled(self.factor)


@dataclass(frozen=True, slots=True)
class Choice:
    """What to order, in the order of the offers; `shortfall_w` is what remains needed per ISP (signed, rounded W)."""

    picks: tuple[Pick, ...]
    shortfall_w: Mapping[int, int]

    @property
    def price(self) -> Decimal:
        return sum((pick.price for pick in self.picks), Decimal(0))


def choose(room: Room, offers: Sequence[FlexOffer], may_part: Callable[[FlexOffer], bool]) -> Choice:
    """The least shortfall, at the least price, from the earliest and fewest offers, in that order of weight.

    No ISP within its limits leaves them, and none that needs a change is moved the other way or too far.

    Args:
        room: bounds for every ISP of the day; offered ISPs that are not in it are free.
        offers: all about the same day, earliest first.
        may_part: whether an offer may be activated in part (its options still have their minimum).
    """
    options = [(rank, offer, option) for rank, offer in enumerate(offers, 1) for option in offer.options]
    need = {k: low if low > 0 else high for k, (low, high) in room.items() if low > 0 or high < 0}
    if not options:
        return Choice((), need)
    programme = _Programme(room, need, options, may_part)
    hundredths = programme.solve()
    picks = tuple(
        Pick(offer, option, (Decimal(int(n)) / 100).quantize(_WHOLE))
        for (_, offer, option), n in zip(options, hundredths, strict=True)
        if n > 0
    )
    rests = {k: power - sum(pick.power.at(k) or 0 for pick in picks) for k, power in need.items()}
    slack = _ROUNDING_W * len(offers)
    return Choice(picks, {k: rest for k, rest in rests.items() if rest * need[k] > 0 and abs(rest) > slack})


class _Programme:
    """Columns: per option whether it is chosen and how many hundredths of it, then the shortfall per needy ISP (kW)."""

    def __init__(
        self,
        room: Room,
        need: Mapping[int, int],
        options: Sequence[tuple[int, FlexOffer, OfferOption]],
        may_part: Callable[[FlexOffer], bool],
    ) -> None:
        self._count = len(options)
        self._needy = sorted(need)
        self._ranks = np.array([rank for rank, _, _ in options], dtype=float)
        self._price = np.array([float(option.price) for _, _, option in options])
        columns = 2 * self._count + len(self._needy)
        least = [
            int((option.min_activation * 100).to_integral_value(ROUND_CEILING)) if may_part(offer) else 100
            for _, offer, option in options
        ]
        upper = np.full(columns, 1.0)
        upper[self._count : 2 * self._count] = 100.0
        upper[2 * self._count :] = [abs(need[k]) / 1000 for k in self._needy]
        self._bounds = Bounds(np.zeros(columns), upper)
        self._integral = np.r_[np.ones(2 * self._count), np.zeros(len(self._needy))]
        self._rows = [
            *self._activation(columns, least),
            *self._exclusion(columns),
            *self._flows(columns, room, options),
        ]

    def solve(self) -> NDArray[np.int64]:
        """Hundredths per option. Each aim is held while the next one is sought."""
        options, rest = self._count, len(self._needy)
        shortfall = np.r_[np.zeros(2 * options), np.ones(rest)]
        cents = np.r_[np.zeros(options), self._price, np.zeros(rest)]
        ranks = np.r_[self._ranks, np.zeros(options + rest)]
        rows = list(self._rows)
        solution = np.zeros(2 * options + rest)
        for aim, tolerance in ((shortfall, 1e-6), (cents, 1e-6), (ranks, 0.0)):
            solution = self._minimise(aim, rows)
            rows.append(LinearConstraint(aim[None, :], -np.inf, float(aim @ solution) + tolerance))
        return np.rint(solution[options : 2 * options]).astype(np.int64)

    def _minimise(self, aim: Floats, rows: Sequence[LinearConstraint]) -> Floats:
        found = milp(
            aim,
            integrality=self._integral,
            bounds=self._bounds,
            constraints=rows,
            options={"mip_rel_gap": 0.0, "time_limit": _TIME_LIMIT_S},
        )
        if found.x is None:
            raise RuntimeError(f"no choice among {self._count} options: {found.message}")
        solution: Floats = np.asarray(found.x)
        return solution

    def _activation(self, columns: int, least: Sequence[int]) -> list[LinearConstraint]:
        """An option that is not chosen is not activated; a chosen one at least with its minimum."""
        below, above = (np.zeros((self._count, columns)) for _ in range(2))
        for n, minimum in enumerate(least):
            below[n, n], below[n, self._count + n] = -float(minimum), 1.0
            above[n, n], above[n, self._count + n] = -100.0, 1.0
        return [LinearConstraint(below, 0.0, np.inf), LinearConstraint(above, -np.inf, 0.0)]

    def _exclusion(self, columns: int) -> list[LinearConstraint]:
        """One option an offer."""
        ranks = np.unique(self._ranks)
        matrix = np.zeros((len(ranks), columns))
        matrix[:, : self._count] = self._ranks[None, :] == ranks[:, None]
        return [LinearConstraint(matrix, -np.inf, 1.0)]

    def _flows(
        self, columns: int, room: Room, options: Sequence[tuple[int, FlexOffer, OfferOption]]
    ) -> list[LinearConstraint]:
        """Sums per ISP, kW; where a change is needed, the shortfall counts towards it."""
        isps = sorted(room)
        matrix = np.zeros((len(isps), columns))
        for n, (_, _, option) in enumerate(options):
            matrix[:, self._count + n] = [(option.power.at(k) or 0) / 100_000 for k in isps]
        slack = _ROUNDING_W * len({rank for rank, _, _ in options})
        low, high = (np.array([room[k][side] for k in isps], dtype=float) for side in (0, 1))
        low, high = (low - slack) / 1000, (high + slack) / 1000
        for column, k in enumerate(self._needy, 2 * self._count):
            matrix[isps.index(k), column] = 1.0 if room[k][0] > 0 else -1.0
        return [LinearConstraint(matrix, low, high)]
