"""Keeping an earlier plan: what did not change stays, what did is planned anew by itself, and the whole is certified.

The earlier plan's prices say what the other homes' flexibility is worth, so a home that changed is solved alone against
them: with the earlier multipliers of all others that proves a bound for the day as it is now. What the change takes
from the limits is made up for by the changed homes and the most flexible of their neighbours, in a small programme.
Where cost and bound lie too far apart, the day has changed too much, and all is solved again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optimiser import central
from optimiser.bounding import certain_bound
from optimiser.central import POWERS
from optimiser.plans import Plan
from optimiser.portfolio import FloatArray, IntArray, Limits, Portfolio, Tariffs

__all__ = ["Kept", "patched"]

_HELPERS = 10
_FEW, _SHARE = 3, 0.05
"""As many homes, or this share of all, may have changed for a patch to be worth trying."""


@dataclass(frozen=True, eq=False)
class Kept:
    """An earlier answer for the horizon at hand: as `central.Raw`; `changed` (N,) are the homes it does not fit."""

    charge_kw: FloatArray
    discharge_kw: FloatArray
    ev_kw: FloatArray
    hp_kw: FloatArray
    pv_kw: FloatArray
    excess_kw: FloatArray
    price_eur_per_kwh: FloatArray
    multipliers: FloatArray
    changed: NDArray[np.bool_]

    @classmethod
    def of(cls, plan: Plan, now: int, changed: NDArray[np.bool_] | None = None) -> Kept | None:
        """A plan from ISP `now` on; None where it holds no proof, or its appliances' starts are part of it."""
        if len(plan.multipliers) != len(plan.net_kw) or len(plan.app_start):
            return None
        later = slice(now, None)
        return cls(
            charge_kw=plan.bat_charge_kw[:, later],
            discharge_kw=plan.bat_discharge_kw[:, later],
            ev_kw=plan.ev_kw[:, later],
            hp_kw=plan.hp_kw[:, later],
            pv_kw=plan.pv_kw[:, later],
            excess_kw=plan.violation_kw[:, later],
            price_eur_per_kwh=plan.price_eur_per_kwh[:, later],
            multipliers=plan.multipliers[:, :, later],
            changed=np.zeros(len(plan.net_kw), bool) if changed is None else changed,
        )

    def mixed(self, other: Kept, share: float) -> Kept:
        """What lies between two answers, `share` of it the other: for limits in between it is nearly feasible, and as
        cost is convex, nearly optimal where the two are near each other."""
        arrays = (*POWERS, "excess_kw", "price_eur_per_kwh", "multipliers")
        mix = {name: (1.0 - share) * getattr(self, name) + share * getattr(other, name) for name in arrays}
        return Kept(**mix, changed=self.changed | other.changed)

    @property
    def promising(self) -> bool:
        return int(self.changed.sum()) <= max(_FEW, _SHARE * self.changed.size)


def patched(p: Portfolio, limits: Limits, tariffs: Tariffs, kept: Kept, nudge_eur_per_kwh: float) -> central.Raw | None:
    """The earlier answer with the changed homes planned anew; None where one of them cannot be planned by itself."""
    multipliers = kept.multipliers
    price = np.clip(kept.price_eur_per_kwh, -limits.penalty, limits.penalty)
    powers = {name: getattr(kept, name) for name in POWERS}
    excess = kept.excess_kw
    homes = np.flatnonzero(kept.changed)
    if homes.size:
        proof = _alone(p, limits, tariffs, homes, price)
        joint = _together(p, limits, tariffs, np.union1d(homes, _helpers(p, kept)), powers, nudge_eur_per_kwh)
        if proof is None or joint is None:
            return None
        multipliers = multipliers.copy()
        multipliers[homes] = proof
        powers, excess = joint
    return central.Raw(
        **powers,
        excess_kw=excess,
        price_eur_per_kwh=price,
        bound_eur=certain_bound(p, limits, tariffs, price, multipliers),
        iterations=0,
        multipliers=multipliers,
    )


def _alone(p: Portfolio, limits: Limits, tariffs: Tariffs, homes: IntArray, price: FloatArray) -> FloatArray | None:
    """Multipliers of homes that answer the prices by themselves."""
    part = replace(p.take(homes), group=np.zeros(homes.size, np.int64))
    felt = limits.at_groups(price)[p.group[homes]]
    own = tariffs.take(homes)
    priced = Tariffs(own.buy_eur_per_kwh + felt, own.sell_eur_per_kwh + felt)
    raw = central.solve(central.build(part, Limits.none(1, p.isps), priced), part)
    return None if raw is None else raw.multipliers


def _helpers(p: Portfolio, kept: Kept) -> IntArray:
    """The most flexible homes behind the points of those that changed."""
    near = np.isin(p.group, p.group[kept.changed])
    power = (p.bat_charge_max_kw + p.bat_discharge_max_kw).mean(axis=1) * p.has_battery
    power = power + p.ev_max_kw.mean(axis=1) + p.hp_max_kw.mean(axis=1)
    return np.argsort(-power * near, kind="stable")[:_HELPERS]


def _together(
    p: Portfolio, limits: Limits, tariffs: Tariffs, homes: IntArray, powers: dict[str, FloatArray], nudge: float
) -> tuple[dict[str, FloatArray], FloatArray] | None:
    """Powers (N,T) where `homes` share what the others leave of the limits, and the excess (G,T) that remains."""
    sign = (1.0, -1.0, 1.0, 1.0, -1.0)
    net = p.load_kw + sum(s * powers[name] for s, name in zip(sign, POWERS, strict=True))
    net[homes] = 0.0
    groups, own = np.unique(p.group[homes], return_inverse=True)
    part = replace(p.take(homes), group=own)
    others = limits.net_kw(p, net)
    left = Limits(limits.lo_kw - others, limits.hi_kw - others, limits.penalty, limits.membership[:, groups])
    model = central.build(part, left, tariffs.take(homes), time_preference_eur_per_kwh=nudge)
    raw = central.solve(model, part)
    if raw is None:
        return None
    out = {}
    for name in POWERS:
        out[name] = powers[name].copy()
        out[name][homes] = getattr(raw, name)
    return out, raw.excess_kw
