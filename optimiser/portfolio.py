"""What the optimiser is given: homes with devices, the limits on their sum, and prices.

Import is positive; power is kW, energy kWh, prices EUR/kWh, time hours. N homes, T ISPs of `dt_h` hours (any T: a day
has 92, 96 or 100 quarter-hours), G congestion points, M appliances, D devices with modes. Arrays are float64, homes
first, and read-only once they are here. W exists at the edge only (`optimiser.edge`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from datamodels import Problem

__all__ = ["Appliances", "FloatArray", "InputError", "IntArray", "Limits", "Modes", "Portfolio", "Tariffs", "check"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_SHOWN = 5


class InputError(ValueError):
    """The input cannot be planned with; `problems` holds everything found, each with its index."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True, eq=False)
class Appliances:
    """M appliances that run once: appliance k of home `home[k]` draws `profile_kw[k, :length[k]]` from its start on.

    The start lies in `first`..`last` (0-based ISPs, both included) and the run ends within the horizon.
    """

    home: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    first: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    last: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    length: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    profile_kw: FloatArray = field(default_factory=lambda: np.zeros((0, 1)))

    def __post_init__(self) -> None:
        count = len(np.atleast_1d(self.home))
        problems: list[Problem] = []
        for name in ("home", "first", "last", "length"):
            _settle(self, name, (count,), np.int64, problems)
        profile = np.asarray(self.profile_kw, float)
        columns = profile.shape[1] if profile.ndim == 2 else 1
        _settle(self, "profile_kw", (count, columns), np.float64, problems)
        if problems:
            raise InputError(problems)

    def __len__(self) -> int:
        return len(self.home)

    def run_kw(self, starts: IntArray, homes: int, isps: int) -> FloatArray:
        """Power (homes, isps) of all appliances when each begins at `starts` (M,); -1 is not at all."""
        power = np.zeros((homes, isps))
        for k in np.flatnonzero(starts >= 0):
            begin, length = int(starts[k]), int(self.length[k])
            power[self.home[k], begin : begin + length] += self.profile_kw[k, :length]
        return power

    def take(self, homes: IntArray) -> Appliances:
        """Those of some homes, which are numbered anew in the order given."""
        at, number = _owned(self.home, homes)
        return Appliances(number, self.first[at], self.last[at], self.length[at], self.profile_kw[at])


@dataclass(frozen=True, eq=False)
class Modes:
    """D devices that are in one of K modes at any time (S2 "operation mode based control"): on/off, SG-Ready.

    Device d of home `home[d]` draws `power_kw[d,k]` in mode k, which costs `cost_eur_per_h[d,k]` beside the energy. A
    change from mode j to k costs `switch_eur[d,j,k]`, inf where there is none; k once entered lasts `stay[d,k]` ISPs
    or more. Before ISP 0 the device has been in mode `current[d]` for `held[d]` ISPs. It must be in modes other than 0
    for `run[d]` ISPs or more in all. What begins near the end of the horizon may go on after it.
    """

    home: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    power_kw: FloatArray = field(default_factory=lambda: np.zeros((0, 1)))
    cost_eur_per_h: FloatArray = field(default_factory=lambda: np.zeros((0, 1)))
    switch_eur: FloatArray = field(default_factory=lambda: np.zeros((0, 1, 1)))
    stay: IntArray = field(default_factory=lambda: np.zeros((0, 1), np.int64))
    run: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    current: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    held: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        count = len(np.atleast_1d(self.home))
        modes = np.shape(self.power_kw)[1] if np.ndim(self.power_kw) == 2 else 1
        problems: list[Problem] = []
        for name in ("home", "run", "current", "held"):
            _settle(self, name, (count,), np.int64, problems)
        for name in ("power_kw", "cost_eur_per_h"):
            _settle(self, name, (count, modes), np.float64, problems)
        _settle(self, "stay", (count, modes), np.int64, problems)
        _settle(self, "switch_eur", (count, modes, modes), np.float64, problems)
        if problems:
            raise InputError(problems)

    def __len__(self) -> int:
        return len(self.home)

    def after(self, past: NDArray[np.int8]) -> Modes:
        """The devices once they have been in the modes `past` (D,now)."""
        now = past.shape[1]
        if not (len(self) and now):
            return self
        current = past[:, -1].astype(np.int64)
        lasting = np.cumprod(past[:, ::-1] == current[:, None], axis=1).sum(axis=1)
        held = lasting + np.where((lasting == now) & (current == self.current), self.held, 0)
        return replace(self, current=current, held=held, run=np.maximum(self.run - (past > 0).sum(axis=1), 0))

    def take(self, homes: IntArray) -> Modes:
        """Those of some homes, which are numbered anew in the order given."""
        at, number = _owned(self.home, homes)
        return Modes(number, **{f.name: getattr(self, f.name)[at] for f in fields(self) if f.name != "home"})


def _owned(owner: IntArray, homes: IntArray) -> tuple[IntArray, IntArray]:
    """Which devices belong to some homes, in the order of the homes, and the new number of each one's home."""
    place = {int(home): n for n, home in enumerate(homes)}
    at = np.array(sorted(np.flatnonzero(np.isin(owner, homes)), key=lambda k: place[int(owner[k])]), np.int64)
    return at, np.array([place[int(home)] for home in owner[at]], np.int64)


_PER_HOME = (
    "bat_capacity_kwh",
    "bat_initial_kwh",
    "bat_final_min_kwh",
    "bat_efficiency",
    "bat_wear_eur_per_kwh",
    "ev_efficiency",
    "th_a",
    "th_initial",
)
_PER_ISP = (
    "pv_kw",
    "ev_max_kw",
    "ev_energy_min_kwh",
    "ev_energy_max_kwh",
    "th_b",
    "th_w",
    "th_min",
    "th_max",
)
_EITHER = ("imp_max_kw", "exp_max_kw", "bat_charge_max_kw", "bat_discharge_max_kw", "hp_max_kw")


@dataclass(frozen=True, eq=False, kw_only=True)
class Portfolio:
    """N homes over T ISPs. Fields marked * take (N,) or (N,T) and are kept as (N,T), so a rating may change by ISP.

    A device is absent where its capacity (battery), all its powers (EV) or its power (heat pump) is 0; its other
    fields are then ignored. Efficiencies are one-way. `load_kw` is what cannot be steered and may be negative.

    Raises:
        InputError: an array has the wrong shape.
    """

    dt_h: float
    load_kw: FloatArray  # (N,T)
    pv_kw: FloatArray  # (N,T), available; what is not used is curtailed
    group: IntArray  # (N,) 0..L-1: homes behind the same (innermost) congestion point
    imp_max_kw: FloatArray  # *
    exp_max_kw: FloatArray  # *
    bat_charge_max_kw: FloatArray  # * AC side
    bat_discharge_max_kw: FloatArray  # * AC side
    bat_capacity_kwh: FloatArray
    bat_initial_kwh: FloatArray
    bat_final_min_kwh: FloatArray
    bat_efficiency: FloatArray
    bat_wear_eur_per_kwh: FloatArray  # per kWh discharged
    ev_max_kw: FloatArray  # (N,T), 0 when unplugged
    ev_energy_min_kwh: FloatArray  # (N,T) cumulative floor
    ev_energy_max_kwh: FloatArray  # (N,T) cumulative ceiling
    ev_efficiency: FloatArray
    hp_max_kw: FloatArray  # *
    th_a: FloatArray  # state[t] = a state[t-1] + b[t] h[t] + w[t]
    th_b: FloatArray
    th_w: FloatArray
    th_initial: FloatArray
    th_min: FloatArray
    th_max: FloatArray
    appliances: Appliances = field(default_factory=Appliances)
    modes: Modes = field(default_factory=Modes)

    def __post_init__(self) -> None:
        load = np.array(self.load_kw, float)
        if load.ndim != 2:
            raise InputError([Problem("input.shape", "load_kw", f"has shape {load.shape}, not (N,T)")])
        homes, isps = load.shape
        problems: list[Problem] = []
        _settle(self, "load_kw", (homes, isps), np.float64, problems)
        _settle(self, "group", (homes,), np.int64, problems)
        for name in _PER_HOME:
            _settle(self, name, (homes,), np.float64, problems)
        for name in _PER_ISP:
            _settle(self, name, (homes, isps), np.float64, problems)
        for name in _EITHER:
            value = np.asarray(getattr(self, name), float)
            if value.shape == (homes,):
                column = value[:, None].copy()
                column.setflags(write=False)
                object.__setattr__(self, name, np.broadcast_to(column, (homes, isps)))
            _settle(self, name, (homes, isps), np.float64, problems)
        if problems:
            raise InputError(problems)

    @classmethod
    def of(cls, dt_h: float, load_kw: ArrayLike, **given: Any) -> Portfolio:
        """Homes with the given fields; what is not given is absent (no PV, no devices, group 0, 1 MW connection)."""
        load = np.asarray(load_kw, float)
        homes, isps = load.shape
        defaults: dict[str, Any] = dict.fromkeys(_PER_HOME + _EITHER, np.zeros(homes))
        defaults |= dict.fromkeys(_PER_ISP, np.zeros((homes, isps)))
        defaults |= dict.fromkeys(("bat_efficiency", "ev_efficiency", "th_a"), np.ones(homes))
        defaults |= dict.fromkeys(("imp_max_kw", "exp_max_kw"), np.full(homes, 1000.0))
        defaults |= {"group": np.zeros(homes, np.int64), "th_b": np.ones((homes, isps))}
        return cls(dt_h=dt_h, load_kw=load, **(defaults | given))

    @property
    def homes(self) -> int:
        return int(self.load_kw.shape[0])

    @property
    def isps(self) -> int:
        return int(self.load_kw.shape[1])

    @property
    def groups(self) -> int:
        return int(self.group.max()) + 1 if self.homes else 0

    def take(self, homes: IntArray) -> Portfolio:
        """Some homes with all their devices; congestion points keep their numbers."""
        place = _place(homes)
        taken = {name: getattr(self, name)[place] for name in ARRAY_FIELDS}
        return replace(self, appliances=self.appliances.take(homes), modes=self.modes.take(homes), **taken)

    @property
    def has_battery(self) -> NDArray[np.bool_]:
        return self.bat_capacity_kwh > 0

    @property
    def has_ev(self) -> NDArray[np.bool_]:
        return np.asarray((self.ev_max_kw > 0).any(axis=1))

    @property
    def has_heat_pump(self) -> NDArray[np.bool_]:
        return np.asarray((self.hp_max_kw > 0).any(axis=1))

    def by_group(self, per_home: FloatArray) -> FloatArray:
        """Sums (G,T) of a per-home array (N,T)."""
        sums = np.zeros((self.groups, per_home.shape[1]))
        np.add.at(sums, self.group, per_home)
        return sums

    def tail(self, now: int) -> Portfolio:
        """The same homes from ISP `now` on; initial states, appliances and modes are left to the caller."""
        cut = {f: getattr(self, f)[:, now:] for f in ("load_kw", *_PER_ISP, *_EITHER)}
        return replace(self, appliances=Appliances(), modes=Modes(), **cut)


@dataclass(frozen=True, eq=False)
class Limits:
    """Bounds on the net power of each congestion point: `lo_kw`, `hi_kw` (G,T); +-inf is no limit.

    They are soft: each kWh outside costs `penalty_eur_per_kwh` (a number or (G,T), kept as (G,T)). `contains` (G,L)
    says which of the portfolio's L groups of homes lie behind which point, so that points may be nested (feeders under
    a transformer); by default point g is group g.
    """

    lo_kw: FloatArray
    hi_kw: FloatArray
    penalty_eur_per_kwh: FloatArray | float = 5.0
    contains: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.lo_kw)
        if len(shape) != 2:
            raise InputError([Problem("input.shape", "lo_kw", f"has shape {shape}, not (G,T)")])
        if np.ndim(self.penalty_eur_per_kwh) == 0:
            object.__setattr__(self, "penalty_eur_per_kwh", np.full(shape, self.penalty_eur_per_kwh, float))
        problems: list[Problem] = []
        for name in ("lo_kw", "hi_kw", "penalty_eur_per_kwh"):
            _settle(self, name, shape, np.float64, problems)
        if self.contains is not None:
            columns = np.shape(self.contains)[1] if np.ndim(self.contains) == 2 else shape[0]
            _settle(self, "contains", (shape[0], columns), np.bool_, problems)
        if problems:
            raise InputError(problems)

    @property
    def membership(self) -> NDArray[np.bool_]:
        """(G,L): which groups lie behind which point."""
        return np.eye(len(self.lo_kw), dtype=bool) if self.contains is None else self.contains

    def at_points(self, per_group: FloatArray) -> FloatArray:
        """Sums (G,T) at the points of what is given per group (L,T)."""
        return per_group if self.contains is None else np.asarray(self.contains.astype(float) @ per_group)

    def at_groups(self, per_point: FloatArray) -> FloatArray:
        """What all points around a group (L,T) add up to, as prices do."""
        return per_point if self.contains is None else np.asarray(self.contains.T.astype(float) @ per_point)

    def net_kw(self, p: Portfolio, net_kw: FloatArray) -> FloatArray:
        """Power (G,T) at the points when homes draw `net_kw` (N,T)."""
        return self.at_points(p.by_group(net_kw))

    @classmethod
    def none(cls, groups: int, isps: int) -> Limits:
        return cls(np.full((groups, isps), -np.inf), np.full((groups, isps), np.inf))

    @property
    def penalty(self) -> FloatArray:
        """EUR/kWh (G,T)."""
        return np.asarray(self.penalty_eur_per_kwh)

    @property
    def limited(self) -> NDArray[np.bool_]:
        """Where (G,T) there is a limit at all."""
        return np.isfinite(self.lo_kw) | np.isfinite(self.hi_kw)

    def tail(self, now: int) -> Limits:
        return Limits(self.lo_kw[:, now:], self.hi_kw[:, now:], self.penalty[:, now:], self.contains)

    def excess_kw(self, group_kw: FloatArray) -> FloatArray:
        """How far (G,T) a point's power lies outside its limits; never negative."""
        return np.maximum(np.maximum(group_kw - self.hi_kw, self.lo_kw - group_kw), 0.0)


@dataclass(frozen=True, eq=False)
class Tariffs:
    """Prices of import and export, (N,T) EUR/kWh; `sell` never above `buy`, or import and export would run at once."""

    buy_eur_per_kwh: FloatArray
    sell_eur_per_kwh: FloatArray

    def __post_init__(self) -> None:
        shape = np.shape(self.buy_eur_per_kwh)
        problems: list[Problem] = []
        for name in ("buy_eur_per_kwh", "sell_eur_per_kwh"):
            _settle(self, name, shape, np.float64, problems)
        if problems:
            raise InputError(problems)

    def take(self, homes: IntArray) -> Tariffs:
        """Those of some homes."""
        place = _place(homes)
        return Tariffs(self.buy_eur_per_kwh[place], self.sell_eur_per_kwh[place])

    def tail(self, now: int) -> Tariffs:
        return Tariffs(self.buy_eur_per_kwh[:, now:], self.sell_eur_per_kwh[:, now:])


def _place(homes: IntArray) -> slice | IntArray:
    """An index of some homes: a slice, which copies nothing, where they follow each other."""
    if not len(homes):
        return homes
    first = int(homes[0])
    follow = np.array_equal(homes, np.arange(first, first + len(homes)))
    return slice(first, first + len(homes)) if follow else homes


def check(portfolio: Portfolio, limits: Limits, tariffs: Tariffs) -> list[Problem]:
    """Everything that makes the input unusable, with its index [home, isp] (both counted from 0)."""
    return list(_check(portfolio, limits, tariffs))


def _check(p: Portfolio, limits: Limits, tariffs: Tariffs) -> Iterator[Problem]:
    if not p.homes or not p.isps:
        yield Problem("input.empty", "load_kw", f"{p.homes} homes over {p.isps} ISPs leave nothing to plan")
        return
    if not (np.isfinite(p.dt_h) and p.dt_h > 0):
        yield Problem("input.duration", "dt_h", f"an ISP of {p.dt_h} h has no length")
    if tariffs.buy_eur_per_kwh.shape != (p.homes, p.isps):
        yield Problem("input.shape", "buy_eur_per_kwh", f"is {tariffs.buy_eur_per_kwh.shape}, not {p.load_kw.shape}")
        return
    missing = sorted(set(range(p.groups)) - set(p.group.tolist()))
    if int(p.group.min()) < 0 or missing:
        where = f"group {missing[0]}" if missing else "group"
        yield Problem("group.empty", where, "groups of homes are numbered from 0 and each has a member")
        return
    points, groups = limits.membership.shape
    if groups != p.groups or limits.lo_kw.shape[1] != p.isps:
        text = f"are {limits.lo_kw.shape} for {groups} groups, not {(points, p.isps)} for {p.groups}"
        yield Problem("input.shape", "limits", text)
        return
    yield from _check_finite(p, tariffs)
    for rule, where, bad, why in _rules(p, limits, tariffs):
        yield from _indexed(rule, where, bad, why)
    yield from _check_appliances(p)
    yield from _check_modes(p)


def _check_finite(p: Portfolio, tariffs: Tariffs) -> Iterator[Problem]:
    devices = {"bat": p.has_battery, "ev": p.has_ev, "th": p.has_heat_pump}
    for name in ("load_kw", "pv_kw", "imp_max_kw", "exp_max_kw", "hp_max_kw", "ev_max_kw", *_PER_HOME, *_PER_ISP):
        value = getattr(p, name)
        bad = np.isnan(value) if name in ("th_min", "th_max") else ~np.isfinite(value)
        present = devices.get(name.split("_")[0]) if not name.endswith("max_kw") else None
        if present is not None:
            bad = bad & (present if value.ndim == 1 else present[:, None])
        yield from _indexed("input.finite", name, bad, "is not a finite number")
    for name in ("bat_charge_max_kw", "bat_discharge_max_kw"):
        bad = ~np.isfinite(getattr(p, name)) & p.has_battery[:, None]
        yield from _indexed("input.finite", name, bad, "is not a finite number")
    for name in ("buy_eur_per_kwh", "sell_eur_per_kwh"):
        yield from _indexed("input.finite", name, ~np.isfinite(getattr(tariffs, name)), "is not a finite number")


def _rules(p: Portfolio, limits: Limits, tariffs: Tariffs) -> Iterator[tuple[str, str, NDArray[np.bool_], str]]:
    with np.errstate(invalid="ignore"):
        for name in ("pv_kw", *_EITHER, "ev_max_kw", "bat_capacity_kwh"):
            yield "input.negative", name, getattr(p, name) < 0, "is below zero"
        sells_above = tariffs.sell_eur_per_kwh > tariffs.buy_eur_per_kwh
        yield "tariff.order", "sell_eur_per_kwh", sells_above, "is above the buying price of the same ISP"
        yield "limit.order", "limits", limits.lo_kw > limits.hi_kw, "has its lower limit above the upper"
        unusable = (
            np.isnan(limits.lo_kw) | np.isnan(limits.hi_kw) | (limits.lo_kw == np.inf) | (limits.hi_kw == -np.inf)
        )
        yield "limit.finite", "limits", unusable, "is not a number (no limit is -inf below, +inf above)"
        bad_penalty = ~(np.isfinite(limits.penalty) & (limits.penalty >= 0))
        yield "limit.penalty", "penalty_eur_per_kwh", bad_penalty, "is not a finite number >= 0"
        for name, present in (
            ("bat_efficiency", p.has_battery),
            ("ev_efficiency", p.has_ev),
            ("th_a", p.has_heat_pump),
        ):
            value = getattr(p, name)
            yield "input.fraction", name, present & ~((value > 0) & (value <= 1)), "is not in (0, 1]"
        ev, heat = p.has_ev[:, None], p.has_heat_pump[:, None]
        crossed = ev & (p.ev_energy_min_kwh > p.ev_energy_max_kwh)
        yield "ev.order", "ev_energy_min_kwh", crossed, "is above ev_energy_max_kwh"
        yield "thermal.order", "th_min", heat & (p.th_min > p.th_max), "is above th_max"
        yield "thermal.gain", "th_b", heat & (p.th_b < 0), "is below zero"


def _check_appliances(p: Portfolio) -> Iterator[Problem]:
    a = p.appliances
    for k in range(len(a)):
        where, length = f"appliance[{k}]", int(a.length[k])
        if not 0 <= a.home[k] < p.homes:
            yield Problem("appliance.home", where, f"home {a.home[k]} is outside 0..{p.homes - 1}")
        if not 1 <= length <= a.profile_kw.shape[1]:
            yield Problem("appliance.length", where, f"length {length} is outside 1..{a.profile_kw.shape[1]}")
        elif not np.isfinite(a.profile_kw[k, :length]).all():
            yield Problem("input.finite", where, "its profile holds a value that is not a finite number")
        if a.first[k] < 0 or a.last[k] < a.first[k] or a.last[k] + length > p.isps:
            text = f"starts {a.first[k]}..{a.last[k]} with {length} ISPs do not fit into 0..{p.isps - 1}"
            yield Problem("appliance.window", where, text)


def _check_modes(p: Portfolio) -> Iterator[Problem]:
    m = p.modes
    for d in range(len(m)):
        where, modes = f"modes[{d}]", m.power_kw.shape[1]
        if not 0 <= m.home[d] < p.homes:
            yield Problem("mode.home", where, f"home {m.home[d]} is outside 0..{p.homes - 1}")
        if not 0 <= m.current[d] < modes:
            yield Problem("mode.current", where, f"mode {m.current[d]} is outside 0..{modes - 1}")
        if not (np.isfinite(m.power_kw[d]) & np.isfinite(m.cost_eur_per_h[d])).all():
            yield Problem("input.finite", where, "a power or cost is not a finite number")
        if np.isnan(m.switch_eur[d]).any() or (m.switch_eur[d] == -np.inf).any():
            yield Problem("input.finite", where, "what a change costs is not a number (inf: there is none)")
        if (m.stay[d] < 1).any() or m.held[d] < 0:
            yield Problem("mode.stay", where, "a mode lasts for at least one ISP, and none was held for less than none")
        if not 0 <= m.run[d] <= p.isps:
            yield Problem("mode.run", where, f"{m.run[d]} ISPs do not fit into 0..{p.isps}")


def _indexed(rule: str, name: str, bad: NDArray[np.bool_], why: str) -> Iterator[Problem]:
    places = np.argwhere(bad)
    for place in places[:_SHOWN]:
        yield Problem(rule, f"{name}[{', '.join(map(str, place))}]", why)
    if len(places) > _SHOWN:
        yield Problem(rule, name, f"{why} at {len(places) - _SHOWN} more places")


def _settle(owner: object, name: str, shape: tuple[int, ...], dtype: Any, problems: list[Problem]) -> None:
    """Keep a read-only copy of a field (itself where it cannot change), or note that its shape is wrong."""
    given = getattr(owner, name)
    value = given if _settled(given, dtype) else np.array(given, dtype)
    if value.shape != shape:
        problems.append(Problem("input.shape", name, f"has shape {value.shape}, not {shape}"))
        return
    value.setflags(write=False)
    object.__setattr__(owner, name, value)


def _settled(value: Any, dtype: Any) -> bool:
    """Whether nobody can write to the memory behind an array any more."""
    if not isinstance(value, np.ndarray) or value.dtype != dtype:
        return False
    while isinstance(value, np.ndarray):
        if value.flags.writeable:
            return False
        value = value.base
    return value is None


ARRAY_FIELDS = tuple(f.name for f in fields(Portfolio) if f.name not in ("dt_h", "appliances", "modes"))
PER_ISP_RATINGS = _EITHER
