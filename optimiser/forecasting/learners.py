"""Ridge regression and gradient boosting (scikit-learn) on what the days before say about a time of day.

One model per series, fitted anew for every week that is forecast. For a single home plain means are better (the noise
of one kettle cannot be learnt); these are for sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from optimiser.forecasting.days import Days
from optimiser.portfolio import FloatArray

__all__ = ["LEAST_DAYS", "boosting", "ridge"]

LEAST_DAYS = 14
"""A week of lags and a week to learn from."""
_LAGS = 7
_REFIT_DAYS = 7
_ALPHA = 3.0
Clear = Callable[[Days], FloatArray]


def ridge(days: Days, wanted: range, clear: Clear | None = None) -> FloatArray:
    """Expected values (K,n,S)."""
    from sklearn.linear_model import Ridge

    return _learnt(days, wanted, clear, Ridge(alpha=_ALPHA))


def boosting(days: Days, wanted: range, clear: Clear | None = None) -> FloatArray:
    """Expected values (K,n,S): medians. On one thread: so little data is not worth waking others for."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    model = HistGradientBoostingRegressor(
        loss="absolute_error", max_iter=80, learning_rate=0.08, min_samples_leaf=20, random_state=0
    )
    with threadpool_limits(1):
        return _learnt(days, wanted, clear, model)


def _learnt(days: Days, wanted: range, clear: Clear | None, model: Any) -> FloatArray:
    """What a model expects of the wanted days (K,n,S), learnt from the days before the week they lie in."""
    scale = np.maximum(np.abs(days.grid[: wanted.start]).mean(axis=(0, 1)), 1e-9)
    sky = None if clear is None else clear(days)
    out = np.empty((len(wanted), *days.grid.shape[1:]))
    for s in range(days.grid.shape[2]):
        values = days.grid[:, :, s] / scale[s]
        light = None if sky is None else sky[:, :, s] / max(float(sky[:, :, s].max()), 1e-9)
        rows = {k: _features(days, values, light, k) for k in range(_LAGS, wanted.stop)}
        for week in _weeks(wanted):
            taught = range(_LAGS, week.start)
            x, y = np.concatenate([rows[k] for k in taught]), np.concatenate([values[k] for k in taught])
            seen = np.concatenate([days.known[k, :, s] for k in taught])
            model.fit(x[seen], y[seen])
            for k in week:
                out[k - wanted.start, :, s] = model.predict(rows[k]) * scale[s]
    return out


def _weeks(wanted: range) -> Iterator[range]:
    for begin in range(wanted.start, wanted.stop, _REFIT_DAYS):
        yield range(begin, min(begin + _REFIT_DAYS, wanted.stop))


def _features(days: Days, values: FloatArray, light: FloatArray | None, k: int) -> FloatArray:
    """(n, features) of day `k`: what the days before had at that time, the time of day, the kind of day, the sky."""
    past = values[:k]
    count = values.shape[1]
    angle = 2 * np.pi * (np.arange(count) + 0.5) / count
    alike = past[::-1][6::7][:4].mean(axis=0)
    week = past[-7:].mean(axis=0)
    around = (np.roll(week, 1) + np.roll(week, -1)) / 2
    weekday = days.date(k).weekday()
    kinds = [np.full(count, float(flag)) for flag in (weekday == 5, weekday == 6, weekday == 0)]
    turns = [f(m * angle) for m in (1, 2, 3) for f in (np.sin, np.cos)]
    columns = [past[-1], past[-7], week, around, alike, past[-28:].mean(axis=0), *turns, *kinds]
    columns += [np.full(count, past[-1].mean())]
    if light is not None:
        columns.append(light[k])
    return np.stack(columns, axis=1)
