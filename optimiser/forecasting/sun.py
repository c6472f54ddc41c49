"""PV from the clear sky (pvlib) times how clear it has been of late.

The sky is Ineichen's with a Linke turbidity of 3, on the plane of the modules (isotropic sky). Where their
orientation is not given, the one is taken whose clear days look most like the best the plant has shown (over the whole
history: a back-test knows the orientation, not the weather).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from optimiser.forecasting.days import Days, clock_grid
from optimiser.portfolio import FloatArray

__all__ = ["Site", "clear_sky", "expected"]

_TILTS = (5.0, 20.0, 35.0, 50.0, 90.0)
_AZIMUTHS = (90.0, 120.0, 150.0, 180.0, 210.0, 240.0, 270.0)
_HALF_LIFE_DAYS = 3.0
_TURBIDITY = 3.0
_BEST = 0.9
"""Quantile over days that stands for a clear one at its time of day."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where PV stands, degrees north and east; tilt from horizontal and azimuth (180 is south), both or neither.

    Raises:
        ValueError: a figure out of range, or one of tilt and azimuth without the other.
    """

    latitude: float
    longitude: float
    tilt: float | None = None
    azimuth: float | None = None

    def __post_init__(self) -> None:
        if not (-90 <= self.latitude <= 90 and -180 <= self.longitude <= 180):
            raise ValueError(f"no place on earth has latitude {self.latitude} and longitude {self.longitude}")
        if (self.tilt is None) != (self.azimuth is None):
            raise ValueError("tilt and azimuth are given together, or both are fitted")


def clear_sky(site: Site) -> Callable[[Days], FloatArray]:
    """From a history (D days) to W/m2 on the modules under a clear sky (D+1,n,S), the day after it included."""

    def sky(days: Days) -> FloatArray:
        light = _Light(site, days)
        if site.tilt is not None and site.azimuth is not None:
            plane = light.on(site.tilt, site.azimuth)
            return np.repeat(plane[:, :, None], days.grid.shape[2], axis=2)
        planes = np.stack([light.on(tilt, azimuth) for tilt, azimuth in product(_TILTS, _AZIMUTHS)])
        best = np.quantile(days.grid, _BEST, axis=0)
        shapes = np.quantile(planes[:, :-1], _BEST, axis=1)
        fit = (shapes @ best) / np.maximum((shapes**2).sum(axis=1), 1e-9)[:, None]
        error = np.abs(fit[:, None, :] * shapes[:, :, None] - best[None]).sum(axis=1)
        return np.moveaxis(planes[error.argmin(axis=0)], 0, 2)

    return sky


def expected(sky: FloatArray, power: FloatArray, wanted: range) -> FloatArray:
    """Power (K,n,S) of the wanted days: their clear sky `sky` (D+1,n,S) times the recent yield under it."""
    full = np.maximum(sky[: len(power)].sum(axis=1), 1e-9)
    clearness = power.sum(axis=1) / full
    out = []
    for k in wanted:
        weight = 0.5 ** (np.arange(k)[::-1] / _HALF_LIFE_DAYS)
        out.append(sky[k] * (weight @ clearness[:k]) / weight.sum())
    return np.stack(out)


class _Light:
    """Sun and clear sky at the middle of every ISP of the history and the day after it."""

    def __init__(self, site: Site, days: Days) -> None:
        from pvlib import atmosphere, clearsky, irradiance, spa

        self._days = days
        calendar = days.calendar
        self._dates = [days.date(k) for k in range(len(days) + 1)]
        middles = [start + calendar.isp / 2 for day in self._dates for start in calendar.starts(day)]
        seconds = np.array([middle.timestamp() for middle in middles])
        year = np.array([middle.timetuple().tm_yday for middle in middles])
        zenith, _, _, _, azimuth, _ = spa.solar_position(
            seconds, site.latitude, site.longitude, 0.0, 1013.25, 12.0, spa.calculate_deltat(2000, 1), 0.5667
        )
        extra = irradiance.get_extra_radiation(year)
        airmass = np.nan_to_num(atmosphere.get_relative_airmass(zenith), nan=40.0)
        with np.errstate(
            divide="ignore"
        ):  # the model divides by the sun's height and discards what that gives at night
            sky: Any = clearsky.ineichen(zenith, airmass, _TURBIDITY, dni_extra=extra)
        self._zenith, self._azimuth, self._sky = zenith, azimuth, sky

    def on(self, tilt: float, azimuth: float) -> FloatArray:
        """W/m2 (D+1,n) on a plane, by clock time."""
        from pvlib.irradiance import get_total_irradiance

        direct, level, diffuse = (self._sky[name] for name in ("dni", "ghi", "dhi"))
        total = get_total_irradiance(tilt, azimuth, self._zenith, self._azimuth, direct, level, diffuse)
        values, row, out = np.nan_to_num(np.asarray(total["poa_global"], float)), 0, []
        for day in self._dates:
            count = self._days.calendar.isps(day)
            out.append(clock_grid(self._days.calendar, day, values[row : row + count, None])[:, 0])
            row += count
        return np.stack(out)
