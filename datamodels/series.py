"""A day of power, one value per ISP, and its arithmetic.

Power is integer W averaged over the ISP, consumption positive, production negative. A value is `None` where the
series does not address the ISP: a FlexOrder touches some ISPs of a day, a prognosis touches all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

from datamodels import serial
from datamodels.calendar import MarketCalendar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["IspSeries", "Run", "check_spans"]


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of ISPs with one power: first ISP (1-based), number of ISPs, W. The wire form of a series."""

    start: int
    duration: int
    power_w: int


@dataclass(frozen=True, slots=True)
class IspSeries:
    """Power per ISP of one local day; always as long as the day, `None` where an ISP is not addressed.

    Raises:
        ValueError: the number of values is not the number of ISPs of the day.
    """

    calendar: MarketCalendar
    period: date
    power_w: tuple[int | None, ...]

    def __post_init__(self) -> None:
        expected = self.calendar.isps(self.period)
        if len(self.power_w) != expected:
            raise ValueError(f"{self.period} has {expected} ISPs, the series has {len(self.power_w)} values")

    @classmethod
    def empty(cls, calendar: MarketCalendar, period: date) -> IspSeries:
        return cls(calendar, period, (None,) * calendar.isps(period))

    @classmethod
    def of(cls, calendar: MarketCalendar, period: date, power_w: Iterable[float]) -> IspSeries:
        """A series that addresses the whole day; values are rounded to whole W, half to even."""
        return cls(calendar, period, tuple(round(float(p)) for p in power_w))

    @classmethod
    def from_runs(cls, calendar: MarketCalendar, period: date, runs: Iterable[Run]) -> IspSeries:
        """Expand runs (UFTP's Start and Duration) into a series.

        Raises:
            ValueError: a run leaves the day or addresses an ISP twice.
        """
        return cls.from_spans(calendar, period, ((run.start, run.duration, run.power_w) for run in runs))

    @classmethod
    def from_spans(cls, calendar: MarketCalendar, period: date, spans: Iterable[Sequence[int]]) -> IspSeries:
        """`from_runs` of plain (start, duration, W)."""
        starts, durations, power_w = tuple(zip(*spans, strict=True)) or ((), (), ())
        return cls.from_columns(calendar, period, starts, durations, power_w)

    @classmethod
    def from_columns(
        cls,
        calendar: MarketCalendar,
        period: date,
        starts: Sequence[int],
        durations: Sequence[int],
        power_w: Sequence[int],
    ) -> IspSeries:
        """`from_runs` of their columns, each as long as the other."""
        count = check_spans(calendar, period, starts, durations)
        values: list[int | None] = [None] * count
        for start, duration, power in zip(starts, durations, power_w, strict=True):
            if duration == 1:
                values[start - 1] = power
            else:
                values[start - 1 : start - 1 + duration] = [power] * duration
        return cls(calendar, period, tuple(values))

    def runs(self) -> list[Run]:
        """The shortest list of runs that expands to this series."""
        out: list[Run] = []
        position = 1
        for value, group in groupby(self.power_w):
            length = len(list(group))
            if value is not None:
                out.append(Run(position, length, value))
            position += length
        return out

    def __len__(self) -> int:
        return len(self.power_w)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Addressed ISPs as (number, W), in order."""
        return ((k, p) for k, p in enumerate(self.power_w, 1) if p is not None)

    @property
    def isps(self) -> frozenset[int]:
        """Numbers of the addressed ISPs."""
        return frozenset(k for k, _ in self)

    @property
    def is_complete(self) -> bool:
        return None not in self.power_w

    def at(self, isp: int) -> int | None:
        """W in ISP number `isp` (1-based), None where it is not addressed.

        Raises:
            ValueError: the day has no such ISP.
        """
        if not 1 <= isp <= len(self.power_w):
            raise ValueError(f"{self.period} has ISPs 1..{len(self.power_w)}, not {isp}")
        return self.power_w[isp - 1]

    def array(self, fill: int = 0) -> NDArray[np.int64]:
        """int64 array (N,), with `fill` W where an ISP is not addressed."""
        import numpy as np  # who only passes series on need not load it

        return np.array([fill if p is None else p for p in self.power_w], dtype=np.int64)

    def energy_wh(self) -> float:
        """Net energy over the addressed ISPs in Wh."""
        return sum(p for _, p in self) * self.calendar.isp_hours

    def map(self, function: Callable[[int], int]) -> IspSeries:
        return IspSeries(self.calendar, self.period, tuple(None if p is None else function(p) for p in self.power_w))

    def scaled(self, factor: Decimal) -> IspSeries:
        """Every power times `factor`, rounded to whole W half to even (partial activation, UFTP 2.6)."""
        return self.map(lambda p: int((p * factor).quantize(Decimal(1), ROUND_HALF_EVEN)))

    def restricted(self, isps: Iterable[int]) -> IspSeries:
        """Only the given ISPs; the others become unaddressed."""
        keep = frozenset(isps)
        values = tuple(p if k in keep else None for k, p in enumerate(self.power_w, 1))
        return IspSeries(self.calendar, self.period, values)

    def __neg__(self) -> IspSeries:
        return self.map(lambda p: -p)

    def __add__(self, other: IspSeries) -> IspSeries:
        """Sum per ISP; an ISP that only one side addresses keeps that side's value."""
        return self._combine(other, 1)

    def __sub__(self, other: IspSeries) -> IspSeries:
        """Difference per ISP; an ISP that only one side addresses counts the other as 0 W."""
        return self._combine(other, -1)

    def _combine(self, other: IspSeries, sign: int) -> IspSeries:
        if (self.calendar.tz, self.calendar.isp, self.period) != (
            other.calendar.tz,
            other.calendar.isp,
            other.period,
        ):
            raise ValueError(f"series of {self.period} and {other.period} do not share their ISPs")
        pairs: Sequence[tuple[int | None, int | None]] = list(zip(self.power_w, other.power_w, strict=True))
        values = tuple(None if a is None and b is None else (a or 0) + sign * (b or 0) for a, b in pairs)
        return IspSeries(self.calendar, self.period, values)


def check_spans(calendar: MarketCalendar, period: date, starts: Sequence[int], durations: Sequence[int]) -> int:
    """Whether stretches of ISPs (first number, how many) fit on a day beside each other; the number of its ISPs.

    Raises:
        ValueError: one leaves the day, or an ISP is addressed twice.
    """
    count = calendar.isps(period)
    plain = starts and durations.count(1) == len(durations) and min(starts) > 0 and max(starts) <= count
    if plain and len(set(starts)) == len(starts):
        return count
    taken: set[int] = set()
    for start, duration in zip(starts, durations, strict=True):
        if start < 1 or duration < 1 or start + duration - 1 > count:
            raise ValueError(f"ISPs {start}+{duration} are outside 1..{count} of {period}")
        for isp in range(start, start + duration):
            if isp in taken:
                raise ValueError(f"ISP {isp} of {period} is addressed twice")
            taken.add(isp)
    return count


def _write(series: IspSeries) -> dict[str, Any]:
    runs = [[run.start, run.duration, run.power_w] for run in series.runs()]
    return {"calendar": serial.encode(series.calendar), "period": series.period.isoformat(), "runs": runs}


def _read(data: dict[str, Any]) -> IspSeries:
    if data.keys() != {"$", "calendar", "period", "runs"}:
        raise ValueError(f"a series has calendar, period and runs, not {', '.join(sorted(data))}")
    if any(type(number) is not int for run in data["runs"] for number in run):
        raise ValueError("runs hold whole numbers")
    calendar = _calendar(tuple(data["calendar"].items()))
    return IspSeries.from_spans(calendar, date.fromisoformat(data["period"]), data["runs"])


@lru_cache(64)
def _calendar(items: tuple[tuple[str, Any], ...]) -> MarketCalendar:
    """There are few calendars and many series: each calendar is read once."""
    calendar: MarketCalendar = serial.decode(dict(items), MarketCalendar)
    return calendar


serial.compact(IspSeries, _write, _read)
