"""What the signals in force mean for a day: bounds on power, and prices.

At any instant the most urgent signal of a kind governs (priority 1 first, 0 last); among equally urgent ones the
stricter: the lower limit, the higher price of import, the lower price of export.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from datamodels import GridSignal, MarketCalendar, SignalKind, SignalTarget, TargetKind
from interop.signals.machine import Signals

__all__ = ["bounds", "concerns", "prices"]

_STRICTER: dict[SignalKind, Callable[[Iterable[Decimal]], Decimal]] = {
    SignalKind.IMPORT_LIMIT: min,
    SignalKind.EXPORT_LIMIT: min,
    SignalKind.PRICE: max,
    SignalKind.EXPORT_PRICE: min,
}


@dataclass(frozen=True, slots=True)
class _Span:
    """A value that holds from `start` to `end` (None: from then on)."""

    start: datetime
    end: datetime | None
    rank: int
    value: Decimal

    def covers(self, start: datetime, end: datetime) -> bool:
        return self.start <= start and (self.end is None or end <= self.end)


def concerns(signal: GridSignal, targets: Collection[SignalTarget]) -> bool:
    """Whether a signal is meant for one of `targets`. Without targets, or for the market, it is meant for everybody."""
    return not signal.targets or any(t.kind is TargetKind.MARKET or t in targets for t in signal.targets)


def bounds(
    signals: Signals,
    calendar: MarketCalendar,
    day: date,
    standing_low_w: float,
    standing_high_w: float,
    targets: Collection[SignalTarget] = (),
) -> tuple[list[float], list[float]]:
    """Lowest and highest net power (W) per ISP of a day that limits leave of the standing ones; never wider.

    A limit that holds in a part of an ISP holds for all of it, since power is averaged over the ISP.
    """
    low, high = [], []
    imports = _spans(signals, SignalKind.IMPORT_LIMIT, targets)
    exports = _spans(signals, SignalKind.EXPORT_LIMIT, targets)
    for start in calendar.starts(day):
        end = start + calendar.isp
        most = [float(value) for _, value in _governing(imports, SignalKind.IMPORT_LIMIT, start, end)]
        least = [-float(value) for _, value in _governing(exports, SignalKind.EXPORT_LIMIT, start, end)]
        high.append(min([standing_high_w, *most]))
        low.append(max([standing_low_w, *least]))
    return low, high


def prices(
    signals: Signals,
    calendar: MarketCalendar,
    day: date,
    kind: SignalKind,
    targets: Collection[SignalTarget] = (),
    standing: Sequence[Decimal] | None = None,
) -> list[Decimal | None]:
    """Price per kWh and ISP of a day, as the mean over time of PRICE or EXPORT_PRICE signals.

    Where no signal holds, `standing` (one value per ISP) does; without it the mean is over the part of the ISP in which
    one holds, and None where there is none.
    """
    out: list[Decimal | None] = []
    spans = _spans(signals, kind, targets)
    for k, start in enumerate(calendar.starts(day)):
        parts = list(_governing(spans, kind, start, start + calendar.isp))
        covered = sum((length for length, _ in parts), timedelta(0))
        if standing is not None and covered < calendar.isp:
            parts.append((calendar.isp - covered, standing[k]))
            covered = calendar.isp
        out.append(_mean(parts, covered) if covered else None)
    return out


def _mean(parts: Iterable[tuple[timedelta, Decimal]], whole: timedelta) -> Decimal:
    tick = timedelta(microseconds=1)
    return sum((value * (length // tick) for length, value in parts), Decimal(0)) / (whole // tick)


def _spans(signals: Signals, kind: SignalKind, targets: Collection[SignalTarget]) -> list[_Span]:
    return [
        span
        for signal in signals.values()
        if signal.kind is kind and not signal.cancelled and concerns(signal, targets)
        for span in _of(signal)
    ]


def _of(signal: GridSignal) -> Iterator[_Span]:
    """A signal's intervals; an open-ended one ends where the next begins."""
    ordered = sorted(signal.intervals, key=lambda interval: interval.start)
    following = [interval.start for interval in ordered[1:]]
    for interval, then in zip(ordered, [*following, None], strict=True):
        end = interval.start + interval.duration if interval.duration else then
        yield _Span(interval.start, end, signal.priority or 1 << 31, interval.value)


def _governing(
    spans: Iterable[_Span], kind: SignalKind, start: datetime, end: datetime
) -> Iterator[tuple[timedelta, Decimal]]:
    """The value that governs, for each part of [start, end) in which any does."""
    near = [span for span in spans if span.start < end and (span.end is None or start < span.end)]
    edges = {edge for span in near for edge in (span.start, span.end) if edge is not None and start < edge < end}
    cuts = [start, *sorted(edges), end]
    for begin, finish in pairwise(cuts):
        holding = [span for span in near if span.covers(begin, finish)]
        if holding:
            first = min(span.rank for span in holding)
            yield finish - begin, _STRICTER[kind](span.value for span in holding if span.rank == first)
