"""What a scenario is: homes and their devices, what was measured before, and what the day will really bring.

The aggregator and the grid operator are given `history` only. `day` is the truth: it drives the simulated devices and
judges the result, and no forecast may look at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodels import Contract, MarketCalendar
from interop.aggregator.homes import Battery, Home, Pv

__all__ = ["Aggregator", "Scenario", "Series"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Series:
    """Measured quarter-hours of consecutive local days: kW and kvar, rows x series, consumption and PV both >= 0."""

    start: datetime
    load_kw: Floats
    load_kvar: Floats
    pv_kw: Floats

    @property
    def days(self) -> int:
        return len(self.load_kw) // 96

    def part(self, first: int, last: int) -> Series:
        """Days `first`..`last` - 1, counted from 0."""
        rows = slice(first * 96, last * 96)
        start = self.start + first * timedelta(days=1)
        return Series(start, self.load_kw[rows], self.load_kvar[rows], self.pv_kw[rows])


@dataclass(frozen=True, slots=True)
class Aggregator:
    """Who represents which homes (by id), and how it prices what it moves for them."""

    name: str
    domain: str
    homes: tuple[str, ...]
    markup: Decimal = Decimal("0.2")
    eur_per_kwh: Decimal = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A grid, its homes, four weeks of history, one day of truth, and who trades there.

    `cro` is the domain of a common reference operator, None where the parties are configured with each other.
    """

    name: str
    title: str
    timezone: str
    period: date
    congestion_point: str
    network: dict[str, Any]
    homes: tuple[Home, ...]
    history: Series
    day: Series
    buy_eur_per_kwh: Floats
    sell_eur_per_kwh: Floats
    notice: str
    added: tuple[str, ...]
    folder: Path
    aggregators: tuple[Aggregator, ...]
    dso: str = "dso.example.org"
    cro: str | None = None
    contracts: tuple[Contract, ...] = ()

    @property
    def calendar(self) -> MarketCalendar:
        return MarketCalendar(self.timezone)

    def homes_of(self, aggregator: Aggregator) -> tuple[Home, ...]:
        """The homes that an aggregator represents."""
        return tuple(home for home in self.homes if home.id in aggregator.homes)

    @property
    def pvs(self) -> list[Pv]:
        return [pv for home in self.homes for pv in home.pvs]

    @property
    def batteries(self) -> list[Battery]:
        return [battery for home in self.homes for battery in home.batteries]
