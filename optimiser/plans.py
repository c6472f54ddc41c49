"""A plan: feasible trajectories for every device, what they cost, and how far from the optimum that can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from optimiser.envelopes import Shortfall
from optimiser.portfolio import FloatArray, IntArray, Limits, Portfolio, Tariffs
from optimiser.repair import Trajectories
from optimiser.schedules import Choices, Schedules

__all__ = ["Plan", "Status", "assemble", "gap_of", "largest_remainder"]

_LIMIT_TOLERANCE = 1e-5


class Status(StrEnum):
    """OPTIMAL: gap reached, limits kept to 1e-5. LIMIT_RELAXED: limits cannot be met, least-penalty plan.
    HOME_INFEASIBLE: named homes cannot meet their own needs and get their best reachable value.
    TIME_LIMIT: the gap asked for was not reached; the best plan found, with its gap."""

    OPTIMAL = "optimal"
    LIMIT_RELAXED = "limit_relaxed"
    HOME_INFEASIBLE = "home_infeasible"
    TIME_LIMIT = "time_limit"


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """N homes, T ISPs, G congestion points; kW, kWh, EUR; import positive; states at the end of each ISP.

    `cost_eur` = energy + wear + what devices cost by themselves + penalty, recomputed from these trajectories.
    `bound_eur` certifies that no plan costs less, whatever appliances and modes do (`integer`).
    `price_eur_per_kwh` is what one kWh more import costs beyond the tariff: positive at an upper limit.
    `notes` says in words what happened to the calculation itself, such as a worker that was lost.
    """

    dt_h: float
    group: IntArray  # (N,)
    contains: NDArray[np.bool_]  # (G,L) which groups lie behind which congestion point
    load_kw: FloatArray  # (N,T) what cannot be steered, appliances and devices with modes included
    battery_kw: FloatArray  # (N,T) charging positive
    ev_kw: FloatArray
    hp_kw: FloatArray
    pv_kw: FloatArray  # (N,T) used, >= 0
    net_kw: FloatArray
    battery_kwh: FloatArray
    ev_kwh: FloatArray
    thermal: FloatArray
    app_start: IntArray  # (M,) start ISP, -1: never
    mode: NDArray[np.int8]  # (D,T) of the devices with modes
    device_eur: FloatArray  # (N,T) what running and switching these costs beside the energy
    price_eur_per_kwh: FloatArray  # (G,T)
    multipliers: FloatArray  # (N,4,T) of each home's balance and states, see `bounding`; (0,4,0) where there are none
    violation_kw: FloatArray  # (G,T) outside the limits, >= 0
    home_cost_eur: FloatArray  # (N,) energy, wear and devices
    penalty_eur: float
    bound_eur: float
    gap: float
    status: Status
    problems: tuple[Shortfall, ...]
    iterations: int
    cpu_s: float
    simultaneous_kwh: float
    notes: tuple[str, ...] = ()

    @property
    def isps(self) -> int:
        return int(self.net_kw.shape[1])

    @property
    def groups(self) -> int:
        return int(self.contains.shape[1])

    @property
    def energy_cost_eur(self) -> float:
        """What the homes pay: energy, battery wear and their devices' own costs, without any penalty."""
        return float(self.home_cost_eur.sum())

    @property
    def cost_eur(self) -> float:
        return self.energy_cost_eur + self.penalty_eur

    @property
    def bat_charge_kw(self) -> FloatArray:
        return np.maximum(self.battery_kw, 0.0)

    @property
    def bat_discharge_kw(self) -> FloatArray:
        return np.maximum(-self.battery_kw, 0.0)

    @property
    def group_kw(self) -> FloatArray:
        """Net power (G,T) of each congestion point."""
        return np.asarray(self.contains.astype(float) @ self._members_kw)

    @property
    def _members_kw(self) -> FloatArray:
        """Net power (L,T) of each group of homes."""
        sums = np.zeros((self.groups, self.isps))
        np.add.at(sums, self.group, self.net_kw)
        return sums

    @property
    def members_w(self) -> IntArray:
        """Net power (L,T) of each group of homes in whole W."""
        return np.rint(self._members_kw * 1000.0).astype(np.int64)

    @property
    def group_w(self) -> IntArray:
        """Net power (G,T) of each congestion point in whole W, what its groups add up to: the figure for the DSO."""
        return np.asarray(self.contains.astype(np.int64) @ self.members_w)

    @property
    def home_price_eur_per_kwh(self) -> FloatArray:
        """What one kWh more import costs each home (N,T) beyond its tariff: the sum over the points around it."""
        return np.asarray((self.contains.T.astype(float) @ self.price_eur_per_kwh)[self.group])

    @property
    def net_w(self) -> IntArray:
        """Net power (N,T) in whole W; members add up exactly to `group_w`."""
        exact, target = self.net_kw * 1000.0, self.members_w
        out = np.empty(exact.shape, np.int64)
        for g in range(self.groups):
            member = self.group == g
            out[member] = largest_remainder(exact[member], target[g])
        return out


def largest_remainder(
    exact: FloatArray, target: IntArray, lowest: IntArray | None = None, highest: IntArray | None = None
) -> IntArray:
    """Integers (K,T) near `exact` whose columns sum to `target` (T,): those with the largest remainder round up.

    `lowest`, `highest` (K,T) bound each value.

    Raises:
        ValueError: a column cannot reach its target within the bounds.
    """
    wide = np.iinfo(np.int64).max // 4
    low = np.full(exact.shape, -wide) if lowest is None else lowest
    high = np.full(exact.shape, wide) if highest is None else highest
    out = np.clip(np.floor(exact).astype(np.int64), low, high)
    missing = target - out.sum(axis=0)
    while missing.any():
        step = np.sign(missing)
        free = np.where(step > 0, out < high, out > low)
        rank = np.where(free, (exact - out) * step, -np.inf)
        order = np.argsort(-rank, axis=0, kind="stable")
        place = np.empty_like(order)
        np.put_along_axis(place, order, np.arange(len(exact))[:, None] * np.ones_like(order), axis=0)
        change = free & (place < np.abs(missing)) & (step != 0)
        if not change.any():
            isp = int(np.flatnonzero(missing)[0])
            raise ValueError(f"ISP {isp}: {int(target[isp])} W is {int(missing[isp])} W beyond what the devices can do")
        out += change * step
        missing = target - out.sum(axis=0)
    return out


def gap_of(cost: float, bound: float, p: Portfolio, tariffs: Tariffs) -> float:
    """(cost - bound) over the bound, or over 5 % of the bill of the inflexible load where the optimum is near zero."""
    return max(cost - bound, 0.0) / max(abs(bound), bill_scale(p, tariffs))


def bill_scale(p: Portfolio, tariffs: Tariffs) -> float:
    """5 % of the bill of the inflexible load (EUR): what a gap is relative to where the optimum is near zero."""
    return max(0.05 * float((p.dt_h * np.abs(tariffs.buy_eur_per_kwh * p.load_kw)).sum()), 1e-9)


def home_costs(p: Portfolio, tariffs: Tariffs, net_kw: FloatArray, discharge_kw: FloatArray) -> FloatArray:
    """Energy and wear (N,T) EUR."""
    energy = tariffs.buy_eur_per_kwh * np.maximum(net_kw, 0.0) + tariffs.sell_eur_per_kwh * np.minimum(net_kw, 0.0)
    wear = np.where(p.has_battery, p.bat_wear_eur_per_kwh, 0.0)[:, None] * discharge_kw
    return np.asarray(p.dt_h * (energy + wear))


def penalties(p: Portfolio, limits: Limits, violation_kw: FloatArray) -> FloatArray:
    return np.asarray(p.dt_h * limits.penalty * violation_kw)


def limit_problems(violation_kw: FloatArray, limits: Limits) -> list[Shortfall]:
    """One entry per congestion point and ISP that lies beyond its limit by more than 1e-5 of it."""
    scale = np.ones_like(violation_kw)
    for side in (limits.lo_kw, limits.hi_kw):
        scale = np.maximum(scale, np.where(np.isfinite(side), np.abs(side), 0.0))
    return [
        Shortfall(None, f"group {g}", int(t), float(violation_kw[g, t]), "kW", "the limit cannot be met")
        for g, t in np.argwhere(violation_kw > _LIMIT_TOLERANCE * scale)
    ]


def _devices(p: Portfolio, chosen: tuple[Choices, Schedules] | None) -> tuple[IntArray, NDArray[np.int8], FloatArray]:
    """Starts of appliances (M,), modes (D,T) and own costs per home (N,T)."""
    own = np.zeros_like(p.load_kw)
    if chosen is None:
        return np.zeros(0, np.int64), np.zeros((0, p.isps), np.int8), own
    choices, schedules = chosen
    np.add.at(own, choices.home, schedules.own_eur)
    return schedules.mode[choices.appliances].argmax(axis=1), schedules.mode[choices.modes], own


def assemble(
    p: Portfolio,
    limits: Limits,
    tariffs: Tariffs,
    way: Trajectories,
    *,
    chosen: tuple[Choices, Schedules] | None = None,
    price: FloatArray,
    multipliers: FloatArray,
    bound: float,
    problems: Sequence[Shortfall],
    iterations: int,
    cpu_s: float,
    asked_gap: float,
    notes: tuple[str, ...] = (),
) -> Plan:
    """A plan out of feasible trajectories of a portfolio whose load includes the devices that have `chosen`."""
    start, mode, own = _devices(p, chosen)
    violation = limits.excess_kw(limits.net_kw(p, way.net_kw))
    violation[violation < 1e-9] = 0.0
    relaxed = limit_problems(violation, limits)
    costs = (home_costs(p, tariffs, way.net_kw, np.maximum(-way.battery_kw, 0.0)) + own).sum(axis=1)
    penalty = float(penalties(p, limits, violation).sum())
    gap = gap_of(float(costs.sum()) + penalty, bound, p, tariffs)
    status = Status.LIMIT_RELAXED if relaxed else Status.OPTIMAL
    if gap > asked_gap:
        status = Status.TIME_LIMIT
    if problems:
        status = Status.HOME_INFEASIBLE
    return Plan(
        dt_h=p.dt_h,
        group=p.group,
        contains=limits.membership,
        load_kw=p.load_kw,
        battery_kw=way.battery_kw,
        ev_kw=way.ev_kw,
        hp_kw=way.hp_kw,
        pv_kw=way.pv_kw,
        net_kw=way.net_kw,
        battery_kwh=way.battery_kwh,
        ev_kwh=way.ev_kwh,
        thermal=way.thermal,
        app_start=start,
        mode=mode,
        device_eur=own,
        price_eur_per_kwh=price,
        multipliers=multipliers,
        violation_kw=violation,
        home_cost_eur=costs,
        penalty_eur=penalty,
        bound_eur=bound,
        gap=gap,
        status=status,
        problems=(*problems, *relaxed),
        iterations=iterations,
        cpu_s=cpu_s,
        simultaneous_kwh=way.simultaneous_kwh,
        notes=notes,
    )
