"""The methods by name. Each forecasts days from the days before them, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from types import MappingProxyType

import numpy as np

from optimiser.forecasting import learners, sun
from optimiser.forecasting.days import Days
from optimiser.portfolio import FloatArray

__all__ = ["BASELINES", "Method", "catalogue"]


Method = Callable[[Days, range], FloatArray]
"""From a history and the indices of K days wanted (the last may be the day after it) to what was expected of each
(K,n,S), knowing only the days before it."""


def _from_past(rule: Callable[[FloatArray], FloatArray]) -> Method:
    return lambda days, wanted: np.stack([rule(days.grid[:k]) for k in wanted])


def _mean_of(count: int) -> Method:
    return _from_past(lambda past: np.asarray(past[-count:].mean(axis=0)))


def _back(count: int) -> Method:
    return _from_past(lambda past: past[-count] if len(past) >= count else past[-1])


def _same_weekday(past: FloatArray) -> FloatArray:
    alike = past[::-1][6::7][:4]
    return np.asarray(alike.mean(axis=0)) if len(alike) else past[-1]


def _blend(past: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (past[-7:].mean(axis=0) + past[-28:].mean(axis=0)))


BASELINES: Mapping[str, Method] = MappingProxyType(
    {
        "blend": _from_past(_blend),
        "yesterday": _back(1),
        "last_week": _back(7),
        "mean_7": _mean_of(7),
        "mean_28": _mean_of(28),
        "weekday_4": _from_past(_same_weekday),
    }
)
"""Means of the last 7 and 28 days blended (the default), the day before, the day a week before, k-day means, and the
mean of the same weekday of four weeks. With less history than a baseline wants, it uses what there is."""


def catalogue(days: int, site: sun.Site | None = None) -> dict[str, Method]:
    """Every method that is installed and can work with so many days before the first that it forecasts.

    `clear_sky` is there for a site only; the learners then see the clear sky too.
    """
    found = dict(BASELINES)
    clear = None
    if site is not None and find_spec("pvlib"):
        clear = sun.clear_sky(site)
        found["clear_sky"] = lambda days, wanted: sun.expected(clear(days), days.grid, wanted)
    if days >= learners.LEAST_DAYS and find_spec("sklearn"):
        found["ridge"] = lambda days, wanted: learners.ridge(days, wanted, clear)
        found["boosting"] = lambda days, wanted: learners.boosting(days, wanted, clear)
    return found
