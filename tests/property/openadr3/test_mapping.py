"""Orders, FLEX events, ceilings and reports: what goes out means what came in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.openadr3 import mapping
from adapters.openadr3.codec import decode, dumps, encode, loads, request
from adapters.openadr3.members import Version
from adapters.openadr3.model import Event, Report
from adapters.openadr3.profiles import der_reports
from adapters.openadr3.profiles.rule import Around
from datamodels import FlexOrder, Head, IspSeries, MarketCalendar, Run, SignalKind, SignalTarget, TargetKind

CALENDAR = MarketCalendar()
TARGET = SignalTarget(TargetKind.GROUP, "g")
PROGRAM = "00000000-0000-4000-8000-000000000001"


def _order(day: date, runs: list[Run]) -> FlexOrder:
    head = Head("dso", "agr", f"order-{day}", "c", datetime(2026, 1, 1, tzinfo=UTC))
    power = IspSeries.from_runs(CALENDAR, day, runs)
    return FlexOrder(head, "ean.1", "ref-1", Decimal(1), "EUR", power, unsolicited=True)


@st.composite
def orders(draw: st.DrawFn) -> FlexOrder:
    """Orders in the profile's blocks, also on the days when clocks change."""
    day = draw(st.sampled_from([date(2026, 3, 29), date(2026, 10, 25), date(2026, 6, 12)]))
    runs: list[Run] = []
    at = draw(st.integers(1, 20))
    while True:
        length, watts = draw(st.sampled_from([8, 16, 24])), -10 * draw(st.integers(1, 10_000))
        if at + length - 1 > CALENDAR.isps(day):
            break
        if not runs or runs[-1].start + runs[-1].duration < at or runs[-1].power_w != watts:
            runs.append(Run(at, length, watts))
        at += length + draw(st.integers(0, 12))
    assume(runs)
    return _order(day, runs)


@given(orders(), st.decimals(0, 10**6, places=2))
def test_an_order_is_the_ceiling_that_its_event_puts_on_the_group(order: FlexOrder, baseline: Decimal) -> None:
    window = CALENDAR.day_span(order.power.period)[0]
    event, losses = mapping.flex_event(order, PROGRAM, "g", window)
    sent = decode(request(Event, Version.V310), loads(dumps(encode(event, Version.V310))))
    assert sent.problems == ()
    event_read = sent.value
    assert event_read is not None
    # A local day of 25 h does not fit into the profile's window of one day; what lies inside keeps every rule.
    broken = {p.rule for p in der_reports.judge(event_read)}
    assert broken <= ({"DER.flex.inside"} if CALENDAR.isps(order.power.period) == 100 else set())
    assert [loss.field for loss in losses] == ["price"]
    limit, lost = mapping.ceiling_of_flex(event, baseline, "dso", [TARGET])
    assert limit.kind is SignalKind.IMPORT_LIMIT
    runs = order.power.runs()
    assert len(limit.intervals) == len(runs)
    for run, interval in zip(runs, limit.intervals, strict=True):
        assert interval.start == CALENDAR.start(order.power.period, run.start)
        assert interval.duration == run.duration * CALENDAR.isp
        assert interval.value == max(baseline * 1000 + run.power_w, 0)
    assert bool(lost) is any(baseline * 1000 + run.power_w < 0 for run in runs)


@given(orders(), st.decimals(0, 1000, places=2), st.data())
def test_a_delivery_report_mirrors_its_event_and_holds_the_difference(
    order: FlexOrder, baseline: Decimal, data: st.DataObject
) -> None:
    day = order.power.period
    event, _ = mapping.flex_event(order, PROGRAM, "g", CALENDAR.day_span(day)[0])
    watts = data.draw(st.lists(st.integers(-(10**6), 10**6), min_size=CALENDAR.isps(day), max_size=CALENDAR.isps(day)))
    steps = [(start, CALENDAR.isp, float(w)) for start, w in zip(CALENDAR.starts(day), watts, strict=True)]
    values = mapping.delivered(event, baseline, lambda a, b: mapping.mean_of(steps, a, b))
    assert values is not None
    report = mapping.delivery_report(event, "8712345678906", values)
    sent = decode(request(Report, Version.V310), loads(dumps(encode(report, Version.V310)))).value
    assert sent is not None
    assert der_reports.judge(sent, Around(event=event)) == []
    for run, given_kw in zip(order.power.runs(), values, strict=True):
        metered = watts[run.start - 1 : run.start - 1 + run.duration]
        for kw, w in zip(given_kw, metered, strict=True):
            assert abs(kw - max(baseline - Decimal(w) / 1000, Decimal(0))) <= Decimal("0.005")


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.data())
def test_a_mean_is_energy_over_time(minutes: list[int], data: st.DataObject) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    steps: list[tuple[datetime, timedelta, float]] = []
    for length in minutes:
        start = steps[-1][0] + steps[-1][1] if steps else begin
        steps.append((start, timedelta(minutes=length), float(data.draw(st.integers(-1000, 1000)))))
    total = timedelta(minutes=sum(minutes))
    mean = mapping.mean_of(steps, begin, begin + total)
    energy = sum(w * length.total_seconds() for _, length, w in steps)
    assert mean is not None
    assert abs(mean * total.total_seconds() - energy) < 1e-6 * max(1.0, abs(energy))
    assert mapping.mean_of(steps[1:], begin, begin + total) is None
    assert all(a[0] + a[1] == b[0] for a, b in pairwise(steps))


@given(st.integers(1, 96), st.integers(1, 96), st.integers(-100, 100))
def test_what_flex_cannot_say_is_refused(start: int, length: int, tens: int) -> None:
    day = date(2026, 6, 12)
    assume(start + length - 1 <= 96)
    order = _order(day, [Run(start, length, tens * 10)])
    fits = tens <= 0 and (length in (8, 16, 24) or (length == 4 and tens == 0))
    window = CALENDAR.day_span(day)[0]
    if fits:
        event, _ = mapping.flex_event(order, PROGRAM, "g", window)
        assert len(event.intervals or ()) == 1
    else:
        with pytest.raises(ValueError, match="FLEX"):
            mapping.flex_event(order, PROGRAM, "g", window)
