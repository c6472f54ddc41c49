"""A day lived through: planned on what is expected, replanned as it shows itself, executed on what really happens.

Between two plans nobody thinks: devices follow their set points, the battery keeps a connection from importing where it
meant to export (and the reverse), a heat pump keeps the house within its comfort, and the group's limits are held by
batteries, then by curtailing PV or by pausing cars and heat pumps. In an outage, which nobody foresaw, the optimiser
keeps the homes in balance as an island, ISP by ISP. What lies ahead is seen by nobody: `Outlook` gives the measured
past and a forecast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import optimiser
from optimiser import Island, Islanded, Limits, Plan, Portfolio, Reach, State, Tariffs
from optimiser.rolling import DEVICE_ORDER

__all__ = ["Lived", "Loss", "Outage", "Outlook", "live", "planned", "unmanaged"]

Floats = NDArray[np.float64]
Outlook = Callable[[int], Portfolio]
"""The whole day as it is seen at the beginning of ISP `now`: as measured before it, as forecast from it on."""
_EARLY_EUR_PER_KWH = 1e-5
_IDLE_KW = 1e-3
_CURTAILED_KW = 0.05
_RAMP_ISPS = 4


@dataclass(frozen=True, slots=True)
class Loss:
    """From ISP `isp` to before ISP `until` a member's device (None: all of them) is out of control."""

    isp: int
    until: int
    member: int
    device: str | None
    reach: Reach


@dataclass(frozen=True, eq=False)
class Outage:
    """The grid is gone in ISPs `isp`..`until` - 1. Load of a member of higher `priority` (N,) is shed later."""

    isp: int
    until: int
    priority: NDArray[np.int64]

    def at(self, isp: int) -> Island:
        """What is left of it from an ISP on."""
        everyone = np.ones(len(self.priority), np.bool_)
        return Island(everyone, isp, self.until, self.priority, ramp_isps=_RAMP_ISPS)


@dataclass(frozen=True, eq=False, kw_only=True)
class Lived:
    """What the day was: powers (N,T) in kW, stores at the end of each ISP in kWh, load that was shed (N,T) in kW."""

    portfolio: Portfolio
    battery_kw: Floats
    ev_kw: Floats
    hp_kw: Floats
    pv_kw: Floats
    app_kw: Floats
    shed_kw: Floats
    battery_kwh: Floats
    ev_kwh: Floats
    thermal: Floats
    plans: tuple[Plan, ...] = ()

    @property
    def used_kw(self) -> Floats:
        """Consumption without batteries (N,T)."""
        return np.asarray(self.portfolio.load_kw - self.shed_kw + self.app_kw + self.ev_kw + self.hp_kw)

    @property
    def net_kw(self) -> Floats:
        return np.asarray(self.used_kw + self.battery_kw - self.pv_kw)

    @property
    def wear_eur(self) -> Floats:
        """Battery wear of each member (N,)."""
        p = self.portfolio
        wear = np.where(p.has_battery, p.bat_wear_eur_per_kwh, 0.0)
        return np.asarray(wear * p.dt_h * np.maximum(-self.battery_kw, 0.0).sum(axis=1))

    @property
    def leftover_kwh(self) -> Floats:
        """Energy that each member (N,) has in store beyond what it had to end with: electrical kWh."""
        p = self.portfolio
        battery = np.where(p.has_battery, self.battery_kwh[:, -1] - p.bat_final_min_kwh, 0.0)
        heat = np.where(p.has_heat_pump, self.thermal[:, -1] - p.th_initial, 0.0)
        return np.asarray(battery * np.where(battery > 0, p.bat_efficiency, 1 / p.bat_efficiency) + heat)

    @property
    def ev_missing_kwh(self) -> Floats:
        """What each member's car (N,) lacked when it was worst."""
        p = self.portfolio
        return np.asarray(np.where(p.has_ev, np.maximum(p.ev_energy_min_kwh - self.ev_kwh, 0.0).max(axis=1), 0.0))

    @property
    def comfort_missing_kwh(self) -> Floats:
        """How far each member's heat store (N,) was below its band when it was worst; the day's end apart."""
        p = self.portfolio
        lack = np.maximum(p.th_min - self.thermal, 0.0)[:, :-1].max(axis=1)
        return np.asarray(np.where(p.has_heat_pump, lack, 0.0))


@dataclass(slots=True)
class _Stores:
    """Where batteries, cars and heat stand now, and what may be done in an ISP."""

    p: Portfolio
    battery: Floats = field(init=False)
    ev: Floats = field(init=False)
    thermal: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.battery = np.where(self.p.has_battery, self.p.bat_initial_kwh, 0.0)
        self.ev = np.zeros(self.p.homes)
        self.thermal = np.where(self.p.has_heat_pump, self.p.th_initial, 0.0)

    def battery_within(self, t: int, wish: Floats) -> Floats:
        p, eta = self.p, self.p.bat_efficiency
        most = np.minimum(p.bat_charge_max_kw[:, t], (p.bat_capacity_kwh - self.battery) / (eta * p.dt_h))
        least = -np.minimum(p.bat_discharge_max_kw[:, t], self.battery * eta / p.dt_h)
        return np.asarray(np.where(p.has_battery, np.clip(wish, least, most), 0.0))

    def ev_within(self, t: int, wish: Floats) -> Floats:
        """At most what the car still takes, at least what it must have by the end of this ISP."""
        p = self.p
        gain = p.dt_h * p.ev_efficiency
        most = np.clip((p.ev_energy_max_kwh[:, t] - self.ev) / gain, 0.0, p.ev_max_kw[:, t])
        least = np.clip((p.ev_energy_min_kwh[:, t] - self.ev) / gain, 0.0, most)
        return np.asarray(np.where(p.has_ev, np.clip(wish, least, most), 0.0))

    def heat_within(self, t: int, wish: Floats) -> Floats:
        p = self.p
        drift, gain = p.th_a * self.thermal + p.th_w[:, t], np.maximum(p.th_b[:, t], 1e-12)
        least, most = ((band[:, t] - drift) / gain for band in (p.th_min, p.th_max))
        power = np.clip(np.clip(wish, least, np.maximum(most, least)), 0.0, p.hp_max_kw[:, t])
        return np.asarray(np.where(p.has_heat_pump, power, 0.0))

    def step(self, t: int, battery: Floats, ev: Floats, heat: Floats) -> None:
        p = self.p
        flow = np.where(battery > 0, battery * p.bat_efficiency, battery / p.bat_efficiency)
        self.battery = np.clip(self.battery + p.dt_h * flow, 0.0, np.where(p.has_battery, p.bat_capacity_kwh, 0.0))
        self.ev = self.ev + p.dt_h * p.ev_efficiency * ev
        self.thermal = np.where(p.has_heat_pump, p.th_a * self.thermal + p.th_b[:, t] * heat + p.th_w[:, t], 0.0)

    def wanted(self, t: int) -> tuple[Floats, Floats]:
        """What a car and a heat pump do that nobody steers: charge at once up to the need, hold the heat."""
        p = self.p
        later = p.ev_energy_min_kwh[:, t:].copy()
        ends = np.cumsum(p.ev_max_kw[:, t:] <= 0, axis=1) > 0
        later[ends] = 0.0
        need = np.maximum(later.max(axis=1) - self.ev, 0.0) / (p.dt_h * p.ev_efficiency)
        hold = (p.th_initial - p.th_a * self.thermal - p.th_w[:, t]) / np.maximum(p.th_b[:, t], 1e-12)
        return self.ev_within(t, need), self.heat_within(t, hold)


def planned(truth: Portfolio, plan: Plan) -> Lived:
    """The day as a plan that knows the truth has it."""
    return Lived(
        portfolio=truth,
        battery_kw=plan.battery_kw,
        ev_kw=plan.ev_kw,
        hp_kw=plan.hp_kw,
        pv_kw=plan.pv_kw,
        app_kw=truth.appliances.run_kw(plan.app_start, truth.homes, truth.isps),
        shed_kw=np.zeros_like(truth.load_kw),
        battery_kwh=plan.battery_kwh,
        ev_kwh=plan.ev_kwh,
        thermal=plan.thermal,
        plans=(plan,),
    )


def unmanaged(truth: Portfolio, *, battery: bool) -> Lived:
    """The day with nobody planning: cars charge at once, heat is held, appliances start when they first may.

    With `battery`, a battery stores what its own connection would export and gives what it would import, as it does
    by itself today; without, it idles.
    """
    apps = truth.appliances.run_kw(truth.appliances.first, truth.homes, truth.isps)
    stores, log = _Stores(truth), _Log(truth)
    for t in range(truth.isps):
        ev, heat = stores.wanted(t)
        net = truth.load_kw[:, t] + apps[:, t] + ev + heat - truth.pv_kw[:, t]
        power = stores.battery_within(t, -net if battery else np.zeros_like(net))
        log.keep(t, stores, _Powers(truth.load_kw[:, t] + apps[:, t], ev, heat, power, truth.pv_kw[:, t]))
    return log.lived(apps)


def live(
    truth: Portfolio,
    outlook: Outlook,
    limits: Limits,
    tariffs: Tariffs,
    *,
    every: int,
    pools: NDArray[np.int64],
    held: Limits | None = None,
    losses: Sequence[Loss] = (),
    outage: Outage | None = None,
) -> Lived:
    """Live the day `truth`, planning anew at every `every`-th ISP.

    Args:
        outlook: what is expected; it must not look at `truth` from `now` on.
        limits, tariffs: what is planned with; limits may be a bill in disguise (see the use case community).
        pools: (N,) connections whose batteries stand in for each other when a pool's power would change its sign.
        held: real limits of the groups, kept between plans.
        losses: devices that cannot be steered for a while; they are planned without from then on.
        outage: known from the ISP in which it begins, together with its end. For an hour after the return the plan
            made in the island is followed, whose import grows step by step.
    """
    stores, log = _Stores(truth), _Log(truth)
    plan: Plan | None = None
    plans: list[Plan] = []
    net, expected = np.zeros_like(truth.load_kw), truth
    moments = {t for loss in losses for t in (loss.isp, loss.until)}
    island, back = (range(outage.isp, outage.until), outage.until + _RAMP_ISPS) if outage else (range(0), 0)
    moments.add(back)
    for t in range(truth.isps):
        state = _state(stores, losses, t)
        past: dict[str, Any] = {"state": state, "earlier": plan, "measured_net_kw": net[:, :t]}
        gone = {name: state.reach[:, k] for k, name in enumerate(DEVICE_ORDER)}
        if outage is not None and t in island:
            expected = outlook(t + 1)  # whatever is drawn now is felt now
            told = optimiser.islanded(expected, limits, tariffs, outage.at(t), **past)
            plan = told.plan
            plans.append(plan)
            powers = _balanced(truth, t, told)
        elif t in moments or (t % every == 0 and t not in range(island.stop, back)):
            expected = outlook(t)
            plan = optimiser.replan(
                expected, limits, tariffs, now=t, time_preference_eur_per_kwh=_EARLY_EUR_PER_KWH, **past
            )
            plans.append(plan)
        if t not in island:
            assert plan is not None
            powers = _followed(stores, t, plan, expected, gone)
            steered = truth.has_battery & (gone["battery"] == 0)
            powers.battery = _pooled(stores, t, powers, plan.net_kw[:, t], pools, steered)
            if held is not None:
                _hold(stores, t, powers, held, gone, steered)
        log.keep(t, stores, powers)
        net[:, t] = powers.net
    assert plan is not None
    return replace(log.lived(truth.appliances.run_kw(plan.app_start, truth.homes, truth.isps)), plans=tuple(plans))


def _state(stores: _Stores, losses: Sequence[Loss], t: int) -> State:
    """Where the homes stand at the beginning of ISP `t`, and what is out of reach in it."""
    state = State(stores.battery, stores.ev, stores.thermal)
    for loss in losses:
        if loss.isp <= t < loss.until:
            state = state.lose(loss.member, loss.device, loss.reach)
    return state


@dataclass(slots=True)
class _Powers:
    """Powers of one ISP (N,), kW."""

    load: Floats
    ev: Floats
    heat: Floats
    battery: Floats
    pv: Floats
    shed: Floats | float = 0.0

    @property
    def net(self) -> Floats:
        return np.asarray(self.load - self.shed + self.ev + self.heat + self.battery - self.pv)


def _balanced(truth: Portfolio, t: int, told: Islanded) -> _Powers:
    """Powers in an island."""
    plan = told.plan
    running = truth.appliances.run_kw(plan.app_start, truth.homes, truth.isps)
    return _Powers(
        load=truth.load_kw[:, t] + running[:, t],
        ev=plan.ev_kw[:, t],
        heat=plan.hp_kw[:, t],
        battery=plan.battery_kw[:, t],
        pv=plan.pv_kw[:, t],
        shed=told.unserved_kw[:, t],
    )


def _followed(
    stores: _Stores, t: int, plan: Plan, expected: Portfolio, gone: Mapping[str, NDArray[np.int8]]
) -> _Powers:
    """The plan's set points as devices carry them out; who is out of reach does as it likes."""
    truth = stores.p
    own_ev, own_heat = stores.wanted(t)
    curtailed = (plan.pv_kw[:, t] < expected.pv_kw[:, t] - _CURTAILED_KW) & (gone["pv"] == 0)
    sun = np.where(gone["pv"] == Reach.OFF, 0.0, truth.pv_kw[:, t])
    return _Powers(
        load=truth.load_kw[:, t] + truth.appliances.run_kw(plan.app_start, truth.homes, truth.isps)[:, t],
        ev=stores.ev_within(t, np.where(gone["ev"] > 0, own_ev, plan.ev_kw[:, t])),
        heat=stores.heat_within(t, np.where(gone["heat_pump"] > 0, own_heat, plan.hp_kw[:, t])),
        battery=stores.battery_within(t, np.where(gone["battery"] > 0, 0.0, plan.battery_kw[:, t])),
        pv=np.where(curtailed, np.minimum(sun, plan.pv_kw[:, t]), sun),
    )


def _pooled(
    stores: _Stores,
    t: int,
    powers: _Powers,
    planned: Floats,
    pools: NDArray[np.int64],
    steered: NDArray[np.bool_],
) -> Floats:
    """Battery powers (N,) that bring a pool to zero where it would import though it meant to export, or the reverse.

    There a kWh changes its price; elsewhere a deviation costs the same whenever it is made good.
    """
    count = int(pools.max()) + 1
    real, meant = np.bincount(pools, powers.net, count), np.bincount(pools, planned, count)
    keep = (real * meant > 0) & (np.abs(meant) > _IDLE_KW)
    return _moved(stores, t, powers.battery, np.where(keep, 0.0, -real), pools, steered)


def _hold(
    stores: _Stores,
    t: int,
    powers: _Powers,
    limits: Limits,
    gone: Mapping[str, NDArray[np.int8]],
    steered: NDArray[np.bool_],
) -> None:
    """Bring each group within its limits, as far as it can be: batteries, then PV or cars and heat pumps."""
    group, count = stores.p.group, stores.p.groups

    def beyond() -> tuple[Floats, Floats]:
        net = np.bincount(group, powers.net, count)
        return np.maximum(net - limits.hi_kw[:, t], 0.0), np.maximum(limits.lo_kw[:, t] - net, 0.0)

    def cut(values: Floats, by: Floats) -> Floats:
        """`values` reduced by `by` per group, in proportion."""
        part = np.minimum(by / np.maximum(np.bincount(group, values, count), 1e-12), 1.0)
        return np.asarray(values * part[group])

    above, below = beyond()
    powers.battery = _moved(stores, t, powers.battery, below - above, group, steered)
    powers.pv = powers.pv - cut(np.where(gone["pv"] == 0, powers.pv, 0.0), beyond()[1])
    powers.ev = powers.ev - cut(np.where(gone["ev"] == 0, powers.ev, 0.0), beyond()[0])
    powers.heat = powers.heat - cut(np.where(gone["heat_pump"] == 0, powers.heat, 0.0), beyond()[0])


def _moved(
    stores: _Stores, t: int, battery: Floats, by: Floats, of: NDArray[np.int64], steered: NDArray[np.bool_]
) -> Floats:
    """Battery powers changed so that each pool's sum changes `by` (pools,), in proportion to the room each has."""
    up = by[of] > 0
    edge = stores.battery_within(t, np.where(up, np.inf, -np.inf))
    room = np.where(steered & (by[of] != 0), np.abs(edge - battery), 0.0)
    total = np.bincount(of, room, len(by))
    part = np.minimum(np.abs(by) / np.maximum(total, 1e-12), 1.0)
    return np.asarray(battery + np.where(up, 1.0, -1.0) * room * part[of])


class _Log:
    """Collects the day."""

    def __init__(self, truth: Portfolio) -> None:
        self._truth = truth
        names = ("battery_kw", "ev_kw", "hp_kw", "pv_kw", "shed_kw", "battery_kwh", "ev_kwh", "thermal")
        self._rows: dict[str, Any] = {name: np.zeros_like(truth.load_kw) for name in names}

    def keep(self, t: int, stores: _Stores, powers: _Powers) -> None:
        """Let ISP `t` pass with these powers."""
        stores.step(t, powers.battery, powers.ev, powers.heat)
        flows = (powers.battery, powers.ev, powers.heat, powers.pv, powers.shed)
        for row, value in zip(self._rows.values(), (*flows, stores.battery, stores.ev, stores.thermal), strict=True):
            row[:, t] = value

    def lived(self, apps: Floats) -> Lived:
        return Lived(portfolio=self._truth, app_kw=apps, **self._rows)
