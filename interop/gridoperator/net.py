"""A congestion point's net: power flow, and how a net power is spread over its buses on a day."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodels import IspSeries, MarketCalendar
from interop.gridoperator.congestion import Allocation, Assessment, assess
from interop.gridoperator.history import History
from interop.gridoperator.powerflow import Grid
from interop.gridoperator.represented import digits

__all__ = ["Net"]

Floats = NDArray[np.float64]


class Net:
    """The tables of a net (see `Grid`) with what was measured in it.

    An optional table `connection` (`address`, `bus`) says where connections are. Without it every connection counts
    as represented.
    """

    def __init__(self, tables: dict[str, Any], history: History) -> None:
        self.grid = Grid(tables)
        self.history = history
        self._tables = tables
        self._bus = {digits(row["address"]): row["bus"] for row in tables.get("connection", ())}
        self._addresses = tuple(row["address"] for row in tables.get("connection", ()))

    @classmethod
    def read(cls, network: Path, history: Path, calendar: MarketCalendar) -> Net:
        """From files (ValueError where one of them cannot be used)."""
        return cls(json.loads(network.read_text(encoding="utf-8")), History.read(history, calendar))

    @property
    def connections(self) -> tuple[str, ...]:
        """Addresses of the connections in the net, as far as the tables name them."""
        return self._addresses

    def unrepresented(self, represented: frozenset[str] | None) -> frozenset[int]:
        """Buses at which nobody represents a connection; none where it is not known who represents what, or where."""
        if represented is None:
            return frozenset()
        free = {bus for ean, bus in self._bus.items() if ean not in represented}
        return frozenset(free - {bus for ean, bus in self._bus.items() if ean in represented})

    def allocation(self, day: date, unrepresented: frozenset[int] = frozenset()) -> Allocation:
        """How net power is spread on a day: what nobody represents stays at its usual net power."""
        load = self._at_buses("load", self.history.usual(self.history.load_kw, day))
        generation = self._at_buses("pv", self.history.usual(self.history.pv_kw, day))
        installed = np.zeros(len(self.grid.buses))
        for pv in self._tables["pv"]:
            installed[self.grid.buses.index(pv["bus"])] += pv["p_rated_kw"]
        fixed = np.isin(self.grid.buses, list(unrepresented))
        # Without plants of those who prognose, what they generate comes from where they use power.
        usual = load.mean(axis=0)
        weights = (np.where(fixed, 0.0, installed), np.where(fixed, 0.0, usual), usual, np.ones_like(usual))
        share = next(w for w in weights if w.any())
        return Allocation(
            load_kw=np.where(fixed, 0.0, load),
            reactive_kvar=self._at_buses("load", self.history.usual(self.history.load_kvar, day)),
            generation_share=share / share.sum(),
            fixed_kw=np.where(fixed, load - generation, 0.0),
        )

    def assess(self, net: IspSeries, unrepresented: frozenset[int], reserve: float) -> Assessment:
        """Power flow at the net power that aggregators expect together (slow: run it outside the event loop)."""
        return assess(self.grid, self.allocation(net.period, unrepresented), net, reserve)

    def clears(self, net: IspSeries, unrepresented: frozenset[int], isps: Iterable[int]) -> bool:
        """Whether power flow at that net power finds none of the ISPs congested."""
        where = self.allocation(net.period, unrepresented)
        flow = self.grid.run(where.spread(net.array() / 1000.0), where.reactive_kvar)
        return not flow.congested[[k - 1 for k in isps]].any()

    def _at_buses(self, table: str, values: Floats) -> Floats:
        """(T, elements) -> (T, buses); a history without columns for the table counts as nothing."""
        out = np.zeros((len(values), len(self.grid.buses)))
        if values.shape[1]:
            for element in self._tables[table]:
                out[:, self.grid.buses.index(element["bus"])] += values[:, element["id"]]
        return out
