"""What held on which day: spans of days that do not overlap, each with a value, and how a new claim changes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Generic, TypeAlias, TypeVar

__all__ = ["Span", "Timeline", "claim", "value_on"]

V = TypeVar("V")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Span(Generic[V]):
    """A value from `start` to `end`, both days included; an open end is `date.max`."""

    start: date
    end: date
    value: V

    def overlaps(self, other: Span[V]) -> bool:
        return self.start <= other.end and other.start <= self.end


Timeline: TypeAlias = tuple[Span[V], ...]
"""Spans in order, without overlap."""


def value_on(timeline: Timeline[V], day: date) -> V | None:
    return next((span.value for span in timeline if span.start <= day <= span.end), None)


def claim(timeline: Timeline[V], claims: Sequence[Span[V]], today: date, replaces: Callable[[V], bool]) -> Timeline[V]:
    """The timeline after `claims` came on the day `today`.

    From today on, they take the place of every value that they replace, and of any other on the days that they name.
    The days before are history: claims fill those on which nothing held, and change none.
    """
    if not timeline and len(claims) == 1:
        return tuple(claims)
    yesterday = today - _DAY
    past = [s for span in timeline if (s := _clip(span, date.min, yesterday))]
    others = [s for span in timeline if not replaces(span.value) and (s := _clip(span, today, date.max))]
    new = [s for c in claims if (s := _clip(c, today, date.max))]
    fill = [s for c in claims if (s := _clip(c, date.min, yesterday))]
    return tuple(_joined([*past, *_outside(fill, past), *new, *_outside(others, new)]))


def _clip(span: Span[V], first: date, last: date) -> Span[V] | None:
    start, end = max(span.start, first), min(span.end, last)
    return replace(span, start=start, end=end) if start <= end else None


def _outside(spans: Iterable[Span[V]], taken: Sequence[Span[V]]) -> Iterator[Span[V]]:
    """The parts of `spans` that none of `taken` covers."""
    pieces = list(spans)
    for other in taken:
        cut: list[Span[V]] = []
        for span in pieces:
            if not span.overlaps(other):
                cut.append(span)
                continue
            if span.start < other.start:
                cut.append(replace(span, end=other.start - _DAY))
            if span.end > other.end:
                cut.append(replace(span, start=other.end + _DAY))
        pieces = cut
    return iter(pieces)


def _joined(spans: Iterable[Span[V]]) -> list[Span[V]]:
    """In order; spans of one value that touch or overlap become one."""
    out: list[Span[V]] = []
    for span in sorted(spans, key=lambda s: s.start):
        if out and out[-1].value == span.value and (out[-1].end == date.max or span.start <= out[-1].end + _DAY):
            out[-1] = replace(out[-1], end=max(out[-1].end, span.end))
        else:
            out.append(span)
    return out
