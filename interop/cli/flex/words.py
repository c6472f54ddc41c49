"""How people write powers, ISPs and times on a command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar

import click

__all__ = ["day", "instant", "isps", "power", "stretches"]

T = TypeVar("T")
_UNITS = {"": 1, "W": 1, "KW": 1000, "MW": 1_000_000}
_POWER = re.compile(r"([+-]?\d+(?:\.\d+)?) ?([kM]?W)?", re.IGNORECASE)
_SPAN = re.compile(r"(\d+)(?:-(\d+))?")


def _option(read: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A click callback that reads one value, or each of several; ValueError becomes a usage error."""

    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        if value is None:
            return None
        try:
            return tuple(map(read, value)) if isinstance(value, tuple) else read(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return callback


def _power(text: str) -> int:
    found = _POWER.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no power; write it as 20kW, 1500W or -2.5kW")
    watts = Decimal(found[1]) * _UNITS[(found[2] or "").upper()]
    if watts != int(watts):
        raise ValueError(f"{text!r} is not a whole number of W")
    return int(watts)


def _isps(text: str) -> list[tuple[int, int]]:
    return list(_spans(text))


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """(start, duration) of each part of `45-52,60`."""
    for part in text.split(","):
        found = _SPAN.fullmatch(part.strip())
        if found is None:
            raise ValueError(f"{text!r} names no ISPs; write them as 45-52 or 45-52,60 (the first of a day is 1)")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise ValueError(f"ISPs {part.strip()} end before they begin")
        yield first, last - first + 1


def _stretch(text: str) -> list[dict[str, int]]:
    spans, _, watts = text.partition("=")
    if not watts:
        raise ValueError(f"{text!r} has no power; write it as 1-40=20kW")
    return [{"start": start, "duration": duration, "power_w": _power(watts)} for start, duration in _spans(spans)]


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"{text!r} is no day; write it as 2026-01-31") from None


def _instant(text: str) -> str:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time; write it as 2026-01-31T10:15:00+01:00") from None
    if found.tzinfo is None:
        raise ValueError(f"{text} has no time zone; add an offset, or Z for UTC")
    return found.isoformat()


power, isps, stretches, day, instant = map(_option, (_power, _isps, _stretch, _day, _instant))
