"""Forecast baselines that need nothing but history: which day resembles the next one, and how wrong that tends to be.

History is rows of one ISP each, one column per series (S), whole local days in order. Days are compared by what the
local clock shows: a day of 92 ISPs has its missing hour interpolated, the hour that a day of 100 has twice is averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from datamodels import MarketCalendar
from optimiser.portfolio import FloatArray

__all__ = [
    "BASELINES",
    "Backtest",
    "Forecast",
    "History",
    "backtest",
    "clock_grid",
    "forecast",
    "from_clock_grid",
]

LEVELS = (0.1, 0.5, 0.9)
_DAY = timedelta(days=1)


@dataclass(frozen=True, eq=False)
class History:
    """Measurements of whole local days: `values` (rows,S) begin at the first ISP of local day `first`.

    Raises:
        ValueError: the rows are not a whole number of local days, or hold a value that is not finite.
    """

    calendar: MarketCalendar
    first: date
    values: FloatArray

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not len(self.values):
            raise ValueError(f"history has shape {self.values.shape}, not (rows,S) with at least one day")
        rows, day = 0, self.first
        while rows < len(self.values):
            rows += self.calendar.isps(day)
            day += _DAY
        if rows != len(self.values):
            raise ValueError(f"{len(self.values)} rows from {self.first} on do not end with a local day")
        if not np.isfinite(self.values).all():
            row, series = np.argwhere(~np.isfinite(self.values))[0]
            raise ValueError(f"row {row} of series {series} is not a finite number")

    @property
    def days(self) -> list[date]:
        """The local days that the rows cover."""
        days: list[date] = []
        rows = 0
        while rows < len(self.values):
            days.append(self.first + len(days) * _DAY)
            rows += self.calendar.isps(days[-1])
        return days

    def grid(self) -> FloatArray:
        """The days by clock time, (days, ISPs of a normal day, S)."""
        out, row = [], 0
        for day in self.days:
            count = self.calendar.isps(day)
            out.append(clock_grid(self.calendar, day, self.values[row : row + count]))
            row += count
        return np.stack(out)


def clock_grid(calendar: MarketCalendar, day: date, values: FloatArray) -> FloatArray:
    """One local day (isps,S) by clock time (n,S), n the ISPs of a day without a clock change."""
    slots = _slots(calendar, day)
    count = _normal(calendar)
    sums, hits = np.zeros((count, values.shape[1])), np.zeros(count)
    np.add.at(sums, slots, values)
    np.add.at(hits, slots, 1.0)
    out = sums / np.maximum(hits, 1.0)[:, None]
    known = np.flatnonzero(hits)
    for gap in np.flatnonzero(hits == 0):
        after = int(np.searchsorted(known, gap))
        left, right = known[max(after - 1, 0)], known[min(after, len(known) - 1)]
        share = (gap - left) / (right - left) if right > left else 0.0
        out[gap] = (1 - share) * out[left] + share * out[right]
    return out


def from_clock_grid(calendar: MarketCalendar, day: date, profile: FloatArray) -> FloatArray:
    """A profile by clock time (n,S) for the ISPs that the local day really has (isps,S)."""
    return np.asarray(profile[_slots(calendar, day)])


def _normal(calendar: MarketCalendar) -> int:
    return int(_DAY / calendar.isp)


def _slots(calendar: MarketCalendar, day: date) -> np.ndarray:
    """For each ISP of the local day, the ISP of a normal day at which the clock shows the same time."""
    local = [start.astimezone(calendar.zone) for start in calendar.starts(day)]
    minutes = np.array([t.hour * 60 + t.minute for t in local])
    return np.asarray(minutes // int(calendar.isp / timedelta(minutes=1)))


Baseline = Callable[[FloatArray], FloatArray]
"""From the past days (days,n,S), the latest last, to the next day (n,S)."""


def _mean_of(days: int) -> Baseline:
    return lambda past: past[-days:].mean(axis=0)


def _back(days: int) -> Baseline:
    return lambda past: past[-days] if len(past) >= days else past[-1]


def _same_weekday(past: FloatArray) -> FloatArray:
    alike = past[::-1][6::7][:4]
    return np.asarray(alike.mean(axis=0)) if len(alike) else past[-1]


def _blend(past: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (past[-7:].mean(axis=0) + past[-28:].mean(axis=0)))


BASELINES: Mapping[str, Baseline] = {
    "blend": _blend,
    "yesterday": _back(1),
    "last_week": _back(7),
    "mean_7": _mean_of(7),
    "mean_28": _mean_of(28),
    "weekday_4": _same_weekday,
}
"""Means of the last 7 and 28 days blended (the default), the day before, the day a week before, k-day means, and the
mean of the same weekday of four weeks. With less history than a baseline wants, it uses what there is."""


@dataclass(frozen=True, eq=False)
class Backtest:
    """How each baseline would have done on the last days, each day forecast from what came before it.

    `nmae` (methods,S): mean absolute error over mean absolute value (0 where a series is 0 throughout). `residuals`
    (methods,folds,n,S): actual - forecast. `chosen` (S,) indexes the best method of each series.
    """

    methods: tuple[str, ...]
    nmae: FloatArray
    residuals: FloatArray

    @property
    def chosen(self) -> np.ndarray:
        return np.asarray(self.nmae.argmin(axis=0))


def backtest(grid: FloatArray, methods: Sequence[str] = tuple(BASELINES), folds: int = 14) -> Backtest:
    """Forecast each of the last `folds` days of (days,n,S) from the days before it; fewer where history is short.

    Raises:
        ValueError: fewer than two days.
    """
    folds = min(folds, len(grid) - 1)
    if folds < 1:
        raise ValueError(f"a back-test needs two days of history, not {len(grid)}")
    tested = range(len(grid) - folds, len(grid))
    residuals = np.stack([[grid[d] - BASELINES[m](grid[:d]) for d in tested] for m in methods])
    scale = np.abs(grid[-folds:]).mean(axis=(0, 1))
    error = np.abs(residuals).mean(axis=(1, 2))
    return Backtest(tuple(methods), np.where(scale > 0, error / np.where(scale > 0, scale, 1.0), 0.0), residuals)


@dataclass(frozen=True, eq=False)
class Forecast:
    """`mean` (T,S) and `quantiles` (Q,T,S) at `levels`; `methods` names the baseline of each series."""

    mean: FloatArray
    quantiles: FloatArray
    levels: tuple[float, ...]
    methods: tuple[str, ...]


def forecast(
    history: History, *, method: str | None = None, levels: Sequence[float] = LEVELS, floor: float | None = 0.0
) -> Forecast:
    """The local day after the history, for each series by the baseline that did best of late, or by `method`.

    Quantiles are those of the errors the baseline made at about that time of day, around its forecast. Nothing falls
    below `floor` (None: no floor, for series that change sign).

    Raises:
        ValueError: there is no such method, or the history is shorter than two days.
    """
    if method is not None and method not in BASELINES:
        raise ValueError(f"no baseline {method!r}: it is one of {', '.join(BASELINES)}")
    grid, day = history.grid(), history.days[-1] + _DAY
    tested = backtest(grid, tuple(BASELINES) if method is None else (method,))
    series = np.arange(grid.shape[2])
    guesses = np.stack([BASELINES[m](grid) for m in tested.methods])
    mean = guesses[tested.chosen, :, series].T
    errors = tested.residuals[tested.chosen, :, :, series].transpose(1, 2, 0)
    quantiles = mean + _error_quantiles(errors, levels)
    if floor is not None:
        mean, quantiles = np.maximum(mean, floor), np.maximum(quantiles, floor)
    return Forecast(
        from_clock_grid(history.calendar, day, mean),
        np.stack([from_clock_grid(history.calendar, day, q) for q in quantiles]),
        tuple(levels),
        tuple(tested.methods[c] for c in tested.chosen),
    )


def _error_quantiles(errors: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Quantiles (Q,n,S) of errors (folds,n,S), taken over each ISP with its neighbours an hour to either side."""
    reach = min(4, errors.shape[1] // 2)
    around = np.concatenate([np.roll(errors, shift, axis=1) for shift in range(-reach, reach + 1)])
    return np.asarray(np.quantile(around, levels, axis=0))
