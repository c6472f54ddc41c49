"""What was measured before, and the usual day it shows: right on days of 23, 24 and 25 hours."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodels import MarketCalendar

__all__ = ["History"]

Floats = NDArray[np.float64]
_DAYS = 7


class History:
    """Measured load and generation of consecutive whole local days.

    The file (npz) holds `start` (ISO date-time with offset, begin of a local day) and, with one row per ISP and one
    column per element, `load_kw`, `load_kvar` and (optional) `pv_kw`, all >= 0. A day has as many rows as the
    calendar gives it ISPs: 92, 96 or 100 of a quarter of an hour.

    Raises:
        ValueError: the rows do not begin and end with a local day, or differ in number.
    """

    def __init__(self, calendar: MarketCalendar, start: datetime, load_kw: Floats, load_kvar: Floats, pv_kw: Floats):
        if not len(load_kw) == len(load_kvar) == len(pv_kw):
            raise ValueError(f"load_kw, load_kvar and pv_kw have {len(load_kw)}, {len(load_kvar)}, {len(pv_kw)} rows")
        self.calendar = calendar
        self.load_kw, self.load_kvar, self.pv_kw = load_kw, load_kvar, pv_kw
        self._rows = _days(calendar, start, len(load_kw))

    @classmethod
    def read(cls, path: Path, calendar: MarketCalendar) -> History:
        """Read the file (ValueError as above, with the file's name)."""
        with np.load(path) as data:
            lacking = {"start", "load_kw", "load_kvar"} - set(data.files)
            if lacking:
                raise ValueError(f"{path}: {', '.join(sorted(lacking))} missing")
            start = datetime.fromisoformat(str(data["start"]))
            load_kw, load_kvar = (np.asarray(data[key], dtype=np.float64) for key in ("load_kw", "load_kvar"))
            pv_kw = np.asarray(data["pv_kw"], dtype=np.float64) if "pv_kw" in data else np.zeros((len(load_kw), 0))
        try:
            return cls(calendar, start, load_kw, load_kvar, pv_kw)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @property
    def days(self) -> list[date]:
        return list(self._rows)

    def usual(self, series: Floats, day: date) -> Floats:
        """(ISPs of `day`, columns) mean of a series over the last seven days, by the time on the clock.

        What a clock change makes a past day lack or have twice counts not at all, or with its mean.
        """
        total = np.zeros((_slots(self.calendar), series.shape[1]))
        counted = np.zeros((_slots(self.calendar), 1))
        for past in list(self._rows)[-_DAYS:]:
            slots = self._clock(past)
            times = np.bincount(slots, minlength=len(counted))[:, None]
            sums = np.zeros_like(total)
            np.add.at(sums, slots, series[self._rows[past]])
            total += sums / np.maximum(times, 1)
            counted += times > 0
        usual: Floats = (total / np.maximum(counted, 1))[self._clock(day)]
        return usual

    def _clock(self, day: date) -> NDArray[np.intp]:
        """For each ISP of a day, the number of ISP lengths since midnight that a clock on the wall shows."""
        zone, isp = self.calendar.zone, self.calendar.isp
        shown: Iterable[time] = (start.astimezone(zone).time() for start in self.calendar.starts(day))
        return np.array([timedelta(hours=t.hour, minutes=t.minute) // isp for t in shown], dtype=np.intp)


def _slots(calendar: MarketCalendar) -> int:
    return timedelta(days=1) // calendar.isp


def _days(calendar: MarketCalendar, start: datetime, rows: int) -> dict[date, slice]:
    """Which rows belong to which local day."""
    day, isp = calendar.locate(start)
    if isp != 1:
        raise ValueError(f"start {start.isoformat()} is not the begin of a day in {calendar.tz}")
    found: dict[date, slice] = {}
    position = 0
    while position < rows:
        found[day] = slice(position, position + calendar.isps(day))
        position += calendar.isps(day)
        day += timedelta(days=1)
    if position != rows or not found:
        raise ValueError(f"{rows} rows from {start.isoformat()} on do not end with a day in {calendar.tz}")
    return found
