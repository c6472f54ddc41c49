"""Wire times against the market's calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from datamodels import MarketCalendar

__all__ = ["instant", "same_day", "zone"]


def zone(name: str | None) -> ZoneInfo | None:
    """The IANA zone of that name, None where there is none."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def instant(value: datetime, zone_name: str | None) -> datetime:
    """A wire time in UTC. Without an offset it is read in the message's TimeZone, else as UTC.

    What lies beyond the years 1 to 9999 in UTC becomes the first or the last instant that there is.
    """
    if value.tzinfo is None:
        value = value.replace(tzinfo=zone(zone_name) or UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC) if value.year == 1 else datetime.max.replace(tzinfo=UTC)


def same_day(zone_name: str, calendar: MarketCalendar, day: date) -> bool:
    """Whether the local day begins, ends and changes its clock there exactly as in the market."""
    return _same_day(zone_name, calendar.tz, day)


@lru_cache(1024)
def _same_day(one: str, two: str, day: date) -> bool:
    zones = zone(one), zone(two)
    if None in zones or day == date.max:  # whose end cannot be told
        return False
    for hour in range(0, 25, 3):
        local = datetime.combine(day, time()) + timedelta(hours=hour)
        if len({local.replace(tzinfo=z).utcoffset() for z in zones}) > 1:
            return False
    return True
