"""The central model: one linear programme for all homes, solved by HiGHS, with a bound that is certified here.

Variables exist only for devices that exist ("compact"). Per home and ISP

    m - e - c + d - v - h + g            = load       m, e import, export; c, d battery; v EV; h heat pump; g PV used
    E[t] - E[t-1] - eta D c + D/eta d    = 0          battery energy
    S[t] - S[t-1] - eta D v              = 0          EV energy
    X[t] - a X[t-1] - b h                = w          heat buffer
    sum of net - Y - over + under        = 0          per limited congestion point and ISP, lo <= Y <= hi

Devices that choose are a flow of 1 over the moves of `schedules`; `whole` decides them by branch and bound.

In the last row each home's net power is written as load + c - d + v + h - g, not as m - e: HiGHS needs a third less
time, because e then stands in one row only.

All boxes are finite, so *any* row multipliers give a lower bound on the optimum: the bound returned is computed from
the solver's multipliers, not believed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, linprog

from optimiser.portfolio import FloatArray, IntArray, Limits, Portfolio, Tariffs
from optimiser.quiet import milp
from optimiser.schedules import Choices, Held, Kind, Schedules

__all__ = ["POWERS", "Model", "Raw", "bound", "build", "coupling_box", "solve", "whole"]

POWERS = ("charge_kw", "discharge_kw", "ev_kw", "hp_kw", "pv_kw")
_ELASTIC_EUR_PER_KWH = 100.0
_FEASIBILITY = 1e-7


@dataclass(frozen=True, eq=False)
class Raw:
    """What a solver hands to the repair: device powers (N,T) kW, not yet exactly feasible, and what it proved.

    `excess_kw` (G,T) is the part of the limits that the solver chose to pay the penalty for. `multipliers` (N,4,T) of
    balance, battery, EV and heat buffer, in EUR per kW, kWh and K, are those of limits written with m - e; with the
    price they prove the bound (`bounding`).
    """

    charge_kw: FloatArray
    discharge_kw: FloatArray
    ev_kw: FloatArray
    hp_kw: FloatArray
    pv_kw: FloatArray
    excess_kw: FloatArray
    price_eur_per_kwh: FloatArray
    bound_eur: float
    iterations: int
    timed_out: bool = False
    held: Held | None = None
    multipliers: FloatArray = field(default_factory=lambda: np.zeros((0, 4, 0)))
    notes: tuple[str, ...] = ()


Places = tuple[IntArray, IntArray]  # homes and ISPs of a block of variables


@dataclass(frozen=True, eq=False)
class Model:
    """min cost.x, matrix x = rhs, lower <= x <= upper; `columns` and `places` say where which variable lives.

    `nudge` is added to the cost when solving, and left out of every figure reported.
    """

    cost: FloatArray
    nudge: FloatArray
    lower: FloatArray
    upper: FloatArray
    matrix: sparse.csc_matrix
    rhs: FloatArray
    columns: Mapping[str, IntArray]
    places: Mapping[str, Places]
    coupling: IntArray  # (G,T) row of the limit, -1 where there is none
    inside: NDArray[np.bool_]  # (G,N) which homes lie behind which point
    rows: Mapping[str, tuple[IntArray, IntArray]]  # homes (n,) and rows (n,T): balance "m", states "E", "S", "X"
    choices: Choices
    moves: IntArray  # (moves,4) of each variable "move": kind, device of that kind, move, ISP


class _Builder:
    """Collects variables and matrix entries, block by block. Rows: limits, then balances, then whatever is added."""

    def __init__(self, p: Portfolio, limits: Limits) -> None:
        limited = limits.limited
        self.coupling = np.where(limited, np.cumsum(limited).reshape(limited.shape) - 1, -1)
        self._felt = [
            np.where(inside[p.group, None], rows, -1)
            for inside, rows in zip(limits.membership, self.coupling, strict=True)
        ]
        self._rhs = [-limits.net_kw(p, p.load_kw)[limited], p.load_kw.ravel()]
        self._height = self._rhs[0].size
        self.balance = self._rows((p.homes, p.isps))
        self.columns: dict[str, IntArray] = {}
        self.places: dict[str, Places] = {}
        self.inside = limits.membership[:, p.group]
        self.rows = {"m": (np.arange(p.homes), self.balance)}
        self._width = 0
        self._blocks: list[list[FloatArray]] = []
        self._entries: list[tuple[IntArray, IntArray, FloatArray]] = []

    def add(self, name: str, at: Places, low: Any, high: Any, cost: Any = 0.0, nudge: Any = 0.0) -> IntArray:
        """A variable for each place; returns their columns."""
        block = np.arange(self._width, self._width + at[0].size)
        self._width += block.size
        self._blocks.append([np.broadcast_to(v, block.shape) for v in (low, high, cost, nudge)])
        self.columns[name], self.places[name] = block, at
        return block

    def put(self, rows: IntArray, columns: IntArray, values: Any) -> None:
        self._entries.append((rows, columns, np.broadcast_to(np.asarray(values, float), columns.shape)))

    def steer(self, at: Places, columns: IntArray, power: Any) -> None:
        """A device's power in the balance of its home and in the limits of its congestion points."""
        power = np.broadcast_to(power, columns.shape)
        self.put(self.balance[at], columns, -power)
        for point in self._felt:
            rows = point[at]
            felt = rows >= 0
            self.put(rows[felt], columns[felt], power[felt])

    def store(
        self, name: str, homes: IntArray, decay: FloatArray, low: FloatArray, high: FloatArray, start: FloatArray
    ) -> IntArray:
        """States x with rows x[t] - decay x[t-1] = 0 (`start` before ISP 0); returns the rows (homes,T)."""
        isps = low.shape[1]
        rows = self._rows((homes.size, isps))
        at = np.repeat(homes, isps), np.tile(np.arange(isps), homes.size)
        x = self.add(name, at, low.ravel(), high.ravel())
        self.rows[name] = homes, rows
        self.put(rows.ravel(), x, 1.0)
        later = at[1] > 0
        self.put(rows.ravel()[later], x[later] - 1, -np.repeat(decay, isps)[later])
        right = np.zeros(rows.shape)
        right[:, 0] = decay * start
        self._rhs.append(right.ravel())
        return rows

    def shift(self, values: FloatArray) -> None:
        """Add to the right-hand side of the rows added last."""
        self._rhs[-1] = self._rhs[-1] + values.ravel()

    def finish(self, choices: Choices, moves: IntArray) -> Model:
        rows, columns, values = (np.concatenate(parts) for parts in zip(*self._entries, strict=True))
        lower, upper, cost, nudge = (np.concatenate(parts) for parts in zip(*self._blocks, strict=True))
        rhs = np.concatenate(self._rhs)
        matrix = sparse.csc_matrix((values, (rows, columns)), shape=(rhs.size, self._width))
        return Model(
            cost,
            nudge,
            lower,
            upper,
            matrix,
            rhs,
            self.columns,
            self.places,
            self.coupling,
            self.inside,
            self.rows,
            choices,
            moves,
        )

    def rows_for(self, count: int) -> IntArray:
        """New rows; `right` gives their right-hand side."""
        return self._rows((count,))

    def right(self, values: FloatArray) -> None:
        """The right-hand side of the rows made last."""
        self._rhs.append(values.ravel())

    def _rows(self, shape: tuple[int, ...]) -> IntArray:
        rows = self._height + np.arange(int(np.prod(shape))).reshape(shape)
        self._height += rows.size
        return rows


def build(
    p: Portfolio,
    limits: Limits,
    tariffs: Tariffs,
    *,
    time_preference_eur_per_kwh: float = 0.0,
    elastic: bool = False,
) -> Model:
    """The compact programme. `elastic` lets connections be exceeded at a high price (to find out by how much)."""
    dt = p.dt_h
    out = _Builder(p, limits)
    everywhere = _where(np.ones_like(p.load_kw))
    balance = out.balance.ravel()
    rising = time_preference_eur_per_kwh * dt * np.arange(p.isps) / p.isps

    out.put(balance, out.add("m", everywhere, 0.0, p.imp_max_kw.ravel(), dt * tariffs.buy_eur_per_kwh.ravel()), 1.0)
    out.put(balance, out.add("e", everywhere, 0.0, p.exp_max_kw.ravel(), -dt * tariffs.sell_eur_per_kwh.ravel()), -1.0)
    if elastic:
        far = 10.0 * (1.0 + np.abs(p.load_kw).max() + p.ev_max_kw + p.hp_max_kw).ravel()
        out.put(balance, out.add("m_over", everywhere, 0.0, far, dt * _ELASTIC_EUR_PER_KWH), 1.0)
        out.put(balance, out.add("e_over", everywhere, 0.0, far, dt * _ELASTIC_EUR_PER_KWH), -1.0)
    at = _where(p.pv_kw > 0)
    out.steer(at, out.add("g", at, 0.0, p.pv_kw[at]), -1.0)
    _batteries(out, p, rising)
    _vehicles(out, p, rising)
    _heat_pumps(out, p)
    choices = Choices(p)
    moves = _devices(out, choices)
    limited = out.coupling >= 0
    if limited.any():
        at = _where(limited)
        rows = out.coupling[limited]
        low, high, span = (box[limited] for box in coupling_box(p, limits))
        penalty = (dt * limits.penalty)[limited]
        out.put(rows, out.add("Y", at, low, high), -1.0)
        out.put(rows, out.add("over", at, 0.0, span, penalty), -1.0)
        out.put(rows, out.add("under", at, 0.0, span, penalty), 1.0)
    return out.finish(choices, moves)


def _where(mask: NDArray[Any]) -> Places:
    homes, isps = np.nonzero(mask)
    return homes, isps


def _batteries(out: _Builder, p: Portfolio, rising: FloatArray) -> None:
    homes = np.flatnonzero(p.has_battery & ((p.bat_charge_max_kw + p.bat_discharge_max_kw) > 0).any(axis=1))
    floor = np.zeros((homes.size, p.isps))
    floor[:, -1] = p.bat_final_min_kwh[homes]
    ceiling = np.repeat(p.bat_capacity_kwh[homes, None], p.isps, axis=1)
    rows = out.store("E", homes, np.ones(homes.size), floor, ceiling, p.bat_initial_kwh[homes]).ravel()
    at = np.repeat(homes, p.isps), np.tile(np.arange(p.isps), homes.size)
    eta = p.bat_efficiency[at[0]]
    c = out.add("c", at, 0.0, p.bat_charge_max_kw[at], 0.0, rising[at[1]])
    d = out.add("d", at, 0.0, p.bat_discharge_max_kw[at], p.dt_h * p.bat_wear_eur_per_kwh[at[0]])
    out.steer(at, c, 1.0)
    out.steer(at, d, -1.0)
    out.put(rows, c, -eta * p.dt_h)
    out.put(rows, d, p.dt_h / eta)


def _vehicles(out: _Builder, p: Portfolio, rising: FloatArray) -> None:
    homes = np.flatnonzero(p.has_ev)
    none = np.zeros(homes.size)
    rows = out.store("S", homes, none + 1.0, p.ev_energy_min_kwh[homes], p.ev_energy_max_kwh[homes], none)
    own, isp = _where(p.ev_max_kw[homes] > 0)
    at = homes[own], isp
    v = out.add("v", at, 0.0, p.ev_max_kw[at], 0.0, rising[isp])
    out.steer(at, v, 1.0)
    out.put(rows[own, isp], v, -p.ev_efficiency[at[0]] * p.dt_h)


def _heat_pumps(out: _Builder, p: Portfolio) -> None:
    homes = np.flatnonzero(p.has_heat_pump)
    low, high = _thermal_box(p, homes)
    rows = out.store("X", homes, p.th_a[homes], low, high, p.th_initial[homes])
    out.shift(p.th_w[homes])
    own, isp = _where(p.hp_max_kw[homes] > 0)
    at = homes[own], isp
    h = out.add("h", at, 0.0, p.hp_max_kw[at])
    out.steer(at, h, 1.0)
    out.put(rows[own, isp], h, -p.th_b[at])


def _devices(out: _Builder, choices: Choices) -> IntArray:
    """Devices that choose: a flow of 1 along the moves from mode to mode; returns what the variables "move" stand for,
    (moves,4): kind, device of that kind, move, ISP."""
    found: list[tuple[int, int, int, int]] = []
    for number, kind in enumerate(choices.kinds):
        for n in range(kind.device.size):
            found += [(number, n, k, t) for k, t in _moves(kind, n, choices.isps)]
    moves = np.array(found, np.int64).reshape(-1, 4)
    homes = np.array([choices.home[choices.kinds[kind].device[n]] for kind, n in moves[:, :2]], np.int64)
    parts = [choices.kinds[kind].moves[k] for kind, k in moves[:, [0, 2]]]
    ends = np.array([min(t + move.isps, choices.isps) for move, t in zip(parts, moves[:, 3], strict=True)], np.int64)
    lasting = ends - moves[:, 3]
    cost = [move.once[n] + move.rate[n] * isps for move, n, isps in zip(parts, moves[:, 1], lasting, strict=True)]
    flow = out.add("move", (homes, moves[:, 3]), 0.0, 1.0, np.array(cost, float))
    for column, home, move, (_, n, _, t), end in zip(flow, homes, parts, moves, ends, strict=True):
        drawn = move.power_kw[n, : end - t]
        if drawn.any():
            out.steer((np.full(drawn.size, home), np.arange(t, end)), np.full(drawn.size, column), drawn)
    for number, kind in enumerate(choices.kinds):
        for n in range(kind.device.size):
            mine = np.flatnonzero((moves[:, 0] == number) & (moves[:, 1] == n))
            _route(out, kind, n, choices, flow[mine], moves[mine, 2:], ends[mine])
    return moves


def _moves(kind: Kind, n: int, isps: int) -> Iterator[tuple[int, int]]:
    """Moves (which, ISP) that device n of a kind may begin."""
    for k, move in enumerate(kind.moves):
        first = max(int(kind.begin[n]), int(move.first[n]))
        yield from ((k, t) for t in range(first, min(isps, int(move.last[n]) + 1)))


def _route(
    out: _Builder, kind: Kind, n: int, choices: Choices, flow: IntArray, moves: IntArray, ends: IntArray
) -> None:
    """Rows of one device: what goes into a mode at an ISP comes out again; what runs, runs long enough."""
    isps, count, begin = choices.isps, kind.running.size, int(kind.begin[n])
    home = int(choices.home[kind.device[n]])
    if begin:
        idle = out.add("idle", (np.array([home]), np.array([0])), 1.0, 1.0, kind.idle_rate[n] * min(begin, isps))
        at = np.full(min(begin, isps), home), np.arange(min(begin, isps))
        out.steer(at, np.repeat(idle, at[0].size), kind.idle_kw[n])
    if begin >= isps:
        return
    source = np.array([kind.moves[k].source for k in moves[:, 0]])
    target = np.array([kind.moves[k].target for k in moves[:, 0]])
    rows = out.rows_for((isps - begin) * count).reshape(-1, count)
    right = np.zeros(rows.shape)
    right[0, kind.mode[n]] = 1.0
    out.put(rows[moves[:, 1] - begin, source], flow, 1.0)
    inner = ends < isps
    out.put(rows[ends[inner] - begin, target[inner]], flow[inner], -1.0)
    out.right(right)
    stray = ~inner & ~kind.final[target]
    if stray.any():
        out.put(out.rows_for(int(stray.sum())), flow[stray], 1.0)
        out.right(np.zeros(int(stray.sum())))
    if kind.need[n]:
        row = out.rows_for(1)
        runs = kind.running[target]
        out.put(np.repeat(row, runs.sum()), flow[runs], (ends - moves[:, 1])[runs].astype(float))
        more = out.add("more", (np.array([home]), np.array([0])), 0.0, float(isps))
        out.put(row, more, -1.0)
        out.right(np.array([float(kind.need[n])]))


def whole(model: Model, *, gap: float, budget_s: float | None = None) -> tuple[Schedules | None, float]:
    """Branch and bound over what the devices choose: their schedules (None where none was found) and a proven bound."""
    kinds, moves = model.choices.kinds, model.moves
    integrality = np.zeros(model.cost.size, np.int64)
    changes = [kinds[kind].moves[k].source != kinds[kind].moves[k].target for kind, k in moves[:, [0, 2]]]
    integrality[model.columns["move"]] = changes
    options: Any = {"mip_rel_gap": gap}
    if budget_s is not None:
        options["time_limit"] = max(budget_s, 1e-3)
    result = milp(
        model.cost,
        integrality=integrality,
        bounds=Bounds(model.lower, model.upper),
        constraints=LinearConstraint(model.matrix, model.rhs, model.rhs),
        options=options,
    )
    proven = -np.inf if result.mip_dual_bound is None else float(result.mip_dual_bound)
    if result.x is None:
        return None, proven
    begun = moves[result.x[model.columns["move"]] > 0.5]
    out = Schedules.blank(len(model.choices), model.choices.isps)
    for number, kind in enumerate(kinds):
        for n, device in enumerate(kind.device):
            mine = begun[(begun[:, 0] == number) & (begun[:, 1] == n)]
            taken = [(int(t), int(k)) for _, _, k, t in mine]
            out.put(np.array([device]), kind.follow(model.choices.isps, n, taken))
    return out, proven


def bound(model: Model, multipliers: FloatArray) -> float:
    """Lower bound (EUR) that any row multipliers certify: rhs.y + the least of (cost - A'y).x over the boxes."""
    reduced = model.cost - model.matrix.T @ multipliers
    return float(model.rhs @ multipliers + np.where(reduced > 0, reduced * model.lower, reduced * model.upper).sum())


def solve(model: Model, p: Portfolio, *, budget_s: float | None = None) -> Raw | None:
    """Solve the programme; None where it is infeasible. Out of time, idle devices and a weak but true bound return."""
    matrix: Any = model.matrix  # scipy's stubs know neither sparse matrices nor arrays of bounds
    bounds: Any = np.column_stack([model.lower, model.upper])
    options: Any = {
        "primal_feasibility_tolerance": _FEASIBILITY,
        "dual_feasibility_tolerance": _FEASIBILITY,
    }
    if budget_s is not None:
        options["time_limit"] = max(budget_s, 1e-3)
    result = linprog(
        model.cost + model.nudge,
        A_eq=matrix,
        b_eq=model.rhs,
        bounds=bounds,
        method="highs-ds",
        options=options,
    )
    if result.status == 2:
        return None
    if result.status not in (0, 1):
        raise ArithmeticError(f"HiGHS gave up on {model.matrix.shape} rows and columns: {result.message}")
    timed_out = result.status == 1
    if result.x is None or timed_out:
        # The repair makes idle devices with all PV feasible, and any multipliers bound.
        x = model.lower.copy()
        x[model.columns["g"]] = model.upper[model.columns["g"]]
        return raw(model, p, x, np.zeros(model.rhs.size), timed_out=timed_out, iterations=int(result.nit))
    return raw(model, p, result.x, np.asarray(result.eqlin.marginals), iterations=int(result.nit))


def raw(
    model: Model, p: Portfolio, x: FloatArray, multipliers: FloatArray, *, iterations: int = 0, timed_out: bool = False
) -> Raw:
    """Put a point and its multipliers into the shape that the repair takes."""

    def power(name: str) -> FloatArray:
        full = np.zeros((p.homes, p.isps))
        full[model.places[name]] = x[model.columns[name]]
        return full

    price, excess = np.zeros(model.coupling.shape), np.zeros(model.coupling.shape)
    limited = model.coupling >= 0
    if limited.any():
        # HiGHS's marginal is the gain from one kW more room; the price is what one kW more import costs.
        price[limited] = -multipliers[model.coupling[limited]] / p.dt_h
        excess[limited] = x[model.columns["over"]] + x[model.columns["under"]]
    proofs = np.zeros((p.homes, 4, p.isps))
    for kind, name in enumerate("mESX"):
        homes, rows = model.rows[name]
        proofs[homes, kind] = multipliers[rows]
    proofs[:, 0] += p.dt_h * (model.inside.T.astype(float) @ price)
    return Raw(
        charge_kw=power("c"),
        discharge_kw=power("d"),
        ev_kw=power("v"),
        hp_kw=power("h"),
        pv_kw=power("g"),
        excess_kw=excess,
        price_eur_per_kwh=price,
        bound_eur=bound(model, multipliers),
        iterations=iterations,
        timed_out=timed_out,
        multipliers=proofs,
    )


def _thermal_box(p: Portfolio, homes: IntArray) -> tuple[FloatArray, FloatArray]:
    """The comfort band; where one side is open, what the heat pump can reach stands in (boxes must be finite)."""
    low, high = p.th_min[homes].copy(), p.th_max[homes].copy()
    bottom = top = p.th_initial[homes]
    for t in range(p.isps):
        drift = p.th_w[homes, t]
        bottom = p.th_a[homes] * bottom + drift
        top = p.th_a[homes] * top + drift + p.th_b[homes, t] * p.hp_max_kw[homes, t]
        low[:, t] = np.where(np.isfinite(low[:, t]), low[:, t], bottom - 1.0)
        high[:, t] = np.where(np.isfinite(high[:, t]), high[:, t], top + 1.0)
    return low, high


def coupling_box(p: Portfolio, limits: Limits) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Finite stand-ins for open limits: no point can import or export more than its homes' connections carry."""
    imports, exports = limits.net_kw(p, p.imp_max_kw), limits.net_kw(p, p.exp_max_kw)
    low = np.maximum(limits.lo_kw, np.minimum(-exports, limits.hi_kw))
    high = np.minimum(limits.hi_kw, np.maximum(imports, limits.lo_kw))
    return low, high, imports + exports + np.abs(low) + np.abs(high)
