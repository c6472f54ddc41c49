"""Devices that choose (appliance starts, modes), decided at the coordinator's prices.

1. The interior point solves the relaxation in which a device may mix schedules. Most end up with one.
2. Every home where one did not is an integer programme of its own at the relaxation's prices, small enough to be solved
   exactly. Its choices go into the plan.
3. What these homes cost at least replaces what the relaxation says of them: the bound is then that of the Lagrangian in
   which only the congestion points' rows are relaxed. It holds for whole choices and is tighter than the linear one,
   which lets a wash fit the sun in part; what it leaves open shrinks with the number of homes.
4. Where a few homes share a tight limit, prices alone do not tell who goes first: small portfolios are then given to
   branch and bound as a whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from optimiser import central, interior
from optimiser.bounding import certain_bound
from optimiser.envelopes import Shortfall
from optimiser.interior import Carrier
from optimiser.plans import bill_scale
from optimiser.portfolio import Appliances, Limits, Modes, Portfolio, Tariffs
from optimiser.schedules import Choices, Held, Schedules

__all__ = ["Decision", "decisions", "fixed", "within_reach"]

_WHOLE = 0.95
_RELAXED, _HOME = 0.15, 0.1
"""Shares of the gap asked for that the relaxation and each home's branch and bound may leave."""
_SMALL = (40, 60)  # homes, devices up to which branch and bound over everything is worth trying
_PATIENCE_S = 20.0


@dataclass(frozen=True, eq=False)
class Decision:
    """What the devices do, and a bound (EUR) below which no choice gets the plan; -inf where none was found."""

    schedules: Schedules
    bound_eur: float


def fixed(p: Portfolio, schedules: Schedules) -> Portfolio:
    """The portfolio whose load includes the devices that have chosen."""
    load = p.load_kw.copy()
    np.add.at(load, Choices(p).home, schedules.power_kw)
    return replace(p, load_kw=load, appliances=Appliances(), modes=Modes())


def within_reach(p: Portfolio) -> tuple[Portfolio, list[Shortfall]]:
    """Devices with modes that are to run no longer than they can, and what is missing."""
    missing = Choices(p).short()[Choices(p).modes] if len(p.modes) else np.zeros(0, np.int64)
    if not missing.any():
        return p, []
    problems = [
        Shortfall(int(p.modes.home[d]), "modes", p.isps - 1, float(missing[d]), "ISPs", "it cannot run for so long")
        for d in np.flatnonzero(missing)
    ]
    return replace(p, modes=replace(p.modes, run=p.modes.run - missing)), problems


def decisions(
    p: Portfolio,
    limits: Limits,
    tariffs: Tariffs,
    *,
    gap: float,
    deadline: float | None,
    time_preference_eur_per_kwh: float,
    carrier: Carrier,
) -> Iterator[Decision]:
    """Decisions to plan the rest for; a further one where the first leaves too wide a gap and there is a better way.

    The homes' connections can carry everything but perhaps the devices. `deadline` in monotonic seconds.
    """
    raw = next(
        interior.candidates(
            p,
            limits,
            tariffs,
            gap=_RELAXED * gap,
            scale=bill_scale(p, tariffs),
            deadline=deadline,
            time_preference_eur_per_kwh=time_preference_eur_per_kwh,
            carrier=carrier,
        )
    )
    assert raw.held is not None, "homes with devices that choose hold schedules"
    yield _at_prices(p, limits, tariffs, raw, raw.held, gap, deadline)
    if p.homes <= _SMALL[0] and len(raw.held.share) <= _SMALL[1]:
        left = _PATIENCE_S if deadline is None else deadline - time.monotonic()
        if left > 0:
            schedules, bound = central.whole(central.build(p, limits, tariffs), gap=gap / 4, budget_s=left)
            if schedules is not None:
                yield Decision(schedules, bound)


def _at_prices(
    p: Portfolio,
    limits: Limits,
    tariffs: Tariffs,
    raw: central.Raw,
    held: Held,
    gap: float,
    deadline: float | None,
) -> Decision:
    """Each home's own best answer to the prices of the relaxation, where that mixes schedules."""
    choices, schedules = Choices(p), held.largest()
    split = np.unique(choices.home[held.share.max(axis=1) < _WHOLE])
    price = np.clip(raw.price_eur_per_kwh, -limits.penalty, limits.penalty)
    felt = limits.at_groups(price)[p.group]
    priced = Tariffs(tariffs.buy_eur_per_kwh + felt, tariffs.sell_eur_per_kwh + felt)
    alone, free = replace(p, group=np.zeros(p.homes, np.int64)), Limits.none(1, p.isps)
    least = choices.best(raw.multipliers[:, 0])[0]
    bound = certain_bound(p, limits, tariffs, price, raw.multipliers) + float(least.sum())
    for home in split:
        if deadline is not None and time.monotonic() > deadline:
            break
        one, own = np.array([home]), np.flatnonzero(choices.home == home)
        part, prices = alone.take(one), priced.take(one)
        model = central.build(part, free, prices)
        answer, proven = central.whole(model, gap=_HOME * gap, budget_s=_PATIENCE_S)
        if answer is None:
            continue
        schedules.put(own, answer)
        relaxed = certain_bound(part, free, prices, np.zeros((1, p.isps)), raw.multipliers[one]) + least[own].sum()
        bound += max(proven - relaxed, 0.0)
    return Decision(schedules, max(bound, raw.bound_eur))
