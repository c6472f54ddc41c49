"""Homes of this process as one member of a negotiation: the local solver that every agent carries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from optimiser import central
from optimiser.columns import Column
from optimiser.planning import plan
from optimiser.plans import Plan, home_costs
from optimiser.portfolio import FloatArray, Limits, Portfolio, Tariffs
from optimiser.repair import Trajectories, repair

__all__ = ["InProcess"]

_ACCURACY = 1e-5
_FEW = 40
"""Homes that answer as one: up to here their linear programme is kept and only its prices change."""


class InProcess:
    """Homes of this process that answer as one member; `schedules` keeps what stands behind each answer, by round.

    Args:
        portfolio: the homes, all of one congestion point (group 0).

    Raises:
        InputError: as `optimiser.plan`.
    """

    def __init__(self, portfolio: Portfolio, tariffs: Tariffs) -> None:
        self.portfolio, self.tariffs = portfolio, tariffs
        self.schedules: list[Plan | Trajectories] = []
        self._free = Limits.none(1, portfolio.isps)
        self._first = plan(portfolio, self._free, tariffs, gap=_ACCURACY)
        self._model = central.build(portfolio, self._free, tariffs)
        self._simple = not (self._first.problems or self.whole) and portfolio.homes <= _FEW

    @property
    def whole(self) -> bool:
        """An appliance runs once, and a device is in one mode: it cannot do one half of this and one of that."""
        return len(self.portfolio.appliances) + len(self.portfolio.modes) > 0

    def __call__(self, price: FloatArray) -> Column:
        column, schedule = self.solve(price)
        self.schedules.append(schedule)
        return column

    def solve(self, price: FloatArray) -> tuple[Column, Plan | Trajectories]:
        """The cheapest schedule at a price (T,) on import, EUR/kWh, and what the coordinator is told of it."""
        return self._quick(price) if self._simple else self._planned(price)

    def _planned(self, price: FloatArray) -> tuple[Column, Plan | Trajectories]:
        prices = Tariffs(self.tariffs.buy_eur_per_kwh + price, self.tariffs.sell_eur_per_kwh + price)
        found = plan(self.portfolio, self._free, prices, gap=_ACCURACY)
        return self._column(found.net_kw, found.cost_eur, found.bound_eur, price), found

    def _quick(self, price: FloatArray) -> tuple[Column, Plan | Trajectories]:
        """The same for a few homes that can keep everything: only the prices in the programme change."""
        p, model = self.portfolio, self._model
        cost = model.cost.copy()
        for name, sign in (("m", 1.0), ("e", -1.0)):
            cost[model.columns[name]] += sign * p.dt_h * price[model.places[name][1]]
        raw = central.solve(replace(model, cost=cost), p)
        assert raw is not None, "homes without problems have a schedule"
        way = repair(
            p,
            self._free,
            charge_kw=raw.charge_kw,
            discharge_kw=raw.discharge_kw,
            ev_kw=raw.ev_kw,
            hp_kw=raw.hp_kw,
            pv_kw=raw.pv_kw,
        )
        own = float(home_costs(p, self.tariffs, way.net_kw, np.maximum(-way.battery_kw, 0.0)).sum())
        shifted = own + p.dt_h * float(price @ way.net_kw.sum(axis=0))
        return self._column(way.net_kw, shifted, raw.bound_eur, price), way

    def _column(self, net_kw: FloatArray, cost: float, bound: float, price: FloatArray) -> Column:
        net = net_kw.sum(axis=0)
        return Column(net, cost - self.portfolio.dt_h * float(price @ net), min(bound, cost))
