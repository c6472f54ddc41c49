"""Planning again while the day runs: the past stays, measurements count, and who dropped out is planned around."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodels import Problem
from optimiser.envelopes import Present, Shortfall, present_in
from optimiser.keeping import Kept
from optimiser.planning import schedule
from optimiser.plans import Plan, Status, gap_of, home_costs, limit_problems, penalties
from optimiser.portfolio import Appliances, FloatArray, InputError, IntArray, Limits, Portfolio, Tariffs, check
from optimiser.repair import states_from

__all__ = ["DEVICE_ORDER", "Reach", "State", "again", "check_past", "replan"]

DEVICE_ORDER = ("battery", "ev", "heat_pump", "pv")
_BATTERY, _EV, _HEAT_PUMP, _PV = range(4)


_PATCHED = 1.25  # gaps that a plan may be off by when nothing but a change in a few homes is seen to
_ASTRAY = 0.02  # kWh or K beside the plan: such a home is planned anew


class Reach(IntEnum):
    """What has become of a device. CONTROLLED: follows the plan. OFF: 0 W from now on. AUTONOMOUS: cannot be reached
    and does as it likes; we expect a battery to idle, an EV to charge at once, a heat pump to hold its state, PV to
    deliver all it has."""

    CONTROLLED = 0
    OFF = 1
    AUTONOMOUS = 2


@dataclass(frozen=True, eq=False)
class State:
    """Where the homes stand at the beginning of ISP `now`.

    `battery_kwh`, `ev_kwh` (put in since ISP 0), `thermal` (N,); `reach` (N,4) holds `Reach` values in the order of
    `DEVICE_ORDER`, by default all CONTROLLED.
    """

    battery_kwh: FloatArray
    ev_kwh: FloatArray
    thermal: FloatArray
    reach: NDArray[np.int8] = field(default_factory=lambda: np.zeros((0, 4), np.int8))

    def __post_init__(self) -> None:
        if self.reach.shape[0] == 0:
            object.__setattr__(self, "reach", np.zeros((len(self.battery_kwh), 4), np.int8))

    @classmethod
    def foreseen(cls, portfolio: Portfolio, plan: Plan | None, now: int) -> State:
        """The state that the plan expects at the beginning of ISP `now`."""
        if now == 0 or plan is None:
            return cls(portfolio.bat_initial_kwh, np.zeros(portfolio.homes), portfolio.th_initial)
        return cls(plan.battery_kwh[:, now - 1], plan.ev_kwh[:, now - 1], plan.thermal[:, now - 1])

    def lose(self, home: int, device: str | None = None, reach: Reach = Reach.AUTONOMOUS) -> State:
        """This state with one device (or every device) of a home out of control.

        Raises:
            ValueError: there is no such device.
        """
        if device is not None and device not in DEVICE_ORDER:
            raise ValueError(f"no device {device!r}: it is one of {', '.join(DEVICE_ORDER)}")
        changed = self.reach.copy()
        changed[home, slice(None) if device is None else DEVICE_ORDER.index(device)] = reach
        return replace(self, reach=changed)


def replan(
    portfolio: Portfolio,
    limits: Limits,
    tariffs: Tariffs,
    *,
    now: int,
    state: State,
    earlier: Plan | None = None,
    measured_net_kw: FloatArray | None = None,
    gap: float = 1e-3,
    budget_s: float | None = None,
    seed: int = 0,
    time_preference_eur_per_kwh: float = 0.0,
) -> Plan:
    """A plan for the whole day in which ISPs before `now` are as they were, and the rest is planned from `state`.

    Args:
        portfolio, limits, tariffs: for the whole horizon; what changed (forecasts, prices) has its new values.
        now: the first ISP (from 0) that can still be changed.
        state: the homes at the beginning of ISP `now`.
        earlier: the plan that was followed until now: its past is kept, and appliances it started run on. Its rest is
            kept too, but for homes that changed, where that is provably within 1.25 `gap`.
        measured_net_kw: (N,now) what really flowed; replaces the earlier plan's net power.
        gap, budget_s, seed, time_preference_eur_per_kwh: as `plan`.

    Needs that have become unreachable are planned at their best reachable value and told in `problems`.

    Raises:
        InputError: as `plan`; `now` lies outside the horizon; the past is neither in `earlier` nor measured; or a
            state is not a finite number.
    """
    problems = check(portfolio, limits, tariffs) + check_past(portfolio, now, state, earlier, measured_net_kw)
    if problems:
        raise InputError(problems)
    return again(
        portfolio,
        limits,
        tariffs,
        now=now,
        state=state,
        earlier=earlier,
        measured_net_kw=measured_net_kw,
        gap=gap,
        budget_s=budget_s,
        time_preference_eur_per_kwh=time_preference_eur_per_kwh,
    )


def again(
    portfolio: Portfolio,
    limits: Limits,
    tariffs: Tariffs,
    *,
    now: int,
    state: State,
    earlier: Plan | None,
    measured_net_kw: FloatArray | None,
    gap: float,
    budget_s: float | None,
    time_preference_eur_per_kwh: float,
    kept: Kept | None = None,
) -> Plan:
    """`replan` for input that is known to be sound; `kept` is tried instead of the earlier plan's rest."""
    began = time.process_time()
    rest, lost, started = _remainder(portfolio, now, state, earlier)
    alone = _autonomous(rest, state.reach)
    steered = _without(rest, state.reach, alone)
    present = present_in(portfolio)
    spent = _spent(portfolio, limits, tariffs, now, earlier, measured_net_kw)
    tail = schedule(
        steered,
        limits.tail(now),
        tariffs.tail(now),
        gap=gap,
        budget_s=budget_s,
        time_preference_eur_per_kwh=time_preference_eur_per_kwh,
        present=present,
        spent_eur=spent,
        kept=kept or (None if earlier is None else _kept(steered, earlier, state, now)),
    )
    powers = np.stack([tail.battery_kw, tail.ev_kw, tail.hp_kw, tail.pv_kw]) + alone
    states = np.stack([tail.battery_kwh, tail.ev_kwh, tail.thermal])
    odd = (state.reach != Reach.CONTROLLED).any(axis=1)
    for has, still in zip(present, present_in(steered), strict=True):
        odd |= has != still
    states[:, odd] = _led(rest, odd, powers, present)
    states[_EV] += np.where(portfolio.has_ev, state.ev_kwh, 0.0)[:, None]
    so_far = now, earlier, measured_net_kw, spent
    return _join(portfolio, limits, tariffs, so_far, tail, powers, states, lost, started, began)


def check_past(
    p: Portfolio, now: int, state: State, earlier: Plan | None, measured: FloatArray | None
) -> list[Problem]:
    if not 0 <= now < p.isps:
        return [Problem("replan.now", "now", f"ISP {now} is outside 0..{p.isps - 1}")]
    problems = []
    if now and earlier is None and measured is None:
        problems.append(
            Problem("replan.past", "earlier", "the past is unknown", hint="give `earlier` or what was measured")
        )
    if earlier is not None and earlier.net_kw.shape != p.load_kw.shape:
        text = f"covers {earlier.net_kw.shape}, the portfolio {p.load_kw.shape}"
        problems.append(Problem("replan.past", "earlier", text))
    if measured is not None and (measured.shape != (p.homes, now) or not np.isfinite(measured).all()):
        problems.append(Problem("replan.past", "measured_net_kw", f"is not {(p.homes, now)} finite numbers"))
    present = {"battery_kwh": p.has_battery, "ev_kwh": p.has_ev, "thermal": p.has_heat_pump}
    for name, has in present.items():
        value = getattr(state, name)
        if np.shape(value) != (p.homes,):
            problems.append(Problem("replan.state", name, f"has shape {np.shape(value)}, not {(p.homes,)}"))
        else:
            bad = np.flatnonzero(has & ~np.isfinite(value))
            problems += [Problem("replan.state", f"{name}[{i}]", "is not a finite number") for i in bad]
    if state.reach.shape != (p.homes, 4):
        problems.append(Problem("replan.state", "reach", f"has shape {state.reach.shape}, not {(p.homes, 4)}"))
    return problems


def _remainder(
    p: Portfolio, now: int, state: State, earlier: Plan | None
) -> tuple[Portfolio, list[Shortfall], IntArray]:
    """The portfolio from `now` on, started at `state`; appliances that missed their window; starts already made."""
    a = p.appliances
    started = np.full(len(a), -1, np.int64)
    if earlier is not None and len(earlier.app_start) == len(a):
        started = np.where((earlier.app_start >= 0) & (earlier.app_start < now), earlier.app_start, -1)
    waiting = np.flatnonzero((started < 0) & (a.last >= now))
    missed = np.flatnonzero((started < 0) & (a.last < now))
    lost = [
        Shortfall(int(a.home[k]), "appliance", int(a.last[k]), 1.0, "run", "its window closed before it was started")
        for k in missed
    ]
    left = Appliances(
        a.home[waiting],
        np.maximum(a.first[waiting] - now, 0),
        a.last[waiting] - now,
        a.length[waiting],
        a.profile_kw[waiting],
    )
    rest = p.tail(now)
    gone = np.where(p.has_ev, state.ev_kwh, 0.0)[:, None]
    rest = replace(
        rest,
        load_kw=rest.load_kw + a.run_kw(started, p.homes, p.isps)[:, now:],
        bat_initial_kwh=np.where(p.has_battery, state.battery_kwh, 0.0),
        ev_energy_min_kwh=rest.ev_energy_min_kwh - gone,
        ev_energy_max_kwh=rest.ev_energy_max_kwh - gone,
        th_initial=np.where(p.has_heat_pump, state.thermal, 0.0),
        appliances=left,
        modes=p.modes.after(_modes_until(p, now, earlier)),
    )
    return rest, lost, started


def _modes_until(p: Portfolio, now: int, earlier: Plan | None) -> NDArray[np.int8]:
    """Modes (D,now) that devices have been in; where no plan tells, those of the beginning."""
    if earlier is not None and len(earlier.mode) == len(p.modes):
        return earlier.mode[:, :now]
    return np.tile(p.modes.current[:, None], (1, now)).astype(np.int8)


def _led(p: Portfolio, some: NDArray[np.bool_], powers: FloatArray, present: Present) -> FloatArray:
    """States (3,n,T) of some homes (N,) that the powers (4,N,T) of all lead to."""
    battery, ev, heat = (has[some] for has in present)
    return states_from(p.take(np.flatnonzero(some)), powers[:3, some], (battery, ev, heat))


def _autonomous(p: Portfolio, reach: NDArray[np.int8]) -> FloatArray:
    """Powers (4,N,T) that we expect of devices which nobody can steer; 0 for all others."""
    powers = np.zeros((4, *p.load_kw.shape))
    some = np.flatnonzero((reach == Reach.AUTONOMOUS).any(axis=1))
    powers[:, some] = _expected(p.take(some), reach[some])
    return powers


def _expected(p: Portfolio, reach: NDArray[np.int8]) -> FloatArray:
    powers = np.zeros((4, *p.load_kw.shape))
    alone = reach == Reach.AUTONOMOUS
    powers[_PV] = np.where(alone[:, _PV, None], p.pv_kw, 0.0)
    ev, heat = alone[:, _EV] & p.has_ev, alone[:, _HEAT_PUMP] & p.has_heat_pump
    energy, thermal = np.zeros(p.homes), p.th_initial
    wanted = p.ev_energy_min_kwh.copy()
    for t in range(p.isps - 2, -1, -1):
        staying = p.ev_max_kw[:, t + 1] > 0
        wanted[:, t] = np.where(staying, wanted[:, t + 1], wanted[:, t])
    for t in range(p.isps):
        charge = np.clip((wanted[:, t] - energy) / (p.dt_h * np.maximum(p.ev_efficiency, 1e-9)), 0.0, p.ev_max_kw[:, t])
        powers[_EV, :, t] = np.where(ev, charge, 0.0)
        energy = energy + powers[_EV, :, t] * p.ev_efficiency * p.dt_h
        drift = np.where(heat, p.th_a * thermal + p.th_w[:, t], 0.0)
        hold = np.where(heat, np.clip(p.th_initial, p.th_min[:, t], p.th_max[:, t]), 0.0)
        gain = np.where(heat, p.th_b[:, t], 0.0)
        power = np.clip((hold - drift) / np.maximum(gain, 1e-12), 0.0, p.hp_max_kw[:, t])
        powers[_HEAT_PUMP, :, t] = np.where(heat & (gain > 0), power, 0.0)
        thermal = drift + gain * powers[_HEAT_PUMP, :, t]
    return powers


def _without(p: Portfolio, reach: NDArray[np.int8], alone: FloatArray) -> Portfolio:
    """The portfolio as far as it can be steered: lost devices have no power, autonomous ones are part of the load.

    What an autonomous EV or heat pump will have reached is taken off its floors, so that only what is really missing
    is reported.
    """
    steered = reach == Reach.CONTROLLED

    def cut(values: FloatArray, device: int) -> FloatArray:
        return np.where(steered[:, device, None], values, 0.0)

    some = (reach == Reach.AUTONOMOUS).any(axis=1)
    own = np.zeros((3, *p.load_kw.shape))
    own[:, some] = _led(p, some, alone, present_in(p))
    free = (reach == Reach.AUTONOMOUS)[:, :, None]
    return replace(
        p,
        load_kw=p.load_kw + alone[_EV] + alone[_HEAT_PUMP] - alone[_PV],
        pv_kw=cut(p.pv_kw, _PV),
        bat_charge_max_kw=cut(p.bat_charge_max_kw, _BATTERY),
        bat_discharge_max_kw=cut(p.bat_discharge_max_kw, _BATTERY),
        ev_max_kw=cut(p.ev_max_kw, _EV),
        hp_max_kw=cut(p.hp_max_kw, _HEAT_PUMP),
        ev_energy_min_kwh=np.where(free[:, _EV], p.ev_energy_min_kwh - own[_EV], p.ev_energy_min_kwh),
        ev_energy_max_kwh=np.where(free[:, _EV], p.ev_energy_max_kwh - own[_EV], p.ev_energy_max_kwh),
        th_min=np.where(free[:, _HEAT_PUMP], -np.inf, p.th_min),
        th_max=np.where(free[:, _HEAT_PUMP], np.inf, p.th_max),
    )


def _kept(p: Portfolio, earlier: Plan, state: State, now: int) -> Kept | None:
    """The rest of the earlier plan, with the homes of `p` (from `now` on) that it does not fit any more."""
    foreseen = State.foreseen(p, earlier, now)
    changed = (state.reach != Reach.CONTROLLED).any(axis=1)
    if now:
        stood = ((p.has_battery, "battery_kwh"), (p.has_ev, "ev_kwh"), (p.has_heat_pump, "thermal"))
        for has, name in stood:
            changed |= has & (np.abs(getattr(state, name) - getattr(foreseen, name)) > _ASTRAY)
    return Kept.of((earlier,), now, changed, _PATCHED)


def _spent(
    p: Portfolio, limits: Limits, tariffs: Tariffs, now: int, earlier: Plan | None, measured: FloatArray | None
) -> float:
    """EUR that the ISPs before `now` have cost, penalties included."""
    if not now:
        return 0.0
    net = measured if earlier is None or measured is not None else earlier.net_kw[:, :now]
    assert net is not None, "the past was checked"
    discharge = np.zeros_like(net) if earlier is None else earlier.bat_discharge_kw[:, :now]
    paid = Tariffs(tariffs.buy_eur_per_kwh[:, :now], tariffs.sell_eur_per_kwh[:, :now])
    excess = limits.excess_kw(limits.net_kw(p, np.pad(net, ((0, 0), (0, p.isps - now)))))
    excess[:, now:] = 0.0
    device = 0.0 if earlier is None else float(earlier.device_eur[:, :now].sum())
    return float(home_costs(p, paid, net, discharge).sum() + penalties(p, limits, excess).sum()) + device


def _join(
    p: Portfolio,
    limits: Limits,
    tariffs: Tariffs,
    so_far: tuple[int, Plan | None, FloatArray | None, float],
    tail: Plan,
    powers: FloatArray,
    states: FloatArray,
    lost: list[Shortfall],
    started: IntArray,
    began: float,
) -> Plan:
    """Past and future in one plan; every figure recomputed for the whole horizon."""
    now, earlier, measured, spent = so_far
    blank = np.zeros((p.homes, now))

    def past(name: str) -> FloatArray:
        return blank if earlier is None else np.asarray(getattr(earlier, name))[:, :now]

    def whole(name: str, future: FloatArray) -> FloatArray:
        return np.concatenate([past(name), future], axis=1)

    net = np.concatenate([past("net_kw") if measured is None else measured, tail.net_kw], axis=1)
    load = np.concatenate([past("load_kw") if earlier is not None else p.load_kw[:, :now], tail.load_kw], axis=1)
    # The tail's load holds what autonomous devices draw; in the plan that belongs to the devices again.
    load[:, now:] -= (powers[_EV] - tail.ev_kw) + (powers[_HEAT_PUMP] - tail.hp_kw) - (powers[_PV] - tail.pv_kw)
    battery = whole("battery_kw", powers[_BATTERY])
    violation = limits.excess_kw(limits.net_kw(p, net))
    violation[violation < 1e-9] = 0.0
    device = whole("device_eur", tail.device_eur)
    costs = home_costs(p, tariffs, net, np.maximum(-battery, 0.0)) + device
    penalty = penalties(p, limits, violation)
    bound, cost = spent + tail.bound_eur, float(costs.sum() + penalty.sum())
    home = [replace(s, isp=s.isp + now) for s in tail.problems if s.home is not None] + lost
    relaxed = [s for s in limit_problems(violation, limits) if s.isp >= now]
    price = np.zeros(limits.lo_kw.shape)
    if earlier is not None:
        price[:, :now] = earlier.price_eur_per_kwh[:, :now]
    price[:, now:] = tail.price_eur_per_kwh
    starts = started.copy()
    waiting = np.flatnonzero((started < 0) & (p.appliances.last >= now))
    starts[waiting] = np.where(tail.app_start >= 0, tail.app_start + now, -1)
    fields: dict[str, Any] = {"status": Status.HOME_INFEASIBLE} if home else {}
    return replace(
        tail,
        load_kw=load,
        battery_kw=battery,
        ev_kw=whole("ev_kw", powers[_EV]),
        hp_kw=whole("hp_kw", powers[_HEAT_PUMP]),
        pv_kw=whole("pv_kw", powers[_PV]),
        net_kw=net,
        battery_kwh=whole("battery_kwh", states[_BATTERY]),
        ev_kwh=whole("ev_kwh", states[_EV]),
        thermal=whole("thermal", states[_HEAT_PUMP]),
        app_start=starts,
        mode=np.concatenate([_modes_until(p, now, earlier), tail.mode], axis=1),
        device_eur=device,
        price_eur_per_kwh=price,
        multipliers=np.concatenate([np.zeros((p.homes, 4, now)), tail.multipliers], axis=2),
        violation_kw=violation,
        home_cost_eur=costs.sum(axis=1),
        penalty_eur=float(penalty.sum()),
        bound_eur=bound,
        gap=gap_of(cost, bound, p, tariffs),
        problems=(*home, *relaxed),
        cpu_s=time.process_time() - began,
        **fields,
    )
