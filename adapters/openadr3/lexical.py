"""Texts with a meaning: date-times and durations as OpenADR 3 writes them.

Both are kept as they came (`P9999Y` and the start sentinels must come back byte for byte) and know what they mean.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from functools import lru_cache

__all__ = ["DateTime", "Duration", "instant", "span"]

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_SENTINEL = re.compile(r"000[01]-01-01(?:T00:00:00(?:\.0+)?(?:Z|\+00:00)?)?", re.ASCII)
_DURATION = re.compile(
    r"(-?)P(?=\d|T\d)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)([DW]))?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.ASCII
)
_ENDLESS_YEARS = 9000
_NO_SUCH_TIME = "no such date or time"


class DateTime(str):
    """An RFC 3339 date-time with an offset, or (where allowed) the sentinel `0001-01-01` of User Guide 7.3."""

    __slots__ = ()

    @classmethod
    def read(cls, text: str, *, sentinel: bool = False) -> DateTime:
        """Check a text (ValueError with what is wrong)."""
        if not (sentinel and _SENTINEL.fullmatch(text)):
            if not _DATE_TIME.fullmatch(text):
                raise ValueError("is not a date-time with an offset, like 2026-11-22T12:00:00Z")
            try:
                _parse(text)
            except (ValueError, OverflowError) as error:
                raise ValueError(_NO_SUCH_TIME) from error
        return cls(text)

    @property
    def instant(self) -> datetime | None:
        """UTC; None for the sentinel."""
        return None if _SENTINEL.fullmatch(self) else _parse(self)


class Duration(str):
    """An ISO 8601 duration by the pattern of the standard; `P9999Y` (and anything as long) has no end."""

    __slots__ = ()

    @classmethod
    def read(cls, text: str, *, signed: bool = False) -> Duration:
        """Check a text (ValueError with what is wrong)."""
        found = _DURATION.fullmatch(text)
        if found is None:
            raise ValueError("is not an ISO 8601 duration like PT15M or P1D")
        if found[1] and not signed:
            raise ValueError("is negative")
        return cls(text)

    @property
    def is_endless(self) -> bool:
        return _parts(self)[0] >= _ENDLESS_YEARS

    @property
    def fixed(self) -> timedelta | None:
        """Its length; None where that depends on the calendar (years, months) or it has no end."""
        years, months, rest = _parts(self)
        return None if years or months else rest

    def after(self, start: datetime) -> datetime | None:
        """When it is over, counted from an aware `start`; None for never (or beyond what a calendar holds)."""
        years, months, rest = _parts(self)
        if years >= _ENDLESS_YEARS:
            return None
        try:
            total = start.year * 12 + start.month - 1 + (12 * years + months) * (-1 if self.startswith("-") else 1)
            year, month = divmod(total, 12)
            day = min(start.day, monthrange(year, month + 1)[1])
            return start.replace(year=year, month=month + 1, day=day) + rest
        except (ValueError, OverflowError):
            return None


@lru_cache(4096)
def _parts(text: str) -> tuple[int, int, timedelta]:
    """Years, months and the rest of a duration."""
    found = _DURATION.fullmatch(text)
    assert found is not None, "only `read` makes durations"
    sign, years, months, days, unit, hours, minutes, seconds = found.groups(default="0")
    try:
        rest = timedelta(
            days=int(days) * (7 if unit == "W" else 1),
            hours=int(hours),
            minutes=int(minutes),
            seconds=float(seconds),
        )
    except OverflowError:
        return _ENDLESS_YEARS, 0, timedelta(0)
    return int(years), int(months), -rest if sign == "-" else rest


def instant(moment: datetime) -> DateTime:
    """The wire form of an aware time: UTC with a Z, fractions only where there are any."""
    return DateTime(moment.astimezone(UTC).isoformat().replace("+00:00", "Z"))


def span(length: timedelta) -> Duration:
    """The wire form of a length >= 0: whole days, or hours, minutes and seconds."""
    if length and not length % timedelta(days=1):
        return Duration(f"P{length.days}D")
    hours, rest = divmod(length, timedelta(hours=1))
    minutes, rest = divmod(rest, timedelta(minutes=1))
    parts = [f"{hours}H" if hours else "", f"{minutes}M" if minutes else ""]
    if rest or not any(parts):
        parts.append(f"{rest.total_seconds():g}S")
    return Duration("PT" + "".join(parts))


def _parse(text: str) -> datetime:
    # fromisoformat takes 24:00:00 on newer Pythons and second 60 on none.
    if text[11:13] == "24":
        raise ValueError(_NO_SUCH_TIME)
    return datetime.fromisoformat(text.upper()).astimezone(UTC)
