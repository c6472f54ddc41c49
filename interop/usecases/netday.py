"""A day of the low-voltage net in variants: what homes do, what flows through the net, and what it costs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

import optimiser
from interop.aggregator.forecast import Forecast
from interop.aggregator.homes import Unit, units
from interop.gridoperator.powerflow import Flow, Grid
from interop.scenarios import rural1
from interop.usecases.days import CALENDAR, Setting, View, records
from interop.usecases.measures import bills, leftover_eur
from interop.usecases.play import Lived, Loss, Outage, live, planned, unmanaged
from optimiser import Limits, Plan, Tariffs
from optimiser.forecasting import History, margins

__all__ = ["EVERY", "USABLE", "NetDay", "Outcome"]

Floats = NDArray[np.float64]
USABLE = 0.97
"""Of the transformer's rating: the rest is for losses."""
EVERY = 4
"""ISPs from one plan to the next."""
_H = CALENDAR.isp_hours


@dataclass(frozen=True, eq=False)
class Outcome:
    """A day as it was lived, the power flow of its 96 steps, cost of all homes, and energy beyond the limit."""

    lived: Lived
    flow: Flow
    cost_eur: float
    beyond_kwh: float

    @property
    def net_kw(self) -> Floats:
        """Of all homes (T,)."""
        return np.asarray(self.lived.net_kw.sum(axis=0))

    @property
    def congested(self) -> int:
        """ISPs in which the transformer or a line is beyond its rating."""
        return int(self.flow.congested.sum())

    @property
    def loading(self) -> float:
        """Of the transformer, at worst, in percent."""
        return 100 * float(self.flow.trafo_loading.max())

    @property
    def curtailed_kwh(self) -> float:
        """PV that was there and not used."""
        return float((self.lived.portfolio.pv_kw - self.lived.pv_kw).sum() * _H)

    @property
    def missing_kwh(self) -> float:
        """What cars lacked at their departure and heat stores below their band, each home at its worst."""
        return float((self.lived.ev_missing_kwh + self.lived.comfort_missing_kwh).sum())


@dataclass(frozen=True, eq=False)
class NetDay:
    """A day with all homes of the net; `before` are the days measured before it."""

    setting: Setting
    before: Forecast
    units: Sequence[Unit]
    view: View
    grid: Grid

    @classmethod
    def of(cls, setting: Setting) -> NetDay:
        before, real = (Forecast(part.load_kw, part.pv_kw) for part in (setting.history, setting.day))
        rows = list(units(rural1.homes_on(setting.day)))
        return cls(setting, before, rows, View.of(rows, records(before, setting), real), Grid(rural1.network()))

    @cached_property
    def reactive(self) -> Floats:
        """kvar (T, buses)."""
        return self._by_bus([load["bus"] for load in rural1.network()["load"]], self.setting.day.load_kvar.T)

    @cached_property
    def limits(self) -> Limits:
        """Net power that the transformer can carry, both ways."""
        room = np.sqrt((USABLE * self.grid.rating_kva) ** 2 - self.reactive.sum(axis=1) ** 2)
        return Limits(-room[None], room[None])

    def limits_with_margin(self, risk: float) -> Limits:
        """Limits that an hour-old forecast of the homes' power would have to keep, so that errors on either side go
        beyond the real ones with probability `risk`; they never ask for more than standstill."""
        loads = self.before.load_kw[:, [unit.home.load for unit in self.units if unit.first]]
        known = History(CALENDAR, records(self.before, self.setting).first, np.hstack([loads, -self.before.pv_kw]))
        below, above = margins(known, ahead=EVERY, risk=risk)
        return Limits(np.minimum(self.limits.lo_kw + below, 0.0), np.maximum(self.limits.hi_kw - above, 0.0))

    def idle(self) -> Outcome:
        """Nobody plans, batteries idle."""
        return self._told(unmanaged(self.view.truth, battery=False))

    def free(self) -> Outcome:
        """Each home plans for itself."""
        nothing = Limits.none(1, self.view.truth.isps)
        return self._told(
            live(self.view.truth, self.view.outlook, nothing, self._tariffs, every=EVERY, pools=self._each)
        )

    def limited(self, risk: float, losses: Sequence[Loss] = (), outage: Outage | None = None) -> Outcome:
        """Planned within the limits, with a margin."""
        return self._told(
            live(
                self.view.truth,
                self.view.outlook,
                self.limits_with_margin(risk),
                self._tariffs,
                every=EVERY,
                pools=self._each,
                held=self.limits,
                losses=losses,
                outage=outage,
            )
        )

    def foresight(self) -> tuple[Outcome, Plan]:
        """Planned within the limits by who knows the day, and that plan."""
        best = optimiser.plan(self.view.truth, self.limits, self._tariffs, gap=1e-5)
        return self._told(planned(self.view.truth, best)), best

    @property
    def _each(self) -> NDArray[np.int64]:
        return np.arange(len(self.units))

    @property
    def _tariffs(self) -> Tariffs:
        shape = self.view.truth.load_kw.shape
        return Tariffs(*(np.broadcast_to(price, shape) for price in rural1.prices()))

    def _told(self, lived: Lived) -> Outcome:
        buy, sell = rural1.prices()
        cost = bills(lived.net_kw, buy, sell, _H) + lived.wear_eur + leftover_eur(lived.leftover_kwh, buy, sell)
        beyond = self.limits.excess_kw(lived.net_kw.sum(axis=0, keepdims=True)).sum() * _H
        flow = self.grid.run(self._by_bus([unit.home.bus for unit in self.units], lived.net_kw), self.reactive)
        return Outcome(lived, flow, float(cost.sum()), float(beyond))

    def _by_bus(self, buses: list[int], values: Floats) -> Floats:
        """(T, buses) sums of values (K,T) that belong to `buses` (K)."""
        out = np.zeros((values.shape[1], len(self.grid.buses)))
        for bus, row in zip(buses, values, strict=True):
            out[:, self.grid.buses.index(bus)] += row
        return out
