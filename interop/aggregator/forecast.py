"""Forecasts for a portfolio: per series from the history, and moved by what the day has shown so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import ArrayLike, NDArray

from datamodels import MarketCalendar
from interop.aggregator.homes import Home
from optimiser.forecasting import History, forecast
from optimiser.scoring import Persistence, intraday_update

__all__ = ["Forecast", "Records", "Seen", "forecast_day", "nowcast"]

Floats = NDArray[np.float64]

_PV_METHOD = "mean_7"
"""Without a weather forecast the mean of the last week is what served PV best over a year; four weeks cannot tell."""
_PV_WINDOW = 2


@dataclass(frozen=True, slots=True)
class Forecast:
    """Expected mean power per ISP of every load and PV series, (T, series) kW, both >= 0."""

    load_kw: Floats
    pv_kw: Floats

    @classmethod
    def of(cls, load_kw: ArrayLike, pv_kw: ArrayLike) -> Forecast:
        return cls(np.asarray(load_kw, float), np.asarray(pv_kw, float))


@dataclass(frozen=True, slots=True)
class Seen:
    """What the first ISPs of the day brought, up to and with the one that is running.

    Attributes:
        isps: how many.
        power_w: per resource, mean W of each finished ISP, None where nothing was measured.
        running_w: latest W of PV plants.
        limited: per PV plant and ISP, whether it was told to produce less than it might have.
    """

    isps: int
    power_w: Mapping[str, Sequence[float | None]]
    running_w: Mapping[str, float]
    limited: Mapping[str, Sequence[bool]]


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Mean power of whole local days from `first` on: one row per ISP, one column per series, kW >= 0."""

    first: date
    load_kw: Floats
    pv_kw: Floats

    def period(self, calendar: MarketCalendar) -> date:
        """The local day after them."""
        return calendar.locate(calendar.day_span(self.first)[0] + len(self.load_kw) * calendar.isp)[0]

    def then(self, day: Forecast) -> Records:
        """These and one day more."""
        return Records(self.first, np.vstack([self.load_kw, day.load_kw]), np.vstack([self.pv_kw, day.pv_kw]))


def forecast_day(calendar: MarketCalendar, records: Records) -> Forecast:
    """The day after the records.

    Loads by the baseline that did best of late, series by series; PV by the mean of the last week.
    """
    return Forecast(
        forecast(History(calendar, records.first, records.load_kw)).mean,
        forecast(History(calendar, records.first, records.pv_kw), methods=_PV_METHOD).mean,
    )


def nowcast(day_ahead: Forecast, last: Forecast, seen: Seen, homes: Sequence[Home]) -> Forecast:
    """The day-ahead forecast, moved by what was seen: PV in proportion, loads by their difference.

    A plant that was limited did not show what it could have done, and a gap shows nothing: there `last`, the forecast
    before this one, stands.
    """
    if seen.isps == 0:
        return day_ahead
    pv, load = last.pv_kw[: seen.isps].copy(), last.load_kw[: seen.isps].copy()
    for plant in (plant for home in homes for plant in home.pvs):
        values = [*seen.power_w[plant.id][: seen.isps - 1], seen.running_w.get(plant.id)]
        for k, (power, limited) in enumerate(zip(values, seen.limited[plant.id], strict=False)):
            if power is not None and not limited:
                pv[k, plant.series] = max(-power, 0.0) / 1000
    for home in homes:
        steered = [*(car.id for car in home.chargers), *(pump.id for pump in home.heat_pumps), *home.choosing]
        for k in range(min(seen.isps - 1, len(seen.power_w[home.id]))):
            parts = [seen.power_w[id][k] for id in (home.id, *steered)]
            if None not in parts:
                total, *devices = (p for p in parts if p is not None)
                load[k, home.load] = max(total - sum(devices), 0.0) / 1000
    return Forecast(
        intraday_update(day_ahead.load_kw, load, seen.isps),
        intraday_update(day_ahead.pv_kw, pv, seen.isps, persistence=Persistence.RATIO, window=_PV_WINDOW),
    )
