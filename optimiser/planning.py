"""From input to plan: check, find what is out of reach, solve, repair, recompute. One path for every caller."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from optimiser import central, interior
from optimiser.envelopes import Present, Shortfall, relax, shortfalls, stores
from optimiser.integer import Decision, decisions, fixed, within_reach
from optimiser.interior import Carrier
from optimiser.keeping import Kept, alone, patches
from optimiser.plans import Plan, assemble, bill_scale
from optimiser.portfolio import FloatArray, InputError, Limits, Portfolio, Tariffs, check
from optimiser.repair import PER_HOME, Trajectories, repair
from optimiser.schedules import Choices

__all__ = ["Ready", "diagnose", "gains_by_machine_code", "plan", "ready", "schedule"]

_EASE = 1e-9
_TOLERANCE = 1e-6
_ABOUT = 0.25
_ROOM_KW = 0.2
"""How far from the bounds of an earlier plan to begin (measured: less stalls, more takes more steps)."""
_DISTRIBUTED, _DISTRIBUTED_UNCOMPILED = 60, 250
"""From this many homes on the distributed method is quicker than HiGHS (measured, 96 ISPs)."""
_RESCUED = 300
"""Up to so many homes HiGHS answers within seconds where the distributed method has come to a halt."""


def plan(
    portfolio: Portfolio,
    limits: Limits,
    tariffs: Tariffs,
    *,
    gap: float = 1e-3,
    budget_s: float | None = None,
    seed: int = 0,
    time_preference_eur_per_kwh: float = 0.0,
    carrier: Carrier | None = None,
) -> Plan:
    """The cheapest schedule of all devices within the homes' needs and, at a penalty, the congestion points' limits.

    Args:
        gap: relative distance to the certified bound at which the search may stop.
        budget_s: wall seconds; when they are over, the best plan so far is returned with its gap.
        seed: for methods that draw; the central one draws nothing.
        time_preference_eur_per_kwh: what a kWh charged at the end of the horizon costs more than at its beginning.
            A tiny value (1e-5) makes the early one of equal plans the answer; it is in no figure reported.
        carrier: where homes are solved (`optimiser.cluster.carrier`); in this process by default.

    What cannot be met is planned at its best reachable value and told in `problems`.

    Raises:
        InputError: the input is contradictory or not finite; all problems with their index.
    """
    problems = check(portfolio, limits, tariffs)
    if problems:
        raise InputError(problems)
    return schedule(
        portfolio,
        limits,
        tariffs,
        gap=gap,
        budget_s=budget_s,
        time_preference_eur_per_kwh=time_preference_eur_per_kwh,
        carrier=carrier,
    )


def gains_by_machine_code(homes: int) -> bool:
    """Whether plans of so many homes are made by the method whose kernels numba compiles."""
    return homes >= _DISTRIBUTED


def diagnose(portfolio: Portfolio, limits: Limits, tariffs: Tariffs) -> list[Shortfall]:
    """Which homes, devices and limits cannot have what is asked, in which ISP, and how much is missing.

    Raises:
        InputError: as `plan`.
    """
    return list(plan(portfolio, limits, tariffs).problems)


@dataclass(frozen=True, eq=False)
class Ready:
    """Homes that can keep their needs, whatever the limits: `settled` where nothing is left to choose, with what had to
    be given up for it."""

    eased: Portfolio
    problems: tuple[Shortfall, ...]
    settled: Portfolio
    given_up: tuple[Shortfall, ...]


def ready(portfolio: Portfolio, tariffs: Tariffs, present: Present | None = None) -> Ready:
    """What all plans of the same homes begin with. `present`: see `schedule`."""
    eased, problems = relax(portfolio, present)
    if len(eased.appliances) or len(eased.modes):
        eased, unreached = within_reach(eased)
        return Ready(eased, (*problems, *unreached), eased, ())
    settled, given_up = _within_connections(eased, tariffs)
    return Ready(eased, tuple(problems), settled, tuple(given_up))


def schedule(
    portfolio: Portfolio,
    limits: Limits,
    tariffs: Tariffs,
    *,
    gap: float,
    budget_s: float | None,
    time_preference_eur_per_kwh: float,
    present: Present | None = None,
    spent_eur: float = 0.0,
    carrier: Carrier | None = None,
    kept: Kept | None = None,
    begin: Ready | None = None,
) -> Plan:
    """`plan` for input that is known to be sound. `present` says which homes have a battery, EV, heat pump even where
    their ratings are all 0 now, so that needs which died with a device are reported; `spent_eur` is what the day has
    cost already: the gap of a plan that keeps the limits is relative to the whole day. `kept` is an earlier answer that
    may still be good enough, `begin` what `ready` says of these homes, where that is known."""
    began, deadline = time.process_time(), None if budget_s is None else time.monotonic() + budget_s
    scale = bill_scale(portfolio, tariffs)
    begin = begin or ready(portfolio, tariffs, present)
    eased = begin.eased
    best: Plan | None = None
    done = False
    for device in _decisions(eased, limits, tariffs, gap, deadline, time_preference_eur_per_kwh, carrier):
        settled, more = begin.settled, [*begin.given_up]
        if device is not None:
            settled, more = _within_connections(fixed(eased, device.schedules), tariffs)
        for raw in _candidates(settled, limits, tariffs, gap, deadline, time_preference_eur_per_kwh, carrier, kept):
            way = _repaired(settled, limits, raw, excess_kw=raw.excess_kw)
            way = _connected(settled, limits, tariffs, way, raw.price_eur_per_kwh)
            bound = _proven(raw, device, more)
            asked = gap * kept.slack if kept and not raw.iterations else gap
            enough = asked * max(1.0, abs(spent_eur + bound) / max(abs(bound), scale))
            found = assemble(
                settled,
                limits,
                tariffs,
                way,
                chosen=None if device is None else (Choices(eased), device.schedules),
                price=raw.price_eur_per_kwh,
                multipliers=raw.multipliers,
                bound=bound,
                problems=[*begin.problems, *more, *_overloads(way.unkept_kw)],
                iterations=raw.iterations,
                cpu_s=time.process_time() - began,
                asked_gap=enough,
                notes=raw.notes,
            )
            if best is None or found.cost_eur <= best.cost_eur:
                best = found
            done = found.gap <= (asked if found.violation_kw.any() else enough)
            if done or (device is not None and _settled(found, raw, device, enough * max(abs(bound), scale))):
                break
        if done or more:
            break
    assert best is not None, "every method gives at least one candidate"
    if not done:
        told = f"the search ended at a gap of {best.gap:.1e} where {gap:g} was asked: this is the best certified plan"
        best = replace(best, notes=(*best.notes, told))
    return best


def _decisions(
    p: Portfolio,
    limits: Limits,
    tariffs: Tariffs,
    gap: float,
    deadline: float | None,
    nudge: float,
    carrier: Carrier | None,
) -> Iterator[Decision | None]:
    """What the devices that choose may do; one None where there are none."""
    if not (len(p.appliances) or len(p.modes)):
        yield None
        return
    yield from decisions(
        p,
        limits,
        tariffs,
        gap=gap,
        deadline=deadline,
        time_preference_eur_per_kwh=nudge,
        carrier=carrier or interior.in_process,
    )


def _settled(found: Plan, raw: central.Raw, device: Decision, enough_eur: float) -> bool:
    """Whether a plan is about the best there is for what the devices do: the rest is theirs."""
    return found.cost_eur - raw.bound_eur - float(device.schedules.own_eur.sum()) <= _ABOUT * enough_eur


def _proven(raw: central.Raw, device: Decision | None, overloads: list[Shortfall]) -> float:
    """The bound for all choices; where the connections cannot carry what the devices do, that for this choice alone."""
    if device is None:
        return raw.bound_eur
    if overloads or not np.isfinite(device.bound_eur):
        return raw.bound_eur + float(device.schedules.own_eur.sum())
    return device.bound_eur


def _candidates(
    p: Portfolio,
    limits: Limits,
    tariffs: Tariffs,
    gap: float,
    deadline: float | None,
    nudge: float,
    carrier: Carrier | None,
    kept: Kept | None,
) -> Iterator[central.Raw]:
    """Points to repair: what was kept, then those of the method that is quicker for so many homes; all certify a bound
    of their own. For other limits the distributed method begins at what was kept, and anew where that leads nowhere."""
    if kept and kept.promising:
        yield from patches(p, limits, tariffs, kept, nudge)
    halted = None
    if carrier or p.homes >= (_DISTRIBUTED if interior.compiled() else _DISTRIBUTED_UNCOMPILED):
        options: dict[str, Any] = {
            "gap": gap,
            "scale": bill_scale(p, tariffs),
            "deadline": deadline,
            "time_preference_eur_per_kwh": nudge,
        }
        if kept and kept.changed is None and not carrier:
            yield from interior.candidates(p, limits, tariffs, start=kept.answers[0], room_kw=_ROOM_KW, **options)
        yield from interior.candidates(p, limits, tariffs, carrier=carrier or interior.in_process, **options)
        if p.homes > _RESCUED or (deadline is not None and time.monotonic() > deadline):
            return
        halted = "the distributed method came to a halt: HiGHS solved the whole"
    left = None if deadline is None else deadline - time.monotonic()
    model = central.build(p, limits, tariffs, time_preference_eur_per_kwh=nudge)
    raw = central.solve(model, p, budget_s=left)
    if raw is None:
        raise ArithmeticError("every home can keep its own constraints, but HiGHS finds all together empty")
    yield raw if halted is None else replace(raw, notes=(halted,))


def _within_connections(p: Portfolio, tariffs: Tariffs) -> tuple[Portfolio, list[Shortfall]]:
    """The portfolio with needs that every home's connection can carry, and what had to be given up for it.

    A schedule that keeps every bound is looked for first; only homes for which that fails are looked into.
    """
    battery = p.has_battery[:, None]
    most = p.load_kw + p.ev_max_kw + p.hp_max_kw + battery * p.bat_charge_max_kw
    least = p.load_kw - p.pv_kw - battery * p.bat_discharge_max_kw
    suspect = np.flatnonzero(((most > p.imp_max_kw) | (-least > p.exp_max_kw)).any(axis=1))
    if not suspect.size:
        return p, []
    part = replace(p.take(suspect), group=np.zeros(suspect.size, np.int64))
    none = np.zeros_like(part.load_kw)
    free = Limits.none(1, p.isps)
    way = repair(part, free, charge_kw=none, discharge_kw=none, ev_kw=none, hp_kw=none, pv_kw=part.pv_kw)
    doubtful = suspect[way.unkept_kw.max(axis=1) > _TOLERANCE]
    if not doubtful.size:
        return p, []
    part = replace(p.take(doubtful), group=np.zeros(doubtful.size, np.int64))
    prices = tariffs.take(doubtful)
    if central.solve(central.build(part, free, prices), part) is not None:
        return p, []
    eased, problems = _respect_connections(part, prices)
    changed: dict[str, Any] = {}
    for name in ("bat_final_min_kwh", "ev_energy_min_kwh", "th_min", "imp_max_kw", "exp_max_kw"):
        changed[name] = np.array(getattr(p, name))
        changed[name][doubtful] = getattr(eased, name)
    return replace(p, **changed), [replace(s, home=int(doubtful[s.home or 0])) for s in problems]


def _repaired(p: Portfolio, limits: Limits, raw: central.Raw, **options: Any) -> Trajectories:
    return repair(
        p,
        limits,
        charge_kw=raw.charge_kw,
        discharge_kw=raw.discharge_kw,
        ev_kw=raw.ev_kw,
        hp_kw=raw.hp_kw,
        pv_kw=raw.pv_kw,
        **options,
    )


def _connected(
    p: Portfolio, limits: Limits, tariffs: Tariffs, way: Trajectories, price_eur_per_kwh: FloatArray
) -> Trajectories:
    """The trajectories with those homes planned exactly, each by itself at the prices, whose stores the repair led to
    where their connection is too small for them: envelopes do not know connections."""
    homes = np.flatnonzero(way.unkept_kw.max(axis=1) > _TOLERANCE)
    if not homes.size:
        return way
    part, raw = alone(p, limits, tariffs, homes, price_eur_per_kwh)
    if raw is None:
        return way
    own = _repaired(part, Limits.none(1, p.isps), raw)
    whole: dict[str, Any] = {name: np.array(getattr(way, name)) for name in PER_HOME}
    for name, values in whole.items():
        values[homes] = getattr(own, name)
    return replace(way, **whole)


def _respect_connections(p: Portfolio, tariffs: Tariffs) -> tuple[Portfolio, list[Shortfall]]:
    """Lower the needs that a home's connection cannot carry; where the load alone is too much, widen the connection.

    An elastic programme finds the least overload, a forward pass cuts EV and heat pump down to the connection, and what
    they reach then becomes the new floor: so the eased problem has a solution.
    """
    free = Limits.none(p.groups, p.isps)
    raw = central.solve(central.build(p, free, tariffs, elastic=True), p)
    if raw is None:
        raise ArithmeticError("needs within reach of each device have no schedule even without connection limits")
    way = _repaired(p, free, raw, connection_first=True)
    reached = np.stack([way.battery_kwh, way.ev_kwh, way.thermal])
    floors = stores(p).xmin
    problems = shortfalls(np.maximum(floors - reached, 0.0), "the connection cannot carry what its floor needs")
    problems += _overloads(way.unkept_kw)
    importing = way.net_kw > 0
    return (
        replace(
            p,
            bat_final_min_kwh=np.minimum(p.bat_final_min_kwh, way.battery_kwh[:, -1] - _EASE),
            ev_energy_min_kwh=np.minimum(p.ev_energy_min_kwh, way.ev_kwh - _EASE),
            th_min=np.minimum(p.th_min, way.thermal - _EASE),
            imp_max_kw=p.imp_max_kw + np.where(importing, way.unkept_kw, 0.0),
            exp_max_kw=p.exp_max_kw + np.where(importing, 0.0, way.unkept_kw),
        ),
        problems,
    )


def _overloads(unkept_kw: np.ndarray) -> list[Shortfall]:
    """The worst overload of each home's connection."""
    worst = unkept_kw.argmax(axis=1)
    return [
        Shortfall(
            int(i), "connection", int(worst[i]), float(unkept_kw[i, worst[i]]), "kW", "the connection is too small"
        )
        for i in np.flatnonzero(unkept_kw.max(axis=1) > _TOLERANCE)
    ]
