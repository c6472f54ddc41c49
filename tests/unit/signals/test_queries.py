"""What signals mean for a day: bounds per ISP by urgency and strictness, and prices over time."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from math import inf

import pytest

from datamodels import GridSignal, MarketCalendar, SignalInterval, SignalKind, SignalTarget, TargetKind
from interop.signals import bounds, concerns, prices

CALENDAR = MarketCalendar("Europe/Berlin")
DAY = date(2026, 5, 20)
POINT = SignalTarget(TargetKind.CONGESTION_POINT, "ean.1")
LOW, HIGH = -160_000.0, 160_000.0
IMPORT, EXPORT = SignalKind.IMPORT_LIMIT, SignalKind.EXPORT_LIMIT


def at(isp: float) -> datetime:
    """The instant at which ISP `isp` begins; halves are within one."""
    return CALENDAR.start(DAY, 1) + (isp - 1) * CALENDAR.isp


def signal(id: str, kind: SignalKind, *spans: tuple[float, float, int], priority: int = 0) -> GridSignal:
    """A signal on the congestion point; spans are (ISP, ISPs long, value)."""
    intervals = tuple(SignalInterval(at(isp), n * CALENDAR.isp, Decimal(value)) for isp, n, value in spans)
    return GridSignal(id, "utility", kind, intervals, (POINT,), priority)


def limits(*signals: GridSignal) -> tuple[dict[int, float], dict[int, float]]:
    """Bounds that differ from the standing ones, by ISP."""
    low, high = bounds({s.id: s for s in signals}, CALENDAR, DAY, LOW, HIGH, [POINT])
    assert len(low) == len(high) == CALENDAR.isps(DAY)
    return {k: v for k, v in enumerate(low, 1) if v != LOW}, {k: v for k, v in enumerate(high, 1) if v != HIGH}


A = signal("a", IMPORT, (10, 2, 50_000))
CASES: list[tuple[str, list[GridSignal], dict[int, float], dict[int, float]]] = [
    ("nothing", [], {}, {}),
    ("import", [A], {}, {10: 50_000, 11: 50_000}),
    ("export", [signal("b", EXPORT, (10, 2, 50_000))], {10: -50_000, 11: -50_000}, {}),
    ("wider than what stands", [signal("w", IMPORT, (10, 2, 500_000))], {}, {}),
    ("part of an ISP counts whole", [signal("p", IMPORT, (10.5, 1, 50_000))], {}, {10: 50_000, 11: 50_000}),
    ("parts of an ISP: the stricter", [signal("p", IMPORT, (10, 0.5, 9), (10.5, 0.5, 7))], {}, {10: 7}),
    ("equals: the stricter", [A, signal("s", IMPORT, (11, 1, 40_000))], {}, {10: 50_000, 11: 40_000}),
    ("the more urgent", [A, signal("u", IMPORT, (11, 1, 90_000), priority=1)], {}, {10: 50_000, 11: 90_000}),
    (
        "1 before 2 before none",
        [A, signal("1", IMPORT, (10, 1, 80_000), priority=1), signal("2", IMPORT, (10, 2, 70_000), priority=2)],
        {},
        {10: 80_000, 11: 70_000},
    ),
    ("open-ended", [signal("o", IMPORT, (95, 0, 5))], {}, {95: 5, 96: 5}),
    ("open-ended until the next", [signal("o", IMPORT, (93, 0, 5), (95, 1, 6))], {}, {93: 5, 94: 5, 95: 6}),
    ("from the day before", [signal("y", IMPORT, (-3, 5, 5))], {}, {1: 5}),
    ("cancelled", [replace(A, cancelled=True)], {}, {}),
    ("of another place", [replace(A, targets=(replace(POINT, id="ean.2"),))], {}, {}),
    ("a price", [replace(A, kind=SignalKind.PRICE)], {}, {}),
]


@pytest.mark.parametrize(("signals", "low", "high"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_bounds(signals: list[GridSignal], low: dict[int, float], high: dict[int, float]) -> None:
    assert limits(*signals) == (low, high)


def test_a_day_with_a_clock_change_has_its_own_number_of_isps() -> None:
    low, high = bounds({"a": A}, CALENDAR, date(2026, 10, 25), -inf, inf, [POINT])
    assert (low, high) == ([-inf] * 100, [inf] * 100)


@pytest.mark.parametrize(
    ("targets", "meant"),
    [
        ((), True),
        ((SignalTarget(TargetKind.MARKET, "any"),), True),
        ((POINT,), True),
        ((SignalTarget(TargetKind.RESOURCE, "ean.1"),), False),
        ((SignalTarget(TargetKind.RESOURCE, "x"), POINT), True),
    ],
)
def test_whom_a_signal_is_meant_for(targets: tuple[SignalTarget, ...], meant: bool) -> None:
    assert concerns(replace(A, targets=targets), {POINT}) is meant


def priced(
    *signals: GridSignal, kind: SignalKind = SignalKind.PRICE, standing: Decimal | None = None
) -> list[Decimal | None]:
    usual = None if standing is None else [standing] * 96
    return prices({s.id: s for s in signals}, CALENDAR, DAY, kind, [POINT], usual)


def test_prices_are_means_over_time() -> None:
    half = signal("h", SignalKind.PRICE, (10, 0.5, 4), (10.5, 1.5, 2))
    assert priced(half)[8:12] == [None, 3, 2, None]
    third = signal("t", SignalKind.PRICE, (10, 1 / 3, 9))
    assert priced(third)[9] == 9
    assert priced(third, standing=Decimal("0.3"))[8:10] == [Decimal("0.3"), Decimal("3.2")]


def test_the_more_urgent_price_governs_and_among_equals_the_worse_for_us() -> None:
    first, second = (signal(str(v), SignalKind.PRICE, (10, 1, v)) for v in (4, 2))
    assert priced(first, second)[9] == 4
    assert priced(first, replace(second, priority=3))[9] == 2
    exports = [replace(s, kind=SignalKind.EXPORT_PRICE) for s in (first, second)]
    assert priced(*exports, kind=SignalKind.EXPORT_PRICE)[9] == 2
    assert priced(*exports)[9] is None


def test_the_day_of_a_clock_change_is_priced_whole() -> None:
    long = SignalInterval(CALENDAR.day_span(date(2026, 3, 29))[0], timedelta(days=1), Decimal(1))
    known = {"l": replace(A, kind=SignalKind.PRICE, intervals=(long,))}
    assert prices(known, CALENDAR, date(2026, 3, 29), SignalKind.PRICE, [POINT]) == [1] * 92
