"""Self-healing: homes cut off from the grid balance themselves until it comes back, and return to it smoothly.

While it lasts, the members' net powers add up to zero in every ISP, exactly and by construction: a small programme
decides with foresight which load the stored energy is kept for, and one forward pass makes that exact. Load is shed in
the order of priority; PV serves load first, then batteries, heat pumps, EVs; what nobody can take is curtailed. Floors
of EVs and rooms do not hold in an island: what they miss is reported, and made up for after the return. Nor need the
members' batteries end the day as full as they were meant to: the grid that has just come back is worth more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from datamodels import Problem
from optimiser.envelopes import Shortfall, shortfalls, stores
from optimiser.plans import Plan, Status, gap_of
from optimiser.portfolio import Appliances, FloatArray, InputError, IntArray, Limits, Portfolio, Tariffs
from optimiser.rolling import Reach, State, replan

__all__ = ["Island", "Islanded", "islanded"]

_KW = 1e-9
_ROUNDING = 1e-3
_TOLERANCE = 1e-6
_MOVED = (
    "load_kw",
    "pv_kw",
    "bat_charge_max_kw",
    "bat_discharge_max_kw",
    "bat_final_min_kwh",
    "ev_max_kw",
    "ev_energy_min_kwh",
    "ev_energy_max_kwh",
    "hp_max_kw",
    "th_min",
    "th_max",
    "th_w",
    "imp_max_kw",
)
_CLASSES = 8
_SOONER = 1e-2  # what load at the beginning weighs more than at the end
_STORED = 1e-3  # what a kWh still stored at the end of an ISP is worth, beside a kWh of the least load


@dataclass(frozen=True, eq=False)
class Island:
    """`members` (N,) are cut off from ISP `start` to before ISP `end` (from 0; `end` may be T).

    `priority` (N,): load of a higher one is shed later; equal ones share. After the return, a member's import grows to
    its connection's rating, and a room that is too cold back into its comfort band, over `ramp_isps`: all heat pumps at
    once would cut the feeder off again.
    """

    members: NDArray[np.bool_]
    start: int
    end: int
    priority: IntArray
    ramp_isps: int = 8


@dataclass(frozen=True, eq=False)
class Islanded:
    """`plan` for the whole day; `unserved_kw` (N,T) load that was shed (negative: generation that had to be cut);
    `black` (T,) ISPs in which no load of the island is served, though there is some."""

    plan: Plan
    unserved_kw: FloatArray
    black: NDArray[np.bool_]

    @property
    def unserved_kwh(self) -> FloatArray:
        """Energy not served per home (N,)."""
        return np.asarray(np.maximum(self.unserved_kw, 0.0).sum(axis=1) * self.plan.dt_h)


def islanded(
    portfolio: Portfolio,
    limits: Limits,
    tariffs: Tariffs,
    island: Island,
    *,
    state: State,
    earlier: Plan | None = None,
    measured_net_kw: FloatArray | None = None,
    gap: float = 1e-3,
    budget_s: float | None = None,
) -> Islanded:
    """The day planned again from `island.start` on, while some homes are on their own until `island.end`.

    `state` is where the homes stand at `island.start`; devices out of reach are not used in the island. All others, and
    the members from `end` on, are planned together as `replan` does, within the limits. In the island a home's load is
    its served load, what flows between homes costs what the tariffs say, and the sum over members is zero to rounding.
    Shed load, missed floors and appliances that wait are in the plan's `problems`, a sentence in its `notes`.

    Raises:
        InputError: as `replan`, or the island has no member, no ISP, or a priority of another shape.
    """
    problems = _check(portfolio, island)
    if problems:
        raise InputError(problems)
    members = np.flatnonzero(island.members)
    begun = _begun(portfolio, island, earlier)
    alone = _alone(portfolio, state, members, slice(island.start, island.end), begun)
    way = _balanced(alone, island.priority[members], _foreseen(alone, island.priority[members]))
    fixed, after = _returning(portfolio, island, state, members, way, begun)
    plan = replan(
        fixed,
        limits,
        tariffs,
        now=island.start,
        state=after,
        earlier=earlier,
        measured_net_kw=measured_net_kw,
        gap=gap,
        budget_s=budget_s,
    )
    return _told(portfolio, tariffs, island, state, members, way, plan)


def _check(p: Portfolio, island: Island) -> list[Problem]:
    problems = []
    if island.members.shape != (p.homes,) or not island.members.any():
        problems.append(Problem("island.members", "members", f"are not some of {p.homes} homes"))
    if np.shape(island.priority) != (p.homes,):
        problems.append(Problem("island.priority", "priority", f"has not {p.homes} values"))
    elif np.isin(p.modes.home, np.flatnonzero(island.members)).any():
        problems.append(Problem("island.modes", "modes", "devices with modes are not planned in an island"))
    if not 0 <= island.start < island.end <= p.isps:
        text = f"ISPs {island.start}..{island.end} are not within 0..{p.isps}"
        problems.append(Problem("island.isps", "start", text))
    return problems


def _begun(p: Portfolio, island: Island, earlier: Plan | None) -> IntArray:
    """Starts (M,) of the appliances that run already, -1 for others."""
    if earlier is None:
        return np.full(len(p.appliances), -1, np.int64)
    return np.where(earlier.app_start < island.start, earlier.app_start, -1)


def _alone(p: Portfolio, state: State, members: IntArray, window: slice, begun: IntArray) -> Portfolio:
    """The members in the island's ISPs, with only what can be steered, free of needs."""
    reach = state.reach[members] == Reach.CONTROLLED
    running = p.appliances.run_kw(begun, p.homes, p.isps)
    part = replace(p.take(members), appliances=Appliances())

    def cut(name: str, device: int) -> FloatArray:
        return np.where(reach[:, device, None], getattr(part, name), 0.0)[:, window]

    isps = window.stop - window.start
    nothing = np.zeros((members.size, isps))
    full = replace(
        part,
        load_kw=part.load_kw + running[members],
        bat_initial_kwh=np.where(part.has_battery, state.battery_kwh[members], 0.0),
        bat_final_min_kwh=np.zeros(members.size),
        th_initial=np.where(part.has_heat_pump, state.thermal[members], 0.0),
    )
    gone = np.where(part.has_ev, state.ev_kwh[members], 0.0)[:, None]
    short = {
        name: getattr(full, name)[:, window]
        for name in ("load_kw", "imp_max_kw", "exp_max_kw", "th_b", "th_w", "th_max")
    }
    return replace(
        full,
        **short,
        pv_kw=cut("pv_kw", 3),
        bat_charge_max_kw=cut("bat_charge_max_kw", 0),
        bat_discharge_max_kw=cut("bat_discharge_max_kw", 0),
        ev_max_kw=cut("ev_max_kw", 1),
        ev_energy_min_kwh=nothing,
        ev_energy_max_kwh=np.maximum(part.ev_energy_max_kwh[:, window] - gone, 0.0),
        hp_max_kw=cut("hp_max_kw", 2),
        th_min=np.full_like(nothing, -np.inf),
    )


def _foreseen(p: Portfolio, priority: IntArray) -> FloatArray:
    """Battery powers (K,T) kW, charging positive, that serve the most important load with foresight.

    Per class of priority and ISP there is load to shed; serving a kWh now may cost at most 1 / eta^2 kWh of another
    hour, so weights that grow faster than that from class to class put the higher class first, whatever it takes. Of
    equal hours the earlier is served: the grid may be back before it is expected. Where there are many priorities,
    neighbouring ones share the foresight (not the order of shedding): weights further apart are beyond a solver.
    """
    homes = np.flatnonzero(p.has_battery)
    isps, dt = p.isps, p.dt_h
    ranks = np.unique(priority)
    classes = np.array_split(ranks, min(_CLASSES, ranks.size))
    loads = np.stack([np.maximum(p.load_kw[np.isin(priority, c)], 0.0).sum(axis=0) for c in classes])
    spare = p.pv_kw.sum(axis=0) - np.minimum(p.load_kw, 0.0).sum(axis=0)
    k, n = len(classes), homes.size
    eta = p.bat_efficiency[homes]
    growth = 2.0 / min(1.0, float(eta.min() ** 2) if n else 1.0)
    # Columns: shed (k,T), surplus left unused (T), charge, discharge, energy (n,T each); rows: balance, energies.
    eye, none = sparse.eye_array(isps), sparse.csr_array((n * isps, (k + 1) * isps))
    step = eye - sparse.eye_array(isps, k=-1)
    balance = sparse.hstack(
        [sparse.hstack([-eye] * k), eye, *[eye] * n, *[-eye] * n, sparse.csr_array((isps, n * isps))]
    )
    energy = sparse.hstack(
        [
            none,
            sparse.block_diag([-dt * e * eye for e in eta]) if n else sparse.csr_array((0, 0)),
            sparse.block_diag([dt / e * eye for e in eta]) if n else sparse.csr_array((0, 0)),
            sparse.block_diag([step] * n) if n else sparse.csr_array((0, 0)),
        ]
    )
    right = np.zeros((n, isps))
    right[:, 0] = p.bat_initial_kwh[homes]
    weights = np.outer(growth ** np.arange(k), 1.0 + _SOONER * np.arange(isps, 0, -1) / isps).ravel()
    cost = np.concatenate([weights, np.zeros((1 + 2 * n) * isps), np.full(n * isps, -_STORED / isps)])
    capacity = np.repeat(np.maximum(p.bat_capacity_kwh, p.bat_initial_kwh)[homes], isps)
    rated = [p.bat_charge_max_kw[homes].ravel(), p.bat_discharge_max_kw[homes].ravel()]
    upper = np.concatenate([loads.ravel(), spare, *rated, capacity])
    matrix: Any = sparse.vstack([balance, energy]).tocsc()  # scipy's stubs know neither sparse matrices
    bounds: Any = np.column_stack([np.zeros_like(upper), upper])  # nor arrays of bounds
    wanted = np.concatenate([spare - loads.sum(axis=0), right.ravel()])
    result = linprog(cost, A_eq=matrix, b_eq=wanted, bounds=bounds, method="highs-ds")
    if result.x is None:
        raise ArithmeticError(f"shedding all load balances an island, but HiGHS finds no way: {result.message}")
    power = np.zeros((p.homes, isps))
    charge = np.split(result.x, np.cumsum([k * isps, isps, n * isps, n * isps]))[2:4]
    power[homes] = (charge[0] - charge[1]).reshape(n, isps)
    return power


@dataclass(frozen=True, eq=False)
class _Way:
    """What the members do in the island, (K,T) kW, and the states at the end of each ISP (kWh, kWh, K)."""

    battery_kw: FloatArray
    ev_kw: FloatArray
    hp_kw: FloatArray
    pv_kw: FloatArray
    unserved_kw: FloatArray
    battery_kwh: FloatArray
    ev_kwh: FloatArray
    thermal: FloatArray
    load_kw: FloatArray

    @property
    def net_kw(self) -> FloatArray:
        served = self.load_kw - self.unserved_kw
        return np.asarray(served + self.battery_kw + self.ev_kw + self.hp_kw - self.pv_kw)


def _balanced(p: Portfolio, priority: IntArray, wanted_kw: FloatArray) -> _Way:
    """ISP by ISP, powers within ratings, states and connections whose sum is zero; batteries near `wanted_kw` (K,T)."""
    classes = [np.flatnonzero(priority == c) for c in np.unique(priority)[::-1]]
    energy, driven, warmth = p.bat_initial_kwh, np.zeros(p.homes), p.th_initial
    steps = []
    for t in range(p.isps):
        now = _Isp.of(p, t, energy, driven, warmth)
        battery, ev, heat, pv, shed = now.shared(classes, wanted_kw[:, t])
        eta = p.bat_efficiency
        stored = energy + p.dt_h * np.where(battery > 0, eta * battery, battery / eta)
        energy = np.clip(stored, 0.0, np.maximum(p.bat_capacity_kwh, energy))
        driven = driven + p.dt_h * p.ev_efficiency * ev
        warmth = np.where(p.has_heat_pump, p.th_a * warmth + p.th_w[:, t] + p.th_b[:, t] * heat, 0.0)
        steps.append((battery, ev, heat, pv, shed, energy, driven, warmth, p.load_kw[:, t]))
    return _Way(*(np.stack(rows, axis=1) for rows in zip(*steps, strict=True)))


@dataclass(frozen=True, eq=False)
class _Isp:
    """What each home can take and give in one ISP, (K,) kW >= 0, so that no mix of it overloads its connection."""

    load: FloatArray
    charge: FloatArray
    heat: FloatArray
    ev: FloatArray
    pv: FloatArray
    own: FloatArray  # PV that the connection cannot export, but the home's load can use
    source: FloatArray  # unsteerable generation: load below zero
    discharge: FloatArray

    @classmethod
    def of(cls, p: Portfolio, t: int, energy: FloatArray, driven: FloatArray, warmth: FloatArray) -> _Isp:
        dt, eta, zero = p.dt_h, p.bat_efficiency, np.zeros(p.homes)
        room = np.maximum(p.bat_capacity_kwh - energy, 0.0)
        rise = np.where(p.has_heat_pump, p.th_max[:, t] - p.th_a * warmth - p.th_w[:, t], 0.0)
        load = np.maximum(p.load_kw[:, t], 0.0)
        own = np.minimum(load, np.maximum(p.pv_kw[:, t] - p.exp_max_kw[:, t], 0.0))
        takes = [
            load - own,
            np.where(p.has_battery, np.minimum(p.bat_charge_max_kw[:, t], room / (dt * eta)), 0.0),
            np.clip(rise / np.maximum(p.th_b[:, t], _KW), 0.0, p.hp_max_kw[:, t]),
            np.clip((p.ev_energy_max_kwh[:, t] - driven) / (dt * p.ev_efficiency), 0.0, p.ev_max_kw[:, t]),
        ]
        gives = [
            np.maximum(-p.load_kw[:, t], 0.0),
            p.pv_kw[:, t] - own,
            np.where(p.has_battery, np.minimum(p.bat_discharge_max_kw[:, t], energy * eta / dt), 0.0),
        ]
        for flows, most in ((takes, p.imp_max_kw[:, t]), (gives, p.exp_max_kw[:, t])):
            used = zero
            for n, flow in enumerate(flows):
                flows[n] = np.minimum(flow, np.maximum(most - used, 0.0))
                used = used + flows[n]
        load, charge, heat, ev = takes
        source, pv, discharge = gives
        return cls(load, charge, heat, ev, pv, own, source, discharge)

    def shared(self, classes: list[IntArray], wanted: FloatArray) -> tuple[FloatArray, ...]:
        """Battery, EV, heat pump, PV (K,), and what is shed: load by rising importance, or unwanted generation."""
        charge, discharge = np.clip(wanted, 0.0, self.charge), np.clip(-wanted, 0.0, self.discharge)
        pv, source = self.pv, self.source
        given = float((pv + source + discharge).sum())
        charge = charge * min(1.0, given / max(float(charge.sum()), _KW))
        left = given - float(charge.sum())
        if 0.0 < float(self.load.sum()) - left < _ROUNDING:  # the programme's own rounding is not worth a black-out
            discharge, unmet = _spread(float(self.load.sum()) - left, discharge, self.discharge)
            left = float(self.load.sum()) - unmet
        served = np.zeros_like(self.load)
        for homes in classes:
            served[homes], left = _spread(left, served[homes], self.load[homes])
        discharge, left = _spread(left, discharge, np.zeros_like(discharge))
        charge, left = _spread(left, charge, self.charge)
        heat, left = _spread(left, np.zeros_like(charge), self.heat)
        ev, left = _spread(left, np.zeros_like(charge), self.ev)
        pv, left = _spread(left, pv, np.zeros_like(pv))
        source, left = _spread(left, source, np.zeros_like(source))
        return charge - discharge, ev, heat, pv + self.own, (self.load - served) - (self.source - source)


def _spread(amount: float, now: FloatArray, most: FloatArray) -> tuple[FloatArray, float]:
    """`now` moved towards `most` by `amount` kW in all, in proportion to the way each has; and what is left."""
    way = most - now
    total = float(np.abs(way).sum())
    if amount <= 0.0 or total <= 0.0:
        return now, max(amount, 0.0)
    return now + way * min(1.0, amount / total), max(amount - total, 0.0)


def _returning(
    p: Portfolio, island: Island, state: State, members: IntArray, way: _Way, begun: IntArray
) -> tuple[Portfolio, State]:
    """The portfolio in which the members' island is a fact: their power in it given, their states held until `end`, and
    their import growing from then on."""
    window, later = slice(island.start, island.end), slice(island.end, island.end + island.ramp_isps)
    changed: dict[str, Any] = {name: np.array(getattr(p, name)) for name in _MOVED}
    place = np.ix_(members, np.arange(window.start, window.stop))
    net = way.net_kw
    running = p.appliances.run_kw(begun, p.homes, p.isps)
    changed["load_kw"][place] = net - running[place]
    for name in ("pv_kw", "bat_charge_max_kw", "bat_discharge_max_kw", "ev_max_kw", "hp_max_kw"):
        changed[name][place] = 0.0
    gone = np.where(p.has_ev[members], state.ev_kwh[members], 0.0)
    driven = gone + way.ev_kwh[:, -1]
    changed["ev_energy_min_kwh"][place] = 0.0
    changed["ev_energy_max_kwh"][members] = np.maximum(p.ev_energy_max_kwh[members], driven[:, None])
    changed["th_min"][place], changed["th_max"][place] = -np.inf, np.inf
    warm = way.thermal[:, -1]
    changed["th_w"][place] = ((1.0 - p.th_a[members]) * warm)[:, None]
    share = np.arange(1, island.ramp_isps + 1)[: p.isps - island.end] / (island.ramp_isps + 1)
    load = np.maximum(p.load_kw + running, 0.0)[members, later]
    changed["imp_max_kw"][members, later] = np.maximum(p.imp_max_kw[members, later] * share, load)
    floor = p.th_min[members, later]
    cold = np.where(np.isfinite(floor), np.minimum(warm[:, None] - floor, 0.0), 0.0)
    changed["th_min"][members, later] = floor + (1.0 - share) * cold
    changed["bat_final_min_kwh"][members] = np.minimum(p.bat_final_min_kwh[members], way.battery_kwh[:, -1])
    stood = {"battery_kwh": way.battery_kwh[:, -1], "ev_kwh": driven, "thermal": warm}
    after = {name: np.array(getattr(state, name)) for name in stood}
    for name, values in stood.items():
        after[name][members] = values
    return replace(p, appliances=_postponed(p, island, begun), **changed), replace(state, **after)


def _postponed(p: Portfolio, island: Island, begun: IntArray) -> Appliances:
    """Members' appliances that have not begun wait for the return, late if it must be; where even that is beyond the
    horizon, they draw nothing."""
    a = p.appliances
    waits = island.members[a.home] & (begun < 0)
    last = np.where(waits, np.minimum(np.maximum(a.last, island.end), p.isps - a.length), a.last)
    first = np.where(waits, np.minimum(np.maximum(a.first, island.end), last), a.first)
    profile = np.where((waits & (last < island.end))[:, None], 0.0, a.profile_kw)
    return Appliances(a.home, first, last, a.length, profile)


def _told(
    p: Portfolio, tariffs: Tariffs, island: Island, state: State, members: IntArray, way: _Way, plan: Plan
) -> Islanded:
    """The plan with the island's powers and states in it, and everything that was missed."""
    place = np.ix_(members, np.arange(island.start, island.end))
    gone = np.where(p.has_ev[members], state.ev_kwh[members], 0.0)[:, None]
    parts = {
        "battery_kw": way.battery_kw,
        "ev_kw": way.ev_kw,
        "hp_kw": way.hp_kw,
        "pv_kw": way.pv_kw,
        "battery_kwh": way.battery_kwh,
        "ev_kwh": way.ev_kwh + gone,
        "thermal": way.thermal,
        "load_kw": way.load_kw - way.unserved_kw,
    }
    whole: dict[str, Any] = {name: np.array(getattr(plan, name)) for name in parts}
    for name, values in parts.items():
        whole[name][place] = values
    wear = (p.dt_h * p.bat_wear_eur_per_kwh[members] * np.maximum(-way.battery_kw, 0.0).sum(axis=1)) * p.has_battery[
        members
    ]
    costs = plan.home_cost_eur.copy()
    costs[members] += wear
    bound = plan.bound_eur + float(wear.sum())
    unserved, black = np.zeros(p.load_kw.shape), np.zeros(p.isps, bool)
    unserved[place] = way.unserved_kw
    asked = np.maximum(way.load_kw, 0.0)
    dark = (asked.sum(axis=0) > _KW) & ((asked - way.unserved_kw).clip(min=0.0).sum(axis=0) <= _KW)
    black[island.start : island.end] = dark
    needs = stores(p)
    floors = needs.xmin[:, members, island.start :].copy()
    floors[1, :, island.end - island.start :] = -np.inf  # these, and rooms after the ramp, the plan sees to
    floors[2, :, island.end + island.ramp_isps - island.start :] = -np.inf
    reached = np.stack([whole[name][members, island.start :] for name in ("battery_kwh", "ev_kwh", "thermal")])
    missed = shortfalls(np.maximum(floors - reached, 0.0), "the island could not supply it")
    missed = [replace(s, home=int(members[s.home or 0]), isp=s.isp + island.start) for s in missed]
    missed += _shed(members, way.unserved_kw, island.start)
    a, late = p.appliances, plan.app_start > p.appliances.last
    missed += [
        Shortfall(int(a.home[k]), "appliance", int(a.last[k]), 1.0, "run", "it waits until the island is over")
        for k in np.flatnonzero(late)
    ]
    energy = float(np.maximum(way.unserved_kw, 0.0).sum() * p.dt_h)
    note = f"{members.size} homes are an island in ISPs {island.start}..{island.end - 1}: {energy:.2f} kWh not served"
    if dark.any():
        note += f", {int(dark.sum())} ISPs black"
    told = replace(
        plan,
        **whole,
        home_cost_eur=costs,
        bound_eur=bound,
        gap=gap_of(float(costs.sum()) + plan.penalty_eur, bound, p, tariffs),
        status=Status.HOME_INFEASIBLE if missed else plan.status,
        problems=(*missed, *plan.problems),
        notes=(*plan.notes, note),
    )
    return Islanded(told, unserved, black)


def _shed(members: IntArray, unserved_kw: FloatArray, start: int) -> list[Shortfall]:
    """The worst ISP of each home that load was shed in."""
    worst = unserved_kw.argmax(axis=1)
    return [
        Shortfall(int(members[i]), "load", start + int(worst[i]), float(unserved_kw[i, worst[i]]), "kW", "load is shed")
        for i in np.flatnonzero(unserved_kw.max(axis=1) > _TOLERANCE)
    ]
