"""Options to offer for a request: what each level of help costs, found by planning again with the help as a limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodels import Problem
from optimiser.envelopes import Shortfall
from optimiser.keeping import Kept
from optimiser.planning import ready, schedule
from optimiser.plans import Plan
from optimiser.portfolio import FloatArray, InputError, IntArray, Limits, Portfolio, Tariffs, check
from optimiser.rolling import State, again, check_past

__all__ = ["PricedOption", "Request", "offers"]

_PENALTY_EUR_PER_KWH = 5.0
_FIRM = 10.0  # room that must not be exceeded weighs this much more than help that falls short
_HALF_W = 0.5  # a prognosis is rounded to whole W, and that must not make it break its own bounds
_TOLERANCE_W = 1.0
_LEAST_LEVEL = 0.5
_BETWEEN = 2.0  # gaps that a mixture of two plans may be off by: its price is in the middle all the same


@dataclass(frozen=True, eq=False)
class Request:
    """A request to congestion point 0: allowed deviation from its prognosis, W per ISP, +-inf where open.

    `requested` (T,) marks the ISPs with disposition Requested; `min_w`, `max_w` (T,) hold there and in Available ISPs.
    `prognosis_w` (T,) is what deviations count from; without it, the baseline plan. `limits` are absolute limits that
    hold besides, for all congestion points.

    Raises:
        InputError: wrong shapes, a bound that is not a number, a minimum above its maximum, or a requested ISP
            without a direction (UFTP: MinPower >= 0 or MaxPower <= 0).
    """

    requested: NDArray[np.bool_]
    min_w: FloatArray
    max_w: FloatArray
    limits: Limits | None = None
    prognosis_w: IntArray | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.requested)
        arrays = {"min_w": self.min_w, "max_w": self.max_w}
        if self.prognosis_w is not None:
            arrays["prognosis_w"] = np.asarray(self.prognosis_w, float)
        wrong = [n for n, a in arrays.items() if np.shape(a) != shape]
        problems = [Problem("request.shape", n, f"has shape {np.shape(arrays[n])}, not {shape}") for n in wrong]
        if not problems:
            for t in np.flatnonzero(~(self.min_w <= self.max_w)):
                text = f"minimum {self.min_w[t]} W is not at most the maximum {self.max_w[t]} W"
                problems.append(Problem("request.order", f"isp[{t}]", text))
            for t in np.flatnonzero(self.requested & (self.min_w < 0) & (self.max_w > 0)):
                text = "a requested ISP must ask for more or for less, not both"
                problems.append(Problem("request.direction", f"isp[{t}]", text))
        if problems:
            raise InputError(problems)

    @property
    def need_w(self) -> FloatArray:
        """Deviation (T,) that serves the request in full: the bound nearest to 0, or the far one where that is 0."""
        less = np.where(self.max_w < 0, self.max_w, np.where(np.isfinite(self.min_w), self.min_w, 0.0))
        more = np.where(self.min_w > 0, self.min_w, np.where(np.isfinite(self.max_w), self.max_w, 0.0))
        return np.where(self.requested, np.where(self.max_w <= 0, less, more), 0.0)


@dataclass(frozen=True, eq=False)
class PricedOption:
    """Help at `level` (0..1] of the need: `power_w` (T,) int W deviation, 0 outside the requested ISPs.

    `price_eur` is what the help costs more than the baseline, at most `price_error_eur` off the true cost curve: what a
    day costs lies between the bound and the cost of its plan, its middle is taken. `problems` says where it falls short
    of its level.
    """

    level: float
    price_eur: float
    price_error_eur: float
    power_w: IntArray
    plan: Plan
    problems: tuple[Shortfall, ...]


def offers(
    portfolio: Portfolio,
    tariffs: Tariffs,
    baseline: Plan,
    request: Request,
    k: int = 2,
    *,
    now: int = 0,
    state: State | None = None,
    gap: float = 1e-3,
    budget_s: float | None = None,
    seed: int = 0,
    time_preference_eur_per_kwh: float = 0.0,
) -> list[PricedOption]:
    """`k` options, the one that serves the need in full first, then less down to half of it; less never costs more.

    During the day, `now` is the first ISP that can still be changed and `state` the homes' state then; the price is
    then counted from the best plan for the rest of the day without the request. Help worth more than 5 EUR/kWh is not
    sought; what is out of reach is offered as far as it goes, with the missing W in `problems`. A request that asks
    for nothing gets one option: the baseline, at price 0. The plan that helps in full is within `gap`, those between it
    and the baseline within twice that.

    Raises:
        InputError: shapes do not fit, or the input is not sound.
        ValueError: `k` is below 1.
    """
    if k < 1:
        raise ValueError(f"at least one option is needed, not {k}")
    if request.requested.shape != (portfolio.isps,):
        text = f"covers {request.requested.size} ISPs, the portfolio {portfolio.isps}"
        raise InputError([Problem("request.shape", "requested", text)])
    past = np.arange(portfolio.isps) < now
    need = np.where(past, 0.0, request.need_w)
    if not need.any():
        return [PricedOption(1.0, 0.0, 0.0, np.zeros(portfolio.isps, np.int64), baseline, _too_late(request, past))]
    base_w = baseline.group_w[0] if request.prognosis_w is None else np.asarray(request.prognosis_w, np.int64)
    absolute = request.limits or Limits.none(portfolio.groups, portfolio.isps)

    then = state or State.foreseen(portfolio, baseline, now)
    problems = check(portfolio, absolute, tariffs) + check_past(portfolio, now, then, baseline, None)
    if problems:
        raise InputError(problems)

    whole_day = now == 0 and state is None
    homes = ready(portfolio, tariffs) if whole_day else None

    def solve(limits: Limits, gap: float, kept: Kept | None = None) -> Plan:
        options: dict[str, Any] = {
            "gap": gap,
            "budget_s": budget_s,
            "time_preference_eur_per_kwh": time_preference_eur_per_kwh,
            "kept": kept,
        }
        if whole_day:
            return schedule(portfolio, limits, tariffs, begin=homes, **options)
        options |= {"now": now, "state": then, "earlier": baseline, "measured_net_kw": None}
        return again(portfolio, limits, tariffs, **options)

    reference = baseline if whole_day else solve(absolute, gap)
    levels = np.linspace(_LEAST_LEVEL, 1.0, k) if k > 1 else np.ones(1)
    wants = [np.rint(level * need) for level in levels]
    bounds = [_at_level(request, absolute, base_w, wanted, past) for wanted in wants]
    ways = _along(solve, levels, bounds, reference, now, gap)
    options, dearest = [], 0.0
    for level, wanted, way in zip(levels, wants, ways, strict=True):
        delivered = way.group_w[0] - base_w
        power = np.where(wanted < 0, np.clip(delivered, wanted, 0.0), np.clip(delivered, 0.0, wanted)).astype(np.int64)
        dearest = max(dearest, round(_worth(way) - _worth(reference), 6))
        short = _falls_short(wanted, power) + _too_late(request, past) + _breaks_room(request, delivered, past)
        missed = tuple(s for s in way.problems if s.home is not None)
        options.append(
            PricedOption(float(level), dearest, _unsure(way) + _unsure(reference), power, way, missed + short)
        )
    return options[::-1]


def _along(
    solve: Callable[[Limits, float, Kept | None], Plan],
    levels: FloatArray,
    limits: Sequence[Limits],
    reference: Plan,
    now: int,
    gap: float,
) -> list[Plan]:
    """Plans at all levels: the greatest first, the others looked for between two that are known.

    What lies between two plans is a mixture of them where its own bound proves it good enough; else it is solved.
    """
    known = {0.0: reference, float(levels[-1]): solve(limits[-1], gap, Kept.of((reference,), now, None))}
    unchanged = np.zeros(len(reference.net_kw), bool)
    for level, at in list(zip(levels.tolist(), limits, strict=True))[:-1]:
        below = known[max(other for other in known if other < level)]
        above = known[min(other for other in known if other > level)]
        known[level] = solve(at, gap, Kept.of((below, above), now, unchanged, _BETWEEN))
    return [known[level] for level in levels.tolist()]


def _worth(plan: Plan) -> float:
    """What the homes pay (EUR) at the least, to the best of our knowledge: the middle between cost and bound."""
    return (plan.cost_eur + plan.bound_eur) / 2 - plan.penalty_eur


def _unsure(plan: Plan) -> float:
    return (plan.cost_eur - plan.bound_eur) / 2


def _at_level(
    request: Request, absolute: Limits, base_w: IntArray, wanted_w: FloatArray, past: NDArray[np.bool_]
) -> Limits:
    """Absolute limits under which congestion point 0 delivers at least `wanted_w` and keeps to the request's bounds."""
    low = np.where(past, -inf, request.min_w - _HALF_W)
    high = np.where(past, inf, request.max_w + _HALF_W)
    high = np.where(wanted_w < 0, wanted_w, high)
    low = np.where(wanted_w > 0, wanted_w, low)
    lo_kw, hi_kw, penalty = absolute.lo_kw.copy(), absolute.hi_kw.copy(), absolute.penalty.copy()
    lo_kw[0] = np.clip((base_w + low) / 1000.0, absolute.lo_kw[0], absolute.hi_kw[0])
    hi_kw[0] = np.clip((base_w + high) / 1000.0, absolute.lo_kw[0], absolute.hi_kw[0])
    firm = (wanted_w == 0) & (np.isfinite(low) | np.isfinite(high))
    penalty[0] = np.where(firm, _FIRM, 1.0) * _PENALTY_EUR_PER_KWH
    return Limits(lo_kw, np.maximum(lo_kw, hi_kw), penalty, absolute.contains)


def _falls_short(wanted_w: FloatArray, power_w: IntArray) -> tuple[Shortfall, ...]:
    missing = np.abs(wanted_w) - np.abs(power_w)
    return tuple(
        Shortfall(None, "request", int(t), float(missing[t]), "W", "the homes cannot deliver all that is asked")
        for t in np.flatnonzero(missing > _TOLERANCE_W)
    )


def _breaks_room(request: Request, delivered_w: IntArray, past: NDArray[np.bool_]) -> tuple[Shortfall, ...]:
    beyond = np.maximum(delivered_w - request.max_w, request.min_w - delivered_w)
    broken = ~request.requested & ~past & (beyond > _TOLERANCE_W)
    return tuple(
        Shortfall(None, "request", int(t), float(beyond[t]), "W", "the deviation leaves the room that is available")
        for t in np.flatnonzero(broken)
    )


def _too_late(request: Request, past: NDArray[np.bool_]) -> tuple[Shortfall, ...]:
    need = np.abs(request.need_w)
    return tuple(
        Shortfall(None, "request", int(t), float(need[t]), "W", "the ISP is over")
        for t in np.flatnonzero(past & (need > 0))
    )
