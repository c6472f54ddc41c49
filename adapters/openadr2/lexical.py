"""Texts of OpenADR 2.0b simple types and their values: durations, date-times, floats, booleans.

The schema's patterns let more (and less) through than RFC 5545 and XML Schema do. Reading here is at least as wide as
the schema; writing stays inside what both allow: no weeks, no fractions of a second, always `Z`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

__all__ = [
    "Duration",
    "ZoneMissing",
    "format_boolean",
    "format_datetime",
    "format_duration",
    "format_float",
    "parse_boolean",
    "parse_datetime",
    "parse_duration",
    "parse_float",
]

_DURATION = re.compile(
    r"([+-])?P(?=[\dT]|$)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?"
)
_WEEKS = re.compile(r"([+-])?P?(\d+)W")
_DATETIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?")


class ZoneMissing(ValueError):
    """A date-time that does not say it is UTC: against rule 1, though the schema lets it through."""


@dataclass(frozen=True, slots=True)
class Duration:
    """An xcal duration: calendar months stay symbolic, the rest is a `timedelta`; both carry the same sign."""

    span: timedelta = timedelta(0)
    months: int = 0

    @classmethod
    def seconds(cls, seconds: float) -> Duration:
        return cls(timedelta(seconds=seconds))

    def after(self, start: datetime) -> timedelta:
        """The length of this duration when it begins at `start`.

        Raises:
            ValueError: it is negative, where a span is meant.
        """
        if self.months < 0 or self.span < timedelta(0):
            raise ValueError(f"duration {format_duration(self)} is negative")
        if not self.months:
            return self.span
        year, month = divmod(start.year * 12 + start.month - 1 + self.months, 12)
        day = start.day
        while True:
            try:
                return start.replace(year=year, month=month + 1, day=day) - start + self.span
            except ValueError:
                day -= 1
                if day < 28:
                    raise


def parse_duration(text: str) -> Duration:
    """Read a duration, also `P`, `PT` (zero), `P1H` (T missing), `1W` and `P1W`.

    Raises:
        ValueError: it is none.
    """
    if weeks := _WEEKS.fullmatch(text):
        sign = -1 if weeks[1] == "-" else 1
        return Duration(_span(sign * int(weeks[2]) * 7 * 86400.0, text))
    match = _DURATION.fullmatch(text)
    if not match:
        raise ValueError(f"{text[:40]!r} is not a duration")
    sign = -1 if match[1] == "-" else 1
    years, months, days, hours, minutes = (int(g) if g else 0 for g in match.groups()[1:6])
    seconds = float(match[7] or 0)
    total = days * 86400 + hours * 3600 + minutes * 60 + seconds
    return Duration(_span(sign * total, text), sign * (years * 12 + months))


def _span(seconds: float, text: str) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"duration {text[:40]!r} is too long") from None


@lru_cache(maxsize=4096)
def format_duration(value: Duration) -> str:
    """Write a duration in whole seconds, canonical: `PT1H30M`, `P1D`, `P1Y2M`, `PT0S`."""
    seconds = round(value.span.total_seconds())
    if seconds * value.months < 0:
        raise ValueError("months and seconds of a duration must have one sign")
    sign = "-" if seconds < 0 or value.months < 0 else ""
    years, months = divmod(abs(value.months), 12)
    days, rest = divmod(abs(seconds), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    date = _units((years, "Y"), (months, "M"), (days, "D"))
    clock = _units((hours, "H"), (minutes, "M"), (rest, "S"))
    if clock:
        return f"{sign}P{date}T{clock}"
    return f"{sign}P{date}" if date else "PT0S"


def _units(*units: tuple[int, str]) -> str:
    return "".join(f"{count}{unit}" for count, unit in units if count)


def parse_datetime(text: str, *, strict: bool = True) -> datetime:
    """Read a date-time as UTC; more than six fractional digits are cut, `24:00:00` is the next midnight.

    Raises:
        ValueError: it is none, or (`strict`, rule 1) it does not end in `Z`.
    """
    text = text.strip()
    match = _DATETIME.fullmatch(text)
    if not match:
        raise ValueError(f"{text[:40]!r} is not a date-time between the years 1 and 9999")
    year, month, day, hour, minute, second = (int(g) for g in match.groups()[:6])
    zone = match[8]
    if strict and zone != "Z":
        raise ZoneMissing(f"date-time {text[:40]!r} does not end in Z (rule 1)")
    midnight = hour == 24 and minute == second == 0 and not int(match[7] or 0)
    micro = int((match[7] or "0")[:6].ljust(6, "0"))
    try:
        value = datetime(year, month, day, 0 if midnight else hour, minute, second, micro, UTC)
        return value + timedelta(days=midnight) - _offset(zone)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text[:40]!r} is not a date-time: {error}") from None


def _offset(zone: str | None) -> timedelta:
    if zone in (None, "Z"):
        return timedelta(0)
    assert zone is not None
    span = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    return -span if zone[0] == "-" else span


def format_datetime(value: datetime) -> str:
    """Write an aware date-time in UTC with `Z`, with as many digits as it needs."""
    text = value.astimezone(UTC).isoformat().removesuffix("+00:00")
    return f"{text}Z"


def parse_float(text: str) -> float:
    """Read an xs:float.

    Raises:
        ValueError: it is none, or not finite: NaN, INF and overflow never reach the core.
    """
    text = text.strip()
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?INF|NaN", text):
        raise ValueError(f"{text[:40]!r} is not a number")
    value = float(text.replace("INF", "inf"))
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]!r} is not a finite number")
    return value


def format_float(value: float) -> str:
    """Write a finite float, shortest form that reads back.

    Raises:
        ValueError: it is not finite.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be sent")
    return repr(float(value))


def parse_boolean(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.strip()]


def format_boolean(value: bool) -> str:
    return "true" if value else "false"
