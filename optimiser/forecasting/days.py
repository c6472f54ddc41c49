"""Histories as days: by what the local clock shows, gaps filled, clock changes evened out.

History is rows of one ISP each, one column per series (S), whole local days in order. A day of 92 ISPs has its missing
hour interpolated, the hour that a day of 100 has twice is averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from datamodels import MarketCalendar
from optimiser.portfolio import FloatArray, IntArray

__all__ = ["Days", "History", "clock_grid", "from_clock_grid"]

_DAY = timedelta(days=1)
_SHORT_GAP = 8


@dataclass(frozen=True, eq=False)
class Days:
    """What methods see: `grid` (D,n,S) of consecutive days from `first` on by clock time, without gaps.

    `known` (D,n,S) says which values were measured; the others were filled.
    """

    calendar: MarketCalendar
    first: date
    grid: FloatArray
    known: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.grid)

    def date(self, index: int) -> date:
        """The local day of row `index`; `len(self)` is the day after the history."""
        return self.first + index * _DAY


@dataclass(frozen=True, eq=False)
class History:
    """Measurements of whole local days: `values` (rows,S) begin at the first ISP of local day `first`; NaN is missing.

    Raises:
        ValueError: the rows are not a whole number of local days, a value is infinite, or a series holds none at all.
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
        if np.isinf(self.values).any():
            row, series = np.argwhere(np.isinf(self.values))[0]
            raise ValueError(f"row {row} of series {series} is not a finite number")
        empty = np.flatnonzero(np.isnan(self.values).all(axis=0))
        if empty.size:
            raise ValueError(f"series {empty[0]} holds no value at all")

    @property
    def following(self) -> date:
        """The local day after the history."""
        return self.days[-1] + _DAY

    @property
    def days(self) -> list[date]:
        """The local days that the rows cover."""
        days: list[date] = []
        rows = 0
        while rows < len(self.values):
            days.append(self.first + len(days) * _DAY)
            rows += self.calendar.isps(days[-1])
        return days

    def summed(self, group: IntArray) -> History:
        """One series per group: the sum of its members (a congestion point's load); `group` (S,) holds 0..G-1.

        An ISP in which a member is missing is missing.
        """
        sums = np.zeros((int(group.max()) + 1, len(self.values)))
        np.add.at(sums, group, self.values.T)
        return History(self.calendar, self.first, sums.T)

    def grid(self) -> FloatArray:
        """The days by clock time, (days, ISPs of a normal day, S), NaN where nothing was measured."""
        out, row = [], 0
        for day in self.days:
            count = self.calendar.isps(day)
            out.append(clock_grid(self.calendar, day, self.values[row : row + count]))
            row += count
        return np.stack(out)

    def filled(self) -> Days:
        """The days without gaps: up to two hours are interpolated, longer ones taken from the day before.

        What is missing before the first value of its time of day is taken from the first day that has it.
        """
        grid = self.grid()
        return Days(self.calendar, self.first, _fill(grid), ~np.isnan(grid))


def _fill(grid: FloatArray) -> FloatArray:
    out = grid.copy()
    for day, series in zip(*np.nonzero(np.isnan(grid).any(axis=1)), strict=True):
        _bridge(out[day, :, series])
    for ahead in (out, out[::-1]):
        for k in range(1, len(ahead)):
            gap = np.isnan(ahead[k])
            ahead[k][gap] = ahead[k - 1][gap]
    level = np.nanmean(out, axis=(0, 1))
    return np.where(np.isnan(out), level, out)


def _bridge(day: FloatArray) -> None:
    """Interpolate the short gaps of one day, in place."""
    missing = np.isnan(day)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], missing.astype(np.int8), [0]])))
    known = np.flatnonzero(~missing)
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if begin > 0 and end < len(day) and end - begin <= _SHORT_GAP:
            day[begin:end] = np.interp(np.arange(begin, end), known, day[known])


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


def _slots(calendar: MarketCalendar, day: date) -> IntArray:
    """For each ISP of the local day, the ISP of a normal day at which the clock shows the same time."""
    local = [start.astimezone(calendar.zone) for start in calendar.starts(day)]
    minutes = np.array([t.hour * 60 + t.minute for t in local])
    return np.asarray(minutes // int(calendar.isp / timedelta(minutes=1)))
