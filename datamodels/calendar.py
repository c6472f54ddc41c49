"""Market time: local days cut into imbalance settlement periods (ISPs).

An ISP is addressed by a local calendar day (the *period*) and a number that counts from 1 (UFTP 3.1.0 section 4.2.1).
A day has 96 ISPs of a quarter of an hour, but 92 when the clocks go forward and 100 when they go back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["MarketCalendar"]


@dataclass(frozen=True, slots=True)
class MarketCalendar:
    """A market's time zone, ISP length, gates and currency.

    Args:
        tz: IANA name of the zone that defines the local day.
        isp: length of one ISP; must divide each local day.
        currency: ISO 4217 code in which the market settles.
        day_ahead_gate: local time on the day before delivery at which day-ahead trade closes.
        intraday_lead: time before an ISP begins at which intraday trade for it closes.

    Raises:
        ValueError: the zone is unknown or the ISP is not a positive, whole number of minutes.
    """

    tz: str = "Europe/Amsterdam"
    isp: timedelta = timedelta(minutes=15)
    currency: str = "EUR"
    day_ahead_gate: time = time(12, 0)
    intraday_lead: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        if self.isp <= timedelta(0) or self.isp % timedelta(minutes=1):
            raise ValueError(f"ISP length {self.isp} is not a positive number of whole minutes")
        try:
            ZoneInfo(self.tz)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"unknown time zone {self.tz!r}") from error

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.tz)

    @property
    def isp_hours(self) -> float:
        """Length of one ISP in hours (power in W times this is energy in Wh)."""
        return self.isp / timedelta(hours=1)

    def day_span(self, day: date) -> tuple[datetime, datetime]:
        """Begin and end of the local day in UTC."""
        return _day_span(self.tz, day)

    def isps(self, day: date) -> int:
        """How many ISPs the local day has: 96 of a quarter of an hour, 92 or 100 when clocks change.

        Raises:
            ValueError: the ISP length does not divide this day (a 30-minute clock change and a 1 h ISP).
        """
        begin, end = self.day_span(day)
        count, rest = divmod(end - begin, self.isp)
        if rest:
            raise ValueError(f"{self.isp} does not divide {day} in {self.tz}, which lasts {end - begin}")
        return count

    def start(self, day: date, isp: int) -> datetime:
        """UTC begin of ISP number `isp` (1-based) of the local day.

        Raises:
            ValueError: the day has no such ISP.
        """
        if not 1 <= isp <= self.isps(day):
            raise ValueError(f"{day} has ISPs 1..{self.isps(day)}, not {isp}")
        return self.day_span(day)[0] + (isp - 1) * self.isp

    def end(self, day: date, isp: int) -> datetime:
        """UTC end of ISP number `isp` of the local day (ValueError as in `start`)."""
        return self.start(day, isp) + self.isp

    def locate(self, instant: datetime) -> tuple[date, int]:
        """The local day and the ISP number that contain an aware instant (ValueError as in `isps`)."""
        if instant.tzinfo is None:
            raise ValueError("market time needs an aware instant")
        day = instant.astimezone(self.zone).date()
        self.isps(day)
        begin, _ = self.day_span(day)
        return day, int((instant.astimezone(UTC) - begin) // self.isp) + 1

    def starts(self, day: date) -> list[datetime]:
        """UTC begins of all ISPs of the local day, in order."""
        begin, _ = self.day_span(day)
        return [begin + k * self.isp for k in range(self.isps(day))]


@lru_cache(maxsize=4096)
def _day_span(tz: str, day: date) -> tuple[datetime, datetime]:
    zone = ZoneInfo(tz)
    begin = datetime.combine(day, time(), zone).astimezone(UTC)
    end = datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
    return begin, end
