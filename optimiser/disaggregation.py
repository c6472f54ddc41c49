"""From a plan to set points in whole W that add up, per congestion point and ISP, to the power that was promised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimiser.plans import Plan, largest_remainder
from optimiser.portfolio import FloatArray, IntArray, Portfolio

__all__ = ["SetPoints", "disaggregate"]

_SLACK_W = 1e-6


@dataclass(frozen=True, eq=False)
class SetPoints:
    """Int W (N,T), consumption positive: battery charges above 0, PV is never above 0; `load_w` is not steered.

    load + battery + EV + heat pump + PV over the members of a congestion point is exactly its power.
    """

    load_w: IntArray
    battery_w: IntArray
    ev_w: IntArray
    heat_pump_w: IntArray
    pv_w: IntArray

    @property
    def net_w(self) -> IntArray:
        """Net power (N,T) of each home."""
        return np.asarray(self.load_w + self.battery_w + self.ev_w + self.heat_pump_w + self.pv_w)


def disaggregate(portfolio: Portfolio, plan: Plan, group_w: IntArray | None = None) -> SetPoints:
    """Set points of every device for a plan of this portfolio.

    Args:
        group_w: (L,T) the power that was promised per group of homes; without it, the plan's own. It may differ from
            the plan by rounding only (1 W per member): for an order that asks more, plan with it as a limit first.

    Values are rounded by largest remainder within each device's rating, so a set point never breaks one; a store's
    energy may differ from the plan by the rounding (at most 1 W over the ISPs).

    Raises:
        ValueError: `group_w` is not what the plan delivers.
    """
    target = plan.members_w if group_w is None else np.asarray(group_w, np.int64)
    members = np.bincount(plan.group, minlength=plan.groups)
    if target.shape != plan.members_w.shape or (np.abs(target - plan.members_w) > members[:, None]).any():
        raise ValueError("the plan does not deliver the given power: plan with it as a limit, then disaggregate")
    devices = np.stack([plan.battery_kw, plan.ev_kw, plan.hp_kw, -plan.pv_kw]) * 1000.0
    exact = np.concatenate([plan.net_kw[None] * 1000.0 - devices.sum(axis=0), devices])
    lowest, highest = _ratings(portfolio)
    out = np.empty(exact.shape, np.int64)
    for g in range(plan.groups):
        member = plan.group == g
        rows, isps = 5 * int(member.sum()), plan.isps

        def flat(values: FloatArray | IntArray, member: np.ndarray = member, rows: int = rows) -> np.ndarray:
            return np.asarray(values[:, member].reshape(rows, -1))

        whole = largest_remainder(flat(exact), target[g], flat(lowest), flat(highest))
        out[:, member] = whole.reshape(5, -1, isps)
    return SetPoints(*out)


def _ratings(p: Portfolio) -> tuple[IntArray, IntArray]:
    """Whole W (5,N,T) within which load (any), battery, EV, heat pump and PV may lie."""
    wide = np.full(p.load_kw.shape, np.iinfo(np.int64).max // 4)
    zero = np.zeros(p.load_kw.shape, np.int64)
    battery = p.has_battery[:, None]

    def floor(kw: FloatArray) -> IntArray:
        return np.floor(kw * 1000.0 + _SLACK_W).astype(np.int64)

    charge, discharge = np.where(battery, p.bat_charge_max_kw, 0.0), np.where(battery, p.bat_discharge_max_kw, 0.0)
    lowest = np.stack([-wide, -floor(discharge), zero, zero, -floor(p.pv_kw)])
    highest = np.stack([wide, floor(charge), floor(p.ev_max_kw), floor(p.hp_max_kw), zero])
    return lowest, highest
